/** What every query engine must do over its lake, as a suite over its adapters. The SQL is the part that DuckDB and Trino share. */
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CorruptError, InvalidRequestError, TidemarkError, UnavailableError } from '#core/errors.ts'
import type { Lake, LakeVerify, ParquetColumn, ParquetValues, QueryEngine, QueryValue } from '#core/ports.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { pathsOf } from './lake-contract.ts'
import { checkProperty } from './seeded-property.ts'

export type QueryEngineUnderTest = AsyncDisposable & {
  /** An empty lake. */
  readonly lake: Lake
  readonly engine: QueryEngine
  /** Takes the engine away for the rest of the test. */
  breakDown(): Promise<void>
}

type Row = readonly (number | bigint | string | boolean | null)[]

const columns: readonly ParquetColumn[] = [
  { name: 'id', type: 'int64', nullable: false },
  { name: 'city', type: 'text', nullable: true },
  { name: 'cents', type: 'int64', nullable: true },
  { name: 'quantity', type: 'int32', nullable: true },
  { name: 'sold', type: 'date', nullable: true },
  { name: 'late', type: 'boolean', nullable: true },
]

/** Days from 1970-01-01, counted without the code under test. */
const days = { '0001-01-01': -719_162, '1969-12-30': -2, '1969-12-31': -1, '1970-01-01': 0, '2024-02-29': 19_782, '9999-12-31': 2_932_896 }

/** Each predicate is a scan of its own, and an engine may refuse a query of too many. */
const predicatesPerQuery = 40

/** `predicateRounds`: random tables to try every predicate on; an engine behind a network takes a second or more for each. */
export function testQueryEngine(name: string, open: () => Promise<QueryEngineUnderTest>, predicateRounds = 25): void {
  describe(`query engine: ${name}`, () => {
    let subject: QueryEngineUnderTest
    let engine: QueryEngine
    let lake: Lake

    beforeEach(async () => {
      subject = await open()
      engine = subject.engine
      lake = subject.lake
    })
    afterEach(async () => {
      await subject[Symbol.asyncDispose]()
    })

    it('returns every type exactly', async () => {
      const int64s = [0n, -1n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n)]
      const cities = ['', 'London', 'Zürich', "O'Brien \"quoted\" \\ \n", '\u{fffd}', '\u{feff}\u{10000}']
      const sold = Object.values(days)
      const rows = int64s.map((cents, index): Row => [index, cities[index]!, cents, index - 3, sold[index]!, index % 2 === 0])
      await putTable(lake, 't/a.parquet', [[...rows, [6, null, null, null, null, null]]])
      await engine.attach('sales', ['t/a.parquet'], columns)
      const dates = Object.keys(days)
      expect(await rowsOf(engine, 'SELECT id, city, cents, quantity, sold, late FROM sales ORDER BY id')).toEqual([
        ...int64s.map((cents, index) => [BigInt(index), cities[index], cents, BigInt(index - 3), dates[index], index % 2 === 0]),
        [6n, null, null, null, null, null],
      ])
    })

    it('names the columns of its rows', async () => {
      await putTable(lake, 't/a.parquet', [[sale(1)]])
      await engine.attach('sales', ['t/a.parquet'], columns)
      for await (const { columns: names } of engine.query('SELECT city AS place, count(*) AS n FROM sales GROUP BY city')) {
        expect(names).toEqual(['place', 'n'])
      }
    })

    it('reads exactly the files attached, and others after a second attach', async () => {
      await putTable(lake, 'm/logged=2025-03/a.parquet', [[sale(1), sale(2)]])
      await putTable(lake, 'm/logged=2025-04/b.parquet', [[sale(3)]])
      await putTable(lake, 'm/logged=2025-04/c.parquet', [[sale(4)]])
      const ids = 'SELECT id FROM sales ORDER BY id'
      await engine.attach('sales', ['m/logged=2025-03/a.parquet', 'm/logged=2025-04/b.parquet'], columns)
      expect(await rowsOf(engine, ids)).toEqual([[1n], [2n], [3n]])
      expect(await rowsOf(engine, 'SELECT count(*) FROM sales')).toEqual([[3n]])
      await engine.attach('sales', ['m/logged=2025-04/c.parquet'], columns)
      await engine.attach('sales', ['m/logged=2025-04/c.parquet'], columns)
      expect(await rowsOf(engine, ids)).toEqual([[4n]])
      await engine.attach('other', ['m/logged=2025-03/a.parquet'], columns)
      expect(await rowsOf(engine, 'SELECT count(*) FROM sales CROSS JOIN other')).toEqual([[2n]])
    })

    it('attaches no files as an empty table with all its columns', async () => {
      await engine.attach('sales', [], columns)
      expect(await rowsOf(engine, 'SELECT id, city, cents, quantity, sold, late FROM sales')).toEqual([])
      expect(await rowsOf(engine, "SELECT count(*), CAST(sum(cents) AS bigint) FROM sales WHERE sold >= DATE '2024-01-01' AND city < 'M'")).toEqual([[0n, null]])
      await putTable(lake, 't/a.parquet', [[sale(1)]])
      await engine.attach('sales', ['t/a.parquet'], columns)
      expect(await rowsOf(engine, 'SELECT count(*) FROM sales')).toEqual([[1n]])
      await engine.attach('sales', [], columns)
      expect(await rowsOf(engine, 'SELECT count(*) FROM sales')).toEqual([[0n]])
    })

    it('forgets a table that was detached', async () => {
      await engine.attach('sales', [], columns)
      await engine.detach('sales')
      await engine.detach('sales')
      await expect(rowsOf(engine, 'SELECT count(*) FROM sales')).rejects.toBeInstanceOf(TidemarkError)
    })

    it('keeps many rows, in the order asked for', async () => {
      const rows = Array.from({ length: 30_000 }, (_, index) => sale((index * 7_919) % 30_000))
      await putTable(lake, 't/a.parquet', [rows.slice(0, 10_000), rows.slice(10_000)])
      await engine.attach('sales', ['t/a.parquet'], columns)
      const ids = await rowsOf(engine, 'SELECT id FROM sales ORDER BY id DESC')
      expect(ids).toHaveLength(30_000)
      expect(ids.every(([id], index) => id === BigInt(29_999 - index))).toBe(true)
    })

    it('throws where a query fails half-way, and never ends the rows early', async () => {
      const rows = Array.from({ length: 30_000 }, (_, index): Row => [index, index === 29_000 ? 'x' : '1', 1, 1, 0, true])
      await putTable(lake, 't/a.parquet', [rows])
      await engine.attach('sales', ['t/a.parquet'], columns)
      await expect(rowsOf(engine, 'SELECT CAST(city AS bigint) FROM sales')).rejects.toBeInstanceOf(TidemarkError)
    })

    it.each([
      ['a syntax error', 'SELEC 1'],
      ['an unknown table', 'SELECT * FROM nothing_of_that_name'],
      ['an unknown column', 'SELECT nothing FROM sales'],
      ['two statements', 'SELECT 1; SELECT 2'],
      ['no SELECT', 'DROP VIEW sales'],
      ['nothing', ''],
    ])('calls %s a mistake that repeating does not mend', async (_, select) => {
      await engine.attach('sales', [], columns)
      const failure = await rowsOf(engine, select).catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(InvalidRequestError)
      expect(await rowsOf(engine, 'SELECT count(*) FROM sales')).toEqual([[0n]])
    })

    it('refuses floating-point results, naming the column', async () => {
      await engine.attach('sales', [], columns)
      const failure = rowsOf(engine, 'SELECT CAST(cents AS double) AS average FROM sales')
      await expect(failure).rejects.toBeInstanceOf(InvalidRequestError)
      await expect(failure).rejects.toThrow('average')
    })

    it('names a file that is missing', async () => {
      await putTable(lake, 't/a.parquet', [[sale(1)]])
      await putTable(lake, 't/gone.parquet', [[sale(2)]])
      await engine.attach('sales', ['t/a.parquet', 't/gone.parquet'], columns)
      await lake.remove('t/gone.parquet')
      const failure = rowsOf(engine, 'SELECT id FROM sales')
      await expect(failure).rejects.toBeInstanceOf(CorruptError)
      await expect(failure).rejects.toThrow('gone.parquet')
    })

    it('refuses a file that is torn, and one with damaged pages', async () => {
      const whole = await encodeTable([Array.from({ length: 30_000 }, (_, index) => sale(index))])
      const damaged = Buffer.from(whole)
      damaged.fill(0xa5, whole.length >> 1, (whole.length >> 1) + 4_000)
      await putTable(lake, 't/a.parquet', [[sale(1)]])
      await lake.put('t/torn.parquet', once(whole.subarray(0, whole.length - 200)), async () => {})
      await lake.put('t/damaged.parquet', once(damaged), async () => {})
      for (const path of ['t/torn.parquet', 't/damaged.parquet']) {
        const reading = async (): Promise<unknown> => {
          await engine.attach('sales', ['t/a.parquet', path], columns)
          return rowsOf(engine, 'SELECT * FROM sales')
        }
        await expect(reading()).rejects.toBeInstanceOf(CorruptError)
      }
    })

    it('goes on after rows that nobody read to the end', async () => {
      await putTable(lake, 't/a.parquet', [Array.from({ length: 20_000 }, (_, index) => sale(index))])
      await engine.attach('sales', ['t/a.parquet'], columns)
      for await (const { rows } of engine.query('SELECT id FROM sales')) {
        expect(rows.length).toBeGreaterThan(0)
        break
      }
      expect(await rowsOf(engine, 'SELECT count(*) FROM sales')).toEqual([[20_000n]])
    })

    it('answers several queries at once', async () => {
      await putTable(lake, 't/a.parquet', [Array.from({ length: 5_000 }, (_, index) => sale(index))])
      await engine.attach('sales', ['t/a.parquet'], columns)
      const answers = await Promise.all(Array.from({ length: 6 }, (_, index) => rowsOf(engine, `SELECT id FROM sales WHERE id < ${index * 800}`)))
      expect(answers.map((rows) => rows.length)).toEqual([0, 800, 1_600, 2_400, 3_200, 4_000])
      await Promise.all(['a', 'b', 'c', 'd'].map((table) => engine.attach(table, ['t/a.parquet'], columns)))
      expect(await rowsOf(engine, 'SELECT count(*) FROM d')).toEqual([[5_000n]])
    })

    it('materializes what a query would have returned', async () => {
      await putTable(lake, 't/a.parquet', [[sale(1), sale(2), sale(3), [4, null, -(2n ** 63n), null, -719_162, null]]])
      await engine.attach('sales', ['t/a.parquet'], columns)
      const select = 'SELECT id, city, cents, quantity, sold, late FROM sales WHERE id > 1 -- a comment at the end'
      const paths = await engine.materialize(select, 'batches/7/sales')
      expect(paths.length).toBeGreaterThan(0)
      expect([...paths].sort()).toEqual(await pathsOf(lake, 'batches'))
      for (const path of paths) expect(path).toMatch(/^batches\/7\/sales\/[^_.]/)
      await engine.attach('copied', paths, columns)
      const order = 'ORDER BY id'
      expect(await rowsOf(engine, `SELECT * FROM copied ${order}`)).toEqual(await rowsOf(engine, `SELECT * FROM sales WHERE id > 1 ${order}`))
      let counted = 0
      for (const path of paths) counted += await parquetCodec.rowCount(await lake.get(path))
      expect(counted).toBe(3)
    })

    it('materializes no rows as no files', async () => {
      await engine.attach('sales', [], columns)
      const paths = await engine.materialize('SELECT * FROM sales', 'batches/8/sales')
      expect(paths).toEqual([])
      await engine.attach('copied', paths, columns)
      expect(await rowsOf(engine, 'SELECT count(*) FROM copied')).toEqual([[0n]])
    })

    it('materializes twice into one place without replacing', async () => {
      await putTable(lake, 't/a.parquet', [[sale(1)]])
      await engine.attach('sales', ['t/a.parquet'], columns)
      const first = await engine.materialize('SELECT * FROM sales', 'batches/9/sales')
      const second = await engine.materialize('SELECT * FROM sales', 'batches/9/sales')
      await engine.attach('copies', [...first, ...second], columns)
      expect(await rowsOf(engine, 'SELECT count(*) FROM copies')).toEqual([[2n]])
    })

    it.each([
      ['bad SQL', 'SELECT nothing FROM sales', InvalidRequestError],
      ['a value that fails at the end', 'SELECT CAST(city AS bigint) AS n FROM sales', TidemarkError],
      ['a floating-point column', 'SELECT CAST(cents AS double) AS n FROM sales', InvalidRequestError],
    ])('leaves nothing that a reader finds after %s', async (_, select, kind) => {
      const rows = Array.from({ length: 30_000 }, (_unused, index): Row => [index, index === 29_000 ? 'x' : '1', 1, 1, 0, true])
      await putTable(lake, 't/a.parquet', [rows])
      await engine.attach('sales', ['t/a.parquet'], columns)
      await expect(engine.materialize(select, 'batches/1/sales')).rejects.toBeInstanceOf(kind)
      expect(await pathsOf(lake, 'batches')).toEqual([])
    })

    it('sums beyond 2^53 exactly', async () => {
      const rows = Array.from({ length: 100 }, (_, index): Row => [index, 'a', 2n ** 55n + 1n, 1, 0, true])
      await putTable(lake, 't/a.parquet', [rows])
      await engine.attach('sales', ['t/a.parquet'], columns)
      expect(await rowsOf(engine, 'SELECT CAST(sum(cents) AS bigint) FROM sales')).toEqual([[(2n ** 55n + 1n) * 100n]])
    })

    it('answers every predicate as reading every row would', async () => {
      const unit = fc.constantFrom('a', 'é', '\u{d7ff}', '\u{feff}', '\u{e000}', '\u{fffd}', '\u{ffff}', '\u{10000}', '\u{10ffff}')
      const city = fc.array(unit, { minLength: 1, maxLength: 2 }).map((units) => units.join(''))
      const cents = fc.oneof(fc.bigInt({ min: -3n, max: 3n }), fc.constantFrom(2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n))
      const row = fc.tuple(
        fc.nat(5),
        fc.option(city),
        fc.option(cents),
        fc.option(fc.integer({ min: -2, max: 2 })),
        fc.option(fc.integer({ min: -2, max: 1 })),
        fc.option(fc.boolean()),
      )
      const groups = fc.array(fc.array(row, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 4 })
      let round = 0
      await checkProperty(
        fc.asyncProperty(groups, async (rowGroups) => {
          const path = `round${round++}/a.parquet`
          await putTable(lake, path, rowGroups)
          await engine.attach('sales', [path], columns)
          const predicates = predicatesOf(rowGroups.flat())
          // The predicate stands in WHERE, where wrong statistics would skip row groups; the count expected is taken row by row.
          const selects = predicates.map(({ sql }, index) => `SELECT ${index} AS n, count(*) AS c FROM sales WHERE ${sql}`)
          const answered: (readonly QueryValue[])[] = []
          for (let from = 0; from < selects.length; from += predicatesPerQuery) {
            answered.push(...(await rowsOf(engine, `${selects.slice(from, from + predicatesPerQuery).join(' UNION ALL ')} ORDER BY n`)))
          }
          const expected = predicates.map(({ matches }, index) => [BigInt(index), BigInt(rowGroups.flat().filter(matches).length)])
          expect(answered).toEqual(expected)
        }),
        predicateRounds,
      )
    })

    it('says unavailable while it is away', async () => {
      await engine.attach('sales', [], columns)
      await subject.breakDown()
      await expect(rowsOf(engine, 'SELECT count(*) FROM sales')).rejects.toBeInstanceOf(UnavailableError)
      await expect(engine.attach('other', [], columns)).rejects.toBeInstanceOf(UnavailableError)
      await expect(engine.detach('sales')).rejects.toBeInstanceOf(UnavailableError)
      await expect(engine.materialize('SELECT 1 AS n', 'batches/1')).rejects.toBeInstanceOf(UnavailableError)
    })
  })
}

/** Comparisons of each column with each of its values, with what they mean for one row. NULL matches none. */
function predicatesOf(rows: readonly Row[]): { sql: string; matches: (row: Row) => boolean }[] {
  const operators: readonly [string, (order: number) => boolean][] = [
    ['=', (order) => order === 0],
    ['<', (order) => order < 0],
    ['>=', (order) => order >= 0],
  ]
  return columns.flatMap(({ name, type }, index) => {
    const values = new Set(rows.map((row) => row[index]!).filter((value) => value !== null))
    const compared = [...values].flatMap((value) =>
      operators.map(([operator, holds]) => ({
        sql: `${name} ${operator} ${literal(type, value)}`,
        matches: (row: Row) => row[index] !== null && holds(compareValues(row[index]!, value)),
      })),
    )
    return [...compared, { sql: `${name} IS NULL`, matches: (row: Row) => row[index] === null }]
  })
}

function literal(type: ParquetColumn['type'], value: NonNullable<Row[number]>): string {
  if (type === 'text') return `'${String(value).replaceAll("'", "''")}'`
  if (type === 'date') return `DATE '${new Date(Number(value) * 86_400_000).toISOString().slice(0, 10)}'`
  return String(value)
}

/** By UTF-8 bytes, as SQL with binary collation compares text. */
function compareValues(a: NonNullable<Row[number]>, b: NonNullable<Row[number]>): number {
  if (typeof a === 'string' && typeof b === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b))
  return a < b ? -1 : a > b ? 1 : 0
}

function sale(id: number): Row {
  return [id, `city ${id % 7}`, id * 100, id % 3, 20_000 + (id % 30), id % 11 === 0]
}

async function encodeTable(rowGroups: readonly (readonly Row[])[]): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of parquetCodec.encode(columns, rowGroups.map(transpose))) parts.push(part)
  return Buffer.concat(parts)
}

async function putTable(lake: Lake, path: string, rowGroups: readonly (readonly Row[])[]): Promise<void> {
  const rows = rowGroups.reduce((sum, group) => sum + group.length, 0)
  const verify: LakeVerify = async (file) => {
    expect(await parquetCodec.rowCount(file)).toBe(rows)
  }
  await lake.put(path, once(await encodeTable(rowGroups)), verify)
}

function transpose(rows: readonly Row[]): ParquetValues[] {
  return columns.map((_, index) => rows.map((row) => row[index]!))
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

async function rowsOf(engine: QueryEngine, select: string): Promise<readonly (readonly QueryValue[])[]> {
  const all: (readonly QueryValue[])[] = []
  for await (const { rows } of engine.query(select)) all.push(...rows)
  return all
}
