// tus-js-client, unmodified, against a running tus server:  node suite.mjs <endpoint-url>
// The server must offer every extension of tus 1.0.0 and answer GET on an upload's URL.
import assert from 'node:assert/strict'
import { createReadStream, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import * as tus from 'tus-js-client'
import {
  MIB, assertGone, assertStored, begin, head, offsetOf, run, source, uploadWhole,
} from './harness.mjs'
import { Relay } from './relay.mjs'

const LENGTH = 5 * MIB + 3
const BROKEN_AFTER = 2 * MIB + 1

async function single_patch_arrives_whole({ endpoint }) {
  const bytes = source(LENGTH, 'single')
  const { methods } = await uploadWhole(bytes, bytes, { endpoint })
  assert.deepEqual(methods(), ['POST', 'PATCH'])
}

async function chunks_arrive_whole({ endpoint }) {
  const bytes = source(LENGTH, 'chunks')
  const { requests } = await uploadWhole(bytes, bytes, { endpoint, chunkSize: MIB })
  const offsets = requests.slice(1).map((request) => Number(request.offset) / MIB)
  assert.deepEqual(offsets, [0, 1, 2, 3, 4, 5])
}

async function zero_bytes_are_complete_at_creation({ endpoint }) {
  const bytes = Buffer.alloc(0)
  const { upload, methods } = await uploadWhole(bytes, bytes, { endpoint })
  assert.deepEqual(methods(), ['POST'])
  assert.equal(await offsetOf(upload.url), 0)
}

async function zero_bytes_may_come_with_the_creation({ endpoint }) {
  const bytes = Buffer.alloc(0)
  const options = { endpoint, uploadDataDuringCreation: true }
  const { methods } = await uploadWhole(bytes, bytes, options)
  assert.deepEqual(methods(), ['POST'])
}

async function parallel_parts_become_one_upload({ endpoint }) {
  const bytes = source(LENGTH, 'parallel')
  const { upload, methods } = await uploadWhole(bytes, bytes, {
    endpoint,
    parallelUploads: 4,
    chunkSize: MIB,
    metadata: { filename: 'parts.bin' },
  })
  assert.equal(methods().filter((method) => method === 'POST').length, 5)
  const { headers } = await head(upload.url)
  assert.match(headers.get('upload-concat'), /^final;\S+ \S+ \S+ \S+$/)
  assert.equal(headers.get('upload-metadata'), 'filename cGFydHMuYmlu')
  assert.equal(headers.get('upload-length'), String(LENGTH))
}

async function deferred_length_is_told_with_the_last_chunk({ endpoint }) {
  const bytes = source(LENGTH, 'deferred')
  const pieces = []
  for (let at = 0; at < bytes.length; at += 100_000) pieces.push(bytes.subarray(at, at + 100_000))
  const stream = Readable.from(pieces, { objectMode: false })
  const { upload, methods } = await uploadWhole(stream, bytes, {
    endpoint,
    uploadLengthDeferred: true,
    chunkSize: MIB,
  })
  assert.ok(methods().length > 2, 'a deferred length needs several chunks to be seen')
  const { headers } = await head(upload.url)
  assert.equal(headers.get('upload-length'), String(LENGTH))
  assert.equal(headers.get('upload-defer-length'), null)
}

async function creation_carries_the_whole_upload({ endpoint }) {
  const bytes = source(LENGTH, 'creation-whole')
  const options = { endpoint, uploadDataDuringCreation: true }
  const { methods } = await uploadWhole(bytes, bytes, options)
  assert.deepEqual(methods(), ['POST'])
}

async function creation_carries_the_first_chunk({ endpoint }) {
  const bytes = source(LENGTH, 'creation-first')
  const options = { endpoint, uploadDataDuringCreation: true, chunkSize: MIB }
  const { requests } = await uploadWhole(bytes, bytes, options)
  assert.equal(requests[0].method, 'POST')
  const offsets = requests.slice(1).map((request) => Number(request.offset) / MIB)
  assert.deepEqual(offsets, [1, 2, 3, 4, 5])
}

async function aborted_upload_resumes_from_its_url({ endpoint }) {
  const bytes = source(LENGTH, 'abort')
  await withRelay(endpoint, async (relay) => {
    const url = await breakOff(relay, bytes, { endpoint: relay.endpoint })
    const before = relay.exchanges.length
    await uploadWhole(bytes, bytes, { uploadUrl: url })
    assertOnlyTheRestWasSent(relay.exchanges.slice(before))
  })
}

async function new_upload_object_resumes_from_url_storage({ endpoint, dir }) {
  const bytes = source(LENGTH, 'storage')
  const file = join(dir, 'storage.bin')
  writeFileSync(file, bytes)
  await withRelay(endpoint, async (relay) => {
    const options = {
      endpoint: relay.endpoint,
      storeFingerprintForResuming: true,
      urlStorage: new tus.FileUrlStorage(join(dir, 'storage.json')),
    }
    const url = await breakOff(relay, createReadStream(file), options)

    const before = relay.exchanges.length
    const { upload, done } = begin(createReadStream(file), options)
    const previous = await upload.findPreviousUploads()
    assert.deepEqual(previous.map((entry) => entry.uploadUrl), [url])
    upload.resumeFromPreviousUpload(previous[0])
    upload.start()
    assert.equal(await done, url)
    await assertStored(url, bytes)
    assertOnlyTheRestWasSent(relay.exchanges.slice(before))
  })
}

async function parallel_upload_resumes_from_url_storage({ endpoint, dir }) {
  const bytes = source(LENGTH, 'parallel-storage')
  await withRelay(endpoint, async (relay) => {
    const options = {
      endpoint: relay.endpoint,
      parallelUploads: 3,
      storeFingerprintForResuming: true,
      urlStorage: new tus.FileUrlStorage(join(dir, 'parallel.json')),
    }
    await breakOff(relay, bytes, options)

    const before = relay.exchanges.length
    const { upload, done } = begin(bytes, options)
    const previous = await upload.findPreviousUploads()
    assert.equal(previous.length, 1)
    assert.equal(previous[0].parallelUploadUrls.length, 3)
    upload.resumeFromPreviousUpload(previous[0])
    upload.start()
    await assertStored(await done, bytes)
    const after = relay.exchanges.slice(before)
    assert.equal(after.filter((exchange) => exchange.method === 'POST').length, 1, 'only the final')
    const sent = after.reduce((sum, exchange) => sum + exchange.sent, 0)
    assert.ok(sent < LENGTH, `${sent} of ${LENGTH} bytes were sent after the break`)
  })
}

async function cut_connection_is_retried_by_the_client({ endpoint }) {
  const bytes = source(LENGTH, 'cut')
  await withRelay(endpoint, async (relay) => {
    relay.cutAfter(BROKEN_AFTER)
    await uploadWhole(bytes, bytes, { endpoint: relay.endpoint, retryDelays: [0, 100, 1000] })
    const [first, ...rest] = relay.patches()
    assert.equal(first.forwarded, BROKEN_AFTER)
    // The client may ask so soon that it overtakes its own broken request; the PATCH that follows
    // is refused then, and it asks again.
    assertOnlyTheRestWasSent(rest.slice(-1))
  })
}

async function lost_answer_is_made_good_by_a_retry({ endpoint }) {
  const bytes = source(LENGTH, 'lost')
  await withRelay(endpoint, async (relay) => {
    relay.loseNextAnswer()
    await uploadWhole(bytes, bytes, { endpoint: relay.endpoint, retryDelays: [0, 100, 1000] })
    assert.deepEqual(relay.methods().slice(0, 3), ['POST', 'PATCH', 'HEAD'])
    assert.equal(relay.patches().length, 1, 'nothing was left to be sent again')
  })
}

async function silent_connection_does_not_block_a_resume({ endpoint }) {
  const bytes = source(LENGTH, 'silent')
  await withRelay(endpoint, async (relay) => {
    relay.hideDepartures()
    const url = await breakOff(relay, bytes, { endpoint: relay.endpoint })
    const before = relay.exchanges.length
    await uploadWhole(bytes, bytes, { uploadUrl: url, retryDelays: [0, 100, 1000] })
    assertOnlyTheRestWasSent(relay.exchanges.slice(before))
  })
}

async function resume_of_a_complete_upload_sends_nothing({ endpoint }) {
  const bytes = source(LENGTH, 'complete')
  const first = await uploadWhole(bytes, bytes, { endpoint })
  const { methods } = await uploadWhole(bytes, bytes, { uploadUrl: first.upload.url })
  assert.deepEqual(methods(), ['HEAD'])
}

async function vanished_upload_is_started_anew({ endpoint }) {
  const bytes = source(LENGTH, 'vanished')
  const first = await uploadWhole(bytes, bytes, { endpoint })
  await tus.Upload.terminate(first.upload.url)
  const { upload, methods } = await uploadWhole(bytes, bytes, {
    endpoint,
    uploadUrl: first.upload.url,
  })
  assert.deepEqual(methods(), ['HEAD', 'POST', 'PATCH'])
  assert.notEqual(upload.url, first.upload.url)
}

async function abort_terminates_an_upload_in_progress({ endpoint }) {
  const bytes = source(LENGTH, 'abort-terminate')
  await withRelay(endpoint, async (relay) => {
    const stalled = relay.stallAfter(BROKEN_AFTER)
    const { upload, done } = begin(bytes, { endpoint: relay.endpoint })
    upload.start()
    await Promise.race([stalled, done])
    await upload.abort(true)
    assert.equal(relay.exchanges.at(-1).method, 'DELETE')
    assert.equal(relay.exchanges.at(-1).status, 204)
    await assertGone(upload.url)
  })
}

async function terminate_removes_a_complete_upload({ endpoint }) {
  const bytes = source(MIB, 'terminate')
  const { upload } = await uploadWhole(bytes, bytes, { endpoint })
  await tus.Upload.terminate(upload.url)
  await assertGone(upload.url)
  const answer = await fetch(upload.url)
  assert.ok(answer.status === 404 || answer.status === 410, `GET answered ${answer.status}`)
}

async function method_override_takes_the_place_of_patch({ endpoint }) {
  const bytes = source(LENGTH, 'override')
  const options = { endpoint, overridePatchMethod: true, chunkSize: 2 * MIB }
  const { methods } = await uploadWhole(bytes, bytes, options)
  assert.deepEqual(methods(), ['POST', 'POST', 'POST', 'POST'])
}

async function non_ascii_metadata_comes_back_intact({ endpoint }) {
  const bytes = source(1000, 'metadata')
  const metadata = {
    filename: 'Übergrößenträger – 日本語 🚀.tar.gz',
    blank: '',
    filetype: 'application/gzip',
    note: 'a, b; "c" \\ \u00e9 \r\n\t',
    empty: '',
  }
  const { upload } = await uploadWhole(bytes, bytes, { endpoint, metadata })
  const pairs = Object.entries(metadata)
  const expected = pairs.map(([key, value]) => `${key} ${Buffer.from(value).toString('base64')}`)
  const { headers } = await head(upload.url)
  // HTTP drops white space at the end of a field, here the one after a key without a value.
  assert.equal(headers.get('upload-metadata'), expected.join(',').trimEnd())
}

async function two_uploads_at_once_stay_apart({ endpoint }) {
  const one = source(LENGTH, 'one')
  const two = source(LENGTH, 'two')
  const options = { endpoint, chunkSize: MIB, metadata: { filename: 'same-name.bin' } }
  const runs = await Promise.all([
    uploadWhole(one, one, options),
    uploadWhole(two, two, options),
  ])
  assert.notEqual(runs[0].upload.url, runs[1].upload.url)
}

async function progress_never_goes_down({ endpoint }) {
  const bytes = source(LENGTH, 'progress')
  const { progress } = await uploadWhole(bytes, bytes, { endpoint, chunkSize: MIB })
  assert.ok(progress.length > 5, `onProgress was called ${progress.length} times`)
  const sent = progress.map((event) => event.sent)
  assert.deepEqual(sent, [...sent].sort((a, b) => a - b))
  assert.deepEqual(progress.at(-1), { sent: LENGTH, total: LENGTH })
}

// The drafts of the IETF's Resumable Uploads for HTTP that this client speaks: interop versions 5
// and 6.
const DRAFTS = ['ietf-draft-03', 'ietf-draft-05']

async function drafts_arrive_whole({ endpoint }) {
  for (const protocol of DRAFTS) {
    const bytes = source(LENGTH, protocol)
    const one = await uploadWhole(bytes, bytes, { endpoint, protocol })
    assert.deepEqual(one.methods(), ['POST', 'PATCH'], protocol)
    const chunks = await uploadWhole(bytes, bytes, { endpoint, protocol, chunkSize: 2 * MIB })
    assert.deepEqual(chunks.methods(), ['POST', 'PATCH', 'PATCH', 'PATCH'], protocol)
    const metadata = { filename: `${protocol}.bin` }
    const options = { endpoint, protocol, metadata, uploadDataDuringCreation: true }
    const created = await uploadWhole(bytes, bytes, options)
    assert.deepEqual(created.methods(), ['POST'], protocol)
    const first = await uploadWhole(bytes, bytes, { ...options, chunkSize: 3 * MIB })
    assert.deepEqual(first.methods(), ['POST', 'PATCH'], protocol)
  }
}

async function drafts_are_resumed({ endpoint }) {
  for (const protocol of DRAFTS) {
    const bytes = source(LENGTH, `${protocol} resumed`)
    await withRelay(endpoint, async (relay) => {
      relay.cutAfter(BROKEN_AFTER)
      const retryDelays = [0, 100, 1000]
      await uploadWhole(bytes, bytes, { endpoint: relay.endpoint, protocol, retryDelays })
      assertOnlyTheRestWasSent(relay.patches().slice(1).slice(-1))
    })
  }
}

async function what_one_protocol_began_the_other_completes({ endpoint }) {
  for (const draft of DRAFTS) {
    for (const [protocol, other] of [['tus-v1', draft], [draft, 'tus-v1']]) {
      const bytes = source(LENGTH, `${protocol} ${other}`)
      await withRelay(endpoint, async (relay) => {
        const url = await breakOff(relay, bytes, { endpoint: relay.endpoint, protocol })
        const before = relay.exchanges.length
        await uploadWhole(bytes, bytes, { uploadUrl: url, protocol: other })
        assertOnlyTheRestWasSent(relay.exchanges.slice(before))
      })
    }
  }
}

async function drafts_terminate({ endpoint }) {
  for (const protocol of DRAFTS) {
    const bytes = source(MIB, `${protocol} terminated`)
    const { upload } = await uploadWhole(bytes, bytes, { endpoint, protocol })
    await tus.Upload.terminate(upload.url, { protocol })
    await assertGone(upload.url)
  }
}

async function drafts_with_a_deferred_length_arrive_whole({ endpoint }) {
  for (const protocol of DRAFTS) {
    const bytes = source(LENGTH, `${protocol} deferred`)
    const file = Readable.from([bytes.subarray(0, MIB), bytes.subarray(MIB)])
    const options = { endpoint, protocol, uploadLengthDeferred: true, chunkSize: 2 * MIB }
    await uploadWhole(file, bytes, options)
  }
}

async function withRelay(endpoint, scenario) {
  const relay = await Relay.open(endpoint)
  try {
    await scenario(relay)
  } finally {
    relay.close()
  }
}

// Starts an upload, lets a part of it through, and aborts it there. Returns its URL.
async function breakOff(relay, file, options) {
  const stalled = relay.stallAfter(BROKEN_AFTER)
  const { upload, done } = begin(file, options)
  upload.start()
  await Promise.race([stalled, done])
  // Parallel uploads write to the storage while parts are under way already.
  while (options.urlStorage && (await upload.findPreviousUploads()).length === 0) await sleep(5)
  await upload.abort()
  relay.mend()
  // A question must not overtake the broken request on its way through the server.
  while (upload.url && (await offsetOf(upload.url)) === 0) await sleep(5)
  return upload.url
}

function assertOnlyTheRestWasSent(exchanges) {
  const first = exchanges.find((exchange) => exchange.method === 'PATCH')
  const offset = Number(first.offset)
  assert.ok(offset > 0, 'the server kept nothing of the broken request')
  assert.ok(offset <= BROKEN_AFTER, `the server told ${offset} and was sent ${BROKEN_AFTER}`)
  const sent = exchanges.reduce((sum, exchange) => sum + exchange.sent, 0)
  assert.equal(sent, LENGTH - offset, 'bytes sent after the break')
}

await run([
  single_patch_arrives_whole,
  chunks_arrive_whole,
  zero_bytes_are_complete_at_creation,
  zero_bytes_may_come_with_the_creation,
  parallel_parts_become_one_upload,
  deferred_length_is_told_with_the_last_chunk,
  creation_carries_the_whole_upload,
  creation_carries_the_first_chunk,
  aborted_upload_resumes_from_its_url,
  new_upload_object_resumes_from_url_storage,
  parallel_upload_resumes_from_url_storage,
  cut_connection_is_retried_by_the_client,
  lost_answer_is_made_good_by_a_retry,
  silent_connection_does_not_block_a_resume,
  resume_of_a_complete_upload_sends_nothing,
  vanished_upload_is_started_anew,
  abort_terminates_an_upload_in_progress,
  terminate_removes_a_complete_upload,
  method_override_takes_the_place_of_patch,
  non_ascii_metadata_comes_back_intact,
  two_uploads_at_once_stay_apart,
  progress_never_goes_down,
  drafts_arrive_whole,
  drafts_are_resumed,
  what_one_protocol_began_the_other_completes,
  drafts_terminate,
  drafts_with_a_deferred_length_arrive_whole,
])
