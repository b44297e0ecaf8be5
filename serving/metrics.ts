/** Prometheus metrics: the store's own totals, read at each scrape, and how long requests took. */
import type { FastifyInstance } from 'fastify'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Database } from '#store/database.ts'
import { readOldestUnarchivedMs } from '#store/register.ts'
import { readSearchStatus } from '#store/search-status.ts'
import type { StoreStatus } from '#store/status.ts'
import { readStatus } from '#store/status.ts'
import type { LogEnds } from './log-ends.ts'
import { withLogEnds } from './log-ends.ts'
import type { Admission } from './admission.ts'
import { registerBatchMetrics } from './metrics-batch.ts'
import type { Clock, ServingSettings } from './settings.ts'

export type MetricsOptions = { readonly database: Database; readonly admission: Admission; readonly clock: Clock; readonly settings: ServingSettings; readonly eventClients: () => number; readonly log?: LogEnds | undefined }

const byPartition = ['topic', 'partition'] as const
const durationBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

export function routeMetrics(app: FastifyInstance, options: MetricsOptions): void {
  const registry = new Registry()
  const registers = [registry]
  const counter = (name: string, help: string, labelNames: readonly string[] = []): Counter =>
    new Counter({ name: `tidemark_${name}_total`, help, labelNames: [...labelNames], registers })
  const gauge = (name: string, help: string, labelNames: readonly string[] = []): Gauge =>
    new Gauge({ name: `tidemark_${name}`, help, labelNames: [...labelNames], registers })

  const durations = new Histogram({
    name: 'tidemark_http_request_duration_seconds',
    help: 'Time from request to answer.',
    labelNames: ['route', 'method', 'status'],
    buckets: durationBuckets,
    registers,
  })
  const up = gauge('database_up', '1 where the database answered this scrape.')
  const partitionCounters = (
    [
      ['records', 'Records read from the log.'],
      ['accepted', 'Events counted.'],
      ['copies', 'Copies of counted events, left out.'],
      ['conflicts', 'Events with a known id and other fields.'],
      ['refused', 'Records refused.'],
      ['late', 'Counted events whose day had ended.'],
    ] as const
  ).map(([field, help]) => ({ field, metric: counter(`${field === 'records' ? 'records' : `events_${field}`}`, help, byPartition) }))
  const nextOffset = gauge('next_offset', 'Next offset of the speed layer (exclusive end of what is in the figures).', byPartition)
  const lag = gauge('consumer_lag_records', 'Records of the log that are not in the figures yet.', byPartition)
  const freshness = gauge('freshness_seconds', 'Now minus the newest log time in the figures.')
  const epoch = gauge('epoch', 'The epoch that the speed layer writes.')
  const batch = gauge('batch', 'The published batch.')
  const batchSuccess = gauge('batch_last_success_timestamp_seconds', 'When the newest published batch was published.')
  const workerCounters = (
    [
      ['flushes', 'flushes', 'Flushes committed.'],
      ['fencedFlushes', 'fenced_flushes', 'Flushes refused since another worker had moved the offset.'],
      ['failedFlushes', 'failed_flushes', 'Flushes that failed and were read again.'],
      ['skippedReplays', 'skipped_replays', 'Records read again below the committed offset and left out.'],
    ] as const
  ).map(([field, name, help]) => ({ field, metric: counter(name, help, ['worker']) }))
  const deadLetters = gauge('dead_letters', 'Dead letters kept.', ['reason'])
  const stopped = gauge('stopped_partitions', 'Partitions that wait for a person.')
  const archiveAge = gauge('archive_unarchived_seconds', 'Age of the oldest counted record that is not archived yet: alarm at half of the log\'s retention.')
  const searchLag = gauge('search_lag_seconds', 'Since the moment up to which the documents of the search index are complete.')
  const searchRejects = gauge('search_rejects', 'Documents that the search index refuses for good.')
  const searchResent = counter('search_months_resent', 'Months whose documents differed from the figures and were sent again.')
  const inFlight = gauge('answers_in_flight', 'Answers being computed.')
  const shed = counter('answers_shed', 'Answers refused with 503 since too many were in flight.')
  const clients = gauge('event_clients', 'Clients of the live feed.')
  const fillBatchLayer = registerBatchMetrics(registry, options)

  function fill(status: StoreStatus): void {
    for (const { metric } of [...partitionCounters, ...workerCounters]) metric.reset()
    nextOffset.reset()
    deadLetters.reset()
    let newestMs = -1
    for (const partition of status.partitions) {
      const labels = { topic: partition.topic, partition: partition.partition }
      for (const { field, metric } of partitionCounters) metric.inc(labels, partition[field])
      nextOffset.set(labels, partition.nextOffset)
      if (partition.lastLogTime !== null) newestMs = Math.max(newestMs, Date.parse(partition.lastLogTime))
    }
    for (const worker of status.workers) for (const { field, metric } of workerCounters) metric.inc({ worker: worker.worker }, worker[field])
    for (const [reason, letters] of Object.entries(status.deadLettersByReason)) deadLetters.set({ reason }, letters)
    // Before the first record there is nothing to be fresh or stale.
    if (newestMs >= 0) freshness.set(Math.max(0, options.clock() - newestMs) / 1000)
    epoch.set(status.epoch)
    batch.set(status.batch.id)
    const published = status.batches.find((one) => one.publishedAt !== null)?.publishedAt
    if (published !== undefined && published !== null) batchSuccess.set(Date.parse(published) / 1000)
    stopped.set(status.stopped.length)
  }

  async function fillFollowers(): Promise<void> {
    const { pool } = options.database
    const [oldestMs, search] = await Promise.all([readOldestUnarchivedMs(pool), readSearchStatus(pool)]).catch(() => [null, null] as const)
    archiveAge.set(oldestMs === null ? 0 : Math.max(0, options.clock() - oldestMs) / 1000)
    if (search === null) return
    searchLag.set(search.lagSeconds)
    searchRejects.set(search.rejects)
    searchResent.reset()
    searchResent.inc(search.monthsResent)
  }

  app.addHook('onResponse', (request, reply, done) => {
    // The address as declared: what clients make up must not become labels. A live feed ends when its client leaves.
    const route = request.routeOptions.url ?? 'unknown'
    if (route !== '/v1/events') durations.observe({ route, method: request.method, status: reply.statusCode }, reply.elapsedTime / 1000)
    done()
  })

  app.get('/metrics', { schema: { hide: true } }, async (_request, reply) => {
    const status = await readStatus(options.database.pool).catch(() => null)
    up.set(status === null ? 0 : 1)
    if (status !== null) {
      fill(status)
      lag.reset()
      for (const { topic, partition, nextOffset: next, logEnd } of await withLogEnds(status.partitions, options.log)) {
        if (logEnd !== null) lag.set({ topic, partition }, Math.max(0, logEnd - next))
      }
    }
    await Promise.all([fillFollowers(), fillBatchLayer()])
    inFlight.set(options.admission.running)
    shed.reset()
    shed.inc(options.admission.refused)
    clients.set(options.eventClients())
    return reply.type(registry.contentType).send(await registry.metrics())
  })
}
