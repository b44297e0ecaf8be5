/** Rows of FAULTS.md for what an import brings: it is decoded by the same rules as the log, at the moment when it began, and survives the death of its process. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { readLakeRange } from '#batch/lake-range.ts'
import { sweepOrphans } from '#batch/orphans.ts'
import { listLetters } from '#store/dead-letters.ts'
import { findImport } from '#store/imports.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import type { MeantLine } from '#test/lab/imports.ts'
import { importFolder, importedSale, runLabImport } from '#test/lab/imports.ts'
import { MemorySearch } from '#test/lab/memory-search.ts'
import { checkExact } from '#test/lab/merged.ts'
import { SearchLab, documentsOf, expectSameFigures, expectSameSales } from '#test/lab/search.ts'
import { waitUntil } from '#test/wait-until.ts'
import { count } from './data-steps.ts'
import type { ImportDeath } from './import-child.ts'
import { plainSales, runBatchWith } from './setup.ts'

const partition = 65_535
const beganMs = Date.parse('2026-01-01T00:00:00Z')
let lab: Lab
let folder: Awaited<ReturnType<typeof importFolder>>

beforeAll(async () => {
  lab = await openLab()
  folder = await importFolder()
})
beforeEach(() => lab.clear())
afterAll(async () => {
  await folder[Symbol.asyncDispose]()
  await lab[Symbol.asyncDispose]()
})

function meantLine(id: string, occurredAt: string, day: string, hour: number): MeantLine {
  const event = { eventId: id, userId: '7', productId: 'P1', productName: 'Product P1', category: 'Home', city: 'London', quantity: 1, unitPrice: '10.00', total: '10.00', occurredAt }
  const { meant } = importedSale('old-shop', { id })
  return { text: JSON.stringify(event), meant: meant!.map((fact) => ({ ...fact, day, hour, fields: occurredAt })) }
}

function expectLines(lines: readonly MeantLine[]): void {
  for (const { meant } of lines) lab.oracle.add(partition, meant)
}

test('D5 lines of an import that are dated ahead of its beginning are refused, also by a run of the day after and by a full batch', async () => {
  const lines = [
    meantLine('a day ahead', '2026-01-02T00:00:00Z', '2026-01-02', 0),
    { ...meantLine('more', '2026-01-02T00:00:01Z', '', 0), meant: null },
    meantLine('past', '1999-06-01T12:00:00Z', '1999-06-01', 13),
    { ...meantLine('275760', '+275760-09-13T00:00:00Z', '', 0), meant: null },
    { ...meantLine('a day ahead of the second run', '2026-01-03T00:00:00Z', '', 0), meant: null },
  ]
  expectLines(lines)
  const files = [await folder.write('ahead.jsonl', lines)]
  await runLabImport(lab, { files, chunkLinesMax: 2, stopAfterChunks: 1, nowMs: beganMs })
  await runLabImport(lab, { files, chunkLinesMax: 2, nowMs: beganMs + 86_400_000 })
  await checkExact(lab)
  expect((await listLetters(lab.database.pool, { limit: 9 })).map(({ reason }) => reason)).toEqual(['future-event', 'bad-time', 'future-event'])
  for (const full of [false, true]) {
    expect((await runBatchWith(lab, { full })).crossCheck.summary.result).toBe('exact')
    await checkExact(lab)
  }
})

test('D6 lines of an import fall on the day that the zone’s rule says, in the live figures and in the batch', async () => {
  const lines = [
    meantLine('spring', '2019-03-31T01:30:00', '2019-03-31', 2),
    meantLine('autumn', '2019-10-27T01:30:00', '2019-10-27', 1),
    meantLine('summer', '2019-05-31T23:00:00.000Z', '2019-06-01', 0),
    meantLine('year', '2018-12-31T23:59:59.999Z', '2018-12-31', 23),
    meantLine('leap', '2020-03-01T05:29:59+05:30', '2020-02-29', 23),
  ]
  expectLines(lines)
  await runLabImport(lab, { files: [await folder.write('edges.jsonl', lines)] })
  await checkExact(lab)
  expect((await runBatchWith(lab)).crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
})

const deaths: readonly ImportDeath[] = ['file written', 'before commit', 'after commit']
test.each(deaths)('an import that is killed (%s) goes on where it was, with the file that it left moved aside', async (point) => {
  const lines = Array.from({ length: 35 }, (_, n) => importedSale('old-shop', { id: String(n % 30) }))
  expectLines(lines)
  const file = await folder.write('killed.csv', lines)
  const child = spawn(process.execPath, [fileURLToPath(new URL('./import-child.ts', import.meta.url)), lab.url, lab.database.schema, lab.lakeRoot, lab.topic, file, point], { stdio: 'ignore' })
  expect(await once(child, 'exit')).toEqual([null, 'SIGKILL'])
  const counted = point === 'after commit' ? 20 : 10
  await waitUntil('the sessions of the dead process to end', async () => {
    const { rows } = await lab.database.pool.query<{ holders: bigint }>(`SELECT count(*) AS holders FROM pg_locks WHERE locktype = 'advisory' AND objid = $1`, [2 ** 32 - 1 - partition])
    return rows[0]!.holders === 0n
  })
  expect((await checkExact(lab)).n.get(partition)).toBe(counted)
  expect((await runLabImport(lab, { files: [file], chunkLinesMax: 10 })).sums).toMatchObject({ lines: 35 - counted, copies: 5 })
  const { moved } = await sweepOrphans({ database: lab.database, lake: lab.lake, topics: [lab.topic], nowMs: Date.now() + 1_000, orphanAfterMs: 0, deleteAfterMs: 1_000_000 })
  expect(moved).toHaveLength(point === 'after commit' ? 0 : 1)
  expect((await runBatchWith(lab)).crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
})

test('search finds what was imported: its documents come from the lake', async () => {
  const lines = Array.from({ length: 25 }, (_, n) => importedSale('old-shop', { id: String(n % 20), city: `City ${n % 3}` }))
  expectLines(lines)
  const search = new MemorySearch()
  const follower = new SearchLab(lab, search, 'mem', {
    refill: (topic, at, from, to) => readLakeRange({ queryable: lab.database.pool, lake: lab.lake, engine: lab.engine }, topic, at, from, to),
  })
  await lab.append(plainSales(lab, 9, 'a'))
  await count(lab)
  await follower.followAll()
  await runLabImport(lab, { files: [await folder.write('search.csv', lines)], stopAfterChunks: 2 })
  await follower.followAll()
  await runBatchWith(lab)
  await runLabImport(lab, { files: [await folder.write('search.csv', lines)] })
  await follower.followAll()
  await expectSameFigures(follower)
  await expectSameSales(follower)
  expect((await documentsOf(search, 'mem', 'sales')).filter(({ source }) => source['partition'] === partition).length).toBeGreaterThanOrEqual(20)
  expect(follower.warnings).toEqual([])
  expect((await findImport(lab.database.pool, 'old-shop'))!.finishedAt).not.toBeNull()
  await follower.closeSales()
})
