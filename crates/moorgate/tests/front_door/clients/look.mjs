// A browser whose pages are looked at: by axe, in both colours and on a phone, and kept as pictures.

import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { strict as assert } from 'node:assert'
import { require } from './errand.mjs'

const { chromium } = require('playwright-core')
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')

export async function start(pictures) {
  mkdirSync(pictures, { recursive: true })
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--no-proxy-server', '--disable-background-networking'],
  })
  const errors = []
  const looked = new Set()

  async function open(options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
    context.setDefaultTimeout(60000)
    const page = await context.newPage()
    page.on('console', (message) => message.type() === 'error' && errors.push(`${page.url()}: ${message.text()}`))
    page.on('pageerror', (error) => errors.push(`${page.url()}: ${error}`))
    return page
  }

  async function look(page, name) {
    if (looked.has(name)) return
    looked.add(name)
    for (const [kind, colorScheme, viewport] of [
      ['', 'light', { width: 1280, height: 900 }],
      ['-dark', 'dark', { width: 1280, height: 900 }],
      ['-phone', 'light', { width: 390, height: 844 }],
    ]) {
      await page.emulateMedia({ colorScheme })
      await page.setViewportSize(viewport)
      await page.screenshot({ path: join(pictures, `${name}${kind}.png`), fullPage: true })
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
      assert.ok(wide <= 0, `${name}${kind} is ${wide} px wider than its window`)
      await page.evaluate(axe)
      const { violations } = await page.evaluate(() => window.axe.run())
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
      assert.deepEqual(found, [], `${name}${kind}`)
    }
    await page.emulateMedia({ colorScheme: 'light' })
    await page.setViewportSize({ width: 1280, height: 900 })
  }

  return { browser, open, look, looked, errors }
}
