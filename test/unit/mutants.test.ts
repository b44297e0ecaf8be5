/** The deliberate bugs: each patch fits the tree as it is, names tests that are there, and is judged by what they say. */
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { mutants } from '#test/mutants/mutants.ts'
import { applyHunks, parsePatch } from '#test/mutants/patch.ts'
import { readReport } from '#test/mutants/run-tests.ts'
import type { TestOutcome, TestRun } from '#test/mutants/run-tests.ts'
import { whyNotCaught, whyNotSound } from '#test/mutants/verdict.ts'

const root = join(import.meta.dirname, '../..')
const patches = join(root, 'test/mutants/patches')

function textOf(path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

describe('the table', () => {
  test('has each patch once, and no other', () => {
    expect(mutants.map(({ name }) => `${name}.patch`).sort()).toEqual(readdirSync(patches).sort())
    expect(mutants.length).toBeGreaterThanOrEqual(25)
  })

  test.each(mutants)('$name changes the code as it is now', ({ name }) => {
    const files = parsePatch(readFileSync(join(patches, `${name}.patch`), 'utf8'))
    for (const file of files) {
      expect(file.path).not.toMatch(/^test\//)
      const text = textOf(file.path)
      expect(applyHunks(file, text)).not.toBe(text)
    }
  })

  test.each(mutants)('$name is caught by tests that exist', ({ caughtBy }) => {
    expect(caughtBy.length).toBeGreaterThan(0)
    for (const { file, title } of caughtBy) {
      // Contract suites stand in files of their own, beside those of the adapters that run them.
      const suites = [...textOf(file).matchAll(/from '\.\/([\w-]+-contract\.ts)'/g)].map((match) => join(file, '..', match[1]!))
      expect([file, ...suites].map(textOf).join('\n'), file).toContain(title)
    }
  })
})

describe('a patch', () => {
  const patch = ['--- a/core/x.ts', '+++ b/core/x.ts', '@@ -1,3 +1,3 @@', ' a', '-b', '+B', ' c', ''].join('\n')
  const [file] = parsePatch(patch)

  test('is applied where its lines stand now', () => {
    expect(applyHunks(file!, 'new\na\nb\nc\n')).toBe('new\na\nB\nc\n')
  })

  test('is refused where its lines stand not once, or in the midst of others', () => {
    for (const text of ['a\nx\nc\n', 'a\nb\nc\na\nb\nc\n', 'xa\nb\nc\n']) expect(() => applyHunks(file!, text)).toThrow(/core\/x\.ts has [02] places/)
  })

  test('takes lines for what they are, also where they look like headers', () => {
    const sql = ['--- a/q.sql', '+++ b/q.sql', '@@ -1,2 +1,1 @@', ' SELECT 1', '--- a note', ''].join('\n')
    const [query] = parsePatch(sql)
    expect(applyHunks(query!, 'SELECT 1\n-- a note\n')).toBe('SELECT 1\n')
  })

  test.each([['text', 'line break'], ['', 'changes nothing'], ['text\n', 'no hunk'], ['--- a/x\n+++ b/x\n', 'changes nothing'], ['--- a/x\n+++ b/x\n@@ -1 +1 @@\n?\n', 'neither']])('%j is none', (text, message) => {
    expect(() => parsePatch(text)).toThrow(message)
  })
})

describe('a verdict', () => {
  const named = { file: 'test/a.test.ts', title: 'counts' }
  const outcome = (status: TestOutcome['status'], failure = ''): TestOutcome => ({ file: named.file, name: 'group counts once', status, failure })
  const runOf = (...outcomes: TestOutcome[]): TestRun => ({ outcomes, faults: [], output: '' })
  const caughtBy = [named]

  test('is "caught" for a failed assertion, and for the error that was said to be thrown', () => {
    expect(whyNotCaught({ caughtBy }, runOf(outcome('failed', 'AssertionError: expected 1 to be 2\n    at x')))).toBeNull()
    expect(whyNotCaught({ caughtBy }, runOf(outcome('failed', 'Error: Property failed after 1 tests\n{ seed: 1 }')))).toBeNull()
    expect(whyNotCaught({ caughtBy }, runOf(outcome('failed', 'Error: promise resolved "1" instead of rejecting')))).toBeNull()
    expect(whyNotCaught({ caughtBy, noticedWith: 'HeldError' }, runOf(outcome('failed', 'HeldError: Batch 1 is held')))).toBeNull()
  })

  test.each<[string, TestRun, RegExp]>([
    ['passes', runOf(outcome('passed')), /it passes "counts"/],
    ['is skipped', runOf(outcome('skipped')), /no test ran/],
    ['is not there', runOf(), /no test ran/],
    ['is of another file', runOf({ ...outcome('failed', 'AssertionError: x'), file: 'test/b.test.ts' }), /no test ran/],
    ['breaks otherwise', runOf(outcome('failed', 'ReferenceError: x is not defined')), /fails otherwise: ReferenceError/],
    ['is timed out', runOf(outcome('failed', 'Error: Test timed out in 5000ms.')), /fails otherwise/],
    ['does not load', { outcomes: [], faults: ['SyntaxError'], output: '' }, /did not run: SyntaxError/],
  ])('is "not caught" where the test %s', (_what, run, problem) => {
    expect(whyNotCaught({ caughtBy }, run)).toMatch(problem)
  })

  test('needs every test that is named', () => {
    const other = { file: named.file, title: 'forgets' }
    expect(whyNotCaught({ caughtBy: [named, other] }, runOf(outcome('failed', 'AssertionError: x'), { ...outcome('passed'), name: 'forgets' }))).toMatch(/it passes "forgets"/)
  })

  test('is given only where the tests pass without any mutant', () => {
    expect(whyNotSound(caughtBy, runOf(outcome('passed')))).toBeNull()
    expect(whyNotSound(caughtBy, runOf(outcome('failed', 'AssertionError: x')))).toMatch(/fails without any mutant/)
    expect(whyNotSound(caughtBy, runOf(outcome('skipped')))).toMatch(/no test ran/)
  })

  test('is read from the report, and no report is a fault', () => {
    const report = { testResults: [{ name: '/copy/test/a.test.ts', message: '', assertionResults: [{ fullName: 'group counts once', status: 'failed', failureMessages: ['AssertionError: x'] }, { fullName: 'other', status: 'pending' }] }] }
    expect(readReport(JSON.stringify(report), '/copy')).toEqual({
      outcomes: [outcome('failed', 'AssertionError: x'), { file: 'test/a.test.ts', name: 'other', status: 'skipped', failure: '' }],
      faults: [],
    })
    expect(readReport(null, '/copy').faults).toHaveLength(1)
  })
})
