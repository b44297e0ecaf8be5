import { link, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ConfigError, CorruptError, InvalidRequestError, UnavailableError } from '#core/errors.ts'
import type { Lake, ParquetColumn, QueryEngine } from '#core/ports.ts'
import { openDiskLake } from '#engines/disk-lake.ts'
import { translateDuckDbError } from '#engines/duckdb-errors.ts'
import { openDuckDb } from '#engines/duckdb.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { testQueryEngine } from './query-engine-contract.ts'

const columns: readonly ParquetColumn[] = [
  { name: 'id', type: 'int64', nullable: false },
  { name: 'logged', type: 'text', nullable: false },
  { name: 'happened', type: 'timestamp', nullable: true },
  { name: 'original', type: 'bytes', nullable: true },
]

testQueryEngine('DuckDB', async () => {
  const folder = await mkdtemp(join(tmpdir(), process.platform === 'win32' ? "tidemark duck's " : 'tidemark "duck\'s" '))
  const lake = await openDiskLake({ root: join(folder, 'lake') })
  const engine = await openDuckDb({ lake, tempDirectory: join(folder, 'temp') })
  return {
    lake,
    engine,
    breakDown: async () => {
      await engine[Symbol.asyncDispose]()
    },
    [Symbol.asyncDispose]: async () => {
      await engine[Symbol.asyncDispose]()
      await rm(folder, { recursive: true })
    },
  }
})

describe('DuckDB from inside', () => {
  let folder: string
  let lake: Lake
  let engine: QueryEngine

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-duckdb-test-'))
    lake = await openDiskLake({ root: join(folder, 'lake') })
    engine = await openDuckDb({ lake, tempDirectory: join(folder, 'temp'), memoryLimitMb: 64 })
  })
  afterEach(async () => {
    await engine[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  })

  it('takes a column from the file even where the folder is named like it', async () => {
    await put('a/logged=2025-03/x.parquet', [1n], 'from the file')
    await engine.attach('events', ['a/logged=2025-03/x.parquet'], columns)
    expect(await rowsOf('SELECT id, logged, happened, original FROM events')).toEqual([[1n, 'from the file', -1n, '00ff']])
  })

  it('attaches thousands of files', async () => {
    const paths = Array.from({ length: 3_000 }, (_, index) => `many/f${index}.parquet`)
    await put('many/one.parquet', [1n, 2n], 'x')
    // Links stand in for files, whose syncing would take most of the test.
    for (const path of paths) await link(lake.location('many/one.parquet'), lake.location(path))
    await engine.attach('events', paths, columns)
    expect(await rowsOf('SELECT count(*), CAST(sum(id) AS bigint) FROM events')).toEqual([[6_000n, 9_000n]])
  })

  it('refuses files of another shape, naming the column', async () => {
    await put('a.parquet', [1n], 'x')
    const textId: ParquetColumn = { name: 'id', type: 'text', nullable: false }
    const unknown: ParquetColumn = { name: 'city', type: 'text', nullable: true }
    await expect(engine.attach('events', ['a.parquet'], [textId])).rejects.toThrow(CorruptError)
    await expect(engine.attach('events', ['a.parquet'], [unknown])).rejects.toThrow('"city"')
  })

  it('reaches nothing but the lake and its temporary folder', async () => {
    await mkdir(join(folder, 'secret'))
    for (const select of [`SELECT * FROM read_text('${process.execPath}')`, `SELECT * FROM glob('${folder}/secret/*')`, "SELECT * FROM 'https://127.0.0.1/x.parquet'"]) {
      await expect(rowsOf(select)).rejects.toBeInstanceOf(InvalidRequestError)
    }
    for (const select of ["SET threads = 1", "ATTACH ':memory:' AS more", "COPY (SELECT 1 AS n) TO 'x.parquet'", 'INSTALL httpfs', 'LOAD httpfs']) {
      await expect(rowsOf(select)).rejects.toBeInstanceOf(InvalidRequestError)
    }
    await expect(engine.materialize("SELECT 1 AS n) TO 'x.csv'; COPY (SELECT 2 AS n", 'into')).rejects.toBeInstanceOf(InvalidRequestError)
  })

  it('spills what does not fit into its memory, and tidies up', async () => {
    const select = 'SELECT CAST(range AS bigint) AS n, CAST(hash(range) AS varchar) AS text FROM range(1500000) ORDER BY text DESC'
    let rows = 0
    let last = '~'
    for await (const batch of engine.query(select)) {
      rows += batch.rows.length
      for (const [, text] of batch.rows) {
        if (typeof text !== 'string' || text > last) throw new Error(`${String(text)} came after ${last}`)
        last = text
      }
    }
    expect(rows).toBe(1_500_000)
    await engine[Symbol.asyncDispose]()
    expect(await readdir(join(folder, 'temp'))).toEqual([])
  })

  it('says unavailable where the memory limit is too small', async () => {
    const failure = rowsOf("SELECT length(string_agg(CAST(hash(range) AS varchar), ',')) AS n FROM range(20000000)")
    await expect(failure).rejects.toBeInstanceOf(UnavailableError)
    await expect(failure).rejects.toThrow('memoryLimitMb')
  })

  it('closes promptly while a query runs, and ends no rows early', async () => {
    const endless = rowsOf('SELECT count(*) FROM range(10000000) a CROSS JOIN range(10000000) b WHERE (a.range * b.range) % 7 = 8')
    const failure = endless.catch((error: unknown) => error)
    const reader = engine.query('SELECT range AS n FROM range(100000)')[Symbol.asyncIterator]()
    expect((await reader.next()).done).toBe(false)
    const start = performance.now()
    await engine[Symbol.asyncDispose]()
    expect(performance.now() - start).toBeLessThan(10_000)
    expect(await failure).toBeInstanceOf(UnavailableError)
    await expect(reader.next()).rejects.toBeInstanceOf(UnavailableError)
    await engine[Symbol.asyncDispose]()
  })

  it('returns columns that have one name, or none of their own', async () => {
    expect(await rowsOf(`SELECT 'a' AS x, 'b' AS x, 1 AS "X", 'c' || 'd', NULL, 'e' AS "say ""x"""`)).toEqual([['a', 'b', 1n, 'cd', null, 'e']])
  })

  it('refuses a lake whose folder reads like a search', async () => {
    const globbed = await openDiskLake({ root: join(folder, 'lake [2025]') })
    await expect(openDuckDb({ lake: globbed })).rejects.toBeInstanceOf(ConfigError)
  })

  it.each(['no name', 'a"b', '', '1a'])('refuses the table name %j', async (table) => {
    await expect(engine.attach(table, [], columns)).rejects.toBeInstanceOf(InvalidRequestError)
    await expect(engine.detach(table)).rejects.toBeInstanceOf(InvalidRequestError)
  })

  it.each([
    ['IO Error: No files found that match the pattern "/a "b"/c.parquet"\n\nLINE 1: …', CorruptError, '/a "b"/c.parquet'],
    ['IO Error: Could not write to file: No space left on device', UnavailableError, 'free space'],
    ['Out of Memory Error: could not allocate block of size 256.0 KiB', UnavailableError, 'memoryLimitMb'],
    ['Invalid Input Error: No magic bytes found at end of file \'/x.parquet\'', CorruptError, '/x.parquet'],
    ['Binder Error: Referenced column "x" not found', InvalidRequestError, 'correct the SQL'],
    ['INTERNAL Error: something of its own', UnavailableError, 'something of its own'],
  ])('translates %j', (message, kind, text) => {
    const error = translateDuckDbError('run the query', new Error(message))
    expect(error).toBeInstanceOf(kind)
    expect(error.message).toContain(text)
  })

  async function put(path: string, ids: readonly bigint[], logged: string): Promise<void> {
    const group = [ids, ids.map(() => logged), ids.map(() => -1), ids.map(() => Uint8Array.of(0, 255))]
    await lake.put(path, parquetCodec.encode(columns, [group]), async () => {})
  }

  async function rowsOf(select: string): Promise<unknown[]> {
    const all: unknown[] = []
    for await (const { rows } of engine.query(select)) all.push(...rows)
    return all
  }
})
