const { HttpProxyAgent } = require("http-proxy-agent");
const { HttpsProxyAgent } = require("https-proxy-agent");

const url = new URL("http://echo.moorgate.internal/");
const [Agent, client] =
  url.protocol === "https:" ? [HttpsProxyAgent, require("node:https")] : [HttpProxyAgent, require("node:http")];
const agent = new Agent(process.env.MOORGATE_STATIC_URL);
client.get(url, { agent }, (response) => response.pipe(process.stdout));
