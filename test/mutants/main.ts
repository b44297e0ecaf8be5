/**
 * `npm run mutants`: the check of the checks. Each deliberate bug of mutants.ts is put into a copy of the repository, one at a time, and the tests that it
 * names, and only they, must fail for their own reason. `npm run mutants -- [NAME…] [--json]`; a name is a part of a mutant's.
 */
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { openTestPostgres } from '#test/postgres.ts'
import { openCopy } from './copy.ts'
import type { Mutant } from './mutants.ts'
import { mutants } from './mutants.ts'
import type { NamedTest } from './run-tests.ts'
import { runTests } from './run-tests.ts'
import { whyNotCaught, whyNotSound } from './verdict.ts'

const repository = dirname(dirname(import.meta.dirname))
/** Longer than any of the named tests takes, also where a mutant makes it wait in vain. */
const mutantMsMax = 120_000
const unmutatedMsMax = 600_000

type Judged = { readonly mutant: string; readonly breaks: string; readonly problem: string | null; readonly seconds: number; readonly tests: readonly NamedTest[]; readonly failures: readonly string[] }

async function checkMutants(chosen: readonly Mutant[], say: (line: string) => void, signal: AbortSignal): Promise<Judged[]> {
  await using stack = new AsyncDisposableStack()
  const copy = stack.use(await openCopy(repository))
  const postgres = stack.use(await openTestPostgres())
  const options = { root: copy.root, databaseUrl: postgres.url, signal }
  const named = [...new Map(chosen.flatMap(({ caughtBy }) => caughtBy).map((test) => [JSON.stringify(test), test])).values()]
  say(`${chosen.length} mutants, ${named.length} tests. First the tests without any mutant, which must pass …`)
  const startedAt = performance.now()
  const sound = await runTests({ ...options, msMax: unmutatedMsMax }, named)
  const unsound = whyNotSound(named, sound)
  if (unsound !== null) {
    say(`  they cannot judge a mutant: ${unsound}\n${sound.output}`)
    return chosen.map((mutant) => ({ mutant: mutant.name, breaks: mutant.breaks, problem: 'not tried', seconds: 0, tests: mutant.caughtBy, failures: [] }))
  }
  say(`  they pass, ${seconds(startedAt)} s`)
  const judged: Judged[] = []
  for (const [at, mutant] of chosen.entries()) {
    const one = await judge(mutant, async () => {
      // The copy's own patch: what is changed in the repository meanwhile is of the next run.
      await using _mutated = await copy.mutate(await readFile(join(copy.root, 'test/mutants/patches', `${mutant.name}.patch`), 'utf8'))
      // Awaited here: what is only returned runs on after the files were put back.
      return await runTests({ ...options, msMax: mutantMsMax }, mutant.caughtBy)
    })
    judged.push(one)
    say(`${String(at + 1).padStart(3)}/${chosen.length} ${one.problem === null ? 'caught' : 'NOT CAUGHT'} ${mutant.name} (${one.seconds} s)${one.problem === null ? '' : `\n        ${one.problem}`}`)
  }
  return judged
}

async function judge(mutant: Mutant, run: () => ReturnType<typeof runTests>): Promise<Judged> {
  const startedAt = performance.now()
  const ran = await run()
  const failures = ran.outcomes.filter(({ status }) => status === 'failed').map(({ name, failure }) => `${name}: ${failure.split('\n')[0]!}`)
  return { mutant: mutant.name, breaks: mutant.breaks, problem: whyNotCaught(mutant, ran), seconds: seconds(startedAt), tests: mutant.caughtBy, failures }
}

function seconds(startedAt: number): number {
  return Math.round((performance.now() - startedAt) / 100) / 10
}

/** Throws for a name that no mutant has a part of. */
function choose(names: readonly string[]): Mutant[] {
  for (const name of names) if (!mutants.some((mutant) => mutant.name.includes(name))) throw new Error(`There is no mutant ${name}. They are:\n${mutants.map((mutant) => mutant.name).join('\n')}`)
  return mutants.filter((mutant) => names.length === 0 || names.some((name) => mutant.name.includes(name)))
}

function table(judged: readonly Judged[]): string {
  const rows = judged.map(({ mutant, breaks, problem, tests }) => [mutant, breaks, problem === null ? tests.map(({ file, title }) => `${file}: ${title}`).join('; ') : `NOT CAUGHT: ${problem}`])
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map(([mutant, breaks, by]) => `${mutant!.padEnd(widths[0]!)}  ${breaks!.padEnd(widths[1]!)}  ${by}`).join('\n')
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { json: { type: 'boolean', default: false } } })
  const stopping = new AbortController()
  for (const [name, code] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]] as const) {
    process.once(name, () => {
      process.exitCode = code
      stopping.abort(new Error('stopped'))
    })
  }
  const say = values.json ? (line: string): void => console.error(line) : (line: string): void => console.log(line)
  try {
    const judged = await checkMutants(choose(positionals), say, stopping.signal)
    const failed = judged.filter(({ problem }) => problem !== null).length
    const passed = judged.length - failed
    console.log(values.json ? JSON.stringify({ mutants: judged, passed, failed }, null, 2) : `\n${table(judged)}\n\n${passed} passed, ${failed} failed`)
    return failed === 0 ? 0 : 1
  } catch (thrown) {
    if (stopping.signal.aborted) return Number(process.exitCode)
    console.error(thrown instanceof Error ? thrown.message : thrown)
    return 1
  }
}

process.exitCode = await main()
