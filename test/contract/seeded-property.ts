/** Runs fast-check properties with a seed that is printed, and taken from TIDEMARK_TEST_SEED to repeat a run. */
import fc from 'fast-check'

export function testSeed(): number {
  const given = process.env['TIDEMARK_TEST_SEED']
  const seed = given === undefined ? Math.trunc(performance.timeOrigin + performance.now()) % 2 ** 31 : Number(given)
  process.stdout.write(`TIDEMARK_TEST_SEED=${seed}\n`)
  return seed
}

export async function checkProperty<T>(property: fc.IAsyncPropertyWithHooks<T>, numRuns: number): Promise<void> {
  await fc.assert(property, { seed: testSeed(), numRuns })
}
