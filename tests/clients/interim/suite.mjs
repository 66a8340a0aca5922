// 104 (Upload Resumption Supported), as node's own clients see it:
//   node suite.mjs <endpoint-url>          over HTTP/1.1 and HTTP/2, in clear text or over TLS
// Certificates are not checked: the server under test makes its own.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import http from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import tls from 'node:tls'

process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
process.removeAllListeners('warning')

const endpoint = new URL(process.argv[2])
const secure = endpoint.protocol === 'https:'
const PIECE = 256 * 1024
const PIECES = 8
const body = createHash('sha512').update('interim').digest().toString('hex').repeat(2048 * PIECES)
  .slice(0, PIECE * PIECES)

// The bytes in pieces, slowly: several seconds in all.
async function* slowly(pause = 400) {
  for (let at = 0; at < body.length; at += PIECE) {
    yield body.slice(at, at + PIECE)
    await sleep(pause)
  }
}

async function send(stream, pieces) {
  for await (const piece of pieces) {
    if (stream.destroyed) return
    stream.write(piece)
  }
  stream.end()
}

// Asks over HTTP/1.1; returns the interim responses and the final one.
function ask1(method, url, headers, pieces) {
  return new Promise((resolve, reject) => {
    const interim = []
    const client = secure ? https : http
    const request = client.request(url, { method, headers, agent: false }, (response) => {
      const text = []
      response.on('data', (data) => text.push(data))
      response.on('end', () => {
        const { statusCode: status, headers } = response
        resolve({ interim, status, headers, text: Buffer.concat(text).toString() })
      })
    })
    request.on('information', ({ statusCode, headers }) => {
      interim.push({ status: statusCode, headers })
    })
    request.on('error', reject)
    if (pieces) send(request, pieces)
    else request.end()
  })
}

// Asks over HTTP/2.
function ask2(method, url, headers, pieces) {
  return new Promise((resolve, reject) => {
    const interim = []
    const session = http2.connect(endpoint.origin)
    session.on('error', reject)
    const path = new URL(url).pathname
    const request = session.request({ ':method': method, ':path': path, ...headers })
    let final
    const text = []
    request.on('headers', (headers) => interim.push({ status: headers[':status'], headers }))
    request.on('response', (headers) => { final = headers })
    request.on('data', (data) => text.push(data))
    request.on('error', reject)
    request.on('end', () => {
      session.close()
      const body = Buffer.concat(text).toString()
      resolve({ interim, status: final[':status'], headers: final, text: body })
    })
    if (pieces) send(request, pieces)
    else request.end()
  })
}

const told = (answer) => answer.interim.filter(({ status }) => status === 104)

function checkFirst(answer, version) {
  const [first, ...more] = told(answer)
  assert.ok(first, 'there is no 104')
  assert.match(first.headers.location, /^\/files\/[-_A-Za-z0-9]+$/)
  assert.equal(first.headers['upload-draft-interop-version'], version)
  assert.match(first.headers['upload-limit'], /max-size=[0-9]+/)
  for (const { headers } of more) {
    assert.equal(headers.location, undefined)
    assert.equal(headers['upload-draft-interop-version'], version)
  }
  return first.headers.location
}

function checkGrows(answers, from, to) {
  const offsets = answers.map(({ headers }) => headers['upload-offset']).filter(Boolean).map(Number)
  assert.ok(offsets.length >= 2, `${offsets.length} offsets were told`)
  let last = from
  for (const offset of offsets) {
    assert.ok(offset > last || offset === from, `${offset} after ${last}`)
    last = offset
  }
  assert.ok(last <= to)
}

const marks = (version) => ({
  'upload-draft-interop-version': version,
  'upload-complete': '?1',
  'upload-length': String(body.length),
})

async function a_creation_is_told_its_url_and_then_how_far_it_is(ask) {
  for (const version of ['6', '8']) {
    const answer = await ask('POST', endpoint.href, marks(version), slowly())
    const location = checkFirst(answer, version)
    checkGrows(told(answer).slice(1), 0, body.length)
    assert.equal(answer.status, 201)
    assert.equal(answer.headers.location, location, 'the same in all messages')
    assert.equal(answer.headers['upload-complete'], '?1')
  }
}

async function an_append_is_told_how_far_it_is(ask) {
  const head = { ...marks('8'), 'upload-complete': '?0' }
  const created = await ask('POST', endpoint.href, head)
  const url = new URL(created.headers.location, endpoint).href
  const append = {
    'upload-draft-interop-version': '8',
    'upload-complete': '?1',
    'upload-offset': '0',
    'content-type': 'application/partial-upload',
  }
  const answer = await ask('PATCH', url, append, slowly())
  assert.equal(answer.status, 201)
  const all = told(answer)
  checkGrows(all, 0, body.length)
  for (const { headers } of all) assert.equal(headers.location, undefined)
}

async function nobody_is_told_who_did_not_name_a_version(ask) {
  const { 'upload-draft-interop-version': _, ...head } = marks('8')
  const none = await ask('POST', endpoint.href, head, slowly(50))
  assert.deepEqual(told(none), [])
  const other = await ask('POST', endpoint.href, marks('2'), slowly(50))
  assert.deepEqual(told(other), [])
  const proxied = await ask('POST', endpoint.href, { ...marks('8'), via: '1.1 proxy' }, slowly(50))
  assert.deepEqual(told(proxied), [])
  for (const answer of [none, other, proxied]) assert.equal(answer.status, 201)
}

async function who_is_cut_goes_on_where_the_104_said() {
  // The bytes of half a creation, as they are, and then nothing more.
  const half = body.length / 2
  const head = `POST ${endpoint.pathname} HTTP/1.1\r\nHost: tus\r\nUpload-Complete: ?1\r\n` +
    `Upload-Draft-Interop-Version: 8\r\nContent-Length: ${body.length}\r\n\r\n`
  const port = Number(endpoint.port)
  const socket = secure
    ? tls.connect({ port, host: endpoint.hostname, rejectUnauthorized: false })
    : net.connect(port, endpoint.hostname)
  const said = new Promise((resolve, reject) => {
    let text = ''
    socket.on('data', (data) => {
      text += data
      if (text.includes('\r\n\r\n')) resolve(text)
    })
    socket.on('error', reject)
  })
  socket.write(head)
  socket.write(body.slice(0, half))
  const text = await said
  assert.match(text, /^HTTP\/1\.1 104 Upload Resumption Supported\r\n/)
  const location = /\r\nlocation: (\S+)\r\n/i.exec(text)[1]
  socket.end()
  await sleep(200)
  socket.destroy()
  const url = new URL(location, endpoint).href
  const inspected = await ask1('HEAD', url, {})
  assert.equal(inspected.status, 204)
  assert.equal(inspected.headers['upload-complete'], '?0')
  const offset = Number(inspected.headers['upload-offset'])
  assert.ok(offset > 0 && offset <= half, `${offset} of ${half}`)
  const rest = await ask1('PATCH', url, {
    'upload-complete': '?1',
    'upload-offset': String(offset),
    'content-type': 'application/partial-upload',
    'content-length': String(body.length - offset),
  }, [body.slice(offset)])
  assert.equal(rest.status, 201)
  const stored = await ask1('GET', url, {})
  assert.equal(stored.text, body)
}

async function an_expectation_is_met_with_100_as_well() {
  const head = { ...marks('8'), expect: '100-continue', 'content-length': String(body.length) }
  const continued = []
  const answer = await new Promise((resolve, reject) => {
    const client = secure ? https : http
    const options = { method: 'POST', headers: head, agent: false }
    const request = client.request(endpoint, options, (response) => {
      response.resume()
      response.on('end', () => resolve(response))
    })
    const interim = []
    request.on('information', ({ statusCode }) => interim.push(statusCode))
    request.on('continue', () => {
      continued.push(...interim)
      request.end(body)
    })
    request.on('error', reject)
    request.flushHeaders()
  })
  assert.equal(answer.statusCode, 201)
  assert.deepEqual(continued.filter((status) => status === 104), [104])
}

async function http_1_0_hears_nothing_before_the_answer() {
  const port = Number(endpoint.port)
  const socket = secure
    ? tls.connect({ port, host: endpoint.hostname, rejectUnauthorized: false })
    : net.connect(port, endpoint.hostname)
  socket.write(`POST ${endpoint.pathname} HTTP/1.0\r\nHost: tus\r\nUpload-Complete: ?1\r\n` +
    'Upload-Draft-Interop-Version: 8\r\nContent-Length: 5\r\n\r\nhello')
  let text = ''
  for await (const data of socket) text += data
  assert.match(text, /^HTTP\/1\.[01] 201 /)
}

const versions = [['HTTP/1.1', ask1], ['HTTP/2', ask2]]
const cases = []
for (const [name, ask] of versions) {
  for (const scenario of [
    a_creation_is_told_its_url_and_then_how_far_it_is,
    an_append_is_told_how_far_it_is,
    nobody_is_told_who_did_not_name_a_version,
  ]) {
    cases.push([`${scenario.name} (${name})`, () => scenario(ask)])
  }
}
for (const scenario of [
  who_is_cut_goes_on_where_the_104_said,
  an_expectation_is_met_with_100_as_well,
  http_1_0_hears_nothing_before_the_answer,
]) {
  cases.push([scenario.name, scenario])
}

// They wait far more than they work: all at once.
const results = await Promise.allSettled(cases.map(([, scenario]) => scenario()))
results.forEach(({ status, reason }, at) => {
  const [name] = cases[at]
  if (status === 'fulfilled') return console.log(`ok ${name}`)
  console.error(`not ok ${name}: ${reason.stack}`)
  process.exitCode = 1
})
