/** P5: from the moment at which a sale is due to be produced, at 300/s, to the first API answer that holds it, through Kafka and a worker in a process of its own. */
import { randomUUID } from 'node:crypto'
import { openKafkaLog } from '#engines/kafka-log.ts'
import { startServing } from '#serving/start.ts'
import { openBenchDatabase } from './bench-store.ts'
import type { FreshnessResult } from './freshness.ts'
import { openBenchCluster } from './kafka-cluster.ts'
import { startChild } from './kafka-children.ts'
import { eventsPerSecond, startTraffic } from './kafka-traffic.ts'
import { benchCurrency, benchZone } from './speed-loop.ts'
import { percentile } from './statistics.ts'

const topic = 'transactions'
const warmUpMs = 5_000

/** Counts tell which sales an answer holds: sales of several partitions may be counted out of order by a few, which a count of all hides. */
export async function benchKafkaFreshness(seconds: number): Promise<FreshnessResult> {
  await using cluster = await openBenchCluster()
  await using database = await openBenchDatabase(cluster.server.url, 'fresh')
  await using log = await openKafkaLog({ url: cluster.logUrl, groupPrefix: 'bench' })
  await log.create(topic, 4)
  const settings = { zone: benchZone, currency: benchCurrency, booksOpenOn: null, version: 'bench', ledgerIdsMax: 8_000_000 }
  await using api = await startServing({ database, settings, clock: Date.now, port: 0 })
  await using worker = await startChild()
  const started = worker.heard('started')
  worker.tell({ do: 'work', logUrl: cluster.logUrl, databaseUrl: cluster.server.url, schema: 'fresh', topic, group: `bench-${randomUUID()}`, mode: 'exactly-once' })
  await started
  const traffic = startTraffic(log, topic)
  const { startedAt } = traffic
  const latencies: number[] = []
  let seen = 0
  let ended: Promise<void> | null = null
  let finished = false
  while (!finished || seen < traffic.dueAt.length) {
    if (ended === null && performance.now() - startedAt > warmUpMs + seconds * 1000) ended = traffic.stop().then(() => void (finished = true))
    const response = await fetch(`${api.url}/v1/revenue`)
    const { rows } = (await response.json()) as { rows: { transactions: number }[] }
    const now = performance.now()
    for (const counted = rows[0]?.transactions ?? 0; seen < counted; seen++) {
      const at = startedAt + (seen * 1000) / eventsPerSecond
      if (at - startedAt > warmUpMs) latencies.push(now - at)
    }
  }
  await ended
  const worked = worker.heard('worked')
  worker.tell({ do: 'stop' })
  await worked
  return {
    name: 'freshness: due to be produced to API answer, through Kafka',
    eventsPerSecond,
    events: latencies.length,
    p50Ms: Math.round(percentile(latencies, 0.5)),
    p99Ms: Math.round(percentile(latencies, 0.99)),
    maxMs: Math.round(percentile(latencies, 1)),
  }
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await benchKafkaFreshness(Number(process.argv[2] ?? 10)))}\n`)
