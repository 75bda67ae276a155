// What every client is sent for, and how it reports: method, path, status, SHA-256 of the body.

import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'

// Where the packages are: not beside this file.
export const require = createRequire(`${process.env.CLIENTS}/index.js`)

export const errand = [
  ['GET', '/hello', undefined],
  ['GET', '/hello', undefined],
  ['GET', '/bytes/1000000', undefined],
  ['POST', '/upload', Buffer.from('moorgate'.repeat(125_000))],
]

export function report(method, path, status, body) {
  console.log(method, path, status, createHash('sha256').update(body).digest('hex'))
}
