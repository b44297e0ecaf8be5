/** Runs named tests, and them alone, in a copy of the repository. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

/** A test by its file and a part of its full name, groups included; of a table of tests, all whose name has it. */
export type NamedTest = { readonly file: string; readonly title: string }

export type TestOutcome = {
  /** With forward slashes, from the copy's root. */
  readonly file: string
  readonly name: string
  readonly status: 'passed' | 'failed' | 'skipped'
  /** Messages and stacks of its failures; empty where it has none. */
  readonly failure: string
}

export type TestRun = {
  readonly outcomes: readonly TestOutcome[]
  /** What went wrong outside tests: a file that does not load, a set-up that fails, no end in time. */
  readonly faults: readonly string[]
  /** Its last words. */
  readonly output: string
}

export type RunOptions = { readonly root: string; readonly databaseUrl: string; readonly msMax: number; readonly signal: AbortSignal }

const outputCharactersKept = 4_000
const killAfterMs = 5_000

export async function runTests({ root, databaseUrl, msMax, signal }: RunOptions, tests: readonly NamedTest[]): Promise<TestRun> {
  signal.throwIfAborted()
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-mutant-'))
  try {
    const reportFile = join(folder, 'report.json')
    const files = [...new Set(tests.map((test) => test.file))]
    const pattern = tests.map(({ title }) => escapeRegex(title)).join('|')
    const vitest = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs')
    // Its caches lie among the packages, which the copy shares with the original, and a mutant must never be served from one. Files
    // run one by one: they share a database, where only one store is migrated at a time.
    const settings = ['--cache=false', '--fsModuleCache=false', '--no-file-parallelism', '--maxWorkers=1']
    const child = spawn(process.execPath, [vitest, 'run', '--reporter=json', `--outputFile.json=${reportFile}`, ...settings, '-t', pattern, ...files], {
      cwd: root,
      env: { ...process.env, TIDEMARK_TEST_DATABASE_URL: databaseUrl },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own: what tests start goes with them.
      detached: process.platform !== 'win32',
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (output = (output + text.toString()).slice(-outputCharactersKept)))
    const isInTime = await whenEnded(child, msMax, signal)
    signal.throwIfAborted()
    if (!isInTime) return { outcomes: [], faults: [`no end within ${msMax / 1000} s`], output }
    return { ...readReport(await readFile(reportFile, 'utf8').catch(() => null), root), output }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** False where it was ended because of its time. */
async function whenEnded(child: ChildProcess, msMax: number, signal: AbortSignal): Promise<boolean> {
  const ended = once(child, 'exit')
  const end = (): void => {
    killGroup(child, 'SIGTERM')
    setTimeout(() => killGroup(child, 'SIGKILL'), killAfterMs).unref()
  }
  let isInTime = true
  const timer = setTimeout(() => {
    isInTime = false
    end()
  }, msMax)
  signal.addEventListener('abort', end, { once: true })
  try {
    await ended
    return isInTime
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', end)
    killGroup(child, 'SIGKILL')
  }
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (process.platform === 'win32') child.kill(signal)
    else process.kill(-child.pid!, signal)
  } catch {
    // Nobody is left in it.
  }
}

type Report = {
  readonly testResults: readonly {
    readonly name: string
    readonly message?: string
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string; readonly failureMessages?: readonly string[] | null }[]
  }[]
}

/** Reads vitest's JSON report, or says that there is none. */
export function readReport(text: string | null, root: string): Pick<TestRun, 'outcomes' | 'faults'> {
  if (text === null) return { outcomes: [], faults: ['the test run left no report'] }
  const { testResults } = JSON.parse(text) as Report
  const outcomes = testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.map(({ fullName, status, failureMessages }): TestOutcome => {
      const file = name.slice(name.indexOf(root) + root.length + 1).replaceAll('\\', '/')
      return { file, name: fullName, status: status === 'passed' || status === 'failed' ? status : 'skipped', failure: (failureMessages ?? []).join('\n') }
    }),
  )
  const faults = testResults.flatMap(({ name, message }) => (message === undefined || message === '' ? [] : [`${name}: ${message.slice(0, 500)}`]))
  return { outcomes, faults }
}

function escapeRegex(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
}
