/** A Parquet file written here, read by Trino, DuckDB and hyparquet alike: each gives every value that was put in, in every row. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parquetReadObjects } from 'hyparquet'
import { describe, expect, it } from 'vitest'
import type { ParquetColumn, ParquetType, ParquetValues, QueryEngine, QueryValue } from '#core/ports.ts'
import { openDiskLake } from '#engines/disk-lake.ts'
import { openDuckDb } from '#engines/duckdb.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { openTrino } from '#engines/trino.ts'
import { testEngine, whereMissing } from '../engines.ts'
import { openTestLake, testTrinoUrl } from './trino-lake.ts'

type Value = NonNullable<ParquetValues[number]>

const extremes: Readonly<Record<ParquetType, readonly Value[]>> = {
  int64: [0n, -1n, 2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n)],
  int32: [0, -1, 2 ** 31 - 1, -(2 ** 31)],
  text: ['', ' ', 'London', "'", '"', '\\', '\n', '9', '10', '\u{7f}', '\u{80}', 'é', '\u{d7ff}', '\u{e000}', '\u{feff}', '\u{feff}x', '\u{fffd}', '\u{ffff}', '\u{10000}', '\u{10ffff}', 'x'.repeat(256), '\u{10ffff}'.repeat(64), 'קפה', '手作り茶碗'],
  bytes: [Uint8Array.of(), Uint8Array.of(0), Uint8Array.of(0xff, 0x00, 0x80), Buffer.alloc(1_000, 7)],
  boolean: [true, false],
  date: [-719_162, -1, 0, 19_782, 2_932_896],
  timestamp: [-62_135_596_800_000, -1, 0, 1_735_569_000_123, 253_402_300_799_999],
}
const types = Object.keys(extremes) as readonly ParquetType[]
const columns: readonly ParquetColumn[] = [
  { name: 'row_number', type: 'int64', nullable: false },
  ...types.flatMap((type): ParquetColumn[] => [
    { name: `a_${type}`, type, nullable: false },
    { name: `b_${type}`, type, nullable: true },
  ]),
]
/** Few rows in a group, many, and more than a page holds. */
const groupRows = [1, 24, 21_000, 7]

describe.skipIf(testEngine('trino') === null || testEngine('hdfs') === null)(`one file, three readers${whereMissing('trino', 'hdfs')}`, () => {
  it('Trino, DuckDB and hyparquet read every row as it was written', async () => {
    await using stack = new AsyncDisposableStack()
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-alike-'))
    stack.defer(() => rm(folder, { recursive: true }))
    const disk = await openDiskLake({ root: folder })
    const hdfs = stack.use(await openTestLake())
    const duckDb = stack.use(await openDuckDb({ lake: disk, memoryLimitMb: 1_024 }))
    const trino = stack.use(await openTrino({ url: testTrinoUrl(), lake: hdfs.lake }))
    const groups = writtenGroups()
    for (const lake of [disk, hdfs.lake]) await lake.put('t/a.parquet', parquetCodec.encode(columns, groups), async () => {})
    const expected = columns.map(({ type }, index) => groups.flatMap((group) => group[index]!.map((value) => canonical(type, value))))
    for (const [name, engine] of [['DuckDB', duckDb], ['Trino', trino]] as const) {
      await engine.attach('t', ['t/a.parquet'], columns)
      expectSame(name, await columnsOf(engine), expected)
    }
    // The library's own text decoder drops a byte order mark.
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true })
    const objects = await parquetReadObjects({
      file: new Uint8Array(await readFile(disk.location('t/a.parquet'))).buffer,
      utf8: false,
      parsers: { stringFromBytes: (value: Uint8Array) => decoder.decode(value) },
    })
    expectSame('hyparquet', columns.map(({ name, type }) => objects.map((object) => fromHyparquet(type, object[name]))), expected)
  }, 180_000)
})

function writtenGroups(): ParquetValues[][] {
  let before = 0
  return groupRows.map((rows, group) => {
    const numbers = Array.from({ length: rows }, (_, row) => before + row)
    before += rows
    return columns.map(({ type, nullable }, index) => {
      if (index === 0) return numbers
      const values = extremes[type]
      return numbers.map((row) => (nullable && (row + index) % 5 === 0 ? null : values[(row * (1 + (index % 2)) + group) % values.length]!))
    })
  })
}

/** As the port gives it. */
function canonical(type: ParquetType, value: ParquetValues[number]): QueryValue {
  if (value === null || typeof value === 'boolean') return value
  if (type === 'text') return String(value)
  if (type === 'bytes') return Buffer.from(value as Uint8Array).toString('hex')
  if (type === 'date') return new Date(Number(value) * 86_400_000).toISOString().slice(0, 10)
  return BigInt(value as number | bigint)
}

function fromHyparquet(type: ParquetType, value: unknown): QueryValue {
  if (value === null || value === undefined) return null
  if (value instanceof Date) return type === 'date' ? value.toISOString().slice(0, 10) : BigInt(value.getTime())
  return canonical(type, value as Value)
}

/** By column, in the order of `row_number`. */
async function columnsOf(engine: QueryEngine): Promise<QueryValue[][]> {
  const found: QueryValue[][] = columns.map(() => [])
  const names = columns.map(({ name }) => name).join(', ')
  for await (const { rows } of engine.query(`SELECT ${names} FROM t ORDER BY row_number`)) {
    for (const row of rows) for (const [index, value] of row.entries()) found[index]!.push(value)
  }
  return found
}

/** Value by value, as a comparison of the whole would print both. */
function expectSame(reader: string, found: readonly (readonly QueryValue[])[], expected: readonly (readonly QueryValue[])[]): void {
  for (const [index, { name }] of columns.entries()) {
    expect(found[index]!.length, `${name} by ${reader}`).toBe(expected[index]!.length)
    const at = expected[index]!.findIndex((value, row) => value !== found[index]![row])
    if (at >= 0) expect(found[index]![at], `${name} by ${reader}, row ${at}`).toBe(expected[index]![at])
  }
}
