/** The batch layer on an environment: its options, one run with what follows it, and the nightly asking. */
import { parquetCodec } from '#engines/parquet.ts'
import { repairArchive } from '#batch/archive.ts'
import type { CompactOptions, Compacted } from '#batch/compact.ts'
import { compactArchive } from '#batch/compact.ts'
import type { OrphanOptions } from '#batch/orphans.ts'
import { sweepBatchFolders, sweepOrphans } from '#batch/orphans.ts'
import { shareArchive } from '#batch/share.ts'
import type { BatchOptions, BatchOutcome } from '#batch/run.ts'
import { runBatchToPublication } from '#batch/run.ts'
import { referenceTopics } from '#core/decode-reference.ts'
import { FencedError, LossError, TidemarkError } from '#core/errors.ts'
import { catchUpReferences } from '#speed/references.ts'
import type { Pruned } from '#store/prune.ts'
import { pruneStore } from '#store/prune.ts'
import { keepIncarnation } from '#store/incarnation.ts'
import { isSameLogic, readLogic } from '#store/logic.ts'
import { archiveEnds } from '#store/register.ts'
import type { Environment } from './environment.ts'
import { topics, transactionsTopic } from './environment.ts'
import { sleep } from './process-control.ts'

const dayMs = 86_400_000
const catchUpTriesMax = 5
const markIntervalMs = 60_000

export async function batchOptions(environment: Environment, signal: AbortSignal): Promise<BatchOptions> {
  return {
    database: environment.database,
    log: await environment.log(),
    lake: await environment.lake(),
    engine: await environment.queryEngine(),
    codec: parquetCodec,
    decoder: environment.decoder,
    topic: transactionsTopic,
    fileOffsetsMax: environment.settings.fileOffsetsMax,
    signal,
  }
}

/** A batch, then what may go once it is published: old batches, orphans, archived records of the embedded log. */
export async function runBatchAndTidy(
  environment: Environment,
  signal: AbortSignal,
  extra: Pick<BatchOptions, 'full' | 'onStep' | 'before'> = {},
): Promise<{ outcome: BatchOutcome; pruned: Pruned; orphans: string[] }> {
  await catchUpBeforeBatch(environment, signal)
  const outcome = await runBatchToPublication({ ...(await batchOptions(environment, signal)), ...extra })
  const { settings, database } = environment
  const pruned = await pruneStore(database, settings.keepBatches, settings.ledgerIdsMax)
  const lake = await environment.lake()
  try {
    await compactLake(environment, signal)
  } catch (thrown) {
    // Many small files cost time and nothing else: the next batch tries again.
    if (!(thrown instanceof TidemarkError)) throw thrown
    extra.onStep?.('publish', `small files of the archive stay as they are: ${thrown.message}`)
  }
  const sweeping = await orphanOptions(environment, lake)
  await sweepBatchFolders(sweeping)
  const { moved } = await sweepOrphans(sweeping)
  await pruneLog(environment)
  if (outcome.crossCheck.summary.logic !== undefined && settings.searchUrl !== '') {
    // A document of a sale stands in the index of its month, which may be another now.
    const { searchPrefix } = await import('./search-layer.ts')
    const { requestBuild } = await import('#store/search-indices.ts')
    await requestBuild(database, searchPrefix(environment), 'sales')
  }
  return { outcome, pruned, orphans: moved }
}

/** The cut that follows takes what users and products say now, whether a speed layer runs or not. */
async function catchUpBeforeBatch(environment: Environment, signal: AbortSignal): Promise<void> {
  const { database, decoder } = environment
  // A batch that takes another logic version into use counts with the old one until then, which is the speed layer's to do.
  if (!isSameLogic(await readLogic(database.pool), decoder.logicVersion)) return
  const options = { database, log: await environment.log(), topics: referenceTopics, logicVersion: decoder.logicVersion }
  for (let tries = 1; ; tries++) {
    try {
      await catchUpReferences(options, signal)
      return
    } catch (thrown) {
      // Names for people hold no batch back: what the log lost of them is on record, and the archiver says so.
      if (thrown instanceof LossError) return
      if (!(thrown instanceof FencedError) || tries === catchUpTriesMax) throw thrown
    }
  }
}

export async function orphanOptions(environment: Environment, lake: OrphanOptions['lake']): Promise<OrphanOptions> {
  const { settings, database } = environment
  const engine = await environment.queryEngine()
  return {
    database,
    lake,
    topics,
    nowMs: Date.now(),
    orphanAfterMs: settings.orphanAfterMinutes * 60_000,
    deleteAfterMs: settings.orphanKeepDays * dayMs,
    share: () => shareArchive({ database, engine, topic: transactionsTopic }),
  }
}

/** Merges small files of the archive, and tells the query engine's own table of it. */
export async function compactLake(environment: Environment, signal: AbortSignal, onMerge?: CompactOptions['onMerge']): Promise<Compacted> {
  const options = await compactOptions(environment, signal)
  const compacted = await compactArchive({ ...options, ...(onMerge && { onMerge }) })
  if (compacted.merged.length > 0) await shareArchive({ ...options, topic: transactionsTopic })
  return compacted
}

export async function compactOptions(environment: Environment, signal: AbortSignal): Promise<CompactOptions> {
  const { database, lake, engine, codec, fileOffsetsMax } = await batchOptions(environment, signal)
  return { database, lake, engine, codec, fileOffsetsMax, signal }
}

async function pruneLog(environment: Environment): Promise<void> {
  const log = await environment.log()
  const beforeMs = Date.now() - environment.settings.logKeepDays * dayMs
  for (const topic of topics) await log.prune(topic, await archiveEnds(environment.database.pool, topic), beforeMs)
}

/** Writes lost files of the lake again from the log, up to the last cut that a batch used. */
export async function repairLake(environment: Environment, signal: AbortSignal): Promise<string[]> {
  const { database } = environment
  const { rows } = await database.pool.query<{ epoch: bigint | null }>('SELECT max(epoch) AS epoch FROM cuts')
  const epoch = Number(rows[0]!.epoch ?? 0n)
  return repairArchive(await batchOptions(environment, signal), epoch)
}

/** Leaves a mark in the lake every minute, by which a database that was put back is told. Until aborted. */
export async function keepMarking(environment: Environment, signal: AbortSignal, say: (fields: object, text: string) => void): Promise<void> {
  while (!signal.aborted) {
    try {
      const { incarnation, isNew } = await keepIncarnation(environment.database, await environment.lake())
      if (isNew) say({ incarnation }, 'the database was put back: a new incarnation begins')
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError)) throw thrown
      say({ code: thrown.code }, `no mark was left in the lake: ${thrown.message}`)
    }
    await sleep(markIntervalMs, signal)
  }
}
