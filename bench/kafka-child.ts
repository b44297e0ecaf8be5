/** The system under test in a process of its own: a speed worker on Kafka, or a kafkajs consumer that does nothing. Started by kafka-children.ts. */
import { Kafka, logLevel } from 'kafkajs'
import { openDecoder } from '#core/decode.ts'
import { views } from '#core/views/all.ts'
import { openElasticsearch } from '#engines/elasticsearch.ts'
import { openKafkaLog } from '#engines/kafka-log.ts'
import { maintainLedger } from '#speed/maintenance.ts'
import { runSearchFollower } from '#speed/search-follower.ts'
import { runSpeedWorker } from '#speed/worker.ts'
import { openDatabase } from '#store/database.ts'
import { withOffsetsApart } from './at-least-once.ts'
import type { ChildMessage, FollowOrder, IdleRead, ParentMessage, WorkOrder } from './kafka-children.ts'
import { benchCurrency, benchZone } from './speed-loop.ts'

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined }
/** As cli/settings.ts has them. */
const defaults = { flushIntervalMs: 250, flushRecordsMax: 100_000, ledgerIdsMax: 8_000_000 }

function tell(message: ChildMessage): void {
  process.send!(message)
}

let stop = new AbortController()

async function work(order: WorkOrder): Promise<void> {
  stop = new AbortController()
  const { signal } = stop
  const opened = openDatabase({ url: order.databaseUrl, schema: order.schema })
  const database = order.mode === 'exactly-once' ? opened : withOffsetsApart(opened, order.mode)
  const log = await openKafkaLog({ url: order.logUrl, groupPrefix: order.group })
  try {
    const cpuBefore = process.cpuUsage()
    tell({ is: 'started' })
    const maintenance = maintainLedger(database, quiet, signal)
    await runSpeedWorker(
      {
        database,
        log,
        decoder: openDecoder({ zone: benchZone, currency: benchCurrency }),
        topic: order.topic,
        worker: `bench-${process.pid}`,
        ...defaults,
        ...(order.flushRecordsMax === undefined ? {} : { flushRecordsMax: order.flushRecordsMax }),
        logger: quiet,
        ...(order.views === undefined ? {} : { views: views.filter(({ name }) => order.views!.includes(name)) }),
        onFlush: ({ records }) => tell({ is: 'flushed', records }),
      },
      signal,
    )
    await maintenance
    const { user, system } = process.cpuUsage(cpuBefore)
    tell({ is: 'worked', cpuSeconds: (user + system) / 1e6 })
  } finally {
    stop.abort()
    await log[Symbol.asyncDispose]()
    await opened[Symbol.asyncDispose]()
  }
}

/** Feeds Elasticsearch with a store's figures and sales until stopped. */
async function follow(order: FollowOrder): Promise<void> {
  stop = new AbortController()
  await using database = openDatabase({ url: order.databaseUrl, schema: order.schema })
  await using log = await openKafkaLog({ url: order.logUrl, groupPrefix: order.group })
  await using search = await openElasticsearch({ url: order.searchUrl })
  const cpuBefore = process.cpuUsage()
  const decoder = openDecoder({ zone: benchZone, currency: benchCurrency })
  const options = { database, search, prefix: order.schema.replaceAll('_', '-'), log, decoder, topic: order.topic, zone: benchZone, logger: quiet }
  await runSearchFollower({ ...options, onFollowing: () => tell({ is: 'started' }) }, stop.signal)
  const { user, system } = process.cpuUsage(cpuBefore)
  tell({ is: 'worked', cpuSeconds: (user + system) / 1e6 })
}

/** Reads a whole topic, as fast as kafkajs does. */
async function readIdle({ brokers, topic, records, group }: IdleRead): Promise<void> {
  const kafka = new Kafka({ clientId: 'bench', brokers: brokers.split(','), logLevel: logLevel.NOTHING })
  const consumer = kafka.consumer({ groupId: group, maxBytesPerPartition: 8 * 1024 * 1024, maxBytes: 64 * 1024 * 1024, maxWaitTimeInMs: 10, minBytes: 1 })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const cpuBefore = process.cpuUsage()
  const startedAt = performance.now()
  let joinedAt = startedAt
  consumer.on('consumer.group_join', () => (joinedAt = performance.now()))
  let seen = 0
  const done = Promise.withResolvers<number>()
  await consumer.run({
    autoCommit: false,
    eachBatch: ({ batch }) => {
      seen += batch.messages.length
      if (seen >= records) done.resolve(performance.now())
      return Promise.resolve()
    },
  })
  const endedAt = await done.promise
  const { user, system } = process.cpuUsage(cpuBefore)
  tell({ is: 'read', seconds: (endedAt - joinedAt) / 1000, secondsWithJoin: (endedAt - startedAt) / 1000, cpuSeconds: (user + system) / 1e6 })
  await consumer.disconnect()
}

async function perform(message: ParentMessage): Promise<void> {
  if (message.do === 'work') await work(message)
  else if (message.do === 'read') await readIdle(message)
  else if (message.do === 'follow') await follow(message)
  else stop.abort()
}

process.on('message', (message: ParentMessage) => {
  perform(message).catch((thrown: unknown) => tell({ is: 'failed', reason: thrown instanceof Error ? String(thrown.stack) : String(thrown) }))
})
process.on('disconnect', () => process.exit())
tell({ is: 'ready' })
