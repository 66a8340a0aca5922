// Serves dist/ on 127.0.0.1:  node serve.mjs [port]   (8000 if not given, 0 for any free port)
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname } from 'node:path'
import { argv } from 'node:process'
import { fileURLToPath } from 'node:url'

const DIST = new URL('./dist/', import.meta.url)
const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.map': 'application/json',
}

export async function serve(port) {
  // The few files there are, by their path: no other path means anything.
  const pages = new Map(
    readdirSync(DIST).map((name) => [
      `/${name}`,
      { type: TYPES[extname(name)], bytes: readFileSync(new URL(name, DIST)) },
    ]),
  )
  pages.set('/', pages.get('/index.html'))

  const server = createServer((request, response) => {
    const page = pages.get(request.url.split('?')[0])
    if (page) response.writeHead(200, { 'Content-Type': page.type }).end(page.bytes)
    else response.writeHead(404, { 'Content-Type': 'text/plain' }).end('not found\n')
  })
  await new Promise((resolve, reject) => {
    server.once('error', reject).listen(port, '127.0.0.1', resolve)
  })
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() }
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await serve(Number(argv[2] ?? 8000))
  console.log(url)
}
