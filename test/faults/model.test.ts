/**
 * Model-based runs over the real PostgreSQL (FAULTS.md D3 to D6): random commands on a lab, and after every one of them the merged figures against the
 * oracle. In `npm test` as many runs as fit a hundred seconds, half of a fixed seed and half of a fresh one, in CI 150, under `npm run test:faults` 300.
 *
 * A failure prints its seed, its run and the shortest list of commands found that still fails. To repeat it:
 * TIDEMARK_TEST_SEED=<seed> TIDEMARK_MODEL_RUN=<run> npm test -- test/faults/model.test.ts
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { importFolder } from '#test/lab/imports.ts'
import type { Command } from './model/commands.ts'
import { commandsOf, crashPoints } from './model/commands.ts'
import type { ImportFolder } from './model/imports.ts'
import { Coverage, World } from './model/world.ts'

/** `.ci/run` takes the time for more; at the desk, npm test does some. */
const whole = process.env['WHOLE_FAULTS'] === '1' || process.env['CI'] === 'true'
const runsWanted = process.env['WHOLE_FAULTS'] === '1' ? 300 : whole ? 150 : 60
const runsMax = 2 * runsWanted
/** The short form ends after this even with fewer runs. */
const shortFormMs = 100_000
const shrinkMs = 60_000
/** Runs wait for PostgreSQL most of the time, so a few share the process. */
const runsAtOnce = 3
const fixedSeed = 20_250_301

const onlyRun = process.env['TIDEMARK_MODEL_RUN']
const givenSeed = process.env['TIDEMARK_TEST_SEED']
const freshSeed = givenSeed === undefined ? Math.trunc(performance.timeOrigin) % 2 ** 31 : Number(givenSeed)

const coverage = new Coverage()
const labs: Lab[] = []
let imports: ImportFolder | null = null
let commandsRun = 0
let runsDone = 0

beforeAll(async () => {
  imports = await importFolder()
  for (let i = 0; i < runsAtOnce; i++) labs.push(await openLab())
})

afterAll(async () => {
  await imports?.[Symbol.asyncDispose]()
  for (const lab of labs) await lab[Symbol.asyncDispose]()
})

const rareOutcomes = ['fenced flush', 'zombie', 'cut waited for a flush', 'flush waited for a cut', 'rows merged', 'replay skipped', 'batch overtaken', 'rolled back', 'pages merged', 'orphan swept', 'batch published', 'report published', 'report restated', 'files merged', 'import finished']

/** Crash points and rare outcomes that no run has met yet. */
function missed(): string[] {
  return [...crashPoints, ...rareOutcomes].filter((name) => coverage.count(name) === 0)
}

type Failure = { readonly at: number; readonly thrown: unknown }

/** Resolves to where the commands failed, or null. */
async function runCommands(lab: Lab, commands: readonly Command[], counted: Coverage): Promise<Failure | null> {
  await lab.clear()
  const world = new World(lab, imports!, counted)
  let at = 0
  try {
    for (; at < commands.length; at++) {
      await world.apply(commands[at]!)
      await world.check()
      commandsRun++
    }
    await world.quiesce()
    await world.check()
    return null
  } catch (thrown) {
    return { at, thrown }
  }
}

/** Leaves commands out while what is left still fails, for as long as there is time. */
async function shrink(lab: Lab, commands: readonly Command[], failure: Failure): Promise<{ commands: readonly Command[]; failure: Failure }> {
  let best = { commands: commands.slice(0, failure.at + 1), failure }
  const startMs = performance.now()
  for (let chunk = Math.ceil(best.commands.length / 2); chunk >= 1; chunk = Math.floor(chunk / 2)) {
    for (let from = 0; from < best.commands.length && performance.now() - startMs < shrinkMs; ) {
      const shorter = [...best.commands.slice(0, from), ...best.commands.slice(from + chunk)]
      const fails = await runCommands(lab, shorter, new Coverage())
      if (fails === null) from += chunk
      else best = { commands: shorter.slice(0, fails.at + 1), failure: fails }
    }
  }
  return best
}

async function oneRun(lab: Lab, seed: number, run: number): Promise<void> {
  const commands = commandsOf(seed, run)
  const failure = await runCommands(lab, commands, coverage)
  if (failure === null) return
  const least = await shrink(lab, commands, failure)
  const steps = least.commands.map((command) => `  ${JSON.stringify(command)}`).join('\n')
  const again = `TIDEMARK_TEST_SEED=${seed} TIDEMARK_MODEL_RUN=${run}`
  throw new Error(`A model run failed: ${again}\nafter ${least.commands.length} of its ${commands.length} commands:\n${steps}\n${String(least.failure.thrown)}`, { cause: least.failure.thrown })
}

describe('model runs', () => {
  test('every answer is exact after every command', async () => {
    if (onlyRun !== undefined) return oneRun(labs[0]!, freshSeed, Number(onlyRun))
    process.stdout.write(`TIDEMARK_TEST_SEED=${freshSeed} (and ${fixedSeed})\n`)
    const startMs = performance.now()
    let next = 0
    const failed: unknown[] = []
    const lane = async (lab: Lab): Promise<void> => {
      // What is rare is waited for, on a slow machine longer than the short form takes.
      const isDue = (): boolean => (next < runsWanted && (whole || performance.now() - startMs < shortFormMs)) || (missed().length > 0 && next < runsMax)
      while (failed.length === 0 && isDue()) {
        const turn = next++
        await oneRun(lab, turn % 2 === 0 ? fixedSeed : freshSeed, Math.floor(turn / 2)).catch((thrown: unknown) => failed.push(thrown))
        runsDone++
      }
    }
    await Promise.all(labs.map(lane))
    const seconds = Math.round((performance.now() - startMs) / 1000)
    process.stdout.write(`${runsDone} model runs, ${commandsRun} commands, ${seconds} s\n`)
    if (failed[0] instanceof Error) throw failed[0]
    expect(failed).toEqual([])
  })

  test.skipIf(onlyRun !== undefined)('every crash point was hit, and every rare outcome was seen', () => {
    expect(missed()).toEqual([])
  })
})
