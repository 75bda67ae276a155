// NAME at PORT, by Node's own https and http2 and by undici's WebSocket. Trusts what NODE_EXTRA_CA_CERTS says.

import http2 from 'node:http2'
import https from 'node:https'
import { require } from './errand.mjs'

const { Agent, WebSocket } = require('undici')
const [name, port] = process.argv.slice(2)
const lookup = (_, options, found) =>
  options.all ? found(null, [{ address: '127.0.0.1', family: 4 }]) : found(null, '127.0.0.1', 4)

function over1(agent) {
  return new Promise((answered, failed) => {
    const request = https.get({ host: name, port, path: '/hello', lookup, agent }, async (response) => {
      let text = ''
      for await (const piece of response) text += piece
      answered(`${response.httpVersion} ${response.statusCode} ${text}`)
    })
    request.on('error', failed)
  })
}

async function over2(session, method, path, body) {
  const stream = session.request({ ':method': method, ':path': path })
  stream.end(body)
  let status
  stream.on('response', (fields) => { status = fields[':status'] })
  let text = ''
  for await (const piece of stream) text += piece
  return `2 ${status} ${text}`
}

async function socket() {
  const dispatcher = new Agent({ connect: { lookup } })
  const socket = new WebSocket(`wss://${name}:${port}/ws`, { dispatcher })
  await new Promise((opened, failed) => { socket.onopen = opened; socket.onerror = (event) => failed(event.error) })
  socket.send('over the socket')
  const heard = await new Promise((heard) => { socket.onmessage = (event) => heard(event.data) })
  const clean = await new Promise((closed) => { socket.onclose = (event) => closed(event.wasClean); socket.close() })
  await dispatcher.destroy()
  return `${heard} ${clean}`
}

const agent = new https.Agent({ keepAlive: true })
console.log(await over1(agent))
console.log(await over1(agent))
agent.destroy()
const session = http2.connect(`https://${name}:${port}`, { lookup })
const asked = [over2(session, 'GET', '/hello'), over2(session, 'POST', '/upload', 'u'.repeat(1000000))]
for (const answer of await Promise.all(asked)) console.log(answer)
session.close()
console.log(await socket())
