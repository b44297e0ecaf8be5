/** Two engines, one answer: the batch layer's SQL over the same events, by DuckDB on disk and by Trino on HDFS, compared row by row. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ArchiveRows, ArchiveSums, archiveColumns } from '#batch/archive-columns.ts'
import { conditionOf } from '#batch/explain.ts'
import { readFileRecords } from '#batch/file-rows.ts'
import { batchSql } from '#batch/sql-files.ts'
import type { SqlFile } from '#batch/sql-files.ts'
import { openDecoder } from '#core/decode.ts'
import type { Lake, ParquetColumn, QueryEngine } from '#core/ports.ts'
import { views } from '#core/views/all.ts'
import { openDiskLake } from '#engines/disk-lake.ts'
import { openDuckDb } from '#engines/duckdb.ts'
import { partitionOfKey } from '#engines/log-partitioner.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { openTrino } from '#engines/trino.ts'
import { generateEvents } from '#generator/history.ts'
import { testEngine, whereMissing } from '../../engines.ts'
import { openTestLake, testTrinoUrl } from '../../contract/trino-lake.ts'

const events = 200_000
const partitions = 4
const epochs = 3
const topic = 'transactions'
const rowsPerFile = 20_000
const seed = Number(process.env['TIDEMARK_TEST_SEED'] ?? Math.trunc(performance.timeOrigin) % 2 ** 31)

/** Columns of `counted_events.sql`, in its order. */
const countedNames = /SELECT n\.(.*?)\nFROM/s.exec(batchSql('counted_events'))![1]!.split(/,\s*n\./)
const countedColumns: readonly ParquetColumn[] = countedNames.map((name) => archiveColumns.find((column) => column.name === name)!)

type Subject = { readonly name: string; readonly lake: Lake; readonly engine: QueryEngine }

describe.skipIf(testEngine('trino') === null || testEngine('hdfs') === null)(`two engines, one answer${whereMissing('trino', 'hdfs')}`, () => {
  const stack = new AsyncDisposableStack()
  let subjects: readonly [Subject, Subject]
  const newPaths: string[] = []
  const oldPaths: string[] = []

  beforeAll(async () => {
    process.stdout.write(`TIDEMARK_TEST_SEED=${seed}\n`)
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-two-engines-'))
    stack.defer(() => rm(folder, { recursive: true }))
    const disk = await openDiskLake({ root: folder })
    const hdfs = stack.use(await openTestLake())
    subjects = [
      { name: 'DuckDB', lake: disk, engine: stack.use(await openDuckDb({ lake: disk })) },
      { name: 'Trino', lake: hdfs.lake, engine: stack.use(await openTrino({ url: testTrinoUrl(), lake: hdfs.lake })) },
    ]
    await fill([disk, hdfs.lake])
    for (const { engine } of subjects) {
      await engine.attach('new_events', newPaths, archiveColumns)
      await engine.attach('old_events', oldPaths, archiveColumns)
      const counted = await engine.materialize(batchSql('counted_events'), 'batches/1')
      await engine.attach('counted_events', counted, countedColumns)
    }
  }, 300_000)
  afterAll(() => stack.disposeAsync())

  const whole: readonly SqlFile[] = ['counted_events', ...views.map(({ name }) => name), 'counts', 'read_sums', 'product_names']
  test.each(whole)('%s', async (name) => {
    await expectAlike(batchSql(name), 1)
  }, 120_000)

  test('the events that were counted, read back from the files that each engine wrote', async () => {
    await expectAlike(`SELECT * FROM counted_events`, events / 4)
  }, 120_000)

  test('events_at and events_of_ids, as a difference is explained', async () => {
    const positions = Array.from({ length: 500 }, (_, n) => ({ partition: n % partitions, offset: 12_000 + n * 20 }))
    const found = await expectAlike(batchSql('events_at').replace(':positions', () => conditionOf(positions)), 1)
    const ids = found.slice(0, 500).map((row) => `'${String(row[5]).replaceAll("'", "''")}'`)
    await expectAlike(batchSql('events_of_ids').replace(':ids', () => ids.join(', ')), 1)
  }, 120_000)

  test('accounts, letters and ledger, as other logic is taken into use', async () => {
    await expectAlike(batchSql('accounts'), partitions)
    const letters = await expectAlike(batchSql('letters'), 1)
    await expectAlike(batchSql('ledger').replace(':partition', '1').replace(':from_offset', '13000'), 1_000)
    const positions = letters.slice(0, 100).map(([partition, offset]) => ({ partition: Number(partition), offset: Number(offset) }))
    // A time's text differs in its zeros, and is left out.
    const records = batchSql('records_at').replace('CAST(log_time AS varchar) AS log_time, ', '').replace(':positions', () => conditionOf(positions))
    await expectAlike(records, 1)
  }, 120_000)

  test('rows_of_user and refused_records, as a person is erased', async () => {
    for (const { engine } of subjects) await engine.attach('erasure_files', newPaths, archiveColumns)
    const users = await expectAlike('SELECT user_id FROM erasure_files WHERE user_id IS NOT NULL GROUP BY user_id ORDER BY count(*) DESC, user_id LIMIT 1', 1)
    await expectAlike(batchSql('rows_of_user').replace(':user', () => `'${String(users[0]![0])}'`), 2)
    await expectAlike(batchSql('refused_records'), 1)
  }, 120_000)

  test('every column of a file, as it is decoded again', async () => {
    const answers = await Promise.all(
      subjects.map(async ({ engine }) => {
        const rows: (readonly unknown[])[] = []
        for await (const record of readFileRecords(engine, newPaths[0]!)) rows.push(...record)
        return rows
      }),
    )
    expect(answers[0]!.length).toBeGreaterThan(1_000)
    expectSame(answers[0]!, answers[1]!)
  }, 120_000)

  /** Answers sorted, since no order is asked for. Returns DuckDB's. */
  async function expectAlike(select: string, rowsMin: number): Promise<readonly (readonly unknown[])[]> {
    const answers: (readonly (readonly unknown[])[])[] = []
    for (const { name, engine } of subjects) {
      const start = performance.now()
      answers.push(sorted(await rowsOf(engine, select)))
      process.stdout.write(`${name}: ${answers.at(-1)!.length} rows in ${Math.round(performance.now() - start)} ms\n`)
    }
    expect(answers[0]!.length).toBeGreaterThanOrEqual(rowsMin)
    expectSame(answers[0]!, answers[1]!)
    return answers[0]!
  }

  /** The same files in each lake: old events of the first epoch, new ones of the others, several months in each. */
  async function fill(lakes: readonly Lake[]): Promise<void> {
    const decoder = openDecoder({ zone: 'Europe/London', currency: 'GBP' })
    const ends = new Array<number>(partitions).fill(0)
    const open = new Map<string, ArchiveRows>()
    const put = async (key: string, rows: ArchiveRows): Promise<void> => {
      open.delete(key)
      const path = `${topic}/logged=${key.split('+')[2]}/${topic}+${key}+${ends.join('-')}.parquet`
      for (const lake of lakes) await lake.put(path, parquetCodec.encode(archiveColumns, [rows.columns]), async () => {})
      if (key.startsWith('1+')) oldPaths.push(path)
      else newPaths.push(path)
    }
    let sent = 0
    const history = generateEvents({ profile: 'shop', seed, events, fromMs: Date.UTC(2024, 9, 1), toMs: Date.UTC(2025, 3, 1), zone: 'Europe/London', currency: 'GBP', mixedCurrencies: true })
    for (const { append, means } of history) {
      const partition = append.key === null ? sent % partitions : partitionOfKey(append.key, partitions)
      const record = { offset: ends[partition]!++, logTimeMs: append.logTimeMs!, value: append.value, headers: append.headers ?? null }
      const epoch = 1 + Math.min(epochs - 1, Math.floor((sent * epochs) / events))
      const key = `${epoch}+${partition}+${new Date(record.logTimeMs).toISOString().slice(0, 7)}`
      let rows = open.get(key)
      if (rows === undefined) open.set(key, (rows = new ArchiveRows(epoch, partition, new ArchiveSums())))
      rows.add(record, decoder.decode(record, topic))
      sent += means.length
      if (rows.rows >= rowsPerFile) await put(key, rows)
    }
    expect(sent).toBe(events)
    for (const [key, rows] of open) await put(key, rows)
  }
})

async function rowsOf(engine: QueryEngine, select: string): Promise<(readonly unknown[])[]> {
  const all: (readonly unknown[])[] = []
  for await (const { rows } of engine.query(select)) for (const row of rows) all.push(row)
  return all
}

function textOf(row: readonly unknown[]): string {
  return JSON.stringify(row, (_key, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))
}

function sorted(rows: readonly (readonly unknown[])[]): readonly (readonly unknown[])[] {
  return rows
    .map((row) => ({ row, text: textOf(row) }))
    .sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0))
    .map(({ row }) => row)
}

/** Row by row, as a comparison of the whole would print both. */
function expectSame(one: readonly (readonly unknown[])[], other: readonly (readonly unknown[])[]): void {
  expect(other.length).toBe(one.length)
  for (const [index, row] of one.entries()) if (textOf(row) !== textOf(other[index]!)) expect(other[index], `row ${index}`).toEqual(row)
}
