// undici's ProxyAgent, through the proxy PROXY: one agent for each base URL given.

import { readFileSync } from 'node:fs'
import { errand, report, require } from './errand.mjs'

const { ProxyAgent, request } = require('undici')
const ca = readFileSync(process.env.CA)

for (const base of process.argv.slice(2)) {
  const dispatcher = new ProxyAgent({ uri: process.env.PROXY, proxyTls: { ca }, requestTls: { ca } })
  for (const [method, path, body] of errand) {
    const answer = await request(base + path, { method, body, dispatcher })
    report(method, path, answer.statusCode, Buffer.from(await answer.body.arrayBuffer()))
  }
  await dispatcher.close()
}
