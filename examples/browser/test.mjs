// Drives both pages in Chromium against a running tus server:
//   node test.mjs <endpoint-url> <screenshot-dir>
// The pages must be built. CHROMIUM names the browser, /usr/bin/chromium if it is not set.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { argv, env, exit } from 'node:process'
import { chromium } from 'playwright-core'
import { serve } from './serve.mjs'

const LENGTH = 8 * 1024 * 1024 + 7
const NAME = 'Größe – 日本語.bin'
const DEADLINE = 180_000
// So slow that no scenario completes before it has paused or reloaded, however slow the machine is.
const SLOW = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 512 * 1024 }
const FAST = { ...SLOW, uploadThroughput: -1 }
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

const uppy = {
  path: 'index.html',
  input: '.uppy-Dashboard-input >> nth=0',
  percent: (page) =>
    page.getByRole('progressbar').evaluate((bar) => Number(bar.getAttribute('aria-valuenow'))),
  start: (page) => page.getByRole('button', { name: 'Upload 1 file' }).click(),
  pause: (page) => page.getByRole('button', { name: 'Pause', exact: true }).click(),
  resume: (page) => page.getByRole('button', { name: 'Resume', exact: true }).click(),
  // Golden Retriever has kept the file; the user only confirms.
  resumeAfterReload: async (page) => {
    await page.getByText('Session restored').waitFor()
    await page.getByRole('button', { name: 'Upload 1 file' }).click()
  },
}

const plain = {
  path: 'plain.html',
  input: '#file',
  percent: (page) => page.locator('#progress').evaluate((bar) => bar.value),
  start: async () => {},
  pause: (page) => page.getByRole('button', { name: 'Pause' }).click(),
  resume: (page) => page.getByRole('button', { name: 'Resume' }).click(),
  resumeAfterReload: (page, file) => page.locator('#file').setInputFiles(file),
}

async function uppy_uploads_cross_origin(at) {
  await uploadWhole(at, uppy)
}

async function uppy_pauses_and_resumes(at) {
  await pauseAndResume(at, uppy)
}

async function uppy_resumes_after_a_reload(at) {
  await reloadAndResume(at, uppy)
}

async function plain_page_uploads_cross_origin(at) {
  await uploadWhole(at, plain)
}

async function plain_page_pauses_and_resumes(at) {
  await pauseAndResume(at, plain)
}

async function plain_page_resumes_after_a_reload(at) {
  await reloadAndResume(at, plain)
}

async function plain_page_cancels_at_the_server(at) {
  const { page, file, created, line, shot } = await at.open(plain)
  await line(SLOW)
  await begin(page, plain, file)
  await page.getByRole('button', { name: 'Cancel' }).click()
  await page.getByText('Cancelled.').waitFor()
  await shot('cancelled')
  assert.equal(created.length, 1)
  const answer = await fetch(created[0], { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } })
  assert.ok(answer.status === 404 || answer.status === 410, `HEAD answered ${answer.status}`)
}

async function uploadWhole(at, kind) {
  const { page, file, bytes, shot } = await at.open(kind)
  await choose(page, kind, file)
  await shot('chosen')
  await kind.start(page)
  await assertReceived(page, bytes)
  await shot('complete')
}

async function pauseAndResume(at, kind) {
  const { page, file, bytes, patches, line, shot } = await at.open(kind)
  await line(SLOW)
  await begin(page, kind, file)
  await shot('progress')
  await kind.pause(page)
  await page.getByRole('button', { name: 'Resume', exact: true }).waitFor()
  await shot('paused')
  const before = patches.length
  await line(FAST)
  await kind.resume(page)
  await assertReceived(page, bytes)
  assertResumed(patches.slice(before))
}

async function reloadAndResume(at, kind) {
  const { page, file, bytes, patches, line, shot } = await at.open(kind)
  await line(SLOW)
  await begin(page, kind, file)
  await page.reload()
  await shot('reloaded')
  const before = patches.length
  await line(FAST)
  await kind.resumeAfterReload(page, file)
  await assertReceived(page, bytes)
  await shot('resumed')
  assertResumed(patches.slice(before))
}

async function choose(page, kind, file) {
  await page.locator(kind.input).setInputFiles(file)
}

// Starts an upload and waits until some of it is sent: more than the browser holds back itself.
async function begin(page, kind, file) {
  await choose(page, kind, file)
  await kind.start(page)
  let percent = 0
  while (!(percent > 2)) percent = await kind.percent(page)
  assert.ok(percent < 100, `progress was ${percent} % at once`)
}

async function assertReceived(page, bytes) {
  const url = await page.locator('#received a').getAttribute('href')
  const answer = await fetch(url)
  assert.equal(answer.status, 200, `GET ${url}`)
  const stored = Buffer.from(await answer.arrayBuffer())
  assert.equal(stored.length, bytes.length, 'length of the stored bytes')
  assert.ok(stored.equals(bytes), 'the stored bytes differ from the source')
}

function assertResumed(patches) {
  assert.equal(patches.length, 1, 'PATCH requests after the break')
  assert.ok(patches[0] > 0, 'nothing was kept of what had been sent before the break')
}

// A fresh browser profile for each scenario, and what its page did.
async function context(browser, site, endpoint, scenario, directories) {
  const profile = await browser.newContext()
  const bytes = randomBytes(LENGTH)
  const file = join(mkdtempSync(join(directories.files, 'file-')), NAME)
  writeFileSync(file, bytes)

  const open = async (kind) => {
    const page = await profile.newPage()
    const created = []
    const patches = []
    page.on('pageerror', (error) => at.failures.push(error.message))
    page.on('console', (line) => {
      if (line.type() === 'error') at.failures.push(line.text())
    })
    page.on('request', (request) => {
      if (request.method() === 'PATCH') patches.push(Number(request.headers()['upload-offset']))
    })
    page.on('response', (response) => {
      const { location } = response.headers()
      if (response.status() === 201) created.push(new URL(location, endpoint).href)
    })
    const session = await profile.newCDPSession(page)
    await session.send('Network.enable')
    const line = (conditions) => session.send('Network.emulateNetworkConditions', conditions)
    let shots = 0
    const shot = (what) => {
      shots += 1
      const name = `${scenario}-${shots}-${what}.png`
      return page.screenshot({ path: join(directories.screenshots, name), fullPage: true })
    }
    const url = new URL(kind.path, site)
    url.searchParams.set('endpoint', endpoint)
    assert.notEqual(url.origin, new URL(endpoint).origin, 'page and endpoint share an origin')
    await page.goto(url.href)
    return { page, file, bytes, created, patches, line, shot }
  }
  const at = { open, failures: [], close: () => profile.close() }
  return at
}

const scenarios = [
  uppy_uploads_cross_origin,
  uppy_pauses_and_resumes,
  uppy_resumes_after_a_reload,
  plain_page_uploads_cross_origin,
  plain_page_pauses_and_resumes,
  plain_page_resumes_after_a_reload,
  plain_page_cancels_at_the_server,
]

const [endpoint, screenshots] = argv.slice(2)
if (!endpoint || !screenshots) {
  console.error('usage: node test.mjs <endpoint-url> <screenshot-dir>')
  exit(2)
}
mkdirSync(screenshots, { recursive: true })
const files = mkdtempSync(join(tmpdir(), 'tus-browser-'))
process.on('exit', () => rmSync(files, { recursive: true, force: true }))

let current = 'start'
const fail = (why) => {
  console.error(`not ok ${current}: ${why}`)
  exit(1)
}
setTimeout(() => fail(`the deadline of ${DEADLINE / 1000} s has passed`), DEADLINE).unref()

try {
  const site = await serve(0)
  const browser = await chromium.launch({
    executablePath: env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: FLAGS,
  })
  for (const scenario of scenarios) {
    current = scenario.name
    const at = await context(browser, site.url, endpoint, current, { files, screenshots })
    await scenario(at)
    assert.deepEqual(at.failures, [], 'errors in the page')
    await at.close()
    console.log(`ok ${current}`)
  }
  await browser.close()
  site.close()
} catch (error) {
  fail(error.stack)
}
