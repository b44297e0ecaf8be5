/** `tidemark report` and `tidemark backfill`, as people run them. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { recordLogEnds } from '#store/log-ends.ts'
import { listReports, readReport, readReportText } from '#store/reports.ts'
import { LayerProcess } from '#test/faults/layer-process.ts'
import { refund, sale } from '#test/faults/setup.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import type { MeantAppend } from '#test/lab/shop-stream.ts'
import { StepWorker } from '#test/lab/step-worker.ts'

let lab: Lab
let folder: string
beforeEach(async () => {
  lab = await openLab({ topic: 'transactions' })
  folder = await mkdtemp(join(tmpdir(), 'tidemark-report-'))
})
afterEach(async () => {
  await lab[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

async function tidemark(...args: readonly string[]): Promise<{ code: number | null; printed: string; said: string }> {
  const environment = { DATABASE_URL: lab.url, TIDEMARK_SCHEMA: lab.database.schema, LAKE_URL: pathToFileURL(lab.lakeRoot).href, TIDEMARK_DATA: folder, TIDEMARK_BOOKS_OPEN_ON: '2024-12-10', JOBS_URL: '' }
  await using command = new LayerProcess(args, { environment })
  const { code } = await command.ended()
  return { code, printed: command.printed, said: command.said }
}

async function publish(records: readonly MeantAppend[]): Promise<void> {
  await lab.append(records)
  const worker = await StepWorker.open(lab, [0, 1, 2])
  await worker.readAll()
  await worker.flush()
  await runLabBatch(lab)
}

test('a report is made, shown, restated, compared, exported and listed, and what cannot be is refused with what to do', { timeout: 240_000 }, async () => {
  await publish([sale({ id: '1', day: '2025-03-01', city: 'Leeds', unitMinor: 1050 }), sale({ id: '2', day: '2025-02-01', unitMinor: 99_999 })])
  const made = await tidemark('report', 'monthly', '2025-03')
  expect([made.code, made.said]).toEqual([0, expect.stringContaining('version 1 published')])
  expect(made.printed).toContain('net 10.50 GBP (gross 10.50 GBP, refunds 0.00 GBP), 1 transactions; 989.49 GBP less than 2025-02')
  await publish([refund({ id: 'r', day: '2025-03-31', city: 'Leeds', refundOf: '1', totalMinor: 1000 })])
  const again = await tidemark('report', 'monthly', '2025-03', '--json')
  expect(JSON.parse(again.printed)).toMatchObject({ outcome: 'published', version: 2, restatement: { ofVersion: 1, causes: [{ reason: 'late refund', events: 1 }] } })
  const out = join(folder, 'march.html')
  const [first, second, diff, exported, list] = await Promise.all([
    tidemark('report', 'show', 'monthly', '2025-03', '--version', '1', '--json'),
    tidemark('report', 'show', 'monthly', '2025-03'),
    tidemark('report', 'diff', 'monthly', '2025-03', 'v1', 'v2', '--json'),
    tidemark('report', 'export', 'monthly', '2025-03', '--format', 'html', '--out', out, '--json'),
    tidemark('report', 'list', '--all', '--json'),
  ])
  expect(JSON.parse(first.printed)).toEqual(JSON.parse(await readReportText(lab.database.pool, 'monthly', '2025-03', 1)))
  expect(second.printed).toMatch(/restates version 1, by 1 event:\n {4}1 × late refund: net -10\.00 GBP/)
  const compared = JSON.parse(diff.printed) as { lines: { section: string; difference: object }[] }
  expect(compared).toMatchObject({ from: 1, to: 2 })
  expect(compared.lines.find(({ section }) => section === 'total')!.difference).toMatchObject({ netMinor: '-1000', refundEvents: 1 })
  expect(JSON.parse(exported.printed)).toMatchObject({ file: out, version: 2 })
  expect(await readFile(out, 'utf8')).toMatch(/^<!doctype html>[^]*March 2025/i)
  expect((JSON.parse(list.printed) as { reports: { version: number }[] }).reports.map(({ version }) => version)).toEqual([2, 1])
  const refusals = [
    [['report', 'monthly', '2099-01'], 'The period is not over'],
    [['report', 'show', 'monthly', '2025-02'], 'tidemark report monthly 2025-02'],
    [['report', 'show', 'weekly', '2025-02'], 'kind must be one of monthly'],
    [['report', 'diff', 'monthly', '2025-03', 'zero'], 'is no version'],
  ] as const
  const refused = await Promise.all(refusals.map(([args]) => tidemark(...args)))
  expect(refused.map(({ code, said }) => [code, said])).toEqual(refusals.map(([, says]) => [2, expect.stringContaining(says)]))
})

test('a backfill makes what is missing of the months and not what came before the books, says how many there were, and makes nothing twice', { timeout: 240_000 }, async () => {
  await publish([sale({ id: '1', day: '2025-01-05' }), sale({ id: '2', day: '2024-06-01' })])
  expect((await tidemark('report', 'monthly', '2025-01')).code).toBe(0)
  const filled = await tidemark('backfill', '--from', '2024-01', '--to', '2025-02', '--json')
  expect(filled.code, filled.said).toBe(0)
  const { made, present } = JSON.parse(filled.printed) as { made: { kind: string; period: string; version: number }[]; present: number }
  expect(made.map(({ kind, period, version }) => `${kind} ${period} v${version}`)).toEqual(['monthly 2024-12 v1', 'quarterly 2024-Q4 v1', 'yearly 2024 v1', 'monthly 2025-02 v1', 'seasonal 2024-winter v1'])
  expect(present).toBe(1)
  const again = await tidemark('backfill', '--from', '2024-01', '--to', '2025-02')
  expect([again.code, again.printed]).toEqual([0, '0 reports made, 6 were there.\n'])
  expect(await listReports(lab.database.pool, { allVersions: true })).toHaveLength(6)
  const turned = await tidemark('backfill', '--from', '2025-02', '--to', '2024-01')
  expect([turned.code, turned.said]).toEqual([2, expect.stringContaining('--from must not lie behind --to')])
})

test('no half report is made by hand: while the published batch does not reach the log’s end after a period, it waits', { timeout: 240_000 }, async () => {
  await publish([sale({ id: '1', day: '2025-01-05' })])
  await recordLogEnds(lab.database.pool, 'transactions', new Map([[0, 2]]), Date.now())
  const half = await tidemark('report', 'monthly', '2025-01')
  expect([half.code, half.said]).toEqual([1, expect.stringMatching(/half a report: batch 1 does not reach the log's end of .* \(0:1 of 2\).*"tidemark batch run"/)])
  const filled = JSON.parse((await tidemark('backfill', '--from', '2025-01', '--to', '2025-01', '--json')).printed) as object
  expect(filled).toEqual({ made: [], present: 0, waiting: [{ kind: 'monthly', period: '2025-01', reason: expect.stringContaining('does not reach') as string }] })
  await publish([sale({ id: '2', day: '2025-01-31' })])
  expect((await tidemark('report', 'monthly', '2025-01', '--json')).code).toBe(0)
  expect(await readReport(lab.database.pool, 'monthly', '2025-01')).toMatchObject({ version: 1, lines: expect.arrayContaining([expect.objectContaining({ section: 'total', now: expect.objectContaining({ transactions: 2 }) as object })]) as object })
})
