// Bundles both pages into dist/.
import { cp } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

await build({
  entryPoints: [here('src/uppy.js'), here('src/plain.js')],
  outdir: here('dist'),
  bundle: true,
  format: 'esm',
  target: 'es2022',
  minify: true,
  sourcemap: true,
  logLevel: 'info',
})
await cp(here('src/index.html'), here('dist/index.html'))
await cp(here('src/plain.html'), here('dist/plain.html'))
