import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DuckDBBlobValue, DuckDBDateValue, DuckDBInstance, DuckDBTimestampValue } from '@duckdb/node-api'
import type { DuckDBConnection, DuckDBValue } from '@duckdb/node-api'
import fc from 'fast-check'
import { parquetMetadata, parquetReadObjects } from 'hyparquet'
import parquet from 'parquetjs-lite'
import type { RowBuffer } from 'parquetjs-lite'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { CorruptError, InvalidRequestError } from '#core/errors.ts'
import type { LakeFile, ParquetColumn, ParquetType, ParquetValues } from '#core/ports.ts'
import { compareCodePoints } from '#engines/parquet-values.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { checkProperty, testSeed } from '../../contract/seeded-property.ts'

const allTypes: readonly ParquetType[] = ['int64', 'int32', 'text', 'bytes', 'boolean', 'date', 'timestamp']
const columns: readonly ParquetColumn[] = allTypes.flatMap((type) => [
  { name: type, type, nullable: false },
  { name: `${type}_or_null`, type, nullable: true },
])

const arbitraries: Readonly<Record<ParquetType, fc.Arbitrary<ParquetValues[number]>>> = {
  int64: fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.maxSafeInteger(), fc.integer({ min: -2, max: 2 })),
  int32: fc.oneof(fc.integer(), fc.constantFrom(-(2 ** 31), 2 ** 31 - 1)),
  text: fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('', '\u{fffd}', '\u{10000}', '\u{feff}x', 'London')),
  bytes: fc.uint8Array({ maxLength: 40 }),
  boolean: fc.boolean(),
  date: fc.integer({ min: -719_162, max: 2_932_896 }),
  timestamp: fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }),
}

const valueOf = (column: ParquetColumn): fc.Arbitrary<ParquetValues[number]> =>
  column.nullable ? fc.option(arbitraries[column.type], { freq: 3 }) : arbitraries[column.type]
const rowGroup = fc.integer({ min: 1, max: 30 }).chain((rows) => fc.tuple(...columns.map((column) => fc.array(valueOf(column), { minLength: rows, maxLength: rows }))))

describe('the Parquet codec', () => {
  let folder: string
  let instance: DuckDBInstance
  let connection: DuckDBConnection

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-parquet-'))
    instance = await DuckDBInstance.create()
    connection = await instance.connect()
  })
  afterAll(async () => {
    connection.disconnectSync()
    instance.closeSync()
    await rm(folder, { recursive: true })
  })
  afterEach(() => {
    vi.restoreAllMocks()
  })

  it('writes what DuckDB and hyparquet both read as it was given', async () => {
    await checkProperty(
      fc.asyncProperty(fc.array(rowGroup, { minLength: 1, maxLength: 4 }), async (groups) => {
        const bytes = await encode(columns, groups)
        const expected = columns.map((column, index) => groups.flatMap((group) => group[index]!.map((value) => canonical(column.type, value))))
        expect(await readWithDuckDb(bytes, columns)).toEqual(expected)
        expect(await readWithHyparquet(bytes, columns)).toEqual(expected)
        expect(await parquetCodec.rowCount(fileOf(bytes))).toBe(expected[0]!.length)
      }),
      60,
    )
  })

  it.each([
    ['values that repeat', (row: number) => row % 5],
    ['one value', () => 7],
    ['values of which none repeats', (row: number) => row],
    ['values that stop repeating', (row: number) => (row < 30_000 ? row % 3 : row)],
    ['nulls only', () => null],
    ['nulls for a whole page', (row: number) => (row > 15_000 && row < 44_000 ? null : row % 300)],
    ['a null now and then', (row: number) => (row % 97 === 0 ? null : (row * 7_919) % 1_000)],
  ])('writes long columns of %s', async (_, numberAt) => {
    const rows = Array.from({ length: 45_001 }, (_unused, row) => numberAt(row))
    const wide: readonly ParquetColumn[] = allTypes.map((type) => ({ name: type, type, nullable: true }))
    const group = wide.map(({ type }) => rows.map((value) => (value === null ? null : fromNumber(type, value))))
    const bytes = await encode(wide, [group, group])
    const expected = wide.map(({ type }, index) => [...group[index]!, ...group[index]!].map((value) => canonical(type, value)))
    const [byDuckDb, byHyparquet] = [await readWithDuckDb(bytes, wide), await readWithHyparquet(bytes, wide)]
    for (const [index, { name }] of wide.entries()) {
      expect(firstDifference(byDuckDb[index]!, expected[index]!), `${name} read by DuckDB`).toBeNull()
      expect(firstDifference(byHyparquet[index]!, expected[index]!), `${name} read by hyparquet`).toBeNull()
    }
  })

  it('writes texts and bytes larger than a page', async () => {
    const large: readonly ParquetColumn[] = [
      { name: 'text', type: 'text', nullable: false },
      { name: 'bytes', type: 'bytes', nullable: false },
    ]
    const texts = Array.from({ length: 9 }, (_, index) => String.fromCodePoint(0x1f600 + index).repeat(200_000))
    const group = [texts, texts.map((text) => Buffer.from(text))]
    const bytes = await encode(large, [group])
    const expected = [texts, texts.map((text) => Buffer.from(text).toString('hex'))]
    expect(firstDifference((await readWithDuckDb(bytes, large)).flat(), expected.flat())).toBeNull()
    expect(firstDifference((await readWithHyparquet(bytes, large)).flat(), expected.flat())).toBeNull()
  })

  it('writes every row group of a slow source', async () => {
    const ids: readonly ParquetColumn[] = [{ name: 'id', type: 'int64', nullable: false }]
    async function* groups(): AsyncGenerator<readonly ParquetValues[]> {
      for (let group = 0; group < 200; group++) {
        await new Promise((resolve) => setImmediate(resolve))
        yield [Array.from({ length: 1 + (group % 50) }, (_, row) => group * 100 + row)]
      }
    }
    const bytes = await encode(ids, groups())
    const expected = Array.from({ length: 200 }, (_, group) => Array.from({ length: 1 + (group % 50) }, (_unused, row) => BigInt(group * 100 + row))).flat()
    expect((await readWithDuckDb(bytes, ids))[0]).toEqual(expected)
    expect((await readWithHyparquet(bytes, ids))[0]).toEqual(expected)
  })

  it.each([1, 2, 3])('refuses to finish a file whose row group %i was lost on the way', async (lost) => {
    const prototype = parquet.ParquetEnvelopeWriter.prototype as InstanceType<typeof parquet.ParquetEnvelopeWriter>
    const original: (this: typeof prototype, records: RowBuffer) => Promise<void> = Reflect.get(prototype, 'writeRowGroup')
    let group = 0
    vi.spyOn(prototype, 'writeRowGroup').mockImplementation(async function (this: typeof prototype, records) {
      if (++group !== lost) await original.call(this, records)
    })
    const ids: readonly ParquetColumn[] = [{ name: 'id', type: 'int64', nullable: false }]
    await expect(encode(ids, [[[1, 2]], [[3, 4]], [[5, 6]]])).rejects.toThrow()
    expect(group).toBeGreaterThanOrEqual(lost)
  })

  it('gives text its bounds in the order of bytes, and none to long text', async () => {
    const texts: readonly ParquetColumn[] = [{ name: 'city', type: 'text', nullable: true }]
    const city = fc.string({ unit: fc.constantFrom('a', '\u{d7ff}', '\u{e000}', '\u{fffd}', '\u{10000}', '\u{10ffff}'), maxLength: 3 })
    await checkProperty(
      fc.asyncProperty(fc.array(fc.option(city), { minLength: 1, maxLength: 6 }), async (cities) => {
        const present = cities.filter((one) => one !== null).map((one) => Buffer.from(one))
        const sorted = present.sort((a, b) => Buffer.compare(a, b))
        expect(await boundsOf(await encode(texts, [[cities]]))).toEqual({
          min: sorted[0]?.toString() ?? undefined,
          max: sorted.at(-1)?.toString() ?? undefined,
          nulls: BigInt(cities.length - present.length),
        })
      }),
      100,
    )
    expect(await boundsOf(await encode(texts, [[['x'.repeat(100), 'y']]]))).toEqual({ min: undefined, max: undefined, nulls: 0n })
  })

  it('compares text as its UTF-8 bytes compare', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
        expect(Math.sign(compareCodePoints(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)))
      }),
      { seed: testSeed(), numRuns: 2_000 },
    )
  })

  it.each<[ParquetType, unknown]>([
    ['int64', '1'],
    ['int64', 2 ** 53],
    ['int64', 1.5],
    ['int64', Number.NaN],
    ['int64', 2n ** 63n],
    ['int64', -(2n ** 63n) - 1n],
    ['int64', null],
    ['int64', undefined],
    ['int64', true],
    ['int32', 2 ** 31],
    ['int32', 1n],
    ['int32', '7'],
    ['int32', Number.POSITIVE_INFINITY],
    ['text', 1],
    ['text', 'lone \ud800 surrogate'],
    ['text', '\udc00'],
    ['text', Buffer.from('bytes')],
    ['bytes', 'text'],
    ['bytes', [1, 2]],
    ['boolean', 1],
    ['boolean', 'true'],
    ['date', '2024-01-01'],
    ['date', new Date(0)],
    ['date', 0.5],
    ['timestamp', 1n],
    ['timestamp', 0.5],
    ['timestamp', new Date(0)],
  ])('refuses in a column of %s the value %s', async (type, value) => {
    const good = fromNumber(type, 1)
    const group = [[good, value, good]] as unknown as readonly ParquetValues[]
    const failure = encode([{ name: 'price', type, nullable: false }], [group])
    await expect(failure).rejects.toBeInstanceOf(InvalidRequestError)
    await expect(failure).rejects.toThrow(/"price".*row 1 /)
  })

  it('refuses a table without rows', async () => {
    const ids: readonly ParquetColumn[] = [{ name: 'id', type: 'int64', nullable: false }]
    await expect(encode(ids, [])).rejects.toBeInstanceOf(InvalidRequestError)
  })

  it.each<[string, readonly ParquetColumn[], readonly ParquetValues[]]>([
    ['columns of different lengths', columns.slice(0, 2), [[1, 2], [1]]],
    ['a column too few', columns.slice(0, 2), [[1]]],
    ['an empty row group', columns.slice(0, 1), [[]]],
    ['no columns', [], [[1]]],
    ['two columns of one name', [columns[0]!, columns[0]!], [[1], [1]]],
    ['a name that SQL would not read', [{ name: 'a b', type: 'int64', nullable: false }], [[1]]],
  ])('treats %s as a mistake of ours', async (_, table, group) => {
    await expect(encode(table, [group])).rejects.toThrow(expect.objectContaining({ name: 'AssertionError' }))
  })

  it('passes on the failure of its source', async () => {
    const failure = new Error('the log went away')
    async function* groups(): AsyncGenerator<readonly ParquetValues[]> {
      yield [[1]]
      throw failure
    }
    await expect(encode([{ name: 'id', type: 'int64', nullable: false }], groups())).rejects.toBe(failure)
  })

  it('refuses a file torn at any byte', async () => {
    const bytes = await encode(columns.slice(0, 4), [[[1, 2, 3], [null, 5, 6], [1, 2, 3], [null, null, 1]]])
    expect(await parquetCodec.rowCount(fileOf(bytes))).toBe(3)
    for (let length = 0; length < bytes.length; length++) {
      await expect(parquetCodec.rowCount(fileOf(bytes.subarray(0, length))), `${length} bytes`).rejects.toBeInstanceOf(CorruptError)
    }
    await expect(parquetCodec.rowCount(fileOf(Buffer.alloc(4_096)))).rejects.toBeInstanceOf(CorruptError)
    await expect(parquetCodec.rowCount(fileOf(Buffer.from('PAR1PAR1')))).rejects.toBeInstanceOf(CorruptError)
  })

  it('refuses a file that lost a block in the middle', async () => {
    const bytes = await encode([{ name: 'id', type: 'int64', nullable: false }], [[Array.from({ length: 10_000 }, (_, row) => row)]])
    for (const at of [4, 1_000, 20_000]) {
      const pieces = [bytes.subarray(0, at), bytes.subarray(at + 4_096)]
      await expect(parquetCodec.rowCount(fileOf(Buffer.concat(pieces)))).rejects.toBeInstanceOf(CorruptError)
    }
  })

  it('never counts wrong where a byte of the footer was changed', async () => {
    const bytes = await encode(columns.slice(0, 4), [[[1, 2, 3], [null, 5, 6], [1, 2, 3], [null, null, 1]]])
    const footerBytes = bytes.readUInt32LE(bytes.length - 8)
    await checkProperty(
      fc.asyncProperty(fc.integer({ min: 1, max: footerBytes + 8 }), fc.integer({ min: 1, max: 255 }), async (fromEnd, flip) => {
        const changed = Buffer.from(bytes)
        changed[changed.length - fromEnd]! ^= flip
        const counted = await parquetCodec.rowCount(fileOf(changed)).catch((error: unknown) => error)
        if (counted !== 3) expect(counted).toBeInstanceOf(CorruptError)
      }),
      400,
    )
  })

  async function readWithDuckDb(bytes: Buffer, table: readonly ParquetColumn[]): Promise<unknown[][]> {
    const path = join(folder, 'read.parquet')
    await writeFile(path, bytes)
    // Its package decodes text with a TextDecoder that drops a byte order mark, so text is fetched as bytes.
    const names = table.map(({ name, type }) => (type === 'text' ? `encode("${name}")` : `"${name}"`)).join(', ')
    const read = await connection.runAndReadAll(`SELECT ${names} FROM read_parquet('${path}')`)
    return read.getColumns().map((values, index) => values.map((value) => fromDuckDb(table[index]!.type, value)))
  }
})

async function encode(table: readonly ParquetColumn[], groups: Parameters<typeof parquetCodec.encode>[1]): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of parquetCodec.encode(table, groups)) parts.push(part)
  return Buffer.concat(parts)
}

function fileOf(bytes: Buffer): LakeFile {
  return { path: 'a/b.parquet', bytes: bytes.length, read: async (from, to) => bytes.subarray(from, to) }
}

async function readWithHyparquet(bytes: Buffer, table: readonly ParquetColumn[]): Promise<unknown[][]> {
  // The library's own text decoder drops a byte order mark.
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true })
  const rows = await parquetReadObjects({
    file: arrayBufferOf(bytes),
    utf8: false,
    parsers: { stringFromBytes: (value: Uint8Array) => decoder.decode(value) },
  })
  return table.map(({ name, type }) => rows.map((row) => fromHyparquet(type, row[name])))
}

async function boundsOf(bytes: Buffer): Promise<unknown> {
  const statistics = parquetMetadata(arrayBufferOf(bytes)).row_groups[0]!.columns[0]!.meta_data!.statistics!
  return { min: statistics.min_value, max: statistics.max_value, nulls: statistics.null_count }
}

function arrayBufferOf(bytes: Buffer): ArrayBuffer {
  return new Uint8Array(bytes).buffer
}

/** One form of each value for all three sides: bigint for numbers, hexadecimal text for bytes. */
function canonical(type: ParquetType, value: ParquetValues[number]): unknown {
  if (value === null) return null
  if (type === 'bytes') return Buffer.from(value as Uint8Array).toString('hex')
  return typeof value === 'number' ? BigInt(value) : value
}

function fromDuckDb(type: ParquetType, value: DuckDBValue): unknown {
  if (value instanceof DuckDBDateValue) return BigInt(value.days)
  if (value instanceof DuckDBTimestampValue) return value.micros % 1_000n === 0n ? value.micros / 1_000n : value
  if (value instanceof DuckDBBlobValue) return Buffer.from(value.bytes).toString(type === 'text' ? 'utf8' : 'hex')
  return typeof value === 'number' ? BigInt(value) : value
}

function fromHyparquet(type: ParquetType, value: unknown): unknown {
  if (value === null || value === undefined) return null
  if (value instanceof Date) return BigInt(type === 'date' ? value.getTime() / 86_400_000 : value.getTime())
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  return typeof value === 'number' ? BigInt(value) : value
}

function fromNumber(type: ParquetType, value: number): ParquetValues[number] {
  if (type === 'text') return `value ${value}`
  if (type === 'bytes') return Buffer.from(String(value))
  return type === 'boolean' ? value % 2 === 0 : value
}

function firstDifference(actual: readonly unknown[], expected: readonly unknown[]): string | null {
  const length = Math.max(actual.length, expected.length)
  for (let index = 0; index < length; index++) {
    if (!Object.is(actual[index], expected[index])) return `row ${index}: ${String(actual[index])} instead of ${String(expected[index])}`
  }
  return null
}
