const http = require("node:http");
const { HttpProxyAgent } = require("http-proxy-agent");

const agent = new HttpProxyAgent(process.env.MOORGATE_STATIC_URL);
http.get("http://echo.moorgate.internal/", { agent }, (response) => response.pipe(process.stdout));
