// What every scenario needs: source bytes, one upload as a promise, a look at the stored result,
// and the runner that prints a line for each scenario.
import assert from 'node:assert/strict'
import { createCipheriv, createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import * as tus from 'tus-js-client'

export const MIB = 1024 * 1024

// Bytes that differ for each seed and never repeat, so that a swapped, doubled or lost piece cannot
// go unseen: the key stream of a cipher.
export function source(length, seed) {
  const key = createHash('sha256').update(seed).digest()
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length))
}

// An upload that is ready to start. `upload` is tus-js-client's object, `done` settles with its
// onSuccess or onError, `requests` lists what it sent and `progress` what it reported.
export function begin(file, options) {
  const requests = []
  const progress = []
  let upload
  const done = new Promise((resolve, reject) => {
    upload = new tus.Upload(file, {
      retryDelays: null,
      storeFingerprintForResuming: false,
      ...options,
      onBeforeRequest: (request) => {
        requests.push({ method: request.getMethod(), offset: request.getHeader('Upload-Offset') })
      },
      onProgress: (sent, total) => progress.push({ sent, total }),
      onSuccess: () => resolve(upload.url),
      onError: reject,
    })
  })
  return { upload, done, requests, progress, methods: () => requests.map((r) => r.method) }
}

// Uploads to the end and compares what the server stored.
export async function uploadWhole(file, bytes, options) {
  const run = begin(file, options)
  run.upload.start()
  await run.done
  await assertStored(run.upload.url, bytes)
  return run
}

export async function assertStored(url, bytes) {
  const answer = await fetch(url)
  const stored = Buffer.from(await answer.arrayBuffer())
  assert.equal(answer.status, 200, `GET ${url}`)
  assert.equal(stored.length, bytes.length, 'length of the stored bytes')
  if (stored.equals(bytes)) return
  const at = stored.findIndex((byte, index) => byte !== bytes[index])
  assert.fail(`stored bytes differ from the source at ${at}`)
}

export async function head(url) {
  const answer = await fetch(url, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } })
  return { status: answer.status, headers: answer.headers }
}

export async function offsetOf(url) {
  const { status, headers } = await head(url)
  assert.ok(status === 200 || status === 204, `HEAD ${url} answered ${status}`)
  const offset = headers.get('upload-offset')
  assert.match(offset ?? 'none', /^[0-9]+$/, 'Upload-Offset of HEAD')
  return Number(offset)
}

export async function assertGone(url) {
  const { status } = await head(url)
  assert.ok(status === 404 || status === 410, `HEAD of a terminated upload answered ${status}`)
}

export async function run(scenarios) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      list: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      except: { type: 'string', multiple: true, default: [] },
      deadline: { type: 'string', default: '180' },
    },
  })
  if (values.list) {
    for (const scenario of scenarios) console.log(scenario.name)
    return
  }
  const named = [...values.only, ...values.except]
  const unknown = named.filter((name) => !scenarios.some((s) => s.name === name))
  const seconds = Number(values.deadline)
  if (positionals.length !== 1 || unknown.length > 0 || !(seconds > 0)) {
    for (const name of unknown) console.error(`no scenario is named ${name}`)
    console.error(
      'usage: node suite.mjs [--list] [--only <name>]... [--except <name>]... [--deadline <s>] ' +
        '<endpoint-url>',
    )
    process.exitCode = 2
    return
  }

  const endpoint = new URL(positionals[0]).href
  const dir = mkdtempSync(join(tmpdir(), 'tus-js-'))
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
  let current
  const fail = (why) => {
    console.error(`not ok ${current}: ${why}`)
    process.exit(1)
  }
  setTimeout(() => fail(`the deadline of ${seconds} s has passed`), seconds * 1000).unref()
  process.on('uncaughtException', (error) => fail(error.stack))

  for (const scenario of scenarios) {
    current = scenario.name
    if (values.only.length > 0 && !values.only.includes(current)) continue
    if (values.except.includes(current)) continue
    try {
      await scenario({ endpoint, dir })
    } catch (error) {
      fail(error.stack)
    }
    console.log(`ok ${current}`)
  }
  // Sockets that a scenario left open on purpose must not keep the process alive.
  process.exit(0)
}
