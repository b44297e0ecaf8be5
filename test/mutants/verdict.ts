/** Whether the named tests have caught a mutant: each ran, and failed for its own reason and not because the mutant could not even run. */
import type { NamedTest, TestOutcome, TestRun } from './run-tests.ts'

export type Expectation = {
  readonly caughtBy: readonly NamedTest[]
  /** How the failure begins, where the system notices the mutant by itself and throws that in the test's face; else an assertion of the test must fail. */
  readonly noticedWith?: string
}

/** Why the mutant is not caught, or null. */
export function whyNotCaught({ caughtBy, noticedWith }: Expectation, run: TestRun): string | null {
  if (run.faults.length > 0) return `the tests did not run: ${run.faults[0]}`
  for (const test of caughtBy) {
    const ran = outcomesOf(test, run)
    if (ran.length === 0) return `no test ran of ${nameOf(test)}`
    const failed = ran.filter((outcome) => outcome.status === 'failed')
    if (failed.length === 0) return `it passes ${nameOf(test)}`
    const wrong = failed.find(({ failure }) => !isExpected(failure, noticedWith))
    if (wrong !== undefined) return `${nameOf(test)} fails otherwise: ${wrong.failure.split('\n')[0]!.slice(0, 300)}`
  }
  return null
}

/** Why the tests cannot judge any mutant, or null: without one, each must run and pass. */
export function whyNotSound(tests: readonly NamedTest[], run: TestRun): string | null {
  if (run.faults.length > 0) return run.faults[0]!
  for (const test of tests) {
    const ran = outcomesOf(test, run)
    if (ran.length === 0) return `no test ran of ${nameOf(test)}`
    const failed = ran.find((outcome) => outcome.status === 'failed')
    if (failed !== undefined) return `${failed.file} fails without any mutant: ${failed.name}: ${failed.failure.split('\n')[0]!.slice(0, 300)}`
  }
  return null
}

function outcomesOf({ file, title }: NamedTest, run: TestRun): TestOutcome[] {
  return run.outcomes.filter((outcome) => outcome.status !== 'skipped' && outcome.file === file && outcome.name.includes(title))
}

function nameOf({ file, title }: NamedTest): string {
  return `"${title}" in ${file}`
}

/** How vitest begins what an assertion says; of `resolves` and `rejects`, and of a property with its counter-example, the name is a plain Error's. */
const assertionStarts = ['AssertionError: ', 'Error: expected ', 'Error: promise resolved ', 'Error: promise rejected ', 'Error: Property failed ']

function isExpected(failure: string, noticedWith: string | undefined): boolean {
  return (noticedWith === undefined ? assertionStarts : [noticedWith]).some((start) => failure.startsWith(start))
}
