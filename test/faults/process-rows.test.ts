/** Rows S6, S23 and S24 of the fault catalogue, with real processes: `tidemark speed` stopped, told to end, and with wrong clocks. */
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { EventLog } from '#core/ports.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'
import { readCommitted } from '#store/committed.ts'
import type { Database } from '#store/database.ts'
import { openDatabase } from '#store/database.ts'
import { migrateStore } from '#store/migrate.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { freshSchema } from '#test/postgres.ts'
import { waitUntil } from '#test/wait-until.ts'
import { LayerProcess } from './layer-process.ts'
import { expectE0, isWhole, openTraffic, plainSales, refused, sale } from './setup.ts'

const topic = 'transactions'
const skewedClock = fileURLToPath(new URL('./skewed-clock.ts', import.meta.url))
/** Silence after which the log gives a process's partitions away, and then some. */
const takenOverWithinMs = 60_000
let lab: Lab

beforeAll(async () => {
  lab = await openLab()
})
afterAll(async () => lab[Symbol.asyncDispose]())

type Shop = AsyncDisposable & { readonly lab: Lab; readonly environment: NodeJS.ProcessEnv }

/** A shop that commands reach through their environment, looked at through the lab's eyes. */
async function openShop(): Promise<Shop> {
  await lab.clear()
  const schema = await freshSchema(lab.url, 'shop')
  await using opening = new AsyncDisposableStack()
  const database: Database = opening.use(openDatabase({ url: lab.url, schema }))
  await migrateStore(database)
  const log: EventLog = opening.use(await openPostgresLog({ connectionString: lab.url, schema: `${schema}_log`, pollIntervalMs: 5 }))
  await log.create(topic, lab.partitions)
  const { oracle, partitions } = lab
  const keys = await keysByPartition(log, partitions)
  const shop: Lab = {
    ...lab,
    database,
    log,
    topic,
    oracle,
    async append(records) {
      const ends = await log.append(
        topic,
        records.map(({ partition, value, logTimeMs }) => ({ key: keys[partition]!, value, logTimeMs })),
      )
      for (const { partition, meant } of records) oracle.add(partition, meant)
      return ends
    },
  }
  const stack = opening.move()
  const environment = { DATABASE_URL: lab.url, TIDEMARK_SCHEMA: schema, TIDEMARK_LOG_PARTITIONS: String(partitions) }
  return { lab: shop, environment, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

/** A key for each partition, found out from the log itself with a topic of its own. */
async function keysByPartition(log: EventLog, partitions: number): Promise<string[]> {
  await log.create('keys', partitions)
  const keys: string[] = []
  for (let n = 0; keys.filter(Boolean).length < partitions; n++) {
    const [partition] = [...(await log.append('keys', [{ key: `k-${n}`, value: Buffer.from('x') }])).keys()]
    keys[partition!] ??= `k-${n}`
  }
  return keys
}

/** Whether this worker has said that it holds every partition. */
async function holdsAll(shop: Shop, { pid }: LayerProcess): Promise<boolean> {
  const { rowCount } = await shop.lab.database.pool.query(`SELECT FROM speed_workers WHERE worker LIKE $1 AND cardinality(partitions) = $2`, [`%:${pid}:%`, lab.partitions])
  return rowCount === 1
}

test('S6 a worker is stopped with records in hand, another takes over, and the zombie that wakes is fenced', async () => {
  await using shop = await openShop()
  const rounds = isWhole ? 5 : 1
  for (let round = 0; round < rounds; round++) {
    // It flushes 10 s after it began to read, so that it certainly holds records when it is stopped.
    await using zombie = new LayerProcess(['speed'], { environment: { ...shop.environment, TIDEMARK_FLUSH_MS: '10000' } })
    await waitUntil('the first worker to hold the partitions', () => holdsAll(shop, zombie), 30_000)
    await shop.lab.append(plainSales(shop.lab, 300, `held-${round}`))
    const reads = await openReads()
    const first = await waitUntil('the worker to read', reads.last)
    await waitUntil('the worker to have read and to ask for more', async () => ((await reads.last()) ?? '') > first)
    zombie.send('SIGSTOP')
    await reads.end()
    const committed = await readCommitted(shop.lab.database.pool, topic)
    expect([...shop.lab.oracle.ends()].every(([partition, end]) => committed.get(partition) === end)).toBe(false)
    await using heir = new LayerProcess(['speed'], { environment: shop.environment })
    await expectE0(shop.lab, takenOverWithinMs)
    await shop.lab.append(plainSales(shop.lab, 100, `after-${round}`))
    await expectE0(shop.lab, takenOverWithinMs)
    zombie.send('SIGCONT')
    await waitUntil('the zombie to be refused', () => zombie.said.includes('"code":"fenced"'), 30_000)
    await shop.lab.append(plainSales(shop.lab, 100, `both-${round}`))
    await expectE0(shop.lab, takenOverWithinMs)
    expect(heir.hasEnded).toBe(false)
  }
})

/** When a log was last asked for records by anybody; there is no other reader here. */
async function openReads(): Promise<{ last: () => Promise<string | undefined>; end: () => Promise<void> }> {
  const client = new pg.Client({ connectionString: lab.url })
  await client.connect()
  const { rows } = await client.query<{ now: string }>('SELECT clock_timestamp()::text AS now')
  const since = rows[0]!.now
  return {
    last: async () => {
      const found = await client.query<{ at: string }>(
        `SELECT max(query_start)::text AS at FROM pg_stat_activity WHERE query_start > $1::timestamptz AND application_name = 'tidemark-log' AND query LIKE '%next_offset%'
         AND query NOT LIKE '%leases%' HAVING max(query_start) IS NOT NULL`,
        [since],
      )
      return found.rows[0]?.at
    },
    end: () => client.end(),
  }
}

test(`S23 told to end under load, ${isWhole ? 10 : 2} times: done within 10 s with exit code 0, and nothing is lost or doubled`, async () => {
  await using shop = await openShop()
  let sent = 0
  for (let round = 0; round < (isWhole ? 10 : 2); round++) {
    await using worker = new LayerProcess(['speed'], { environment: { ...shop.environment, TIDEMARK_FLUSH_RECORDS: '200' } })
    const before = sum(await readCommitted(shop.lab.database.pool, topic))
    const loading = new AbortController()
    const load = (async () => {
      while (!loading.signal.aborted) await shop.lab.append(plainSales(shop.lab, 100, `load-${sent++}`))
    })()
    await waitUntil('the worker to count under load', async () => sum(await readCommitted(shop.lab.database.pool, topic)) > before + 200, 30_000)
    const startedAt = performance.now()
    worker.send('SIGTERM')
    expect(await worker.ended()).toEqual({ code: 0, signal: null })
    expect(performance.now() - startedAt).toBeLessThan(10_000)
    loading.abort()
    await load
  }
  await using _worker = new LayerProcess(['speed'], { environment: shop.environment })
  await expectE0(shop.lab, 60_000)
})

function sum(vector: ReadonlyMap<number, number>): number {
  return [...vector.values()].reduce((total, offset) => total + offset, 0)
}

test('S24 clocks an hour ahead and behind, ten minutes apart, and stepping back: the sums are the same', async () => {
  await using shop = await openShop()
  const clock = (skewMs: number, stepMs = 0): { environment: NodeJS.ProcessEnv; nodeOptions: string[] } => ({
    environment: { ...shop.environment, SKEW_MS: String(skewMs), SKEW_STEP_MS: String(stepMs) },
    nodeOptions: ['--import', skewedClock],
  })
  const minuteMs = 60_000
  const traffic = openTraffic(shop.lab, 24)
  // Each decides what lies too far ahead by the log's time of the record, whatever its own clock says.
  const nowMs = Math.floor(Date.now() / 1000) * 1000
  const edge = (id: string, aheadMs: number): Parameters<Lab['append']>[0][number] => {
    const at = new Date(nowMs + aheadMs)
    const london = new Intl.DateTimeFormat('sv-SE', { timeZone: 'Europe/London', dateStyle: 'short', timeStyle: 'medium' }).format(at).split(' ')
    return sale({ id, day: london[0]!, time: london[1]!, logTimeMs: nowMs })
  }
  const clocks: readonly (readonly [number, number?])[][] = [[[60 * minuteMs]], [[-60 * minuteMs]], [[0], [10 * minuteMs]], [[60 * minuteMs, 300]]]
  for (const [round, group] of clocks.entries()) {
    await using stack = new AsyncDisposableStack()
    for (const [skewMs, stepMs] of group) {
      const { environment, nodeOptions } = clock(skewMs, stepMs)
      stack.use(new LayerProcess(['speed'], { environment, nodeOptions }))
    }
    await traffic(200)
    const tooFar = edge(`far-${round}`, 25 * 60 * minuteMs)
    await shop.lab.append([edge(`near-${round}`, 23 * 60 * minuteMs), refused(tooFar.value)].map((record) => ({ ...record, logTimeMs: nowMs })))
    const merged = await expectE0(shop.lab, takenOverWithinMs)
    expect(merged.letters).toContainEqual({ partition: 0, offset: shop.lab.oracle.ends().get(0)! - 1, index: 0, reason: 'future-event' })
  }
})
