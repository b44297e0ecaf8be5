import { expect, test } from 'vitest'
import { listSkipped, tallyOfReport } from '#cli/test-tally.ts'
import type { TestReport } from '#cli/test-tally.ts'

const file = (status: string, ...tests: readonly string[]) => ({
  name: '/repository/test/a.test.ts',
  status,
  assertionResults: tests.map((one, index) => ({ status: one, fullName: `test ${index}` })),
})

function reportOf(...testResults: TestReport['testResults']): TestReport {
  const count = (status: string) => testResults.flatMap((one) => one.assertionResults).filter((one) => one.status === status).length
  return { numPassedTests: count('passed'), numFailedTests: count('failed'), numPendingTests: count('skipped'), numTodoTests: count('todo'), testResults }
}

test('tests are counted, skipped and to-do ones together', () => {
  expect(tallyOfReport(reportOf(file('passed', 'passed', 'skipped', 'todo')), 0)).toEqual({ passed: 1, failed: 0, skipped: 2 })
  expect(tallyOfReport(reportOf(file('failed', 'passed', 'failed', 'failed')), 1)).toEqual({ passed: 1, failed: 2, skipped: 0 })
})

test('a file that could not be run is a failure, beside those of its neighbours', () => {
  expect(tallyOfReport(reportOf(file('failed'), file('failed', 'failed', 'passed')), 1)).toEqual({ passed: 1, failed: 2, skipped: 0 })
})

test('a run that failed for a reason no test shows is a failure', () => {
  expect(tallyOfReport(undefined, 0)).toEqual({ passed: 0, failed: 1, skipped: 0 })
  expect(tallyOfReport(reportOf(file('passed', 'passed')), 1)).toEqual({ passed: 1, failed: 1, skipped: 0 })
})

test('skipped tests are listed by file', () => {
  expect(listSkipped(reportOf(file('passed', 'passed', 'skipped')), (path) => path.replace('/repository/', ''))).toEqual(['test/a.test.ts: test 1'])
})
