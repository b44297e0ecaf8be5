/**
 * The page's bundle, the one thing of Tidemark that is built: one script, one stylesheet and `index.html` in `dist/`, all from this
 * origin and without inline code or style, so that `default-src 'self'` is policy enough. Names carry a hash of the content: everything
 * but `index.html` may be cached for ever.
 */
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, version as esbuildVersion } from 'esbuild'

const sourceDir = fileURLToPath(new URL('./src/', import.meta.url))
const coreDir = fileURLToPath(new URL('../../core/', import.meta.url))
const lockFile = fileURLToPath(new URL('../../package-lock.json', import.meta.url))

/** Where the page lies once built; the server serves this folder at `/`. */
export const dashboardDir = fileURLToPath(new URL('./dist/', import.meta.url))

export type DashboardBuild = { readonly dir: string; readonly built: boolean }

/**
 * Builds the page unless `dist/index.html` was made from exactly these sources. Safe to run from several processes at once: assets are
 * named by content, and `index.html`, which makes them visible, is renamed into place last.
 */
export async function buildDashboard(dir: string = dashboardDir): Promise<DashboardBuild> {
  const stamp = `<!-- sources ${await hashSources()} -->`
  const present = await readFile(join(dir, 'index.html'), 'utf8').catch(() => '')
  if (present.includes(stamp)) return { dir, built: false }

  const result = await build({
    entryPoints: { app: join(sourceDir, 'main.tsx'), style: join(sourceDir, 'style.css') },
    entryNames: '[name]-[hash]',
    outdir: dir,
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: ['chrome123', 'firefox128', 'safari17.5'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    legalComments: 'none',
    logLevel: 'silent',
  })

  await mkdir(dir, { recursive: true })
  const names = result.outputFiles.map((file) => file.path.slice(dir.length).replace(/^[\\/]+/, ''))
  const script = names.find((name) => name.endsWith('.js'))
  const style = names.find((name) => name.endsWith('.css'))
  if (script === undefined || style === undefined) throw new Error('esbuild returned no script or no stylesheet for the page.')
  for (const [index, file] of result.outputFiles.entries()) await writeWhole(dir, names[index]!, file.contents)
  await writeWhole(dir, 'favicon.svg', await readFile(join(sourceDir, 'favicon.svg')))

  const template = await readFile(join(sourceDir, 'index.html'), 'utf8')
  const page = template.replace('{{script}}', script).replace('{{style}}', style)
  await writeWhole(dir, 'index.html', `${page.trimEnd()}\n${stamp}\n`)
  await removeOthers(dir, new Set([...names, 'favicon.svg', 'index.html']))
  return { dir, built: true }
}

/** A reader sees the whole file or none of it. */
async function writeWhole(dir: string, name: string, contents: Uint8Array | string): Promise<void> {
  const partial = join(dir, `.${name}.${process.pid}`)
  await writeFile(partial, contents)
  await rename(partial, join(dir, name))
}

/** Old bundles. Hidden files are another process's, half written. */
async function removeOthers(dir: string, kept: ReadonlySet<string>): Promise<void> {
  for (const name of await readdir(dir)) {
    if (!kept.has(name) && !name.startsWith('.')) await rm(join(dir, name), { force: true })
  }
}

/** Contents, not times: a checkout of an older commit makes older files that are nevertheless new. */
async function hashSources(): Promise<string> {
  const hash = createHash('sha256').update(esbuildVersion)
  const sources = (await readdir(sourceDir, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
  const shared = ['calendar.ts', 'money.ts'].map((name) => join(coreDir, name))
  for (const file of [...sources.toSorted(), ...shared, fileURLToPath(import.meta.url), lockFile]) {
    hash.update(`\0${file.split(/[\\/]/).at(-1)}\0`).update(await readFile(file))
  }
  return hash.digest('hex')
}

if (import.meta.main) {
  const { dir, built } = await buildDashboard()
  process.stdout.write(`${built ? 'Built the page in' : 'The page is up to date in'} ${dir}\n`)
}
