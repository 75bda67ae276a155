import { readFileSync } from "node:fs";
import { ProxyAgent, fetch } from "undici";

const ca = process.env.MOORGATE_CA && readFileSync(process.env.MOORGATE_CA);
const dispatcher = new ProxyAgent({ uri: process.env.MOORGATE_SHIELD_URL, proxyTls: { ca } });
const response = await fetch("http://echo.moorgate.internal/", { dispatcher });
console.log(await response.text());
