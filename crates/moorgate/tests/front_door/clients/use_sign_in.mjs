// Somebody comes into the console by every way there is, in Chromium: a password with an app's code, a code that was
// written down, a passkey, an identity provider, and a link for who has lost all that.
//
// LINK: of the first operator. PICTURES: a directory.

import { createHmac } from 'node:crypto'
import { strict as assert } from 'node:assert'
import { start } from './look.mjs'

const [link, pictures] = process.argv.slice(2)
// Browsers keep passkeys for names alone.
const base = new URL(link).origin
const local = base.replace('127.0.0.1', 'localhost')
const { browser, open, look, errors } = await start(pictures)
const PASSWORD = 'correct horse battery'

// The app: RFC 6238, the half minute of now and so many on.
function code(secret, on) {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
  const bits = [...secret].map((letter) => letters.indexOf(letter).toString(2).padStart(5, '0')).join('')
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)))
  const step = Buffer.alloc(8)
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000) + on))
  const mac = createHmac('sha1', key).update(step).digest()
  const value = mac.readUInt32BE(mac[19] & 15) & 0x7fffffff
  return String(value % 1000000).padStart(6, '0')
}

async function shows(page, text) {
  const found = page.getByText(text).first().waitFor()
  await found.catch(async (error) => {
    throw new Error(`${page.url()} does not show ${text}: ${await page.locator('main').innerText()}`, { cause: error })
  })
}

async function out(page) {
  await page.getByRole('button', { name: 'Sign out', exact: true }).first().click()
  await page.waitForURL(/\/sign-in$/)
}

async function enter(page, email = 'ops@example.com', password = PASSWORD) {
  await page.getByLabel('Email').fill(email)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Sign in', exact: true }).click()
}

try {
  const page = await open({ ignoreHTTPSErrors: true })
  const cdp = await page.context().newCDPSession(page)
  await cdp.send('WebAuthn.enable')
  const options = { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true }
  const added = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: { ...options, isUserVerified: true, automaticPresenceSimulation: true },
  })
  await page.goto(link.replace(base, local))
  await page.getByLabel('Email').fill('ops@example.com')
  await page.getByLabel('Choose a password').fill(PASSWORD)
  await page.getByRole('button', { name: 'Go in' }).click()
  await page.waitForURL(`${local}/accounts`)

  // An app is set up: by the password, and a code that it shows.
  await page.goto(`${local}/you`)
  const app = page.locator('section', { hasText: 'Authenticator app' })
  await app.getByLabel('Your password').fill('wrong horse battery')
  await app.getByRole('button', { name: 'Set up an app' }).click()
  await shows(page, 'That is not your password.')
  await app.getByLabel('Your password').fill(PASSWORD)
  await app.getByRole('button', { name: 'Set up an app' }).click()
  await page.locator('.scan svg').waitFor()
  await look(page, 'sign-in-app')
  const secret = await page.locator('#secret').innerText()
  await page.getByLabel('The six digits').fill('12345')
  await page.getByRole('button', { name: /^Ask me for codes/ }).click()
  await shows(page, "That is none of the app's codes.")
  assert.equal(await page.locator('#secret').innerText(), secret, 'the same app goes on')
  await page.getByLabel('The six digits').fill(code(secret, 0))
  await page.getByRole('button', { name: /^Ask me for codes/ }).click()
  await shows(page, 'Write these down')
  await look(page, 'sign-in-recovery')
  const written = (await page.locator('#codes').innerText()).trim().split('\n')
  assert.equal(written.length, 10)

  // The password is not enough any more.
  await page.goto(`${local}/you`)
  await out(page)
  await look(page, 'ways-in-sign-in')
  await enter(page)
  await shows(page, 'A code of your app')
  await look(page, 'sign-in-code')
  await page.getByLabel('The six digits').fill('000000')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await shows(page, 'This code is wrong, or was used before.')
  await page.getByLabel('The six digits').fill(code(secret, 1))
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.waitForURL(`${local}/accounts`)

  // A passkey is.
  await page.goto(`${local}/you`)
  const passkeys = page.locator('section', { hasText: 'Passkeys' })
  await passkeys.getByLabel('A name for it').fill('<b>laptop</b>')
  await passkeys.getByLabel('Your password').fill('wrong horse battery')
  await passkeys.getByRole('button', { name: 'Add a passkey' }).click()
  await shows(page, 'That is not your password.')
  await passkeys.getByLabel('Your password').fill(PASSWORD)
  await passkeys.getByRole('button', { name: 'Add a passkey' }).click()
  await page.getByRole('cell', { name: '<b>laptop</b>', exact: true }).waitFor()
  await look(page, 'ways-in-you')
  await out(page)
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click()
  await page.waitForURL(`${local}/accounts`)
  await page.goto(`${local}/you`)
  assert.doesNotMatch(await passkeys.innerText(), /never/)
  // One that the browser does not show lets nobody in, and says so.
  await out(page)
  await cdp.send('WebAuthn.setUserVerified', { authenticatorId: added.authenticatorId, isUserVerified: false })
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click()
  await shows(page, 'The browser showed no passkey')
  await cdp.send('WebAuthn.setUserVerified', { authenticatorId: added.authenticatorId, isUserVerified: true })
  errors.length = 0

  // Without a script: a password and a code that was written down.
  const plain = await open({ javaScriptEnabled: false })
  await plain.goto(`${base}/sign-in?next=/you`)
  await enter(plain)
  await plain.getByLabel('The six digits').fill(written[0].toUpperCase())
  await plain.getByRole('button', { name: 'Sign in' }).click()
  await shows(plain, '9 of the codes for when it is lost are left')
  await shows(plain, 'open the console by its name')

  // By the company's identity provider.
  async function named(who) {
    const page = await open({ ignoreHTTPSErrors: true })
    await page.goto(`${base}/sign-in?next=/you`)
    await page.getByRole('link', { name: 'Sign in with Example SSO' }).click()
    await page.getByRole('link', { name: who, exact: true }).click()
    return page
  }
  const ops = await named('ops')
  await shows(ops, /You come in by https:\/\/localhost:/)
  const bob = await named('bob')
  await bob.getByRole('heading', { name: 'bob@corp.example' }).waitFor()
  await bob.goto(`${base}/a/default`)
  await shows(bob, 'Your static addresses')
  assert.equal((await bob.goto(`${base}/people`)).status(), 404, 'a viewer is no operator')
  for (const [who, said] of [
    ['eve', 'eve@elsewhere.example is nobody here yet'],
    ['mallory', 'does not say that ops@example.com was confirmed as yours'],
    ['oscar', "is somebody else's at your identity provider by now"],
    ['nobody', 'Example SSO said no: access_denied'],
  ]) {
    const page = await named(who)
    await shows(page, new RegExp(said, 'i'))
    assert.match(page.url(), /\/sign-in\/openid\/back/)
    if (who === 'eve') await look(page, 'sign-in-refused')
  }
  // What another browser has begun is not gone on with here.
  const other = await open({ ignoreHTTPSErrors: true })
  await other.goto(`${base}/sign-in/openid/back?code=x&state=y`)
  await shows(other, 'begun in another browser')

  // Who has lost it all comes in again by a link that an operator makes.
  await ops.goto(`${base}/people`)
  await look(ops, 'ways-in-people')
  const row = ops.getByRole('row', { name: /bob@corp\.example/ })
  await row.getByText('Lost their way in').click()
  await row.getByRole('button', { name: 'Make a link' }).click()
  const again = await ops.locator('#link').innerText()
  const back = await open()
  await back.goto(again)
  await shows(back, 'Welcome back')
  await look(back, 'welcome-back')
  await back.getByLabel('Choose a password').fill('another horse battery')
  await back.getByRole('button', { name: 'Go in' }).click()
  await back.waitForURL(`${base}/a/default`)
  await bob.goto(`${base}/you`)
  await shows(bob, 'Sign in')

  const unexpected = errors.filter((error) => !/status of 40[0134]/.test(error))
  assert.deepEqual(unexpected, [])
  console.log('came in by every way')
} finally {
  await browser.close()
}
