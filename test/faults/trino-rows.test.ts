/** Rows L5, L10 and L13 to L15 of the fault catalogue where the lake is HDFS and the query engine Trino, with a proxy between where something must break. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { archiveColumns } from '#batch/archive-columns.ts'
import { repairArchive } from '#batch/archive.ts'
import { CorruptError, UnavailableError } from '#core/errors.ts'
import type { TidemarkError } from '#core/errors.ts'
import type { ParquetColumn, ParquetValues, QueryEngine } from '#core/ports.ts'
import { openDiskLake } from '#engines/disk-lake.ts'
import { openDuckDb } from '#engines/duckdb.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { openTrino } from '#engines/trino.ts'
import { readPointer } from '#store/batches.ts'
import type { TestLake } from '#test/contract/trino-lake.ts'
import { openTestLake, testTrinoUrl } from '#test/contract/trino-lake.ts'
import { testEngine, whereMissing } from '#test/engines.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { checkExact } from '#test/lab/merged.ts'
import { seededRandom } from '#test/lab/random.ts'
import { countAll, registeredFiles } from './lake-steps.ts'
import { batchOptionsOf, isWhole, plainSales, runBatchWith } from './setup.ts'
import type { Page } from './trino-proxy.ts'
import { TrinoProxy } from './trino-proxy.ts'

const skip = testEngine('trino') === null || testEngine('hdfs') === null
const limits = { requestTimeoutMs: 20_000, queryTimeoutMs: 60_000, retryBudgetMs: 5_000 }

describe(`on a real HDFS and Trino${whereMissing('trino', 'hdfs')}`, { skip }, () => {
  let lab: Lab
  let opened: TestLake
  let proxy: TrinoProxy
  let engine: QueryEngine

  beforeAll(async () => {
    lab = await openLab()
  })
  afterAll(async () => lab[Symbol.asyncDispose]())
  beforeEach(async () => {
    await lab.clear()
    opened = await openTestLake()
    proxy = await TrinoProxy.open(testEngine('trino')!)
    engine = await openTrino({ url: testTrinoUrl(proxy.host), lake: opened.lake, limits })
  })
  afterEach(async () => {
    proxy.faults = {}
    await engine[Symbol.asyncDispose]()
    await proxy[Symbol.asyncDispose]()
    await opened[Symbol.asyncDispose]()
  })

  const batch = (full = false) => runBatchWith(lab, { lake: opened.lake, engine, full })

  async function published(): Promise<number> {
    return (await readPointer(lab.database.pool)).batch
  }

  /** A published batch, and more that is counted and waits for the next. */
  async function serve(): Promise<number> {
    await lab.append(plainSales(lab, 60, 'a'))
    await countAll(lab)
    expect((await batch()).crossCheck.summary.result).toBe('exact')
    await lab.append(plainSales(lab, 90, 'b'))
    await countAll(lab)
    return published()
  }

  /** The batch fails so, and the one before goes on serving. */
  async function expectRefused(kind: typeof UnavailableError | typeof CorruptError, message: RegExp, full = false): Promise<void> {
    const serving = await published()
    const failure: unknown = await batch(full).catch((thrown: unknown) => thrown)
    expect(failure).toBeInstanceOf(kind)
    expect(JSON.stringify([(failure as TidemarkError).message, (failure as TidemarkError).details])).toMatch(message)
    expect(await published()).toBe(serving)
    await checkExact(lab)
  }

  async function expectServesAgain(): Promise<void> {
    const serving = await published()
    expect((await batch(true)).crossCheck.summary.result).toBe('exact')
    expect(await published()).toBeGreaterThan(serving)
    await checkExact(lab)
  }

  test('L5 half a file on HDFS under a registered name: the batch refuses, names it, and the version before goes on serving', async () => {
    await serve()
    const victim = (await registeredFiles(lab))[1]!
    const file = await opened.lake.get(victim.path)
    const whole = Buffer.from(await file.read(0, file.bytes))
    const scratched = Buffer.from(whole).fill(0xa5, 200, 600)
    // Cut; of the right length with other data, with a broken footer, with damaged pages.
    const damaged = [whole.subarray(0, whole.length / 2), Buffer.concat([Buffer.alloc(whole.length / 2), whole.subarray(whole.length / 2)]), Buffer.concat([whole.subarray(0, -8), Buffer.alloc(8)]), scratched]
    for (const bytes of damaged) {
      await opened.lake.remove(victim.path)
      await opened.lake.put(victim.path, Readable.from([bytes]), async () => {})
      await expectRefused(CorruptError, new RegExp(victim.path.replaceAll(/[+.]/g, '\\$&')), true)
    }
    expect(await repairArchive({ ...batchOptionsOf(lab), lake: opened.lake, engine, fileOffsetsMax: 50 }, Number.MAX_SAFE_INTEGER)).toHaveLength(1)
    await expectServesAgain()
  })

  test('L10 values that set traps for statistics: every predicate on every column returns what the full scan does, by Trino and by DuckDB', async () => {
    const rowGroups = extremeRows()
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-l10-'))
    const disk = await openDiskLake({ root: folder })
    const duckDb = await openDuckDb({ lake: disk })
    try {
      for (const lake of [opened.lake, disk]) await lake.put('t/a.parquet', parquetCodec.encode(archiveColumns, rowGroups), async () => {})
      for (const one of [engine, duckDb]) await one.attach('events', ['t/a.parquet'], archiveColumns)
      const predicates = archiveColumns.flatMap((column, index) => predicatesOf(column, index, rowGroups.flatMap((group) => group[index]!)))
      expect(predicates.length).toBeGreaterThan(200)
      for (const one of [engine, duckDb]) {
        // A few at a time: one query of many scans costs Trino more than twice as much.
        await Promise.all(Array.from({ length: 4 }, (_, first) => expectAll(one, predicates.filter((_unused, n) => n % 4 === first))))
      }
      const codec = (value: string | number) => parquetCodec.encode([{ name: 'n', type: 'int64', nullable: true }], [[[value]]])[Symbol.asyncIterator]().next()
      await expect(codec('1')).rejects.toThrow()
      await expect(codec(Number.NaN)).rejects.toThrow()
    } finally {
      await duckDb[Symbol.asyncDispose]()
      await rm(folder, { recursive: true })
    }
  })

  test('L13 Trino fails on the second page of a result: the batch fails, nothing is published, and the version before goes on serving', async () => {
    await serve()
    const views = ['revenue', 'product_sales', 'product_city_sales', 'pace'].length
    for (let at = 1; at <= (isWhole ? views : 2); at++) {
      let pagesWithData = 0
      const error = { message: 'A worker is gone', errorName: 'REMOTE_TASK_ERROR', errorType: 'INTERNAL_ERROR', errorCode: 65_542 }
      proxy.faults.turn = (page, sql) => {
        if (!sql.includes('gross_minor') || page.data === undefined || page.data.length < 2) return page
        if (++pagesWithData < at) return page
        return { ...withoutNext(page), data: [], error, stats: { state: 'FAILED' } }
      }
      await expectRefused(UnavailableError, /A worker is gone/)
      expect(pagesWithData).toBe(at)
      // Half of the rows, then the error.
      pagesWithData = 0
      const cut = new Map<string, Page>()
      proxy.faults.turn = (page, sql) => {
        if (!sql.includes('gross_minor')) return page
        if (cut.has(page.id)) return { ...withoutNext(page), data: [], error, stats: { state: 'FAILED' } }
        if (page.data === undefined || page.data.length < 2 || page.nextUri === undefined || ++pagesWithData < at) return page
        cut.set(page.id, page)
        return { ...page, data: page.data.slice(0, page.data.length >> 1) }
      }
      await expectRefused(UnavailableError, /A worker is gone/)
    }
    proxy.faults = {}
    await expectServesAgain()
  })

  test('L14 Trino answers 502, 503 and 504 now and then: the batch goes through, and where it does so always the batch fails cleanly', async () => {
    await serve()
    const random = seededRandom(14)
    proxy.faults.refuse = () => (random.chance(0.25) ? random.pick([502, 503, 504]) : null)
    expect((await batch()).crossCheck.summary.result).toBe('exact')
    expect(proxy.refused).toBeGreaterThan(5)
    await checkExact(lab)
    proxy.faults.refuse = () => 503
    await expectRefused(UnavailableError, /503/, true)
    proxy.faults = {}
    await expectServesAgain()
  })

  test('L14 Trino restarts within a query, which its successor does not know: the batch fails cleanly, and the next one is whole', async () => {
    await serve()
    for (const [index, after] of [4, 12, 25].entries()) {
      const start = proxy.requests
      // What a coordinator that has just started says of another's query.
      proxy.faults.refuse = (method, requests) => (method === 'GET' && requests > start + after ? 404 : null)
      await expectRefused(UnavailableError, /no longer knows/, index > 0)
    }
    proxy.faults = {}
    await expectServesAgain()
  })

  test('L15 a listing of yesterday hides a new file from Trino: the sums differ, and nothing is published', async () => {
    await serve()
    // Known by the files of the failed run: those above the published epoch.
    for (const isHidden of [(sql: string) => sql.includes('VIEW'), (sql: string) => sql.includes('"$path"')]) {
      let hidden = 0
      proxy.faults.rewrite = (sql) => {
        if (!isHidden(sql)) return sql
        const names = /(?<="\$path" IN \()[^)]*/.exec(sql)?.[0].split(', ') ?? []
        const kept = names.filter((name) => !name.includes('+50+'))
        if (kept.length === names.length || kept.length === 0) return sql
        hidden++
        return sql.replace(names.join(', '), kept.join(', '))
      }
      await expectRefused(CorruptError, /other rows|reads \d+ rows of \d+ files that hold/, true)
      expect(hidden).toBeGreaterThan(0)
      // What was checked once is not asked again.
      await engine[Symbol.asyncDispose]()
      engine = await openTrino({ url: testTrinoUrl(proxy.host), lake: opened.lake, limits })
    }
    proxy.faults = {}
    await expectServesAgain()
  })
})

function withoutNext(page: Page): Page {
  const { nextUri: _next, ...rest } = page
  return rest
}

async function rowsOf(engine: QueryEngine, select: string): Promise<unknown[]> {
  const all: unknown[] = []
  for await (const { rows } of engine.query(select)) all.push(...rows)
  return all
}

const extremes: Readonly<Record<ParquetColumn['type'], readonly (number | bigint | string | Uint8Array | boolean)[]>> = {
  int64: [0, -1, 1, 9, 10, 100, 2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n)],
  int32: [0, -1, 9, 10, 100, 2 ** 31 - 1, -(2 ** 31)],
  text: ['', 'a', '9', '10', '\u{7f}', 'é', '\u{d7ff}', '\u{e000}', '\u{feff}', '\u{fffd}', '\u{fffd}x', '\u{ffff}', '\u{10000}', '\u{10ffff}', 'x'.repeat(256), '\u{10000}'.repeat(64)],
  bytes: [Uint8Array.of(), Uint8Array.of(0), Uint8Array.of(0x7f), Uint8Array.of(0x80), Uint8Array.of(0xff, 0), Uint8Array.of(0xff)],
  boolean: [true, false],
  date: [-719_162, -1, 0, 1, 19_782, 2_932_896],
  timestamp: [-62_135_596_800_000, -1, 0, 1, 1_735_569_000_123, 253_402_300_799_999],
}

/** Row groups of a few rows each, so that statistics tell them apart, and each value stands in several beside others. */
function extremeRows(): ParquetValues[][] {
  return Array.from({ length: 16 }, (_, group) =>
    archiveColumns.map(({ type, nullable }, index) => {
      const values = extremes[type]
      const rows = [0, 1, 2].map((row) => values[(group + row * (1 + (index % 3))) % values.length]!)
      return nullable ? [...rows, null] : [...rows, values[group % values.length]!]
    }),
  )
}

type Predicate = { readonly sql: string; readonly matches: number }

/** With each extreme value in the long form, and with a few in the short one, others for each column. */
function predicatesOf({ name, type, nullable }: ParquetColumn, index: number, values: ParquetValues): Predicate[] {
  const all = extremes[type]
  const compared = isWhole ? all : [0, 1, 2].map((n) => all[(index * 3 + n) % all.length]!)
  const isNull = { sql: `${name} IS NULL`, matches: values.filter((value) => value === null).length }
  return [
    ...(nullable ? [isNull] : []),
    ...compared.flatMap((extreme) => [
      { sql: `${name} = ${literal(type, extreme)}`, matches: values.filter((value) => value !== null && compare(value, extreme) === 0).length },
      { sql: `${name} >= ${literal(type, extreme)}`, matches: values.filter((value) => value !== null && compare(value, extreme) >= 0).length },
    ]),
  ]
}

async function expectAll(engine: QueryEngine, predicates: readonly Predicate[]): Promise<void> {
  for (const { sql, matches } of predicates) expect(await rowsOf(engine, `SELECT count(*) FROM events WHERE ${sql}`), sql).toEqual([[BigInt(matches)]])
}

type Value = NonNullable<ParquetValues[number]>

/** Text and bytes by their bytes, as SQL without a collation. */
function compare(a: Value, b: Value): number {
  const isPlain = (value: Value): value is number | bigint | boolean => typeof value !== 'string' && !(value instanceof Uint8Array)
  if (isPlain(a) && isPlain(b)) return a < b ? -1 : a > b ? 1 : 0
  return Buffer.compare(Buffer.from(a as string), Buffer.from(b as string))
}

function literal(type: ParquetColumn['type'], value: Value): string {
  if (type === 'text') return `'${String(value)}'`
  if (type === 'bytes') return `from_hex('${Buffer.from(value as Uint8Array).toString('hex')}')`
  if (type === 'date') return `DATE '${new Date(Number(value) * 86_400_000).toISOString().slice(0, 10)}'`
  if (type === 'timestamp') return `TIMESTAMP '${new Date(Number(value)).toISOString().replace('T', ' ').replace('Z', '')}'`
  if (type === 'int64') return `CAST('${value as bigint}' AS bigint)`
  if (type === 'int32') return `CAST('${value as number}' AS integer)`
  return String(value)
}
