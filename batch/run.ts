/**
 * One batch run: cut → archive up to the horizon → recompute from the archive → cross-check → publish, or hold. What a crash leaves between any two
 * of them is either invisible (staged rows, orphans) or already whole (a cut, a registered file), and the next run goes on from there.
 */
import type { PoolClient } from 'pg'
import type { Decoder } from '#core/decode.ts'
import { ConflictError, HeldError, OvertakenError, messageOf } from '#core/errors.ts'
import type { EventLog, Lake, ParquetCodec, QueryEngine } from '#core/ports.ts'
import { views } from '#core/views/all.ts'
import type { Batch } from '#store/batches.ts'
import { beginBatch, combineParts, endBatchOwnership, failBatch, holdBatch, publishBatch, readBatch, readPointer, readStages, supersedeBatch } from '#store/batches.ts'
import type { CorrectionPlan } from '#store/corrections.ts'
import { noCorrections } from '#store/corrections.ts'
import { differencesOf } from '#store/cross-check.ts'
import type { Database } from '#store/database.ts'
import { connect, translateError } from '#store/database.ts'
import { cutEpoch } from '#store/epochs.ts'
import type { ArchiveFile } from '#store/register.ts'
import { keepIncarnation, readIncarnation } from '#store/incarnation.ts'
import { checkTiling, listFiles } from '#store/register.ts'
import { archiveColumns } from './archive-columns.ts'
import { archiveUpTo } from './archive.ts'
import type { CrossCheck } from './cross-check.ts'
import { crossCheck } from './cross-check.ts'
import { recompute } from './recompute.ts'

export type BatchStep = 'cut' | 'archive' | 'recompute' | 'cross-check' | 'combine' | 'publish'

export type BatchOptions = {
  readonly database: Database
  readonly log: EventLog
  readonly lake: Lake
  readonly engine: QueryEngine
  readonly codec: ParquetCodec
  readonly decoder: Decoder
  readonly topic: string
  readonly fileOffsetsMax: number
  readonly signal: AbortSignal
  /** Recompute every event instead of those since the published batch. */
  readonly full?: boolean
  readonly onStep?: (step: BatchStep, detail: string) => void
  /** Where tests may stop a run; called before each step. */
  readonly before?: (step: BatchStep | 'register', context: { readonly batch: number | null }) => Promise<void>
}

export type BatchOutcome = { readonly batch: Batch; readonly crossCheck: CrossCheck; readonly files: readonly ArchiveFile[] }

/** A batch that gives up after so many others overtook it is not alone: something starts batches without end. */
const attemptsMax = 5

/** Runs a batch; one that another overtook begins again with a new cut. Throws what `runBatch` throws. */
export async function runBatchToPublication(options: BatchOptions): Promise<BatchOutcome> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await runBatch(options)
    } catch (thrown) {
      if (!(thrown instanceof OvertakenError) || attempt === attemptsMax || options.signal.aborted) throw thrown
      options.onStep?.('publish', `another batch was first; begun again: ${thrown.message}`)
    }
  }
}

/** Throws HeldError where the cross-check finds what nothing explains, OvertakenError where another batch was published meanwhile. */
export async function runBatch(options: BatchOptions): Promise<BatchOutcome> {
  const { database, decoder } = options
  const pointer = await readPointer(database.pool)
  if (pointer.pausedReason !== null) {
    throw new ConflictError(`Publishing is paused (${pointer.pausedReason}). "tidemark batch resume" lets it go on.`, { pointer })
  }
  await options.before?.('cut', { batch: null })
  const cut = await cutEpoch(database, decoder.logicVersion)
  options.onStep?.('cut', `epoch ${cut.epoch}; horizon ${cut.horizon.map((entry) => `${entry.partition}:${entry.nextOffset}`).join(' ') || 'empty'}`)
  const owner = await connect(database)
  // The lock goes with its connection; an error there is seen at the next statement.
  owner.on('error', () => undefined)
  try {
    const batch = await beginBatch(database, owner, cut.epoch, options.full === true ? 'full' : 'incremental')
    return await finishBatch(options, batch, owner)
  } finally {
    owner.release(true)
  }
}

async function finishBatch(options: BatchOptions, batch: Batch, owner: PoolClient): Promise<BatchOutcome> {
  const { database } = options
  try {
    // After the batch has its number and before anything is named by it: a database put back to in between is then behind its mark.
    const { isNew } = await keepIncarnation(database, options.lake)
    if (isNew) options.onStep?.('cut', 'the database was put back: a new incarnation begins')
    const files = await archive(options, batch)
    await options.before?.('recompute', batch)
    const base = { batch: batch.baseBatch!, epoch: (await readBatch(database.pool, batch.baseBatch!)).epoch }
    await checkTiling(database.pool, batch.epoch)
    const fromEpoch = batch.kind === 'full' ? 0 : base.epoch
    const newFiles = (await listFiles(database.pool, fromEpoch, batch.epoch)).filter((file) => file.topic === options.topic)
    const oldFiles = (await listFiles(database.pool, 0, fromEpoch)).filter((file) => file.topic === options.topic)
    const folder = await batchFolder(database, batch.batch)
    const recomputed = await recompute({ database, lake: options.lake, engine: options.engine, folder, signal: options.signal }, batch, newFiles, oldFiles)
    options.onStep?.('recompute', `${recomputed.eventsRead} events read, ${recomputed.eventsCounted} count`)

    await options.before?.('cross-check', batch)
    const check = await crossCheck(options, batch, base, recomputed)
    options.onStep?.('cross-check', check.summary.text)
    if (check.summary.result === 'held') {
      await holdBatch(database, batch.batch, recomputed.eventsRead, recomputed.eventsCounted, check.summary, check.summary.text)
      throw new HeldError(`Batch ${batch.batch} is held: ${check.summary.text} "tidemark batch show ${batch.batch}" lists it; "batch accept" or "batch drop" decides.`, { ...check.summary })
    }
    await options.before?.('combine', batch)
    await combineParts(database, batch, recomputed.stages)
    await options.before?.('publish', batch)
    await publish(database, batch, recomputed.eventsRead, recomputed.eventsCounted, check)
    options.onStep?.('publish', `batch ${batch.batch} serves`)
    await share(options, [...oldFiles, ...newFiles])
    return { batch: await readBatch(database.pool, batch.batch), crossCheck: check, files }
  } catch (thrown) {
    if (!(thrown instanceof HeldError)) await failBatch(database, batch.batch, messageOf(thrown)).catch(() => undefined)
    throw translateError(thrown)
  } finally {
    await endBatchOwnership(owner, batch.batch).catch(() => undefined)
  }
}

async function archive(options: BatchOptions, batch: Batch): Promise<ArchiveFile[]> {
  await options.before?.('archive', batch)
  let rows = 0
  const files = await archiveUpTo(
    {
      ...options,
      onFile: (file) => {
        rows += file.rows
        options.onStep?.('archive', `${rows} rows in the lake`)
      },
      beforeRegister: async () => options.before?.('register', batch),
    },
    batch.epoch,
  )
  return files
}

/** People who ask the query engine themselves find the archive up to the horizon under the topic's name. The batch serves whether that can be told or not. */
async function share({ engine, topic, onStep }: BatchOptions, files: readonly ArchiveFile[]): Promise<void> {
  const paths = files.filter((file) => file.rows > 0).map((file) => file.path)
  try {
    await engine.share?.(topic, paths, archiveColumns)
  } catch (thrown) {
    onStep?.('publish', `the query engine's own table ${topic} stays as it was: ${messageOf(thrown)}`)
  }
}

async function publish(database: Database, batch: Batch, eventsRead: number, eventsCounted: number, check: CrossCheck): Promise<void> {
  try {
    await publishBatch(database, { batch, corrections: check.corrections, eventsRead, eventsCounted, crossCheck: check.summary })
  } catch (thrown) {
    if (thrown instanceof ConflictError) await supersedeBatch(database, batch.batch, thrown.message)
    throw thrown
  }
}

/** Names outside the database carry the incarnation: a restored store must not meet its own future. */
async function batchFolder(database: Database, batch: number): Promise<string> {
  return `batches/${await readIncarnation(database.pool)}/${batch}/counted_events`
}

/** A person takes a held batch as it is: what nothing explains is booked as accepted corrections, so that the equation holds afterwards. */
export async function acceptHeldBatch(database: Database, number: number): Promise<Batch> {
  const batch = await readBatch(database.pool, number)
  if (batch.status !== 'held') throw new ConflictError(`Batch ${number} is ${batch.status}, not held.`)
  const base = { batch: batch.baseBatch!, epoch: (await readBatch(database.pool, batch.baseBatch!)).epoch }
  const stages = await readStages(database.pool, number)
  const differences = new Map(views.map((view) => [view.name as string, differencesOf(view, batch, base, stages.get(view.name)!)]))
  const corrections: CorrectionPlan = { ...noCorrections, remaining: { reason: 'accepted', differences } }
  await combineParts(database, batch, stages)
  await publishBatch(database, {
    batch,
    corrections,
    eventsRead: batch.eventsRead ?? 0,
    eventsCounted: batch.eventsCounted ?? 0,
    crossCheck: { ...(batch.crossCheck as object), result: 'accepted' },
  })
  return readBatch(database.pool, number)
}
