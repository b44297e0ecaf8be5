/**
 * P18: seconds from `kill -9` of the only worker, at 300 events/s, until what is counted is less than a second behind what is produced again. Once with a new process
 * that is started at once, as a supervisor would, and once with a second worker that already runs.
 */
import { randomUUID } from 'node:crypto'
import { openKafkaLog } from '#engines/kafka-log.ts'
import type { Database } from '#store/database.ts'
import { run } from '#store/database.ts'
import { dropSchema, openBenchDatabase } from './bench-store.ts'
import type { BenchCluster } from './kafka-cluster.ts'
import { openBenchCluster } from './kafka-cluster.ts'
import type { BenchChild, WorkOrder } from './kafka-children.ts'
import { startChild } from './kafka-children.ts'
import { startTraffic } from './kafka-traffic.ts'
import { median } from './statistics.ts'

export type RecoveryResult = { readonly restarted: readonly number[]; readonly restartedMedianSeconds: number; readonly standby: readonly number[]; readonly standbyMedianSeconds: number }

const partitions = 4
const lagMaxMs = 1_000
const lookEveryMs = 25
const settleWithinMs = 60_000

export async function benchRecovery(rounds: number): Promise<RecoveryResult> {
  await using cluster = await openBenchCluster()
  const restarted: number[] = []
  const standby: number[] = []
  for (let round = 0; round < rounds; round++) {
    restarted.push(await recover(cluster, `restarted_${round}`, false))
    standby.push(await recover(cluster, `standby_${round}`, true))
    process.stderr.write(`  restarted ${restarted.at(-1)!.toFixed(2)} s, with a second worker ${standby.at(-1)!.toFixed(2)} s\n`)
  }
  return { restarted, restartedMedianSeconds: median(restarted), standby, standbyMedianSeconds: median(standby) }
}

async function recover(cluster: BenchCluster, name: string, hasStandby: boolean): Promise<number> {
  await using log = await openKafkaLog({ url: cluster.logUrl, groupPrefix: 'bench' })
  await log.create(name, partitions)
  const database = await openBenchDatabase(cluster.server.url, name)
  const order: WorkOrder = { do: 'work', logUrl: cluster.logUrl, databaseUrl: cluster.server.url, schema: name, topic: name, group: `bench-${randomUUID()}`, mode: 'exactly-once' }
  await using victim = await startWorking(order)
  const traffic = startTraffic(log, name)
  try {
    await whenLag(database, name, (lagMs) => lagMs < lagMaxMs)
    await using second = hasStandby ? await startWorking(order) : null
    // With a second worker each has its half before the first is killed.
    if (second !== null) await whenShared(database, 2)
    await whenLag(database, name, (lagMs) => lagMs < lagMaxMs)
    victim.process.kill('SIGKILL')
    const killedAt = performance.now()
    await using next = second === null ? await startWorking(order) : null
    await whenLag(database, name, (lagMs) => lagMs >= lagMaxMs)
    await whenLag(database, name, (lagMs) => lagMs < lagMaxMs)
    const seconds = (performance.now() - killedAt) / 1000
    await traffic.stop()
    await whenCounted(database, name, traffic.dueAt.length)
    await requireAll(database, traffic.dueAt.length)
    const survivor = (next ?? second)!
    const worked = survivor.heard('worked')
    survivor.tell({ do: 'stop' })
    await worked
    return seconds
  } finally {
    await traffic.stop()
    await dropSchema(database)
  }
}

async function startWorking(order: WorkOrder): Promise<BenchChild> {
  const child = await startChild()
  const started = child.heard('started')
  child.tell(order)
  await started
  // A killed one is expected to end.
  child.heard('failed').catch(() => undefined)
  return child
}

/** Of the partition that is furthest behind: how long ago the broker took the newest record that is counted. Each gets one every 13 ms. */
async function lagMsOf(database: Database, topic: string): Promise<number> {
  const [row] = await run<{ oldest: string | null; held: bigint }>(
    database.pool,
    'SELECT min(last_log_time_ms)::text AS oldest, count(last_log_time_ms) AS held FROM committed_offsets WHERE topic = $1',
    [topic],
  )
  return row?.oldest === null || row?.oldest === undefined || Number(row.held) < partitions ? Number.POSITIVE_INFINITY : Date.now() - Number(row.oldest)
}

async function countedOf(database: Database, topic: string): Promise<number> {
  const [row] = await run<{ records: string | null }>(database.pool, 'SELECT sum(records)::text AS records FROM committed_offsets WHERE topic = $1', [topic])
  return Number(row?.records ?? 0)
}

async function whenLag(database: Database, topic: string, holds: (lagMs: number) => boolean): Promise<void> {
  await until(async () => holds(await lagMsOf(database, topic)))
}

async function whenCounted(database: Database, topic: string, records: number): Promise<void> {
  await until(async () => (await countedOf(database, topic)) >= records)
}

async function whenShared(database: Database, workers: number): Promise<void> {
  await until(async () => {
    const rows = await run<{ partitions: readonly number[] }>(database.pool, 'SELECT partitions FROM speed_workers')
    return rows.filter(({ partitions: held }) => held.length === partitions / workers).length === workers
  })
}

/** Void where a sale is missing or counted twice. */
async function requireAll(database: Database, sales: number): Promise<void> {
  const [row] = await run<{ transactions: string }>(database.pool, 'SELECT sum(transactions)::text AS transactions FROM merged_revenue')
  if (Number(row!.transactions) !== sales) throw new Error(`void: ${row!.transactions} sales are counted, and ${sales} were made`)
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + settleWithinMs
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error('what was waited for did not come within a minute')
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs))
  }
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await benchRecovery(Number(process.argv[2] ?? 1)), null, 1)}\n`)
