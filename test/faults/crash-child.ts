/**
 * A speed worker in a process of its own that ends at one point of its first flush: killed as by `kill -9`, or out of memory. Arguments: database URL, schema, the
 * log's schema or its `kafka://` address, topic, point.
 */
import { openDecoder } from '#core/decode.ts'
import { openKafkaLog } from '#engines/kafka-log.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'
import { runSpeedWorker } from '#speed/worker.ts'
import { openDatabase } from '#store/database.ts'
import type { FlushFaults } from '#store/flush.ts'

export type CrashPoint = 'before commit' | 'after commit' | 'out of memory'

const [url, schema, logPlace, topic, point] = process.argv.slice(2) as [string, string, string, string, CrashPoint]

async function die(): Promise<void> {
  process.kill(process.pid, 'SIGKILL')
  await new Promise(() => undefined)
}

async function exhaustMemory(): Promise<void> {
  const held: string[][] = []
  for (;;) held.push(Array.from({ length: 100_000 }, (_, n) => `record ${held.length} ${n}`))
}

const faults: Readonly<Record<CrashPoint, FlushFaults>> = {
  'before commit': { beforeCommit: die },
  'after commit': { afterCommit: die },
  'out of memory': { beforeCommit: exhaustMemory },
}
const silent = (): void => undefined
await runSpeedWorker(
  {
    database: openDatabase({ url, schema }),
    log: logPlace.startsWith('kafka://') ? await openKafkaLog({ url: logPlace, groupPrefix: schema }) : await openPostgresLog({ connectionString: url, schema: logPlace, pollIntervalMs: 5 }),
    decoder: openDecoder({ zone: 'Europe/London', currency: 'GBP' }),
    topic,
    worker: 'crash',
    ledgerIdsMax: 100_000,
    flushIntervalMs: 20,
    flushRecordsMax: 200,
    logger: { debug: silent, info: silent, warn: silent },
    faults: faults[point],
  },
  new AbortController().signal,
)
