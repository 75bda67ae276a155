import { readFileSync } from "node:fs";
import { ProxyAgent, request, setGlobalDispatcher } from "undici";

const ca = process.env.MOORGATE_CA && readFileSync(process.env.MOORGATE_CA);
setGlobalDispatcher(new ProxyAgent({ uri: process.env.MOORGATE_SHIELD_URL, proxyTls: { ca } }));
const { body } = await request("http://echo.moorgate.internal/");
console.log(await body.text());
