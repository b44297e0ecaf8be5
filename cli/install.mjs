// Installs the packages when they are missing or not those of package-lock.json, and builds the page when its sources changed. Two at
// once in one folder break an `npm ci`, so it happens under a lock; and a killed bootstrap leaves npm running, so npm holds the
// lock as well. Node 20 reads this, before any package is there.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, join, sep } from 'node:path'
import { LockTimeoutError, acquireFileLock } from '../engines/file-lock.mjs'

const LOCK_WAIT_MS = 20 * 60_000
const PROGRESS_ON_TERMINAL_MS = 1_000
const PROGRESS_IN_LOG_MS = 15_000
const NPM_OUTPUT_LINES_MAX = 30

/** An error whose message is all that a person needs: it is printed without a stack. */
class ExplainedError extends Error {
  isExplained = true
}

/** Makes the repository at `root` ready to run; returns the path of the Node to run it with. Prints progress to standard error. */
export async function prepare(root, withDashboard) {
  if (!isInstalled(root)) await underLock(root, 'is installing packages here', () => isInstalled(root) || install(root))
  const node = nodePath(root)
  if (withDashboard && !isDashboardBuilt(root)) {
    await underLock(root, 'is building the page here', () => isDashboardBuilt(root) || buildDashboard(root, node))
  }
  return node
}

/** The `node` package's program; on Windows its launcher in `.bin` is a script, so the program itself is named. */
export function nodePath(root) {
  return join(root, 'node_modules', ...(process.platform === 'win32' ? ['node', 'bin', 'node.exe'] : ['.bin', 'node']))
}

/**
 * True when node_modules is what package-lock.json asks for, on this platform. Known by our stamp; where there is none but npm's own
 * record agrees (somebody ran `npm ci` himself), the stamp is written.
 */
export function isInstalled(root) {
  if (!existsSync(nodePath(root))) return false
  const stamp = stampOf(root)
  if (readText(stampFile(root)) === stamp) return true
  if (!npmRecordAgrees(root)) return false
  writeStamp(root, stamp)
  return true
}

function stampOf(root) {
  const lock = createHash('sha256').update(readFileSync(join(root, 'package-lock.json'))).digest('hex')
  return `${lock} ${process.platform}-${process.arch}\n`
}

function stampFile(root) {
  return join(root, 'node_modules', '.tidemark', 'installed')
}

function writeStamp(root, stamp) {
  try {
    mkdirSync(join(root, 'node_modules', '.tidemark'), { recursive: true })
    writeFileSync(stampFile(root), stamp)
  } catch (error) {
    // Packages that somebody else installed, and that we may only read, are looked through at each start instead.
    if (error.code !== 'EACCES' && error.code !== 'EROFS' && error.code !== 'EPERM') throw error
  }
}

/** npm notes in node_modules what it has put there, as its last step. Optional packages of other platforms are not there. */
function npmRecordAgrees(root) {
  const record = readText(join(root, 'node_modules', '.package-lock.json'))
  if (record === undefined) return false
  const present = JSON.parse(record).packages
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
  const isComplete = Object.entries(wanted).every(([path, { optional }]) => path === '' || optional || path in present)
  const isSame = Object.entries(present).every(([path, { version, integrity }]) => wanted[path]?.version === version && wanted[path]?.integrity === integrity)
  return isComplete && isSame
}

async function install(root) {
  const startedAt = Date.now()
  const total = Object.keys(JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages).length
  const stamp = stampOf(root)
  rmSync(stampFile(root), { force: true })
  const elapsed = () => `${Math.round((Date.now() - startedAt) / 1000)} s`
  const progress = showProgress(() => `Installing packages: ${countPackages(root)} of at most ${total}, ${elapsed()}`)
  const { code, output } = await runNpm(root, ['ci', '--loglevel=error', '--no-audit', '--no-fund', '--include=dev', '--include=optional'])
  progress.end()
  if (code !== 0) throw new ExplainedError(`npm could not install the packages. ${adviceFor(output)}\n${lastLines(output)}`)
  requireNode(root)
  writeStamp(root, stamp)
  console.error(`Installed the packages in ${elapsed()}.`)
}

/** Without install scripts (`ignore-scripts` in an npmrc) the packages are there, but the programs in them are not. */
function requireNode(root) {
  if (spawnSync(nodePath(root), ['--version'], { stdio: 'ignore' }).status === 0) return
  throw new ExplainedError(
    'The install scripts of the packages have not run (does your npm configuration say ignore-scripts?). Those that are needed are named under ' +
      'allowScripts in package.json: run `npm ci --ignore-scripts=false`, then try again.',
  )
}

async function runNpm(root, args) {
  const lines = []
  // npm tells the scripts it runs where it is; else it stands beside node.
  const npm = basename(process.env.npm_execpath ?? '') === 'npm-cli.js' ? [process.execPath, process.env.npm_execpath] : ['npm']
  const options = { cwd: root, stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, npm_config_global: undefined } }
  const child =
    process.platform === 'win32'
      ? spawn([...npm, ...args].map((word) => `"${word}"`).join(' '), { ...options, shell: true })
      : // The shell waits for a line before it becomes npm: should we be killed before npm holds the lock too, it never starts.
        spawn('sh', ['-c', 'read -r _ && exec "$@"', 'sh', ...npm, ...args], options)
  const collect = (text) => lines.push(text)
  child.stdout.setEncoding('utf8').on('data', collect)
  child.stderr.setEncoding('utf8').on('data', collect)
  const stop = (signal) => child.kill(signal)
  process.once('SIGINT', stop).once('SIGTERM', stop)
  const ended = new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: 1, output: String(error) }))
    child.once('close', (code) => resolve({ code: code ?? 1, output: lines.join('') }))
  })
  child.stdin.on('error', () => {})
  if (child.pid !== undefined) heldLock?.addHolder(child.pid)
  child.stdin.end('go\n')
  try {
    return await ended
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop)
  }
}

function adviceFor(output) {
  if (/ENOSPC/.test(output)) return 'The disk is full: about 700 MB are needed.'
  if (/EACCES|EPERM/.test(output)) return 'This user may not write here: use a clone of your own, or let its owner install.'
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ECONNRESET/.test(output)) return 'The npm registry cannot be reached: check the network and `npm config get registry`.'
  if (/spawn npm ENOENT|npm: not found|exec: npm/.test(output)) return 'npm is missing: install it beside Node.js.'
  if (/can only install packages when your package\.json and package-lock\.json/.test(output)) return 'package.json and package-lock.json do not belong together: run `npm install`.'
  return 'It said:'
}

function lastLines(output) {
  return output.trim().split('\n').slice(-NPM_OUTPUT_LINES_MAX).join('\n')
}

function countPackages(root) {
  const folder = join(root, 'node_modules')
  if (!existsSync(folder)) return 0
  const names = readdirSync(folder).filter((name) => !name.startsWith('.'))
  return names.reduce((sum, name) => sum + (name.startsWith('@') ? readdirSync(join(folder, name)).length : 1), 0)
}

/** Repeats a line: in place on a terminal, now and then in a log. */
function showProgress(line) {
  const isTerminal = process.stderr.isTTY === true
  const show = () => {
    try {
      process.stderr.write(isTerminal ? `\r${line()}` : `${line()}\n`)
    } catch {
      // A folder that npm removed between two looks at it: the next line is right again.
    }
  }
  show()
  const timer = setInterval(show, isTerminal ? PROGRESS_ON_TERMINAL_MS : PROGRESS_IN_LOG_MS)
  return {
    end: () => {
      clearInterval(timer)
      if (isTerminal) process.stderr.write('\r\u001b[K')
    },
  }
}

function isDashboardBuilt(root) {
  if (!existsSync(join(root, 'serving', 'dashboard', 'build.ts'))) return true
  const folder = join(root, 'serving', 'dashboard', 'dist')
  return existsSync(folder) && readdirSync(folder).length > 0 && readText(dashboardStampFile(root)) === fingerprintOfDashboard(root)
}

/** In node_modules, so that new packages mean a new bundle. */
function dashboardStampFile(root) {
  return join(root, 'node_modules', '.tidemark', 'dashboard')
}

/** Names, sizes and times of the page's sources: enough to see an edit, and cheap enough for every start. */
export function fingerprintOfDashboard(root) {
  const folder = join(root, 'serving', 'dashboard')
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((file) => !file.startsWith(join(folder, 'dist', sep)))
    .sort()
  const hash = createHash('sha256')
  for (const file of files) {
    const { size, mtimeMs } = statSync(file)
    hash.update(`${file.slice(folder.length)} ${size} ${mtimeMs}\n`)
  }
  return `${hash.digest('hex')}\n`
}

function buildDashboard(root, node) {
  console.error('Building the web page.')
  const fingerprint = fingerprintOfDashboard(root)
  const { status } = spawnSync(node, [join(root, 'serving', 'dashboard', 'build.ts')], { cwd: root, stdio: ['ignore', 2, 2] })
  if (status !== 0) throw new ExplainedError('The web page could not be built; the reason stands above.')
  mkdirSync(join(root, 'node_modules', '.tidemark'), { recursive: true })
  writeFileSync(dashboardStampFile(root), fingerprint)
}

let heldLock

async function underLock(root, reason, work) {
  const onWait = (holder) => console.error(`Waiting: process ${holder} ${reason}.`)
  try {
    // Beside the packages and not among them: `npm ci` empties that folder.
    heldLock = await acquireFileLock(join(root, '.tidemark', 'install.lock'), { waitMs: LOCK_WAIT_MS, onWait })
  } catch (error) {
    if (error instanceof LockTimeoutError) throw new ExplainedError(`${error.message}: end that process and try again.`)
    if (error.code === 'EACCES' || error.code === 'EROFS') throw new ExplainedError(`This user may not write to ${root}: use a clone of your own, or let its owner install.`)
    throw error
  }
  try {
    return await work()
  } finally {
    heldLock.release()
    heldLock = undefined
  }
}

function readText(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
}
