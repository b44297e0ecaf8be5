/** Laws run with one fixed seed, so that a change is seen to break what held before, and one fresh one, which is printed. `TIDEMARK_TEST_SEED` repeats it. */
const given = process.env['TIDEMARK_TEST_SEED']
const fresh = given === undefined ? Math.trunc(performance.timeOrigin + performance.now()) % 2 ** 31 : Number(given)
process.stdout.write(`TIDEMARK_TEST_SEED=${fresh}\n`)

export const lawSeeds: readonly number[] = [20_250_301, fresh]

/** Runs of a property: so many in `npm test`, ten times as many under `npm run test:faults`. */
export function lawRuns(runs: number): number {
  return process.env['WHOLE_FAULTS'] === '1' ? runs * 10 : runs
}

/** A failure is made smaller for so long at most, so that it is told before the test's own time is over. */
export const lawLimits = process.env['WHOLE_FAULTS'] === '1' ? {} : { interruptAfterTimeLimit: 50_000 }
