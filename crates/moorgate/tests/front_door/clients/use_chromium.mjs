// Chromium opens the app NAME at PORT; what the app's page found out. CA signed the key that it is told to take.

import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { require } from './errand.mjs'

const { chromium } = require('playwright-core')
const [name, port, ca] = process.argv.slice(2)

// Verified here as any client does; Chromium then takes this one key, and no other.
const key = await new Promise((seen, failed) => {
  const socket = tls.connect({ host: '127.0.0.1', port, servername: name, ca: readFileSync(ca) }, () => {
    const key = socket.getPeerX509Certificate().publicKey.export({ type: 'spki', format: 'der' })
    socket.destroy()
    seen(createHash('sha256').update(key).digest('base64'))
  })
  socket.on('error', failed)
})

const directory = mkdtempSync(join(tmpdir(), 'chromium-'))
const browser = await chromium.launchPersistentContext(directory, {
  executablePath: '/usr/bin/chromium',
  headless: true,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--no-first-run',
    '--no-proxy-server',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    `--host-resolver-rules=MAP ${name}:443 127.0.0.1:${port}, MAP * ~NOTFOUND`,
    `--ignore-certificate-errors-spki-list=${key}`,
  ],
})
try {
  const page = await browser.newPage()
  await page.goto(`https://${name}/`)
  const said = await page.waitForFunction(() => window.said, undefined, { timeout: 60000 })
  console.log(JSON.stringify(await said.jsonValue()))
} finally {
  await browser.close()
  rmSync(directory, { recursive: true, force: true })
}
