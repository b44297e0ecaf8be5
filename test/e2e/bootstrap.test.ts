import { spawn } from 'node:child_process'
import type { ChildProcess, SpawnOptions } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { complaintAbout, needsDashboard, routeOf } from '#cli/bootstrap.mjs'
import { fingerprintOfDashboard, isInstalled } from '#cli/install.mjs'
import { acquireFileLock } from '#engines/file-lock.mjs'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const DEADLINE_MS = 20_000
const isWindows = process.platform === 'win32'

let folder = ''
const children: ChildProcess[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark bootstrap-'))
})
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  }
  rmSync(folder, { recursive: true, force: true })
})

test('an old Node is told so, and each program finds its way', () => {
  expect(complaintAbout('18.20.1')).toMatch(/needs Node\.js 20 or newer.*this is 18\.20\.1/)
  expect(complaintAbout('20.0.0')).toBeUndefined()
  expect(routeOf(['query', '--checks'])).toEqual({ program: 'cli/main.ts', args: ['query', '--checks'] })
  expect(routeOf(['--checks', '--whole-faults', 'test/unit'])).toEqual({ program: 'cli/checks.ts', args: ['--whole-faults', 'test/unit'] })
  expect(routeOf(['--bench']).program).toBe('bench/main.ts')
  expect(routeOf(['--mutants']).program).toBe('test/mutants/main.ts')
  expect([['up'], ['--port', '1', 'serve'], ['--checks'], ['query', 'top'], []].map(needsDashboard)).toEqual([true, true, true, false, false])
})

describe('a clone', () => {
  beforeEach(() => makeClone(folder))

  test('is installed when the stamp, or npm itself, says what package-lock.json says', () => {
    expect(isInstalled(folder)).toBe(true)
    expect(existsSync(join(folder, 'node_modules', '.tidemark', 'installed'))).toBe(true)
    rmSync(join(folder, 'node_modules', '.package-lock.json'))
    expect(isInstalled(folder)).toBe(true)
    rmSync(join(folder, 'node_modules', '.tidemark'), { recursive: true })
    expect(isInstalled(folder)).toBe(false)
  })

  test.each([
    ['another version', { 'node_modules/a': { version: '2.0.0', integrity: 'x' } }],
    ['one package more', { 'node_modules/a': { version: '1.0.0', integrity: 'x' }, 'node_modules/b': { version: '1.0.0' } }],
    ['one package fewer', {}],
  ])('is not installed when package-lock.json asks for %s', (_what, packages) => {
    expect(isInstalled(folder)).toBe(true)
    writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ packages: { '': {}, ...packages } }))
    expect(isInstalled(folder)).toBe(false)
  })

  test('needs no install for the packages of other platforms, and one when its Node is missing', () => {
    const packages = { '': {}, 'node_modules/a': { version: '1.0.0', integrity: 'x' }, 'node_modules/a-windows': { version: '1.0.0', optional: true } }
    writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ packages }))
    expect(isInstalled(folder)).toBe(true)
    rmSync(join(folder, 'node_modules', '.bin'), { recursive: true })
    rmSync(join(folder, 'node_modules', 'node'), { recursive: true })
    expect(isInstalled(folder)).toBe(false)
  })

  test('builds its page again when a source was edited, added or taken away, and not for what was built', () => {
    const page = join(folder, 'serving', 'dashboard')
    mkdirSync(join(page, 'dist'), { recursive: true })
    writeFileSync(join(page, 'page.ts'), 'one')
    const before = fingerprintOfDashboard(folder)
    writeFileSync(join(page, 'dist', 'page.js'), 'built')
    expect(fingerprintOfDashboard(folder)).toBe(before)
    utimesSync(join(page, 'page.ts'), 1, 1)
    const edited = fingerprintOfDashboard(folder)
    expect(edited).not.toBe(before)
    writeFileSync(join(page, 'distance.ts'), 'two')
    expect(fingerprintOfDashboard(folder)).not.toBe(edited)
    rmSync(join(page, 'distance.ts'))
    expect(fingerprintOfDashboard(folder)).toBe(edited)
  })

  test.skipIf(isWindows)('runs its command from another folder, through a symbolic link, with arguments, input and exit code as they are', async () => {
    writeFileSync(join(folder, 'cli', 'main.ts'), SHOW_ARGUMENTS)
    mkdirSync(join(folder, 'elsewhere'))
    symlinkSync('../tidemark', join(folder, 'elsewhere', 'link'))
    symlinkSync(join(folder, 'elsewhere', 'link'), join(folder, 'elsewhere', 'link to it'))
    const child = start(join(folder, 'elsewhere', 'link to it'), ['a b', '*', '', "it's"], { cwd: dirname(folder), stdio: ['pipe', 'pipe', 'inherit'] })
    child.stdin?.end('typed\n')
    const [shown, [code]] = await Promise.all([textOf(child), once(child, 'exit')])
    expect(JSON.parse(shown)).toEqual({ args: ['a b', '*', '', "it's"], cwd: dirname(folder), input: 'typed\n', pid: child.pid })
    expect(code).toBe(7)
  })

  test.skipIf(isWindows)('npm start: a signal reaches the program once, however often npm repeats it, and its exit code is ours', async () => {
    writeFileSync(join(folder, 'cli', 'main.ts'), COUNT_SIGNALS)
    const child = start(process.execPath, [join(folder, 'cli', 'bootstrap.mjs'), 'up'], { cwd: folder })
    await lineOf(child, /ready/)
    child.kill('SIGTERM')
    child.kill('SIGTERM')
    const [shown, [code]] = await Promise.all([textOf(child), once(child, 'exit')])
    expect(shown).toMatch(/1 signal\n$/)
    expect(code).toBe(5)
  })

  test.skipIf(isWindows)('npm start: a second signal ends a program that does not listen', async () => {
    writeFileSync(join(folder, 'cli', 'main.ts'), `process.on('SIGTERM', () => console.log('heard'))\nsetInterval(() => {}, 1000)\nconsole.log('ready')\n`)
    const child = start(process.execPath, [join(folder, 'cli', 'bootstrap.mjs'), 'up'], { cwd: folder })
    await lineOf(child, /ready/)
    child.kill('SIGTERM')
    await lineOf(child, /heard/)
    const ended = once(child, 'exit')
    // Longer than the time within which two signals are one.
    await pause(700)
    child.kill('SIGTERM')
    const [code] = await ended
    expect(code).toBe(128 + 9)
  })

  test.skipIf(isWindows)('two at once install once: the second waits and says for whom', async () => {
    rmSync(join(folder, 'node_modules'), { recursive: true })
    const npm = writeFakeNpm(folder)
    writeFileSync(join(folder, 'cli', 'main.ts'), `console.log('ran')\n`)
    const options = { cwd: folder, env: { ...process.env, npm_execpath: npm, FAKE_NPM_WAITS: '1' } }
    const both = [1, 2].map(() => start(process.execPath, [join(folder, 'cli', 'bootstrap.mjs'), 'status'], options))
    let said = ''
    for (const { stderr } of both) stderr?.setEncoding('utf8').on('data', (text: string) => (said += text))
    const ending = Promise.all(both.map(async (child) => Promise.all([textOf(child), once(child, 'close')])))
    await until(() => said.includes('Waiting'))
    writeFileSync(join(folder, 'npm-may-end'), '')
    const ends = await ending
    expect(ends.map(([, [code]]) => code as unknown)).toEqual([0, 0])
    expect(ends.map(([shown]) => shown)).toEqual(['ran\n', 'ran\n'])
    expect(readFileSync(join(folder, 'npm-runs'), 'utf8')).toBe('ci\n')
    expect(said).toMatch(/Installing packages/)
    expect(said).toMatch(/Waiting: process \d+ is installing packages here\./)
  })

  test.skipIf(isWindows)('an installer that is killed leaves npm the lock, and the next one installs after it', async () => {
    rmSync(join(folder, 'node_modules'), { recursive: true })
    const npm = writeFakeNpm(folder)
    writeFileSync(join(folder, 'cli', 'main.ts'), `console.log('ran')\n`)
    const options = { cwd: folder, env: { ...process.env, npm_execpath: npm, FAKE_NPM_WAITS: '1' } }
    const first = start(process.execPath, [join(folder, 'cli', 'bootstrap.mjs'), 'status'], options)
    await until(() => existsSync(join(folder, 'npm-runs')))
    first.kill('SIGKILL')
    await once(first, 'exit')
    await expect(acquireFileLock(join(folder, '.tidemark', 'install.lock'), { waitMs: 100 })).rejects.toThrow(/has held the lock/)
    writeFileSync(join(folder, 'npm-may-end'), '')
    const second = start(process.execPath, [join(folder, 'cli', 'bootstrap.mjs'), 'status'], options)
    expect((await Promise.all([textOf(second), once(second, 'close')]))[0]).toBe('ran\n')
  })

  test.skipIf(isWindows)("npm's failure is told with what to do, and leaves no stamp", async () => {
    rmSync(join(folder, 'node_modules'), { recursive: true })
    const npm = join(folder, 'npm-cli.js')
    writeFileSync(npm, `console.error('npm error code ENOTFOUND registry'); process.exit(1)`)
    const child = start(process.execPath, [join(folder, 'cli', 'bootstrap.mjs'), 'status'], { cwd: folder, env: { ...process.env, npm_execpath: npm } })
    const [said, [code]] = await Promise.all([complaintOf(child), once(child, 'close')])
    expect(said).toMatch(/The npm registry cannot be reached[\s\S]*ENOTFOUND/)
    expect(code).toBe(1)
    expect(isInstalled(folder)).toBe(false)
  })
})

test.skipIf(isWindows || !existsSync(join(ROOT, 'cli', 'main.ts')))('this repository says its version, called through a link from elsewhere', async () => {
  symlinkSync(join(ROOT, 'tidemark'), join(folder, 'tidemark'))
  const child = start(join(folder, 'tidemark'), ['--version'], { cwd: folder })
  const [shown, [code]] = await Promise.all([textOf(child), once(child, 'exit')])
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { readonly version: string }
  expect(shown).toContain(version)
  expect(code).toBe(0)
})

const SHOW_ARGUMENTS = `
let input = ''
for await (const text of process.stdin.setEncoding('utf8')) input += text
console.log(JSON.stringify({ args: process.argv.slice(2), cwd: process.cwd(), input, pid: process.pid }))
process.exitCode = 7
`

/** Ends when its standard input would have brought a repeated signal long ago. */
const COUNT_SIGNALS = `
let signals = 0
process.on('SIGTERM', () => {
  signals += 1
  if (signals === 1) setTimeout(() => { console.log(signals + ' signal'); process.exit(5) }, 300)
})
setInterval(() => {}, 1000)
console.log('ready')
`

/** What the bootstrap needs of the repository, with one package that is installed, and this Node as its Node. */
function makeClone(place: string): void {
  for (const path of ['tidemark', 'cli/bootstrap.mjs', 'cli/install.mjs', 'cli/run-in-place.mjs', 'engines/file-lock.mjs', 'engines/process-identity.mjs']) {
    cpSync(join(ROOT, path), join(place, path))
  }
  writeFileSync(join(place, 'package.json'), '{"type": "module"}')
  const a = { version: '1.0.0', integrity: 'x' }
  writeFileSync(join(place, 'package-lock.json'), JSON.stringify({ packages: { '': {}, 'node_modules/a': a } }))
  mkdirSync(join(place, 'node_modules'))
  writeFileSync(join(place, 'node_modules', '.package-lock.json'), JSON.stringify({ packages: { 'node_modules/a': a } }))
  linkNode(place)
}

function linkNode(place: string): void {
  const bin = isWindows ? join(place, 'node_modules', 'node', 'bin') : join(place, 'node_modules', '.bin')
  mkdirSync(bin, { recursive: true })
  mkdirSync(join(place, 'node_modules', 'node'), { recursive: true })
  symlinkSync(process.execPath, join(bin, isWindows ? 'node.exe' : 'node'))
}

/** An npm that notes that it ran, waits where it is told to, takes a moment, and installs what makeClone has. */
function writeFakeNpm(place: string): string {
  const file = join(place, 'npm-cli.js')
  writeFileSync(
    file,
    `import { appendFileSync, existsSync, mkdirSync, symlinkSync, rmSync, writeFileSync } from 'node:fs'
appendFileSync('npm-runs', process.argv[2] + '\\n')
if (process.env.FAKE_NPM_WAITS) while (!existsSync('npm-may-end')) await new Promise((resolve) => setTimeout(resolve, 10))
await new Promise((resolve) => setTimeout(resolve, 500))
rmSync('node_modules', { recursive: true, force: true })
mkdirSync('node_modules/.bin', { recursive: true })
symlinkSync(process.execPath, 'node_modules/.bin/node')
writeFileSync('node_modules/.package-lock.json', JSON.stringify({ packages: { 'node_modules/a': { version: '1.0.0', integrity: 'x' } } }))
`,
  )
  return file
}

function start(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options })
  children.push(child)
  return child
}

async function textOf(child: ChildProcess): Promise<string> {
  return collect(child.stdout)
}

async function complaintOf(child: ChildProcess): Promise<string> {
  return collect(child.stderr)
}

async function collect(stream: NodeJS.ReadableStream | null): Promise<string> {
  let text = ''
  if (stream !== null) for await (const part of stream.setEncoding('utf8')) text += String(part)
  return text
}

async function lineOf(child: ChildProcess, pattern: RegExp): Promise<void> {
  let text = ''
  child.stdout?.setEncoding('utf8')
  while (!pattern.test(text)) {
    const [part] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [string]
    text += part
  }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not within ${DEADLINE_MS} ms`)
    await pause(5)
  }
}
