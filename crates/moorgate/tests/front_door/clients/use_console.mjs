// Somebody uses the console, in Chromium: comes in by a link, connects an app, adds a domain, looks at what came through,
// lets somebody else in. Each page is looked at by axe, in both colours and on a phone, and kept as a picture.
//
// LINK: of the first operator. PICTURES: a directory. SNIPPET: a command that runs what a page says with its environment.

import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { strict as assert } from 'node:assert'
import { start } from './look.mjs'

const [link, pictures] = process.argv.slice(2)
const base = new URL(link).origin
const { browser, open, look, looked, errors } = await start(pictures)

const said = (page) => page.locator('main').innerText()
async function shows(page, text) {
  await page.getByText(text).first().waitFor()
}

try {
  // In, by the link that works once.
  let page = await open()
  await page.goto(link)
  await look(page, 'welcome')
  await page.getByLabel('Email').fill('ops@example.com')
  await page.getByLabel('Choose a password').fill('correct horse battery')
  await page.getByRole('button', { name: 'Go in' }).click()
  await page.waitForURL(`${base}/accounts`)
  await look(page, 'accounts')
  const again = await open()
  assert.equal((await again.goto(link)).status(), 404)
  await look(again, 'used-link')
  errors.length = 0

  // The start page, and the letter.
  await page.getByRole('link', { name: 'default', exact: true }).click()
  await shows(page, 'Your static addresses')
  assert.match(await said(page), /127\.0\.0\.2[\s\S]*127\.0\.0\.3/)
  await shows(page, 'Its 4 proxies answer, by the name that apps use.')
  await look(page, 'start')
  await page.getByRole('link', { name: 'What is asked, and how to ask from elsewhere' }).click()
  await shows(page, 'It takes connections and speaks TLS')
  await look(page, 'answers')
  await page.getByRole('link', { name: 'Back' }).click()
  await page.getByRole('link', { name: 'A letter to your partner' }).click()
  await shows(page, 'Please allow connections from each of them')
  await look(page, 'letter')

  // Connecting an app: what it connects to, with what, and the credential.
  await page.goto(`${base}/a/default/connect`)
  await look(page, 'connect-what')
  for (const kind of ['A database', 'SFTP or SSH', 'A mail server', 'A web API']) {
    await page.getByRole('link', { name: kind }).click()
    await shows(page, '2 · Where to, and with what?')
  }
  await page.getByRole('link', { name: 'curl, by Shield' }).click()
  await look(page, 'connect-with')
  await page.getByLabel('For which app').fill('billing "on" <b>Heroku</b>')
  await page.getByRole('button', { name: 'Make a credential' }).click()
  await shows(page, 'Its password is shown here and never again')
  await look(page, 'connect-made')
  const env = await page.locator('#env').innerText()
  const code = await page.locator('#code').innerText()
  await shows(page, 'Waiting for the first call')
  await page.evaluate(() => document.hasFocus())
  // The app, as its developer would start it.
  const ca = await page.context().request.get(`${base}/a/default/ca.pem`)
  writeFileSync(join(pictures, 'moorgate-ca.pem'), await ca.body())
  const variables = Object.fromEntries(env.trim().split('\n').map((line) => line.split(/=(.*)/s).slice(0, 2)))
  const answer = execFileSync('sh', ['-c', code], { cwd: pictures, env: { PATH: process.env.PATH, ...variables }, stdio: 'pipe' })
  assert.match(answer.toString(), /You came from 127\.0\.0\.[23] through moorgate \(Shield/)
  await shows(page, 'has called: your app comes by the gateway')
  assert.equal(await page.locator('[data-poll]').getAttribute('class'), 'good')

  // A test from here, and one to where nobody is.
  await page.getByRole('button', { name: 'Test it from here' }).click()
  await shows(page, /the other side saw 127\.0\.0\.[23]\./)
  await page.getByLabel('Host that your app goes to').fill('api.example.net')
  await page.getByRole('button', { name: 'Put it into the code' }).click()
  await shows(page, '"https://api.example.net/"')
  assert.equal(await page.locator('#env').innerText(), env, 'what is shown once is lost by neither')
  // To a host that is typed, the code goes there and the test too.
  await page.goto(`${base}/a/default/connect?to=web&with=curl`)
  await page.getByLabel('Host that your app goes to').fill('127.0.0.1:1')
  await page.getByRole('button', { name: 'Put it into the code' }).click()
  await shows(page, 'curl -x "$MOORGATE_STATIC_URL" "https://127.0.0.1:1/"')
  await page.getByRole('button', { name: 'Test it from here' }).click()
  await shows(page, '127.0.0.1:1 refused the connection')
  await shows(page, 'What to do:')
  await look(page, 'connect-tested')
  await page.getByRole('link', { name: 'The flow that it made' }).click()
  await shows(page, 'To, as asked')

  // Credentials: another, rotated, revoked.
  await page.getByRole('link', { name: 'Credentials' }).click()
  await look(page, 'credentials')
  await shows(page, 'billing "on" <b>Heroku</b>')
  await shows(page, 'test from the console')
  await page.getByLabel('For which app').last().fill('test from the console')
  await page.getByRole('button', { name: 'Make a credential' }).click()
  await shows(page, 'choose another name')
  errors.length = 0
  await page.getByLabel('For which app').last().fill('reports')
  await page.getByRole('button', { name: 'Make a credential' }).click()
  await shows(page, 'is made. The password is shown here')
  // A page that is loaded anew makes nothing again.
  const made = await page.locator('tbody tr').count()
  await page.reload()
  await shows(page, 'This form was sent before, and done: add credential')
  errors.length = 0
  await page.goto(`${base}/a/default/credentials`)
  assert.equal(await page.locator('tbody tr').count(), made, 'it was made once')
  await page.locator('tbody tr').last().locator('summary', { hasText: 'Name' }).click()
  await page.locator('tbody tr').last().getByLabel('For which app').fill('reports at night')
  await page.getByRole('button', { name: /^Save the name/ }).last().click()
  await shows(page, 'reports at night')
  await page.locator('summary', { hasText: 'Rotate' }).first().click()
  await look(page, 'credentials-rotate')
  await page.getByRole('button', { name: /^Rotate/ }).first().click()
  await shows(page, 'has a new password')
  await shows(page, 'the old password works until')
  const rows = await page.locator('tbody tr').count()
  await page.locator('summary', { hasText: 'Revoke' }).last().click()
  await page.getByRole('button', { name: /^Revoke/ }).last().click()
  await page.waitForFunction((rows) => document.querySelectorAll('tbody tr').length === rows - 1, rows)

  // A domain: wrong first, then by the wizard.
  await page.getByRole('link', { name: 'Domains' }).click()
  await look(page, 'domains-none')
  await page.getByRole('link', { name: 'Add a domain' }).click()
  await look(page, 'wizard')
  await page.getByLabel('Your domain').fill('co.uk')
  await page.getByLabel('Where it goes').fill('https://app.example.net')
  await page.getByRole('button', { name: 'Go on' }).click()
  await shows(page, 'co.uk is a public suffix')
  assert.equal(await page.getByLabel('Where it goes').inputValue(), 'https://app.example.net', 'nothing is lost')
  errors.length = 0
  await page.getByLabel('Your domain').fill('app.example.com')
  await page.getByRole('radio', { name: 'Shield' }).check()
  await page.getByRole('button', { name: 'Go on' }).click()
  await page.waitForURL(`${base}/a/default/routes/app.example.com?test=1`)
  await shows(page, 'It is ready here')
  await page.getByRole('button', { name: 'Explain it without sending anything' }).click()
  await shows(page, 'app.example.net does not resolve')
  await page.getByRole('button', { name: 'Send a test request' }).click()
  await shows(page, "To this gateway's own listener")
  await shows(page, 'What to do:')
  await look(page, 'domain')
  // Somewhere else from now on, wrong first.
  const goesTo = async (url) => {
    await page.locator('summary', { hasText: 'Change where it goes' }).click()
    await page.getByLabel('Forwarding URL').fill(url)
    await page.getByRole('button', { name: 'Send it there from now on' }).click()
  }
  await goesTo('ftp://app.example.net')
  await shows(page, 'ftp')
  errors.length = 0
  await goesTo('tls://other.example.net:8443')
  await page.waitForURL(/app\.example\.com\?test=1/)
  await shows(page, 'other.example.net does not resolve')
  await page.goto(`${base}/a/default/routes`)
  await look(page, 'domains')

  // What came through.
  await page.getByRole('link', { name: 'Traffic' }).click()
  await shows(page, 'echo.moorgate.internal:80')
  await look(page, 'traffic')
  for (const span of ['A week', 'A month', 'An hour']) {
    await page.getByRole('link', { name: span }).click()
    await page.waitForURL(new RegExp(`span=${span.split(' ')[1]}`))
  }
  // Of one credential alone, with the same as a table.
  await shows(page, 'By the minute, from recorded flows')
  const username = new URL(variables.MOORGATE_STATIC_URL).username
  await page.getByLabel('Traffic of').selectOption(`credential:${username}`)
  await page.getByRole('button', { name: 'Look' }).click()
  await page.waitForURL(/of=credential/)
  await page.locator('summary', { hasText: 'As a table' }).first().click()
  assert.match(await page.getByRole('region', { name: 'Requests, as a table' }).innerText(), /UTC\s+1\s+0/)
  await look(page, 'traffic-of-one')
  await page.getByLabel('Traffic of').selectOption('')
  await page.getByRole('button', { name: 'Look' }).click()
  await page.waitForURL(/of=$/)
  // The next flow comes by itself, where it fits.
  const count = () => page.locator('[data-live] tr').count()
  const had = await count()
  execFileSync('sh', ['-c', code], { cwd: pictures, env: { PATH: process.env.PATH, ...variables }, stdio: 'pipe' })
  await page.waitForFunction((had) => document.querySelectorAll('[data-live] tr').length === had + 1, had)
  await page.getByLabel('Show').selectOption('bad')
  await page.getByRole('button', { name: 'Filter' }).click()
  await page.waitForURL(/only=bad/)
  assert.equal(await count(), 2, 'what failed: both tests')
  await page.locator('tr', { hasText: '127.0.0.1:1' }).getByRole('link').first().click()
  await shows(page, 'What to do:')
  await look(page, 'flow')
  await page.getByRole('link', { name: 'Exposure' }).click()
  await shows(page, 'on the way to the gateway')
  await look(page, 'exposure')

  // The policy, and what it would say.
  await page.getByRole('link', { name: 'Policy' }).click()
  await page.getByLabel(/Rules, one a line/).fill('permit everything')
  await page.getByRole('button', { name: 'Save' }).click()
  await shows(page, 'Line 1 begins with')
  errors.length = 0
  // What they would have made of last week, with nothing saved: of a flow to where something listens.
  const server = createServer((request, response) => response.end()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  await page.goto(`${base}/a/default/connect?to=web&with=curl`)
  await page.getByLabel('Host that your app goes to').fill(`127.0.0.1:${port}`)
  await page.getByRole('button', { name: 'Put it into the code' }).click()
  await page.getByRole('button', { name: 'Test it from here' }).click()
  await page.getByRole('link', { name: 'The flow that it made' }).waitFor()
  server.close()
  await page.goto(`${base}/a/default/policy`)
  const typed = `deny *.example.org\ndeny 127.0.0.1:${port}`
  await page.getByLabel(/Rules, one a line/).fill(typed)
  await page.getByRole('button', { name: 'What would last week have been?' }).click()
  await shows(page, 'Nothing is saved')
  assert.match(await page.getByRole('region', { name: 'Decided otherwise' }).innerText(), /127\.0\.0\.1:\d+\s+1\s+refused instead of let through/)
  assert.equal(await page.getByLabel(/Rules, one a line/).inputValue(), typed, 'what was typed is kept')
  await look(page, 'policy-tried')
  await page.goto(`${base}/a/default/policy`)
  assert.equal(await page.getByLabel(/Rules, one a line/).inputValue(), '', 'and nothing is saved')
  await page.getByLabel(/Rules, one a line/).fill('deny *.example.net')
  await page.getByRole('button', { name: 'Save' }).click()
  await shows(page, 'The new rules hold from now on')
  await page.goto(`${base}/a/default/policy?ask=a.example.net:443`)
  await shows(page, 'a.example.net:443 is refused')
  await look(page, 'policy')

  // Somebody else is let in, and sees what is theirs.
  await page.getByRole('link', { name: 'Members' }).click()
  await page.getByLabel('Email').fill('viv@example.com')
  await page.locator('form', { hasText: 'Invite' }).getByLabel('Role').selectOption('viewer')
  await page.getByRole('button', { name: 'Invite' }).click()
  const invited = await page.locator('#link').innerText()
  await look(page, 'members')
  await page.goto(`${base}/accounts`)
  await page.getByLabel('Name of a new account').fill('other')
  await page.getByRole('button', { name: 'Add' }).click()
  await page.waitForURL(`${base}/a/other`)

  // Quotas for it, and a token for programs.
  await page.goto(`${base}/tiers`)
  await page.getByLabel('Name').fill('gold')
  await page.getByLabel('Requests a month').fill('1000000')
  await page.getByLabel('Gigabytes a month').fill('50')
  await page.getByRole('button', { name: 'Save' }).click()
  await shows(page, '1,000,000 requests a month, 50 GB a month')
  await page.getByLabel('Tier of other', { exact: true }).selectOption('gold')
  await page.getByRole('button', { name: 'Set the tier of other' }).click()
  await look(page, 'tiers')
  await page.goto(`${base}/a/other`)
  await shows(page, '0 of 1,000,000')
  await page.getByRole('link', { name: 'API tokens' }).click()
  await page.getByRole('button', { name: 'Make a token' }).click()
  await shows(page, 'It is shown here and never again')
  await look(page, 'tokens')
  const token = await page.locator('#token').innerText()
  const seen = await fetch(`${base}/api/v1/accounts`, { headers: { Authorization: `Bearer ${token.trim()}` } })
  assert.deepEqual((await seen.json()).map(({ name }) => name), ['other'])

  // Whoever is to be told of what is wrong.
  await page.getByRole('link', { name: 'Alarms' }).click()
  await page.getByLabel("A webhook's URL").fill('https://169.254.169.254/')
  await page.getByLabel('never used').uncheck()
  await page.getByRole('button', { name: 'Add the receiver' }).click()
  await shows(page, 'cloud metadata lives there')
  assert.equal(await page.getByLabel('never used').isChecked(), false, 'what was chosen stays chosen')
  const hooks = createServer((request, response) => request.resume().on('end', () => response.writeHead(204).end()))
  await new Promise((listens) => hooks.listen(0, '127.0.0.1', listens))
  await page.getByLabel("A webhook's URL").fill(`http://127.0.0.1:${hooks.address().port}/moorgate`)
  await page.getByRole('button', { name: 'Add the receiver' }).click()
  await shows(page, 'shown here and never again')
  assert.match(await page.locator('#secret').innerText(), /^whsec_/)
  await page.getByRole('button', { name: /^Send a test to/ }).click()
  await shows(page, 'The receiver has the test')
  assert.match(await said(page), /quota, certificate, DNS left, origin down, stopped[\s\S]*delivered/)
  await look(page, 'alarms')
  await page.getByRole('button', { name: /^Send a test to/ }).click()
  await shows(page, 'a test was just sent there')
  await page.getByText('Remove …').click()
  await page.getByRole('button', { name: /^Remove http/ }).click()
  await shows(page, 'Nobody is told yet')
  hooks.close()
  errors.length = 0

  // Without a script, too.
  const viewer = await open({ javaScriptEnabled: false })
  await viewer.goto(invited)
  assert.equal(await viewer.getByLabel('Email').inputValue(), 'viv@example.com')
  await viewer.getByLabel('Choose a password').fill('another horse battery')
  await viewer.getByRole('button', { name: 'Go in' }).click()
  await viewer.waitForURL(`${base}/a/default`)
  for (const path of ['/accounts', '/gateways', '/audit', '/people', '/a/other', '/a/other/credentials', '/a/nobody']) {
    assert.equal((await viewer.goto(base + path)).status(), 404, path)
  }
  await viewer.goto(`${base}/a/default/credentials`)
  assert.equal(await viewer.getByRole('button', { name: 'Make a credential' }).count(), 0, 'a viewer may only look')
  await viewer.getByRole('button', { name: 'Sign out' }).click()
  await viewer.waitForURL(`${base}/sign-in`)
  await viewer.goto(`${base}/a/default/traffic`)
  await viewer.waitForURL(/sign-in\?next=/)
  await viewer.getByLabel('Email').fill('viv@example.com')
  await viewer.getByLabel('Password').fill('wrong horse battery')
  await viewer.getByRole('button', { name: 'Sign in' }).click()
  await shows(viewer, 'There is nobody with this address and password')
  await viewer.getByLabel('Password').fill('another horse battery')
  await viewer.getByRole('button', { name: 'Sign in' }).click()
  await viewer.waitForURL(`${base}/a/default/traffic`)
  errors.length = 0

  // What operators see, and one's own page.
  for (const [path, name] of [['/gateways', 'gateways'], ['/people', 'people'], ['/audit', 'audit'], ['/you', 'you']]) {
    await page.goto(base + path)
    await look(page, name)
  }
  assert.match(await page.goto(`${base}/audit`).then(() => said(page)), /ops@example\.com[\s\S]*add account other/)
  await page.goto(`${base}/you`)
  await page.getByLabel('The old one').fill('correct horse battery')
  await page.getByLabel('The new one').fill('a better horse battery')
  await page.getByRole('button', { name: 'Change it' }).click()
  await shows(page, 'Your password is changed')
  await page.getByRole('button', { name: 'Sign out', exact: true }).first().click()
  await page.waitForURL(`${base}/sign-in`)
  await look(page, 'sign-in')
  assert.deepEqual(errors, [], 'no page has an error in its console')
  console.log(`${looked.size} pages looked at`)
} finally {
  await browser.close()
}
