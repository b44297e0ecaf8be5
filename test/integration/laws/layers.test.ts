/**
 * The two layers' own arithmetic, without a store: the speed layer's fold, cut into flushes anywhere, and the batch layer's SQL, run by DuckDB over the
 * Parquet that the archiver writes, of the same random records. Both must be what the oracle says, so both are the same.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ArchiveRows, ArchiveSums, archiveColumns } from '#batch/archive-columns.ts'
import { batchSql } from '#batch/sql-files.ts'
import { openDecoder } from '#core/decode.ts'
import { formatDay } from '#core/calendar.ts'
import { Ledger } from '#core/ledger.ts'
import type { Lake, LogRecord, ParquetColumn, QueryEngine, QueryValue } from '#core/ports.ts'
import { views } from '#core/views/all.ts'
import { openDiskLake } from '#engines/disk-lake.ts'
import { openDuckDb } from '#engines/duckdb.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { Accumulator } from '#speed/accumulator.ts'
import type { Flush } from '#store/flush.ts'
import { seededRandom } from '#test/lab/random.ts'
import type { MeantAppend } from '#test/lab/shop-stream.ts'
import { ShopStream, intentKinds } from '#test/lab/shop-stream.ts'
import type { Sums, ViewName } from '#test/oracle.ts'
import { Oracle, viewNames } from '#test/oracle.ts'
import { lawLimits, lawRuns, lawSeeds } from './seeds.ts'

const topic = 'transactions'
const partitions = 2
const decoder = openDecoder({ zone: 'Europe/London', currency: 'GBP' })
let root: string
let lake: Lake
let engine: QueryEngine

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidemark-layers-'))
  lake = await openDiskLake({ root })
  engine = await openDuckDb({ lake, threads: 1 })
})
afterAll(async () => {
  await engine[Symbol.asyncDispose]()
  await lake[Symbol.asyncDispose]()
  await rm(root, { recursive: true, force: true })
})

/** A random stream by partition, with the oracle that knows it. */
function stream(kinds: readonly (typeof intentKinds)[number][], seed: number): { readonly records: readonly (LogRecord & { readonly partition: number })[]; readonly oracle: Oracle } {
  const random = seededRandom(seed)
  const shop = new ShopStream(topic, partitions, false)
  const oracle = new Oracle()
  const made = kinds.map((kind) => shop.next(kind, random)).filter((record): record is MeantAppend => record !== null)
  const next = new Map<number, number>()
  const records = made.map(({ partition, value, logTimeMs, meant }) => {
    oracle.add(partition, meant)
    const offset = next.get(partition) ?? 0
    next.set(partition, offset + 1)
    return { partition, offset, logTimeMs, value, headers: null }
  })
  return { records, oracle }
}

const streams = fc.tuple(fc.array(fc.constantFrom(...intentKinds), { minLength: 1, maxLength: 80, size: 'max' }), fc.nat())

/** Cells of all flushes, added up by key: what the live tables would hold. */
function addUp(flushes: readonly Flush[]): Map<ViewName, Map<string, Sums>> {
  const sums = new Map<ViewName, Map<string, Sums>>(viewNames.map((name) => [name, new Map()]))
  for (const { cells } of flushes) {
    for (const { view, dimensions, measured } of cells) {
      const into = sums.get(view.name)!
      for (const [row, cell] of measured.entries()) {
        const key = JSON.stringify(view.grain.map((dimension, i) => (dimension.kind === 'day' ? formatDay(dimensions[i]![row] as number) : dimensions[i]![row])))
        const at = into.get(key) ?? { transactions: 0n, orders: 0n, refundEvents: 0n, unitsSold: 0n, unitsRefunded: 0n, gross: 0n, refunds: 0n }
        at.transactions += BigInt(cell.transactions)
        at.orders += BigInt(cell.orders)
        at.refundEvents += BigInt(cell.refundEvents)
        at.unitsSold += BigInt(cell.unitsSold)
        at.unitsRefunded += BigInt(cell.unitsRefunded)
        at.gross += cell.grossMinor
        at.refunds += cell.refundsMinor
        into.set(key, at)
      }
    }
  }
  return sums
}

function fold(records: readonly (LogRecord & { readonly partition: number })[], cuts: ReadonlySet<number>): Flush[] {
  const positions = new Map(Array.from({ length: partitions }, (_, partition) => [partition, 0]))
  const accumulator = new Accumulator({ topic, decoder, ledger: new Ledger(10_000) }, positions)
  const flushes: Flush[] = []
  for (const [i, record] of records.entries()) {
    accumulator.add({ partition: record.partition, from: record.offset, to: record.offset + 1, records: [record] })
    if (cuts.has(i)) flushes.push(accumulator.take())
  }
  flushes.push(accumulator.take())
  return flushes
}

let files = 0

/** The archive's file of these records, as if all stood in epoch 1. */
async function archive(records: readonly (LogRecord & { readonly partition: number })[]): Promise<string> {
  const sums = new ArchiveSums()
  const groups = Array.from({ length: partitions }, (_, partition) => {
    const rows = new ArchiveRows(1, partition, sums)
    for (const record of records) if (record.partition === partition) rows.add(record, decoder.decode(record, topic))
    return rows
  }).filter((rows) => rows.rows > 0)
  const path = `laws/${++files}.parquet`
  await lake.put(path, parquetCodec.encode(archiveColumns, groups.map((rows) => rows.columns)), async () => undefined)
  return path
}

async function queryView(name: ViewName): Promise<Map<string, Sums>> {
  const cells = new Map<string, Sums>()
  for await (const { rows } of engine.query(batchSql(name))) {
    for (const row of rows) {
      const [transactions, orders, refundEvents, unitsSold, unitsRefunded, gross, refunds] = row.slice(4) as bigint[]
      const key = row.slice(0, 4).map((value: QueryValue) => (typeof value === 'bigint' ? Number(value) : value))
      cells.set(JSON.stringify(key), { transactions: transactions!, orders: orders!, refundEvents: refundEvents!, unitsSold: unitsSold!, unitsRefunded: unitsRefunded!, gross: gross!, refunds: refunds! })
    }
  }
  return cells
}

const countedColumns = (names: readonly string[]): ParquetColumn[] => names.map((name) => archiveColumns.find((column) => column.name === name)!)

describe.each(lawSeeds)('seed %i', (seed) => {
  test('the fold of a stream is the sum of the folds of its pieces, wherever it is cut', () => {
    fc.assert(
      fc.property(streams, fc.array(fc.nat(79)), ([kinds, streamSeed], cuts) => {
        const { records, oracle } = stream(kinds, streamSeed)
        const expected = oracle.expect(oracle.ends())
        const flushes = fold(records, new Set(cuts))
        const sums = addUp(flushes)
        expect(sums).toEqual(expected.views)
        for (const [partition, account] of expected.accounts) {
          const parts = flushes.flatMap((flush) => flush.partitions.filter((part) => part.partition === partition))
          const total = (of: 'records' | 'accepted' | 'copies' | 'conflicts' | 'refused'): number => parts.reduce((sum, part) => sum + part[of], 0)
          expect({ records: total('records'), accepted: total('accepted'), copies: total('copies'), conflicts: total('conflicts'), refused: total('refused') }).toEqual(account)
        }
      }),
      { seed, numRuns: lawRuns(150), ...lawLimits },
    )
  })

  test('the batch SQL of each view, run over the archive, gives the fold of the speed layer', async () => {
    await fc.assert(
      fc.asyncProperty(streams, fc.nat(80), async ([kinds, streamSeed], horizon) => {
        const { records, oracle } = stream(kinds, streamSeed)
        fc.pre(records.length > 0)
        const older = records.slice(0, Math.min(horizon, records.length - 1))
        const newer = records.slice(older.length)
        await engine.attach('old_events', older.length === 0 ? [] : [await archive(older)], archiveColumns)
        await engine.attach('new_events', [await archive(newer)], archiveColumns)
        const ids = new Map<number, number>()
        for (const { partition } of older) ids.set(partition, (ids.get(partition) ?? 0) + 1)
        const below = oracle.expect(ids)
        const all = oracle.expect(oracle.ends())
        const counted = await engine.materialize(batchSql('counted_events'), `counted/${files}`)
        const names = batchSql('counted_events').split('SELECT ')[1]!.split('FROM')[0]!.replaceAll(/n\.|\s/g, '').split(',')
        await engine.attach('counted_events', counted, countedColumns(names))
        for (const name of viewNames) {
          const sums = await queryView(name)
          // What the newer records add: the whole less what lies below the horizon.
          for (const [key, cell] of below.views.get(name)!) {
            const at = sums.get(key) ?? { transactions: 0n, orders: 0n, refundEvents: 0n, unitsSold: 0n, unitsRefunded: 0n, gross: 0n, refunds: 0n }
            for (const measure of Object.keys(cell) as (keyof Sums)[]) at[measure] += cell[measure]
            sums.set(key, at)
          }
          expect(sums).toEqual(all.views.get(name)!)
        }
        expect(addUp(fold(records, new Set()))).toEqual(all.views)
      }),
      { seed, numRuns: lawRuns(25), ...lawLimits },
    )
  }, 120_000)
})

test('every view has its batch SQL, of its grain', () => {
  expect(views.map((view) => view.name).sort()).toEqual([...viewNames].sort())
  for (const view of views) expect(batchSql(view.name)).toContain(`-- one row per (${view.grain.map((dimension) => dimension.name).join(', ')})`)
})
