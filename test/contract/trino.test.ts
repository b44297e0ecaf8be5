import { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ConfigError, CorruptError, InvalidRequestError, UnavailableError } from '#core/errors.ts'
import type { Lake, ParquetColumn, ParquetValues, QueryEngine } from '#core/ports.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { openTrino } from '#engines/trino.ts'
import { testEngine, whereMissing } from '../engines.ts'
import { testQueryEngine } from './query-engine-contract.ts'
import type { QueryEngineUnderTest } from './query-engine-contract.ts'
import { openTestLake, runOnTrino, testTrinoUrl } from './trino-lake.ts'
import type { TestLake } from './trino-lake.ts'

const predicateRounds = 4

const columns: readonly ParquetColumn[] = [
  { name: 'id', type: 'int64', nullable: false },
  { name: 'logged', type: 'text', nullable: false },
  { name: 'happened', type: 'timestamp', nullable: true },
  { name: 'original', type: 'bytes', nullable: true },
]

describe.skipIf(testEngine('trino') === null || testEngine('hdfs') === null)(`on a real Trino${whereMissing('trino', 'hdfs')}`, () => {
  testQueryEngine('Trino', openSubject, predicateRounds)

  describe('Trino from inside', () => {
    let opened: TestLake
    let lake: Lake
    let engine: QueryEngine

    beforeEach(async () => {
      opened = await openTestLake()
      lake = opened.lake
      engine = await openTrino({ url: testTrinoUrl(), lake })
    })
    afterEach(async () => {
      await engine[Symbol.asyncDispose]()
      await opened[Symbol.asyncDispose]()
    })

    it('never opens a file that was not named, however many there are and whenever they come', async () => {
      const paths = Array.from({ length: 12 }, (_, index) => `many/f${String(index * 2).padStart(4, '0')}.parquet`)
      for (const [index, path] of paths.entries()) await put(path, [BigInt(index)], 'x')
      await plantGarbage('many/f0001.parquet')
      await engine.attach('events', paths, columns)
      const sums = 'SELECT count(*), CAST(sum(id) AS bigint), count(DISTINCT logged) FROM events'
      expect(await rowsOf(sums)).toEqual([[12n, 66n, 1n]])
      await plantGarbage('many/f0003.parquet')
      await put('many/f0005.parquet', [1_000n], 'later')
      await put('many/deeper/f0006.parquet', [1_000n], 'deeper')
      expect(await rowsOf(sums)).toEqual([[12n, 66n, 1n]])
    })

    it('stays exact beyond what one list of files may hold', async () => {
      const count = 1_050
      await put('many/one.parquet', [1n, 2n], 'x')
      const one = await lake.get('many/one.parquet')
      const bytes = await one.read(0, one.bytes)
      const paths = Array.from({ length: count }, (_, index) => `many/f${String(index).padStart(5, '0')}.parquet`)
      for (let from = 0; from < count; from += 16) await Promise.all(paths.slice(from, from + 16).map((path) => putBytes(path, bytes)))
      await plantGarbage('many/f00900x.parquet')
      const start = performance.now()
      await engine.attach('events', paths, columns)
      const attached = performance.now()
      expect(await rowsOf('SELECT count(*), CAST(sum(id) AS bigint) FROM events')).toEqual([[BigInt(count) * 2n, BigInt(count) * 3n]])
      process.stdout.write(`${count} files: attached in ${Math.round(attached - start)} ms, summed in ${Math.round(performance.now() - attached)} ms\n`)
      await engine.attach('events', paths.slice(0, 950), columns)
      expect(await rowsOf('SELECT count(*) FROM events')).toEqual([[1_900n]])
      await engine.attach('events', paths.slice(0, 3), columns)
      expect(await rowsOf('SELECT count(*) FROM events')).toEqual([[6n]])
    }, 240_000)

    it('takes a column from the file even where the folder is named like it', async () => {
      await put('a/logged=2025-03/x+y.parquet', [1n], 'from the file')
      await put('top.parquet', [2n], 'at the top')
      await engine.attach('events', ['a/logged=2025-03/x+y.parquet', 'top.parquet'], columns)
      expect(await rowsOf('SELECT id, logged, happened, original FROM events ORDER BY id')).toEqual([
        [1n, 'from the file', -1n, '00ff'],
        [2n, 'at the top', -1n, '00ff'],
      ])
    })

    it('refuses files of another shape, naming column and file, also where only the last has it', async () => {
      await put('t/a.parquet', [1n], 'x')
      const fewer = columns.slice(0, 3)
      await lake.put('t/b.parquet', parquetCodec.encode(fewer, [[[2n], ['y'], [0]]]), async () => {})
      const failure = engine.attach('events', ['t/a.parquet', 't/b.parquet'], columns)
      await expect(failure).rejects.toBeInstanceOf(CorruptError)
      await expect(failure).rejects.toThrow(/"original" of t\/b\.parquet .* missing/)
      const textId: ParquetColumn = { name: 'id', type: 'text', nullable: false }
      await expect(engine.attach('events', ['t/a.parquet'], [textId])).rejects.toThrow(/"id" of t\/a\.parquet/)
      const narrow: ParquetColumn = { name: 'id', type: 'int32', nullable: false }
      await expect(engine.attach('events', ['t/a.parquet'], [narrow])).rejects.toBeInstanceOf(CorruptError)
    })

    it('writes what it can read again, in every type', async () => {
      const all: readonly ParquetColumn[] = [...columns, { name: 'day', type: 'date', nullable: true }, { name: 'n', type: 'int32', nullable: true }, { name: 'late', type: 'boolean', nullable: true }]
      const values: ParquetValues[] = [
        [2n ** 63n - 1n, -(2n ** 63n)],
        ['', '\u{10000}\u{feff}'],
        [Date.parse('2024-12-30T14:30:00.123Z'), null],
        [Uint8Array.of(0, 255), null],
        [-719_162, 2_932_896],
        [-(2 ** 31), 2 ** 31 - 1],
        [true, null],
      ]
      await lake.put('t/a.parquet', parquetCodec.encode(all, [values]), async () => {})
      await engine.attach('events', ['t/a.parquet'], all)
      const paths = await engine.materialize('SELECT * FROM events', 'into/1')
      await engine.attach('copied', paths, all)
      const expected = [
        [-(2n ** 63n), '\u{10000}\u{feff}', null, null, '9999-12-31', 2n ** 31n - 1n, null],
        [2n ** 63n - 1n, '', BigInt(Date.parse('2024-12-30T14:30:00.123Z')), '00ff', '0001-01-01', -(2n ** 31n), true],
      ]
      expect(await rowsOf('SELECT * FROM events ORDER BY id')).toEqual(expected)
      expect(await rowsOf('SELECT * FROM copied ORDER BY id')).toEqual(expected)
    })

    it('materializes nothing where a filter leaves nothing', async () => {
      await put('t/a.parquet', [1n, 2n], 'x')
      await engine.attach('events', ['t/a.parquet'], columns)
      expect(await engine.materialize('SELECT * FROM events WHERE id > 5', 'into/2')).toEqual([])
      for await (const entry of lake.list('into')) expect(entry).toBe('nothing')
    })

    it('returns columns that have one name, or none of their own', async () => {
      expect(await rowsOf(`SELECT 'a' AS x, 'b' AS x, 1 AS "X", 'c' || 'd', NULL, DECIMAL '-12345678901234567890', X'00ff', 'e' AS "say ""x"""`)).toEqual([
        ['a', 'b', 1n, 'cd', null, -12_345_678_901_234_567_890n, '00ff', 'e'],
      ])
      expect(await rowsOf("SELECT ';' AS a; -- and no more")).toEqual([[';']])
      expect(await rowsOf("/* first */ WITH t AS (SELECT TIMESTAMP '1969-12-31 23:59:59.999' AS at) SELECT at FROM t;")).toEqual([[-1n]])
    })

    it.each([
      ["SELECT TIMESTAMP '2020-01-01 00:00:00.000001' AS t", InvalidRequestError],
      ["SELECT DATE '12020-01-01' AS d", CorruptError],
      ["SELECT DATE '0000-12-31' AS d", CorruptError],
      ['SELECT 1.5 AS half', InvalidRequestError],
      ['SELECT ARRAY[1] AS list', InvalidRequestError],
      ['SELECT ? AS parameter', InvalidRequestError],
      ["SELECT 1 AS n; DROP SCHEMA x -- '", InvalidRequestError],
      ['-- SELECT 1\nDROP SCHEMA x', InvalidRequestError],
      ['/* SELECT */ CALL system.x()', InvalidRequestError],
      ['SELECT 9223372036854775807 + id AS n FROM (VALUES BIGINT \'1\') t (id)', InvalidRequestError],
    ])('refuses %j rather than answer inexactly or change anything', async (select, kind) => {
      await expect(rowsOf(select)).rejects.toBeInstanceOf(kind)
    })

    it('closes promptly while a query runs, and ends no rows early', async () => {
      const many = 'SELECT a.n * 1000 + b.n AS n FROM UNNEST(sequence(1, 10000)) a (n) CROSS JOIN UNNEST(sequence(1, 10000)) b (n)'
      const failure = rowsOf(`SELECT count(*) FROM (${many}) WHERE n % 7 = 8`).catch((error: unknown) => error)
      const reader = engine.query(many)[Symbol.asyncIterator]()
      expect((await reader.next()).done).toBe(false)
      const start = performance.now()
      await engine[Symbol.asyncDispose]()
      expect(performance.now() - start).toBeLessThan(8_000)
      expect(await failure).toBeInstanceOf(UnavailableError)
      await expect(reader.next()).rejects.toBeInstanceOf(UnavailableError)
      await engine[Symbol.asyncDispose]()
    })

    it('says what lacks where a query needs more memory than there is', async () => {
      const greedy = "SELECT cardinality(x) FROM (SELECT array_agg(CAST(a.n AS varchar) || CAST(b.n AS varchar)) x FROM UNNEST(sequence(1, 10000)) a (n) CROSS JOIN UNNEST(sequence(1, 10000)) b (n))"
      const failure = rowsOf(greedy)
      await expect(failure).rejects.toBeInstanceOf(UnavailableError)
      await expect(failure).rejects.toThrow('query.max-memory')
    }, 120_000)

    it.each(['no name', 'a"b', '', '1a'])('refuses the table name %j', async (table) => {
      await expect(engine.attach(table, [], columns)).rejects.toBeInstanceOf(InvalidRequestError)
      await expect(engine.detach(table)).rejects.toBeInstanceOf(InvalidRequestError)
    })

    it('names a table for people who ask Trino themselves, and changes it at once', async () => {
      await put('t/a.parquet', [1n], 'x')
      await put('t/b.parquet', [2n], 'y')
      const sharedSchema = `shared_${Date.now().toString(36)}`
      const query = `SELECT CAST(sum(id) AS bigint) FROM ${sharedSchema}.transactions`
      const openSharing = () => openTrino({ url: testTrinoUrl(), lake, sharedSchema })
      try {
        await using first = await openSharing()
        await first.share!('transactions', ['t/a.parquet'], columns)
        await first[Symbol.asyncDispose]()
        expect(await rowsOf(query)).toEqual([[1n]])
        await using second = await openSharing()
        await second.share!('transactions', ['t/a.parquet', 't/b.parquet'], columns)
        expect(await rowsOf(query)).toEqual([[3n]])
        await second.share!('transactions', [], columns)
        expect(await rowsOf(query)).toEqual([[null]])
      } finally {
        await runOnTrino(`DROP SCHEMA IF EXISTS ${sharedSchema} CASCADE`)
      }
    })

    it('leaves no schema of its own behind, and no file of the lake fewer', async () => {
      await put('t/a.parquet', [1n], 'x')
      // By name: other tests make and drop schemas of theirs at the same time.
      const schemas = async () => (await rowsOf('SELECT schema_name FROM information_schema.schemata')).flat()
      const other = await openTrino({ url: testTrinoUrl(), lake })
      let own: unknown
      for await (const { rows } of other.query('SELECT current_schema AS own')) own = rows[0]![0]
      await other.attach('events', ['t/a.parquet'], columns)
      await other.materialize('SELECT * FROM events', 'into/3')
      expect(await schemas()).toContain(own)
      await other[Symbol.asyncDispose]()
      expect(await schemas()).not.toContain(own)
      expect(await lake.stat('t/a.parquet')).not.toBeNull()
    })

    it('drops the schemas of engines that were killed a week ago, and no other', async () => {
      const nameOf = (ageDays: number) => `tidemark_session_${(Date.now() - ageDays * 86_400_000).toString(36)}_0a1b`
      const [stale, young, foreign] = [nameOf(8), nameOf(6), `tidemark_session_of_somebody_${Date.now().toString(36)}`]
      try {
        for (const name of [stale, young, foreign]) await runOnTrino(`CREATE SCHEMA ${name}`)
        await using _other = await openTrino({ url: testTrinoUrl(), lake })
        const left = (await runOnTrino(`SHOW SCHEMAS LIKE 'tidemark%'`)).flat()
        expect(left).not.toContain(stale)
        expect(left).toEqual(expect.arrayContaining([young, foreign]))
      } finally {
        for (const name of [young, foreign]) await runOnTrino(`DROP SCHEMA IF EXISTS ${name} CASCADE`)
      }
    })

    it('keeps its tables when it moves to a new schema after a day', async () => {
      await put('t/a.parquet', [1n], 'x')
      await put('t/b.parquet', [2n], 'y')
      await engine.attach('first', ['t/a.parquet'], columns)
      await engine.attach('second', ['t/a.parquet'], columns)
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 25 * 3_600_000 })
      try {
        await engine.attach('second', ['t/b.parquet'], columns)
      } finally {
        vi.useRealTimers()
      }
      expect(await rowsOf('SELECT f.id, s.id FROM first f CROSS JOIN second s')).toEqual([[1n, 2n]])
    })

    async function put(path: string, ids: readonly bigint[], logged: string): Promise<void> {
      const group = [ids, ids.map(() => logged), ids.map(() => -1), ids.map(() => Uint8Array.of(0, 255))]
      await lake.put(path, parquetCodec.encode(columns, [group]), async () => {})
    }

    async function plantGarbage(path: string): Promise<void> {
      await putBytes(path, Buffer.from('PAR1 is not what this is PAR1'))
    }

    async function putBytes(path: string, bytes: Uint8Array): Promise<void> {
      await lake.put(path, Readable.from([bytes]), async () => {})
    }

    async function rowsOf(select: string): Promise<unknown[]> {
      const all: unknown[] = []
      for await (const { rows } of engine.query(select)) all.push(...rows)
      return all
    }
  })
})

it('refuses to send a password in clear beyond this machine', async () => {
  await expect(openTrino({ url: 'trino://u:secret@trino.example:1/hive', lake: {} as Lake })).rejects.toThrow(/trinos:\/\//)
  await expect(openTrino({ url: 'trino://u:secret@trino.example:1/hive', lake: {} as Lake })).rejects.not.toThrow(/secret/)
})

it.each(['trino://h:1', 'trino://h:1/', 'http://h:1/hive', 'trino://h:1/a/b', 'trino://h:1/Hive', 'trino:h', 'trino://h:1/hive?x=1'])('says what a URL should look like instead of %j', async (url) => {
  const lake = { location: (path: string) => `hdfs://h/${path}` } as Lake
  await expect(openTrino({ url, lake })).rejects.toBeInstanceOf(ConfigError)
})

async function openSubject(): Promise<QueryEngineUnderTest> {
  const opened = await openTestLake()
  const engine = await openTrino({ url: testTrinoUrl(), lake: opened.lake })
  return {
    lake: opened.lake,
    engine,
    breakDown: async () => {
      await engine[Symbol.asyncDispose]()
    },
    [Symbol.asyncDispose]: async () => {
      await engine[Symbol.asyncDispose]()
      await opened[Symbol.asyncDispose]()
    },
  }
}
