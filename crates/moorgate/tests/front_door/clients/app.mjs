// An app for browsers: a page that tries everything, answers, and a WebSocket that echoes (RFC 6455). Says its port, and
// ends with its input.

import { createHash } from 'node:crypto'
import { createServer } from 'node:http'

const PAGE = `<!doctype html><title>app</title><script type="module">
const said = { page: performance.getEntriesByType('navigation')[0].nextHopProtocol }
const hello = await fetch('/hello')
said.hello = [hello.status, await hello.text()]
const upload = await fetch('/upload', { method: 'POST', body: 'u'.repeat(1000000) })
said.upload = await upload.text()
const all = await Promise.all(Array.from({ length: 20 }, (_, n) => fetch('/hello?' + n).then((one) => one.status)))
said.together = all.filter((status) => status === 200).length
const events = new EventSource('/events')
said.event = await new Promise((heard) => { events.onmessage = (event) => { events.close(); heard(event.data) } })
const socket = new WebSocket('wss://' + location.host + '/ws')
await new Promise((opened, failed) => { socket.onopen = opened; socket.onerror = failed })
said.socket = []
for (const text of ['hello', 'w'.repeat(60000)]) {
  socket.send(text)
  said.socket.push(await new Promise((heard) => { socket.onmessage = (event) => heard(event.data === text) }))
}
said.closed = await new Promise((closed) => { socket.onclose = (event) => closed(event.wasClean); socket.close() })
window.said = said
</script>`

async function sha256(request) {
  const hash = createHash('sha256')
  for await (const piece of request) hash.update(piece)
  return hash.digest('hex')
}

const server = createServer(async (request, response) => {
  const path = request.url.split('?')[0]
  if (path === '/') response.setHeader('content-type', 'text/html').end(PAGE)
  else if (path === '/hello') response.end(`hello over ${request.headers['x-forwarded-proto']}`)
  else if (path === '/upload') response.end(await sha256(request))
  else if (path === '/events') response.setHeader('content-type', 'text/event-stream').write('data: first\n\n')
  else response.writeHead(404).end()
})

server.on('upgrade', (request, socket) => {
  const key = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
  const accept = createHash('sha1').update(key).digest('base64')
  const head = ['101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Accept: ${accept}`]
  socket.write(`HTTP/1.1 ${head.join('\r\n')}\r\n\r\n`)
  let held = Buffer.alloc(0)
  socket.on('data', (piece) => {
    held = Buffer.concat([held, piece])
    for (let frame; (frame = first(held)); held = held.subarray(frame.length)) {
      socket.write(written(frame))
      if (frame.opcode === 8) socket.end()
    }
  })
  socket.on('error', () => {})
})

// A masked frame of less than 64 KiB, if it is whole.
function first(held) {
  if (held.length < 2) return
  const long = (held[1] & 127) === 126
  const at = long ? 8 : 6
  if (held.length < at) return
  const size = long ? held.readUInt16BE(2) : held[1] & 127
  if (held.length < at + size) return
  const mask = held.subarray(at - 4, at)
  const data = held.subarray(at, at + size).map((byte, n) => byte ^ mask[n % 4])
  return { opcode: held[0] & 15, data: Buffer.from(data), length: at + size }
}

function written({ opcode, data }) {
  const short = Buffer.from([128 | opcode, data.length])
  const long = Buffer.from([128 | opcode, 126, data.length >> 8, data.length & 255])
  return Buffer.concat([data.length < 126 ? short : long, data])
}

server.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.stdin.resume().on('end', () => process.exit())
