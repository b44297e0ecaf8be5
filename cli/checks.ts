// What `npm test` runs: types, lint, tests. Each has a heading and its time; all run, also when one fails, and the last line of all is
// the sum. A folder or file as argument runs the tests below it alone.
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openTemporaryFolder } from '#engines/temporary-folder.ts'
import { CHROMIUM_FIX, findChromium } from './chromium.ts'
import type { TestEngines } from './test-engines.ts'
import { openTestEngines } from './test-engines.ts'
import { addTallies, listSkipped, tallyOfReport } from './test-tally.ts'
import type { Tally, TestReport } from './test-tally.ts'

const ROOT = dirname(import.meta.dirname)
const SKIPPED_SHOWN_MAX = 40
const NOTHING: Tally = { passed: 0, failed: 0, skipped: 0 }

type Plan = { readonly filters: readonly string[]; readonly isWhole: boolean; readonly withEngines: boolean; readonly rest: readonly string[] }

function planOf(args: readonly string[]): Plan {
  const isWhole = args.includes('--whole-faults')
  const withEngines = args.includes('--engines')
  const others = args.filter((argument) => argument !== '--whole-faults' && argument !== '--engines')
  return { isWhole, withEngines, filters: others.filter((argument) => !argument.startsWith('-')), rest: others.filter((argument) => argument.startsWith('-')) }
}

async function runChecks(plan: Plan): Promise<Tally> {
  const { filters, isWhole, rest } = plan
  const chromium = findChromium()
  const environment = { ...process.env, ...(isWhole ? { WHOLE_FAULTS: '1' } : {}), ...(chromium === undefined ? {} : { CHROMIUM_PATH: chromium }) }
  sayWhatIsOff(plan, chromium)
  const tallies: Tally[] = []
  if (filters.length === 0 && rest.length === 0) {
    tallies.push(await runCheck('Types (tsc)', programOf('typescript', 'tsc'), ['--noEmit', '-p', '.'], environment))
    tallies.push(await runCheck('Lint (oxlint)', programOf('oxlint', 'oxlint'), ['--type-aware'], environment))
  }
  tallies.push(await runTestsOnEngines(plan, environment))
  return tallies.reduce(addTallies, NOTHING)
}

async function runTestsOnEngines({ filters, rest, withEngines }: Plan, environment: NodeJS.ProcessEnv): Promise<Tally> {
  if (filters.length + rest.length > 0 && !withEngines) return runTests(filters, rest, environment)
  console.log('\n── Real engines')
  opening = openTestEngines(environment, (line) => console.log(line), interrupted.signal)
  const engines = await opening
  try {
    return await runTests(filters, rest, { ...environment, ...engines.environment })
  } finally {
    await engines.stop()
  }
}

function sayWhatIsOff({ filters, isWhole, rest, withEngines }: Plan, chromium: string | undefined): void {
  if (filters.length > 0 || rest.length > 0) console.log('Types and lint are left out, as only some tests are asked for. All of it: npm test')
  if (filters.length + rest.length > 0 && !withEngines) console.log('Tests on real engines are skipped unless --engines starts them.')
  if (chromium === undefined) console.log(`Tests of the page in a browser are skipped: no Chromium here. Enable them: ${CHROMIUM_FIX}`)
  if (!isWhole) console.log('Fault tests run in their short form. Whole: npm run test:faults')
}

async function runCheck(title: string, program: string, args: readonly string[], environment: NodeJS.ProcessEnv): Promise<Tally> {
  const code = await runTimed(title, program, args, environment)
  return code === 0 ? { ...NOTHING, passed: 1 } : { ...NOTHING, failed: 1 }
}

async function runTests(filters: readonly string[], rest: readonly string[], environment: NodeJS.ProcessEnv): Promise<Tally> {
  const { path: folder } = await openTemporaryFolder('checks')
  // Not in a finally: a signal ends this process in the middle.
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const reportFile = join(folder, 'report.json')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`]
  const code = await runTimed('Tests (vitest)', programOf('vitest', 'vitest'), ['run', ...reporters, ...rest, ...filters], environment)
  const report = readReport(reportFile)
  const skipped = report === undefined ? [] : listSkipped(report, (file) => relative(ROOT, file))
  if (skipped.length > 0) console.log(['', 'Skipped:', ...skipped.slice(0, SKIPPED_SHOWN_MAX).map((line) => `  ${line}`)].join('\n'))
  if (skipped.length > SKIPPED_SHOWN_MAX) console.log(`  and ${skipped.length - SKIPPED_SHOWN_MAX} more`)
  return tallyOfReport(report, code)
}

/** Undefined when vitest ended before it could write one. */
function readReport(file: string): TestReport | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as TestReport
  } catch {
    return undefined
  }
}

let running: ChildProcess | undefined
/** From the moment that the first of them may run. */
let opening: Promise<TestEngines> | undefined
const interrupted = new AbortController()

async function runTimed(title: string, program: string, args: readonly string[], environment: NodeJS.ProcessEnv): Promise<number> {
  // Nothing new is begun while what runs is being ended.
  if (interrupted.signal.aborted) return 1
  console.log(`\n── ${title}`)
  const startedAt = performance.now()
  const code = await new Promise<number>((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], { cwd: ROOT, env: environment, stdio: ['ignore', 'inherit', 'inherit'] })
    running = child
    child.once('error', reject)
    child.once('exit', (exitCode) => resolve(exitCode ?? 1))
  })
  running = undefined
  console.log(`── ${title}: ${code === 0 ? 'ok' : 'FAILED'}, ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
  return code
}

/** Ends the engines, also those that are only starting. */
async function stopAll(): Promise<void> {
  await (await opening)?.stop()
}

/** The script of a package's program, run with our own Node: the links in .bin are scripts of another kind on Windows. */
function programOf(packageName: string, program: string): string {
  const file = createRequire(import.meta.url).resolve(`${packageName}/package.json`)
  const { bin } = JSON.parse(readFileSync(file, 'utf8')) as { readonly bin: string | Readonly<Record<string, string>> }
  const script = typeof bin === 'string' ? bin : bin[program]
  if (script === undefined) throw new Error(`${packageName} has no program ${program}`)
  return join(dirname(file), script)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [signal, code] of [['SIGHUP', 129], ['SIGINT', 130], ['SIGTERM', 143]] as const) {
    // A second one changes nothing: npm passes on the Ctrl-C that the terminal has sent already, and ending here would leave the engines behind.
    process.on(signal, () => {
      if (interrupted.signal.aborted) return
      running?.kill('SIGTERM')
      interrupted.abort()
      void stopAll().finally(() => process.exit(code))
    })
  }
  const { passed, failed, skipped } = await runChecks(planOf(process.argv.slice(2)))
  process.exitCode = failed === 0 ? 0 : 1
  console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`)
}
