export type Tally = { readonly passed: number; readonly failed: number; readonly skipped: number }

/** What is used of vitest's JSON report. */
export type TestReport = {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly numTodoTests: number
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[]
  }[]
}

export function addTallies(one: Tally, other: Tally): Tally {
  return { passed: one.passed + other.passed, failed: one.failed + other.failed, skipped: one.skipped + other.skipped }
}

/**
 * Counts tests. A file that failed without a failed test (it could not be loaded, a hook threw) is one failure, and so is a run that
 * failed for a reason no test shows: no report, an unhandled rejection.
 */
export function tallyOfReport(report: TestReport | undefined, exitCode: number): Tally {
  if (report === undefined) return { passed: 0, failed: 1, skipped: 0 }
  const brokenFiles = report.testResults.filter((file) => file.status === 'failed' && !file.assertionResults.some(({ status }) => status === 'failed'))
  const failed = report.numFailedTests + brokenFiles.length
  return {
    passed: report.numPassedTests,
    failed: failed === 0 && exitCode !== 0 ? 1 : failed,
    skipped: report.numPendingTests + report.numTodoTests,
  }
}

/** One line per skipped test, by file; the reason belongs into the test's or its group's name. */
export function listSkipped(report: TestReport, nameFile: (path: string) => string): readonly string[] {
  return report.testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.filter(({ status }) => ['skipped', 'pending', 'todo', 'disabled'].includes(status)).map(({ fullName }) => `${nameFile(name)}: ${fullName}`),
  )
}
