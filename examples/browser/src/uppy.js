import Uppy from '@uppy/core'
import Dashboard from '@uppy/dashboard'
import GoldenRetriever from '@uppy/golden-retriever'
import Tus from '@uppy/tus'
import '@uppy/core/css/style.min.css'
import '@uppy/dashboard/css/style.min.css'
import { endpoint } from './endpoint.js'
import { received } from './page.js'

const MIB = 1024 * 1024

const uppy = new Uppy()
  .use(Dashboard, {
    target: '#dashboard',
    inline: true,
    width: '100%',
    height: 360,
    theme: 'auto',
    proudlyDisplayPoweredByUppy: false,
    note: 'Files of any length, several at once.',
  })
  .use(Tus, {
    endpoint,
    // Without this, the same file sent twice is one upload, found again by its fingerprint.
    removeFingerprintOnSuccess: true,
  })
  // Keeps the bytes of files up to this length over a reload; of larger ones it keeps the name, and
  // asks for the file again.
  .use(GoldenRetriever, { indexedDB: { maxFileSize: 64 * MIB, maxTotalSize: 512 * MIB } })

uppy.on('upload-success', (file, { uploadURL }) => received(file.name, uploadURL))
