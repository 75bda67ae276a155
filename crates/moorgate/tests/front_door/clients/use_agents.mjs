// https-proxy-agent or socks-proxy-agent by the scheme of PROXY: one agent for each base URL given.

import { readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { errand, report, require } from './errand.mjs'

const ca = readFileSync(process.env.CA)
const proxy = process.env.PROXY

function makeAgent() {
  if (proxy.startsWith('socks')) {
    const { SocksProxyAgent } = require('socks-proxy-agent')
    return new SocksProxyAgent(proxy, { keepAlive: true })
  }
  const { HttpsProxyAgent } = require('https-proxy-agent')
  return new HttpsProxyAgent(proxy, { keepAlive: true, ca })
}

function ask(agent, method, url, body) {
  const { request } = url.startsWith('https:') ? https : http
  return new Promise((resolve, reject) => {
    const asked = request(url, { method, agent, ca }, (answer) => {
      const pieces = []
      answer.on('data', (piece) => pieces.push(piece))
      answer.on('end', () => resolve([answer.statusCode, Buffer.concat(pieces)]))
      answer.on('error', reject)
    })
    asked.on('error', reject)
    asked.end(body)
  })
}

for (const base of process.argv.slice(2)) {
  const agent = makeAgent()
  for (const [method, path, body] of errand) {
    const [status, answer] = await ask(agent, method, base + path, body)
    report(method, path, status, answer)
  }
  agent.destroy()
}
