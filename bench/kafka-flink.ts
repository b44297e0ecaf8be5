/**
 * P3 and P3m: the speed layer ÷ Flink SQL on the same job: the same lines of one topic, the first of each id, the same views of seven measures, into the same
 * PostgreSQL. Both are warm. Flink's time begins when its job is submitted (its planning is left out), ours when the worker starts to join its group.
 */
import type { ProfileName } from '#generator/profiles.ts'
import { run } from '#store/database.ts'
import type { Database } from '#store/database.ts'
import { dropSchema, openBenchDatabase } from './bench-store.ts'
import { cpuSecondsOf } from './cpu-time.ts'
import { FlinkPeer, missingForFlink } from './flink-peer.ts'
import type { FilledTopic } from './kafka-cluster.ts'
import { fillTopic, missingHere, openBenchCluster, requireTruth } from './kafka-cluster.ts'
import type { Counting } from './kafka-children.ts'
import { countTopic, startChild } from './kafka-children.ts'
import type { Ratio } from './statistics.ts'
import { median, ratioOf } from './statistics.ts'

export type FlinkResult = {
  readonly profile: string
  readonly views: readonly string[]
  readonly lines: number
  readonly linesPerSecond: number
  readonly flinkLinesPerSecond: number
  readonly flinkColdLinesPerSecond: number
  /** P3: ours ÷ Flink's. */
  readonly ratio: Ratio
  readonly peakMiB: number
  readonly flinkPeakMiB: number
  /** P3m: lower is better. */
  readonly memoryRatio: number
  /** Of the process and of PostgreSQL, per million lines. */
  readonly cpuSecondsPerMillion: { readonly ours: number; readonly flink: number }
}

export const twoViews = ['revenue', 'product_sales'] as const
export const allViews = ['revenue', 'product_sales', 'product_city_sales', 'pace'] as const

const keys: Readonly<Record<string, string>> = {
  revenue: 'local_day date, city text, category text, currency text',
  product_sales: 'local_day date, product_id text, category text, currency text',
  product_city_sales: 'local_month date, product_id text, city text, currency text',
  pace: 'local_day date, local_hour int, category text, currency text',
}
const measures = ['transactions', 'orders', 'refund_events', 'units_sold', 'units_refunded', 'gross_minor', 'refunds_minor']

export async function missingForFlinkBench(): Promise<string | null> {
  return (await missingHere(['kafka'])) ?? (await missingForFlink())
}

export async function benchKafkaFlink(profile: ProfileName, lines: number, pairs: number, views: readonly string[] = allViews): Promise<FlinkResult> {
  await using cluster = await openBenchCluster()
  const filled = await fillTopic(cluster, 'transactions', { profile, lines, partitions: 4, withoutRubbish: true })
  await using worker = await startChild()
  await using flink = await FlinkPeer.open({ brokers: cluster.brokers, topic: filled.topic, databaseUrl: cluster.server.url, folder: cluster.folder })
  const ours: Counting[] = []
  const theirs: { seconds: number; cpuSeconds: number }[] = []
  let cold = 0
  for (let pair = -1; pair < pairs; pair++) {
    const schema = `bench_${pair + 1}`
    const database = await openBenchDatabase(cluster.server.url, schema)
    await makePeerTables(database, views)
    const before = cpuSecondsOf(flink.pid) + cpuSecondsOf(cluster.server.pid)
    const seconds = await flink.count(`${schema}_flink`, views)
    const cpuSeconds = cpuSecondsOf(flink.pid) + cpuSecondsOf(cluster.server.pid) - before
    const counting = await countTopic(cluster, [worker], schema, filled, { views })
    await requireSame(database, views, filled)
    await run(database.pool, `DROP SCHEMA ${schema}_flink CASCADE`)
    await dropSchema(database)
    process.stderr.write(`  ${profile}: Flink ${seconds.toFixed(2)} s, ours ${counting.seconds.toFixed(2)} s\n`)
    if (pair < 0) {
      cold = seconds
      continue
    }
    theirs.push({ seconds, cpuSeconds })
    ours.push(counting)
  }
  const flinkSeconds = theirs.map(({ seconds }) => seconds)
  const ourSeconds = ours.map(({ seconds }) => seconds)
  const peakMiB = Math.max(...ours.map((one) => one.peakMiB))
  const perMillion = (values: readonly number[]): number => Math.round((median(values) / filled.records) * 1e8) / 100
  return {
    profile,
    views,
    lines: filled.records,
    linesPerSecond: Math.round(filled.records / median(ourSeconds)),
    flinkLinesPerSecond: Math.round(filled.records / median(flinkSeconds)),
    flinkColdLinesPerSecond: Math.round(filled.records / cold),
    ratio: ratioOf(flinkSeconds, ourSeconds),
    peakMiB,
    flinkPeakMiB: flink.peakMiB,
    memoryRatio: Math.round((peakMiB / flink.peakMiB) * 1000) / 1000,
    cpuSecondsPerMillion: { ours: perMillion(ours.map((one) => one.workerCpuSeconds + one.postgresCpuSeconds)), flink: perMillion(theirs.map((one) => one.cpuSeconds)) },
  }
}

async function makePeerTables(database: Database, views: readonly string[]): Promise<void> {
  const schema = `${database.schema}_flink`
  await run(database.pool, `CREATE SCHEMA ${schema}`)
  for (const view of views) {
    const columns = keys[view]!
    const key = columns.split(', ').map((column) => column.split(' ')[0]).join(', ')
    await run(database.pool, `CREATE TABLE ${schema}.${view} (${columns}, ${measures.map((measure) => `${measure} bigint`).join(', ')}, PRIMARY KEY (${key}))`)
  }
}

/** Both are the generator's truth, and row by row the same. */
async function requireSame(database: Database, views: readonly string[], filled: FilledTopic): Promise<void> {
  const peers = views.map((view) => `${database.schema}_flink.${view}`)
  await requireTruth(database, [...views.map((view) => `merged_${view}`), ...peers], filled.truth)
  for (const [i, view] of views.entries()) {
    const columns = [...keys[view]!.split(', ').map((column) => column.split(' ')[0]), ...measures].join(', ')
    const [row] = await run<{ differences: bigint }>(
      database.pool,
      `SELECT count(*) AS differences FROM ((SELECT ${columns} FROM merged_${view} EXCEPT SELECT ${columns} FROM ${peers[i]}) UNION ALL (SELECT ${columns} FROM ${peers[i]} EXCEPT SELECT ${columns} FROM merged_${view})) d`,
    )
    if (row!.differences !== 0n) throw new Error(`void: ${view} and Flink's differ in ${row!.differences} rows`)
  }
}

if (import.meta.main) {
  const [profile = 'bench', lines = '100000', pairs = '1', views = 'all'] = process.argv.slice(2)
  const result = await benchKafkaFlink(profile as ProfileName, Number(lines), Number(pairs), views === 'two' ? twoViews : allViews)
  process.stdout.write(`${JSON.stringify(result, null, 1)}\n`)
}
