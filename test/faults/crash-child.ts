/**
 * A speed worker in a process of its own that ends at one point of its first flush: killed as by `kill -9`, or out of memory. Arguments: database URL, schema, the
 * log's schema or its `kafka://` address, topic, point.
 */
import { openDecoder } from '#core/decode.ts'
import type { EventLog } from '#core/ports.ts'
import { openKafkaLog } from '#engines/kafka-log.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'
import { runSpeedWorker } from '#speed/worker.ts'
import { openDatabase } from '#store/database.ts'
import type { FlushFaults } from '#store/flush.ts'
import { logMethods } from '#test/lab/log-methods.ts'

export type CrashPoint = 'before commit' | 'after commit' | 'out of memory' | 'stopped with records in hand'

const [url, schema, logPlace, topic, point] = process.argv.slice(2) as [string, string, string, string, CrashPoint]

async function openLog(): Promise<EventLog> {
  return logPlace.startsWith('kafka://') ? openKafkaLog({ url: logPlace, groupPrefix: schema }) : openPostgresLog({ connectionString: url, schema: logPlace, pollIntervalMs: 5 })
}

async function die(): Promise<void> {
  process.kill(process.pid, 'SIGKILL')
  await new Promise(() => undefined)
}

async function exhaustMemory(): Promise<void> {
  const held: string[][] = []
  for (;;) held.push(Array.from({ length: 100_000 }, (_, n) => `record ${held.length} ${n}`))
}

/** The process stops itself once what was read is in the worker's memory: the worker asks for more. Woken, it goes on as if nothing had been. */
function stopAfterReading(log: EventLog): EventLog {
  return {
    ...logMethods(log),
    async *read(...args) {
      for await (const batch of log.read(...args)) {
        yield batch
        if (batch.records.length > 0) process.kill(process.pid, 'SIGSTOP')
      }
    },
  }
}

const faults: Readonly<Record<CrashPoint, FlushFaults>> = {
  'stopped with records in hand': {},
  'before commit': { beforeCommit: die },
  'after commit': { afterCommit: die },
  'out of memory': { beforeCommit: exhaustMemory },
}
const silent = (): void => undefined
/** For who started it to read. */
const warn = (fields: object, text: string): void => void process.stdout.write(`${JSON.stringify({ ...fields, text })}\n`)
const log = await openLog()
await runSpeedWorker(
  {
    database: openDatabase({ url, schema }),
    log: point === 'stopped with records in hand' ? stopAfterReading(log) : log,
    decoder: openDecoder({ zone: 'Europe/London', currency: 'GBP' }),
    topic,
    worker: 'crash',
    ledgerIdsMax: 100_000,
    flushIntervalMs: point === 'stopped with records in hand' ? 2_000 : 20,
    flushRecordsMax: 200,
    logger: { debug: silent, info: silent, warn },
    faults: faults[point],
  },
  new AbortController().signal,
)
