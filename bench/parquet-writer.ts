/**
 * P9: rows/s of the Parquet codec against DuckDB's COPY on one thread, the same rows from memory into a file of the same folder; and P9s,
 * the size of the two files. Both write SNAPPY and sync nothing.
 */
import { strict as assert } from 'node:assert'
import { mkdtemp, open, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import type { DuckDBConnection } from '@duckdb/node-api'
import type { ParquetColumn, ParquetValues } from '#core/ports.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { median, secondsOf } from './statistics.ts'

export type ParquetWriterBench = {
  readonly name: string
  /** Median rows per second. */
  readonly ours: number
  readonly theirs: number
  /** Median of the ratios of interleaved pairs; higher is better. */
  readonly ratio: number
  readonly ratios: readonly number[]
  /** Our file's bytes by theirs; lower is better. */
  readonly sizeRatio: number
}

type ColumnPlan = ParquetColumn & { readonly at: (row: number) => ParquetValues[number] }

const rowCount = 300_000
const rowsPerGroup = 50_000
const pairs = 7
const startMs = Date.UTC(2025, 2, 1)

/** The shape of an archived sale: position, decoded fields, reason and original bytes. */
const plans: readonly ColumnPlan[] = [
  { name: 'epoch', type: 'int64', nullable: false, at: () => 7 },
  { name: 'partition', type: 'int32', nullable: false, at: () => 3 },
  { name: 'log_offset', type: 'int64', nullable: false, at: (row) => 1_000_000 + row },
  { name: 'log_time', type: 'timestamp', nullable: false, at: (row) => startMs + row * 211 },
  { name: 'event_id', type: 'text', nullable: false, at: (row) => `shop-${(scramble(row) * 2 ** 21 + row).toString(36)}` },
  { name: 'kind', type: 'text', nullable: false, at: (row) => (row % 23 === 0 ? 'refund' : 'sale') },
  { name: 'event_time', type: 'timestamp', nullable: false, at: (row) => startMs + row * 211 - (scramble(row) % 60_000) },
  { name: 'local_day', type: 'date', nullable: false, at: (row) => 20_148 + Math.trunc(row / 10_000) },
  { name: 'local_hour', type: 'int32', nullable: false, at: (row) => Math.trunc(row / 417) % 24 },
  { name: 'order_id', type: 'text', nullable: false, at: (row) => `o${500_000 + Math.trunc(row / 3)}` },
  { name: 'order_line', type: 'int32', nullable: false, at: (row) => 1 + (row % 3) },
  { name: 'product_id', type: 'text', nullable: false, at: (row) => String(2_000 + (scramble(row) % 2_000)) },
  { name: 'product_name', type: 'text', nullable: true, at: (row) => `Product of number ${scramble(row) % 2_000}` },
  { name: 'city', type: 'text', nullable: false, at: (row) => `City ${scramble(row * 3) % 50}` },
  { name: 'category', type: 'text', nullable: false, at: (row) => `Category ${scramble(row) % 12}` },
  { name: 'currency', type: 'text', nullable: false, at: () => 'GBP' },
  { name: 'quantity', type: 'int64', nullable: false, at: (row) => 1 + (scramble(row * 7) % 4) },
  { name: 'amount_minor', type: 'int64', nullable: false, at: (row) => 99 + (scramble(row * 5) % 200_000) },
  { name: 'reason', type: 'text', nullable: true, at: (row) => (row % 1_000 === 0 ? 'amount-not-a-number' : null) },
  { name: 'original', type: 'bytes', nullable: false, at: originalLine },
]
const columns: readonly ParquetColumn[] = plans.map(({ name, type, nullable }) => ({ name, type, nullable }))

export async function benchParquetWriter(): Promise<ParquetWriterBench> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-bench-'))
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' })
  const connection = await instance.connect()
  try {
    const [ourFile, theirFile] = [join(folder, 'ours.parquet'), join(folder, 'theirs.parquet')]
    const groups = makeRowGroups()
    await writeOurs(groups, ourFile)
    await connection.run(`CREATE TABLE events AS SELECT * FROM read_parquet('${ourFile}')`)
    await writeTheirs(connection, theirFile)
    await checkSame(connection, ourFile)

    const timings: { ours: number; theirs: number }[] = []
    for (let pair = 0; pair < pairs; pair++) {
      const ours = await secondsOf(() => writeOurs(groups, ourFile))
      const theirs = await secondsOf(() => writeTheirs(connection, theirFile))
      timings.push({ ours: rowCount / ours, theirs: rowCount / theirs })
    }
    const ratios = timings.map(({ ours, theirs }) => ours / theirs)
    return {
      name: 'P9 Parquet writer rows/s ÷ DuckDB COPY, one thread',
      ours: median(timings.map(({ ours }) => ours)),
      theirs: median(timings.map(({ theirs }) => theirs)),
      ratio: median(ratios),
      ratios,
      sizeRatio: (await stat(ourFile)).size / (await stat(theirFile)).size,
    }
  } finally {
    connection.disconnectSync()
    instance.closeSync()
    await rm(folder, { recursive: true })
  }
}

function makeRowGroups(): readonly (readonly ParquetValues[])[] {
  return Array.from({ length: rowCount / rowsPerGroup }, (_, group) =>
    plans.map(({ at }) => Array.from({ length: rowsPerGroup }, (_unused, row) => at(group * rowsPerGroup + row))),
  )
}

async function writeOurs(groups: readonly (readonly ParquetValues[])[], path: string): Promise<void> {
  await using handle = await open(path, 'w')
  for await (const bytes of parquetCodec.encode(columns, groups)) await handle.write(bytes)
}

async function writeTheirs(connection: DuckDBConnection, path: string): Promise<void> {
  await connection.run(`COPY events TO '${path}' (FORMAT parquet, CODEC snappy, ROW_GROUP_SIZE ${rowsPerGroup})`)
}

/** A run whose rows differ is void. */
async function checkSame(connection: DuckDBConnection, ourFile: string): Promise<void> {
  const read = await connection.runAndReadAll(`SELECT count(*), CAST(sum(amount_minor) AS bigint), count(DISTINCT event_id) FROM read_parquet('${ourFile}')`)
  let amounts = 0
  for (let row = 0; row < rowCount; row++) amounts += 99 + (scramble(row * 5) % 200_000)
  assert.deepEqual(read.getRows()[0], [BigInt(rowCount), BigInt(amounts), BigInt(rowCount)])
}

/** A fixed mixing of the row number, so that every run writes the same rows. */
function scramble(row: number): number {
  let mixed = Math.imul(row ^ (row >>> 16), 0x45d9f3b)
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x45d9f3b)
  return (mixed ^ (mixed >>> 16)) >>> 0
}

function originalLine(row: number): Uint8Array {
  const mixed = scramble(row)
  const time = new Date(startMs + row * 211).toISOString()
  return Buffer.from(`${500_000 + Math.trunc(row / 3)},${time},City ${mixed % 50},Category ${mixed % 12},${2_000 + (mixed % 2_000)},${1 + (mixed % 4)},${mixed % 200_000}`)
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await benchParquetWriter(), null, 2)}\n`)
