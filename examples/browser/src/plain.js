import { Upload } from 'tus-js-client'
import { endpoint } from './endpoint.js'
import { received } from './page.js'

const ids = ['file', 'progress', 'toggle', 'cancel', 'status']
const [file, progress, toggle, cancel, status] = ids.map((id) => document.getElementById(id))
let upload = null

file.addEventListener('change', async () => {
  if (file.files.length === 0) return
  try {
    await begin(file.files[0])
  } catch (error) {
    end(`Failed: ${error.message}`)
  }
})

toggle.addEventListener('click', async () => {
  if (toggle.textContent === 'Pause') {
    await upload.abort()
    toggle.textContent = 'Resume'
    status.textContent = 'Paused.'
  } else {
    run()
  }
})

cancel.addEventListener('click', async () => {
  end('Cancelling …')
  try {
    await upload.abort(true)
    end('Cancelled. The server has dropped what it had.')
  } catch (error) {
    end(`The upload was stopped here, but not at the server: ${error.message}`)
  }
})

async function begin(chosen) {
  await upload?.abort()
  upload = new Upload(chosen, {
    endpoint,
    metadata: { filename: chosen.name, filetype: chosen.type },
    retryDelays: [0, 1000, 3000, 5000, 10000],
    removeFingerprintOnSuccess: true,
    onProgress: (sent, total) => {
      const percent = total > 0 ? (100 * sent) / total : 100
      progress.value = percent
      status.textContent = `${sent} of ${total} bytes, ${percent.toFixed(1)} %`
    },
    onSuccess: () => {
      progress.value = 100
      end('Complete.')
      received(chosen.name, upload.url)
    },
    onError: (error) => end(`Failed: ${error.message}`),
  })

  // An upload of this file that a closed page left behind is taken up again.
  const [previous] = await upload.findPreviousUploads()
  if (previous) upload.resumeFromPreviousUpload(previous)
  progress.value = 0
  cancel.disabled = false
  run()
}

function run() {
  upload.start()
  toggle.textContent = 'Pause'
  toggle.disabled = false
  status.textContent = 'Sending …'
}

function end(text) {
  toggle.textContent = 'Pause'
  toggle.disabled = true
  cancel.disabled = true
  status.textContent = text
}
