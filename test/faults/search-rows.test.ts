/**
 * Rows of the fault catalogue that are about the search index, on a real Elasticsearch where there is one, else on the one in memory behind the same HTTP and
 * the same client. The follower runs with its real loop.
 */
import { randomUUID } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { SearchIndex } from '#core/ports.ts'
import { parseRange } from '#core/period.ts'
import { openElasticsearch } from '#engines/elasticsearch.ts'
import { openEmbeddedPostgres } from '#engines/embedded-postgres.ts'
import { runSearchFollower } from '#speed/search-follower.ts'
import { answerRevenue } from '#store/answer-revenue.ts'
import { openDatabase } from '#store/database.ts'
import { migrateStore } from '#store/migrate.ts'
import { aliasOf } from '#store/search-indices.ts'
import { readSearchStatus } from '#store/search-status.ts'
import { testEngine } from '#test/engines.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import type { SearchFault } from '#test/lab/search-proxy.ts'
import { SearchProxy } from '#test/lab/search-proxy.ts'
import { SearchLab, documentsOf, expectSameFigures, expectSameSales } from '#test/lab/search.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { waitUntil } from '#test/wait-until.ts'
import { LoopWorker, expectE0, isWhole, plainSales, sale, whenCounted } from './setup.ts'

let lab: Lab
let proxy: SearchProxy
let search: SearchIndex
let direct: SearchIndex
let prefix: string
let steps: SearchLab
const running: (() => Promise<void>)[] = []

beforeAll(async () => {
  lab = await openLab()
}, 60_000)
beforeEach(async () => {
  await lab.clear()
  proxy = await SearchProxy.open(testEngine('elasticsearch'))
  prefix = `row${randomUUID().slice(0, 8)}`
  search = await openElasticsearch({ url: proxy.url, requestTimeoutMs: 3_000, retryDelayMs: 10, retriesMax: 2 })
  direct = await openElasticsearch({ url: testEngine('elasticsearch') ?? proxy.url })
  steps = new SearchLab(lab, direct, prefix)
}, 30_000)
afterEach(async () => {
  for (const stop of running.splice(0)) await stop()
  proxy.fault = () => 'none'
  for (const name of await direct.list(`${prefix}-*`)) await direct.remove(name)
  await search[Symbol.asyncDispose]()
  await direct[Symbol.asyncDispose]()
  await proxy[Symbol.asyncDispose]()
}, 60_000)
afterAll(async () => {
  await lab?.[Symbol.asyncDispose]()
})

/** The follower's real loop, by way of the proxy. */
function follow(): { stop(): Promise<void>; failure(): unknown } {
  const stopping = new AbortController()
  let failure: unknown = null
  const done = runSearchFollower({ ...steps.options, search, pollIntervalMs: 30 }, stopping.signal).catch((thrown: unknown) => {
    failure = thrown
  })
  const stop = async (): Promise<void> => {
    stopping.abort()
    await done
  }
  running.push(stop)
  return { stop, failure: () => failure }
}

async function whenEqual(deadlineMs = 60_000): Promise<void> {
  let last: unknown
  await waitUntil(
    'the documents to be the figures',
    async () => {
      try {
        await expectSameFigures(steps)
        await expectSameSales(steps)
        return true
      } catch (thrown) {
        last = thrown
        return false
      }
    },
    deadlineMs,
  ).catch((thrown: unknown) => {
    throw last ?? thrown
  })
}

function failBulks(fault: () => SearchFault): void {
  proxy.fault = ({ path }) => (path.includes('_bulk') ? fault() : 'none')
}

async function count(partitions: readonly number[] = [0, 1, 2]): Promise<void> {
  const worker = await StepWorker.open(lab, partitions)
  await worker.readAll()
  await worker.flush()
}

test('S3 killed after the commit in PostgreSQL, before the documents are written: the figures are right at once, the documents soon, and never ahead', async () => {
  await lab.append(plainSales(lab, 30, 'a'))
  await count()
  const first = follow()
  await whenEqual()
  await first.stop()
  await lab.append(plainSales(lab, 30, 'b'))
  await count()
  await expectE0(lab)
  const before = new Map((await documentsOf(direct, prefix, 'revenue')).map(({ id, version }) => [id, version]))
  // The number is committed, and nothing arrives.
  failBulks(() => 'refuse')
  const numberOf = async (): Promise<number> => (await readSearchStatus(lab.database.pool))!.readNumber
  const numbered = await numberOf()
  const second = follow()
  await waitUntil('a reading to be numbered', async () => (await numberOf()) > numbered)
  await second.stop()
  expect(new Map((await documentsOf(direct, prefix, 'revenue')).map(({ id, version }) => [id, version]))).toEqual(before)
  proxy.fault = () => 'none'
  follow()
  await whenEqual()
}, 120_000)

test('S11 Elasticsearch away, overloaded, half-failing, losing answers, or refusing for good: PostgreSQL is not delayed, and all is equal after it heals', async () => {
  const worker = new LoopWorker(lab)
  running.push(() => worker.stop())
  await lab.append(plainSales(lab, 20, 'a'))
  const follower = follow()
  await whenEqual()
  const isRefused = (id: string): boolean => id.includes('Leeds')
  const faults: [string, () => SearchFault][] = [
    ['away', () => 'refuse'],
    ['silent', () => 'hang'],
    ['429', () => 'busy'],
    ['503 after it was done', () => 'lost'],
    ['an answer cut in half', () => 'cut'],
    ['items turned away', () => ({ items: ({ id }) => (isRefused(id) ? { status: 429, type: 'es_rejected_execution_exception' } : null) })],
    ['items of a full disk', () => ({ items: ({ id }) => (isRefused(id) ? { status: 403, type: 'cluster_block_exception' } : null) })],
  ]
  for (const [name, fault] of isWhole ? [...faults, ...faults] : faults) {
    failBulks(fault)
    await lab.append(plainSales(lab, 15, `f-${name.replaceAll(' ', '-')}-${randomUUID().slice(0, 4)}`))
    const startedAt = performance.now()
    await whenCounted(lab, 10_000)
    expect(performance.now() - startedAt, `PostgreSQL waits for an index that is ${name}`).toBeLessThan(10_000)
    const asked = proxy.asked.length
    await waitUntil(`the follower to meet: ${name}`, () => proxy.asked.slice(asked).some(({ path }) => path.includes('_bulk')), 20_000)
    proxy.fault = () => 'none'
    await whenEqual()
    expect(follower.failure()).toBeNull()
  }
  // Refused for good: listed, and the others go on.
  failBulks(() => ({ items: ({ id }) => (isRefused(id) ? { status: 400, type: 'document_parsing_exception' } : null) }))
  await lab.append(plainSales(lab, 15, 'refused'))
  await whenCounted(lab)
  await waitUntil('the refused to be listed', async () => ((await readSearchStatus(lab.database.pool))?.rejects ?? 0) > 0, 20_000)
  expect((await readSearchStatus(lab.database.pool))!.lagSeconds).toBeLessThan(30)
  await expectE0(lab)
  expect(worker.failure).toBeNull()
}, 240_000)

test('S12 an index is deleted: it is missed, built anew from PostgreSQL and the log, and equal; nothing makes it again empty', async () => {
  await lab.append(plainSales(lab, 40, 'a'))
  await count()
  follow()
  await whenEqual()
  for (const kind of ['revenue', 'sales'] as const) {
    const [gone] = await direct.pointed(aliasOf(prefix, kind))
    await direct.remove(gone!)
    await lab.append(plainSales(lab, 12, `after-${kind}`))
    await count()
    await whenEqual()
    expect(await direct.pointed(aliasOf(prefix, kind))).not.toContain(gone)
  }
}, 180_000)

test('S10 PostgreSQL crashes and loses flushes that it had not synced: no document is ahead of it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-s10-'))
  try {
    // A writer that comes by so seldom that what is not synced is lost for certain.
    const settings = { wal_writer_delay: '10000ms', wal_writer_flush_after: '1GB', autovacuum: 'off' }
    await using server = await openEmbeddedPostgres({ dataDirectory: folder, settings })
    const schema = 's10'
    await using database = openDatabase({ url: server.url, schema, connectionsMax: 6 })
    await migrateStore(database)
    const flush = async (gross: number): Promise<void> => {
      await database.pool.query(
        `BEGIN; SET LOCAL synchronous_commit = off;
         INSERT INTO live_revenue (epoch, local_day, city, category, currency, transactions, orders, refund_events, units_sold, units_refunded, gross_minor, refunds_minor)
           VALUES (1, '2025-03-01', 'London', 'Home', 'GBP', 1, 1, 0, 1, 0, ${gross}, 0);
         INSERT INTO live_runs (view, epoch, period, rows, merged) VALUES ('revenue', 1, '2025-03-01', 1, false); COMMIT`,
      )
    }
    const grossOf = async (): Promise<bigint> => (await database.pool.query<{ gross: bigint }>('SELECT coalesce(sum(gross_minor), 0)::bigint AS gross FROM merged_revenue')).rows[0]!.gross
    const documentGross = async (): Promise<bigint> => (await documentsOf(direct, prefix, 'revenue')).reduce((sum, { source }) => sum + BigInt(source['grossMinor'] as number), 0n)
    let lost = 0
    for (let round = 0; round < 4; round++) {
      const follower = new SearchLab(lab, direct, prefix, { database })
      await flush(100)
      await follower.followFigures()
      const sent = await documentGross()
      expect(sent).toBe(await grossOf())
      await flush(7)
      const before = await grossOf()
      await crashServer(server.url)
      await server.ensureRunning()
      const after = await waitUntil('the database to answer', () => grossOf().catch(() => null), 30_000)
      if (after < before) lost++
      expect(after, 'what was sent was durable').toBeGreaterThanOrEqual(sent)
      expect(await documentGross()).toBeLessThanOrEqual(after)
      await new SearchLab(lab, direct, prefix, { database }).followFigures()
      expect(await documentGross()).toBe(await grossOf())
    }
    // A crash that loses nothing shows nothing.
    expect(lost).toBeGreaterThan(0)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}, 120_000)

/** As by kill -9 of the postmaster and all of its processes. */
async function crashServer(url: string): Promise<void> {
  const client = openDatabase({ url, connectionsMax: 1 })
  const { rows } = await client.pool.query<{ pid: number; folder: string }>(`SELECT pid, current_setting('data_directory') AS folder FROM pg_stat_activity`)
  const postmaster = Number((await readFile(join(rows[0]!.folder, 'postmaster.pid'), 'utf8')).split('\n')[0])
  await client[Symbol.asyncDispose]()
  process.kill(postmaster, 'SIGKILL')
  for (const { pid } of rows) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended by itself.
    }
  }
  await waitUntil('the server to be gone', () => !isAlive(postmaster), 10_000)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

test('V1 Elasticsearch down: every figure is answered from PostgreSQL as ever, and the follower says how far behind its documents are', async () => {
  await lab.append(plainSales(lab, 20, 'a'))
  await count()
  const follower = follow()
  await whenEqual()
  proxy.fault = () => 'refuse'
  await lab.append([sale({ id: 'new', city: 'Leeds' })])
  await count()
  await expectE0(lab)
  const { rows } = await answerRevenue(lab.database.pool, { by: [], period: parseRange(undefined, undefined) }, { ledgerIdsMax: 100_000 })
  expect(rows[0]!.transactions).toBe(21)
  await waitUntil('the lag to show', async () => (await readSearchStatus(lab.database.pool))!.lagSeconds > 1, 20_000)
  expect(follower.failure()).toBeNull()
  proxy.fault = () => 'none'
  await whenEqual()
  await waitUntil('the lag to be gone', async () => (await readSearchStatus(lab.database.pool))!.lagSeconds < 10, 30_000)
}, 120_000)

test('I7 put back to an earlier hour, the database is behind the index: it takes a new incarnation, and the index is built anew', async () => {
  await lab.append(plainSales(lab, 20, 'a'))
  await count()
  await steps.followAll()
  const { rows: kept } = await lab.database.pool.query<{ row: string }>('SELECT row_to_json(f)::text AS row FROM search_followers f')
  await lab.append(plainSales(lab, 20, 'b'))
  await count()
  await steps.followAll()
  const [before] = await direct.pointed(aliasOf(prefix, 'revenue'))
  // The follower's row as it stood an hour ago; the index went on.
  await lab.database.pool.query('DELETE FROM search_followers')
  await lab.database.pool.query('INSERT INTO search_followers SELECT * FROM json_populate_record(NULL::search_followers, $1)', [kept[0]!.row])
  const restored = new SearchLab(lab, direct, prefix)
  await waitUntil('the new incarnation to serve', async () => {
    await restored.figures.step().catch((thrown: unknown) => {
      if ((thrown as { code?: unknown }).code !== 'conflict') throw thrown
    })
    return (await direct.pointed(aliasOf(prefix, 'revenue')))[0] !== before
  })
  await restored.followAll()
  await expectSameFigures(restored)
  await expectSameSales(restored)
  expect(restored.warnings.join()).toMatch(/ahead of the database/)
  await restored.closeSales()
}, 120_000)
