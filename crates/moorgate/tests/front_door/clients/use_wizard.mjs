// Somebody brings a domain to the gateway by the wizard, in Chromium: with its DNS not set yet, leaving midway and coming
// back, until it is served with the CA's certificate. Says "cname TARGET" when the record is to be set.
//
// LINK: of the first operator. PICTURES: a directory. ORIGIN: the app's URL.

import { strict as assert } from 'node:assert'
import { start } from './look.mjs'

const [link, pictures, origin] = process.argv.slice(2)
const base = new URL(link).origin
const { browser, open, look, errors } = await start(pictures)
const shows = (page, text) => page.getByText(text).first().waitFor()

try {
  let page = await open()
  await page.goto(link)
  await page.getByLabel('Email').fill('ops@example.com')
  await page.getByLabel('Choose a password').fill('correct horse battery')
  await page.getByRole('button', { name: 'Go in' }).click()
  await page.waitForURL(`${base}/accounts`)

  await page.goto(`${base}/a/default/routes`)
  await page.getByRole('link', { name: 'Add a domain' }).click()
  await page.getByLabel('Your domain').fill('app.example.com')
  await page.getByLabel('Where it goes').fill(origin)
  await page.getByRole('radio', { name: 'Static' }).check()
  await page.getByRole('button', { name: 'Go on' }).click()
  await page.waitForURL(`${base}/a/default/routes/app.example.com?test=1`)

  // Its DNS is not here: that is said, what to set too, and what a request meets until then.
  await shows(page, 'Waiting for the CNAME record below')
  await shows(page, 'It is ordered as soon as DNS leads here')
  const target = (await page.locator('#cname').innerText()).trim()
  assert.match(target, /^[a-z0-9]{26}\.edge\.example\.net$/)
  await look(page, 'wizard-waiting')
  await page.getByRole('button', { name: 'Send a test request' }).click()
  await shows(page, 'Visitors are not led here yet')
  await shows(page, 'Nobody is served by the name app.example.com now')
  await look(page, 'wizard-not-yet')

  // Leaving midway: the browser is closed, and another one is signed in.
  await page.context().close()
  page = await open()
  await page.goto(`${base}/a/default/routes`)
  await page.getByLabel('Email').fill('ops@example.com')
  await page.getByLabel('Password').fill('correct horse battery')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.waitForURL(`${base}/a/default/routes`)
  await shows(page, 'waits for DNS')
  await look(page, 'wizard-back')
  await page.getByRole('link', { name: 'app.example.com' }).click()
  assert.equal((await page.locator('#cname').innerText()).trim(), target, 'it is the same record')

  // The record is set, and nobody touches the page.
  console.log(`cname ${target}`)
  await shows(page, 'It is served.')
  await page.getByText(/Issued by Pebble .*, valid until 20/).waitFor()
  await look(page, 'wizard-served')
  await page.getByRole('button', { name: 'Send a test request' }).click()
  await shows(page, /app\.example\.com is 127\.0\.0\.2, which leads here/)
  await shows(page, /A certificate for app\.example\.com, issued by Pebble .* This machine trusts it/)
  await shows(page, 'The answer is 200.')
  await look(page, 'wizard-tested')
  await page.getByRole('link', { name: 'The flow that it made' }).click()
  await shows(page, 'Origin')
  await page.getByText(origin).first().waitFor()
  assert.deepEqual(errors, [], 'no page has an error in its console')
  console.log('served')
} finally {
  await browser.close()
}
