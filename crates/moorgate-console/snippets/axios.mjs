import { readFileSync } from "node:fs";
import axios from "axios";
import { HttpProxyAgent } from "http-proxy-agent";
import { HttpsProxyAgent } from "https-proxy-agent";

const proxy = process.env.MOORGATE_SHIELD_URL;
const ca = process.env.MOORGATE_CA && readFileSync(process.env.MOORGATE_CA);
const client = axios.create({
  proxy: false,
  httpAgent: new HttpProxyAgent(proxy, { ca }),
  httpsAgent: new HttpsProxyAgent(proxy, { ca }),
});
console.log((await client.get("http://echo.moorgate.internal/")).data);
