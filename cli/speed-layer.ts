/** Runs the speed layer on an environment until aborted. */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { referenceTopics } from '#core/decode-reference.ts'
import type { SpeedLogger } from '#speed/worker.ts'
import { runSpeedWorker } from '#speed/worker.ts'
import { followReferences } from '#speed/references.ts'
import type { Refill } from '#speed/refill.ts'
import { maintainLedger } from '#speed/maintenance.ts'
import { agreeOnLogic } from '#store/partitions.ts'
import type { Environment } from './environment.ts'
import { transactionsTopic } from './environment.ts'

export type FlushListener = NonNullable<Parameters<typeof runSpeedWorker>[0]['onFlush']>

export async function runSpeedLayer(environment: Environment, logger: SpeedLogger, signal: AbortSignal, onFlush?: FlushListener): Promise<void> {
  const { settings, database, decoder } = environment
  await agreeOnLogic(database, decoder.logicVersion)
  const log = await environment.log()
  const stopped = new AbortController()
  const both = AbortSignal.any([signal, stopped.signal])
  const maintenance = maintainLedger(database, logger, both)
  const refill: Refill = async (topic, partition, from, to) => {
    const { readLakeRange } = await import('#batch/lake-range.ts')
    return readLakeRange({ queryable: database.pool, lake: await environment.lake(), engine: await environment.queryEngine() }, topic, partition, from, to)
  }
  const references = followReferences({ database, log, topics: referenceTopics, logicVersion: decoder.logicVersion, logger, refill }, both)
  // What no retry can mend ends the whole layer, and is thrown below.
  references.catch(() => stopped.abort())
  try {
    await runSpeedWorker(
      {
        database,
        log,
        decoder,
        topic: transactionsTopic,
        worker: `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`,
        ledgerIdsMax: settings.ledgerIdsMax,
        flushIntervalMs: settings.flushIntervalMs,
        flushRecordsMax: settings.flushRecordsMax,
        logger,
        refill,
        ...(onFlush && { onFlush }),
      },
      both,
    )
  } finally {
    stopped.abort()
    await Promise.all([maintenance, references])
  }
}
