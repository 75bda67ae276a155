// An identity provider (OpenID Connect) that asks whom it is to name. Says its port, and ends with its input.
//
// CERTIFICATE, KEY: of its TLS listener. REDIRECT: where its one client wants browsers back.

import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'

const [certificate, key] = process.argv.slice(2)
const CLIENT = 'moorgate'
const SECRET = 'a secret: of two & more'
const PEOPLE = {
  ops: { sub: '1', email: 'ops@example.com', email_verified: true },
  bob: { sub: '2', email: 'bob@corp.example', email_verified: true },
  eve: { sub: '3', email: 'eve@elsewhere.example', email_verified: true },
  mallory: { sub: '4', email: 'ops@example.com', email_verified: false },
  oscar: { sub: '5', email: 'ops@example.com', email_verified: true },
}
const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const codes = new Map()
let issuer

const text = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
function token(claims) {
  const signed = `${text({ alg: 'RS256', kid: 'one' })}.${text(claims)}`
  return `${signed}.${sign('RSA-SHA256', signed, privateKey).toString('base64url')}`
}

async function form(request) {
  let body = ''
  for await (const piece of request) body += piece
  return new URLSearchParams(body)
}

async function tokens(request) {
  const given = await form(request)
  const [user, password] = Buffer.from((request.headers.authorization ?? '').slice(6), 'base64').toString().split(':')
  if (decodeURIComponent(user) !== CLIENT || decodeURIComponent(password ?? '') !== SECRET) return [401, { error: 'invalid_client' }]
  const asked = codes.get(given.get('code'))
  codes.delete(given.get('code'))
  const challenge = createHash('sha256').update(given.get('code_verifier') ?? '').digest('base64url')
  const fits = asked && asked.challenge === challenge && asked.redirect === given.get('redirect_uri')
  if (!fits) return [400, { error: 'invalid_grant', error_description: 'no such code' }]
  const at = Math.floor(Date.now() / 1000)
  const claims = { iss: issuer, aud: CLIENT, iat: at, exp: at + 300, nonce: asked.nonce, ...PEOPLE[asked.who] }
  return [200, { access_token: 'none', token_type: 'Bearer', id_token: token(claims) }]
}

const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, async (request, response) => {
  const url = new URL(request.url, issuer)
  const json = (status, value) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
  if (url.pathname === '/.well-known/openid-configuration') {
    json(200, {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/keys`,
    })
  } else if (url.pathname === '/keys') {
    json(200, { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'one', use: 'sig', alg: 'RS256' }] })
  } else if (url.pathname === '/authorize') {
    const links = [...Object.keys(PEOPLE), 'nobody'].map((who) => `<p><a href="/consent${url.search}&who=${who}">${who}</a>`)
    response.setHeader('content-type', 'text/html').end(`<!doctype html><title>Who are you?</title>${links.join('')}`)
  } else if (url.pathname === '/consent') {
    const asked = Object.fromEntries(url.searchParams)
    const back = new URL(asked.redirect_uri)
    back.searchParams.set('state', asked.state)
    if (PEOPLE[asked.who] && asked.client_id === CLIENT && asked.code_challenge_method === 'S256') {
      const code = randomBytes(16).toString('hex')
      codes.set(code, { who: asked.who, nonce: asked.nonce, challenge: asked.code_challenge, redirect: asked.redirect_uri })
      back.searchParams.set('code', code)
    } else {
      back.searchParams.set('error', 'access_denied')
    }
    response.writeHead(302, { location: back.href }).end()
  } else if (url.pathname === '/token' && request.method === 'POST') {
    json(...(await tokens(request)))
  } else {
    response.writeHead(404).end()
  }
})

server.listen(0, '127.0.0.1', () => {
  issuer = `https://localhost:${server.address().port}`
  console.log(issuer)
})
process.stdin.on('end', () => process.exit()).resume()
