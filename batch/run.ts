/**
 * One batch run: cut → archive up to the horizon → recompute from the archive → cross-check → publish, or hold. What a crash leaves between any two
 * of them is either invisible (staged rows, orphans) or already whole (a cut, a registered file), and the next run goes on from there.
 *
 * A full run decodes the archive's bytes again first. With other settings or another version it takes their logic into use: it follows the traffic until
 * little is left, cuts a last time, and publishes while no flush commits (docs/decisions/0018).
 */
import { setTimeout as wait } from 'node:timers/promises'
import type { Decoder } from '#core/decode.ts'
import { decoderOf } from '#core/decode.ts'
import { ConflictError, HeldError, OvertakenError, SwitchingError, messageOf } from '#core/errors.ts'
import type { EventLog, Lake, ParquetCodec, QueryEngine } from '#core/ports.ts'
import { views } from '#core/views/all.ts'
import type { Batch, BatchInputs, InputSums, Publication } from '#store/batches.ts'
import { beginBatch, combineParts, failBatch, holdBatch, noteRun, publishBatch, readBatch, readPointer, readStages, supersedeBatch } from '#store/batches.ts'
import type { CorrectionPlan } from '#store/corrections.ts'
import { noCorrections } from '#store/corrections.ts'
import { differencesOf } from '#store/cross-check.ts'
import type { Database } from '#store/database.ts'
import { connect, releaseLocks, translateError } from '#store/database.ts'
import { cutEpoch } from '#store/epochs.ts'
import { beginSwitch, isSameLogic, otherLogic, readLogic, settleSwitch } from '#store/logic.ts'
import { pathsOfOtherLogic } from '#store/pending-files.ts'
import type { ArchiveFile } from '#store/register.ts'
import { keepIncarnation, readIncarnation } from '#store/incarnation.ts'
import { checkTiling, listFiles } from '#store/register.ts'
import { archiveUpTo } from './archive.ts'
import type { CrossCheck } from './cross-check.ts'
import { crossCheck } from './cross-check.ts'
import type { Recomputed } from './recompute.ts'
import { attachAll, recompute } from './recompute.ts'
import type { Redecoded } from './redecode.ts'
import { addRedecoded, nothingRedecoded, redecodeFiles } from './redecode.ts'
import { shareArchive } from './share.ts'
import { takeLogic } from './take-logic.ts'

export type BatchStep = 'cut' | 'archive' | 'redecode' | 'recompute' | 'switch' | 'cross-check' | 'combine' | 'publish'

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

/** While another batch takes other logic into use, which is a matter of seconds. */
const switchLookEveryMs = 500
const switchLooksMax = 240

/** Runs a batch; one that another overtook begins again with a new cut. Throws what `runBatch` throws. */
export async function runBatchToPublication(options: BatchOptions): Promise<BatchOutcome> {
  let looks = 0
  for (let attempt = 1; ; attempt++) {
    try {
      return await runBatch(options)
    } catch (thrown) {
      if (thrown instanceof SwitchingError && ++looks < switchLooksMax && !options.signal.aborted) {
        attempt--
        await wait(switchLookEveryMs, undefined, { signal: options.signal })
        continue
      }
      if (!(thrown instanceof OvertakenError) || attempt === attemptsMax || options.signal.aborted) throw thrown
      options.onStep?.('publish', `another batch was first; begun again: ${thrown.message}`)
    }
  }
}

/**
 * Throws HeldError where the cross-check finds what nothing explains, OvertakenError where another batch was published meanwhile, SwitchingError while one is
 * about to be that takes another logic version into use.
 */
export async function runBatch(options: BatchOptions): Promise<BatchOutcome> {
  const { database, decoder } = options
  const pointer = await readPointer(database.pool)
  if (pointer.pausedReason !== null) {
    throw new ConflictError(`Publishing is paused (${pointer.pausedReason}). "tidemark batch resume" lets it go on.`, { pointer })
  }
  await settleSwitch(database)
  const logic = await readLogic(database.pool)
  const isSwitch = !isSameLogic(logic, decoder.logicVersion)
  if (isSwitch && options.full !== true) throw otherLogic(logic.version, decoder.logicVersion)
  const clock = new StepClock()
  await options.before?.('cut', { batch: null })
  const cut = await clock.measure('cut', () => cutEpoch(database, decoder.logicVersion))
  options.onStep?.('cut', `epoch ${cut.epoch}; horizon ${cut.horizon.map((entry) => `${entry.partition}:${entry.nextOffset}`).join(' ') || 'empty'}`)
  const owner = await connect(database)
  // The lock goes with its connection; an error there is seen at the next statement.
  owner.on('error', () => undefined)
  try {
    const batch = await beginBatch(database, owner, cut.epoch, options.full === true ? 'full' : 'incremental', decoder.logicVersion)
    // What is archived on the way to other logic is decoded with that of before, as far as this code still knows it: so nothing is left in the archive that is
    // not the store's where this run fails, and what the change of logic changes is told of every record.
    const archiveDecoder = (isSwitch ? decoderOf(logic.version!) : null) ?? decoder
    return await finishBatch({ ...options, clock, archiveDecoder }, batch, isSwitch ? logic.version : null)
  } finally {
    await releaseLocks(owner)
  }
}

type RunOptions = BatchOptions & { readonly clock: StepClock; readonly archiveDecoder: Decoder }

/** Milliseconds by step; a step that is done several times adds up, and `switch` is how long counting waited. */
class StepClock {
  readonly ms: Record<string, number> = {}
  #switchedAt: number | null = null

  beginSwitch(): void {
    this.#switchedAt = performance.now()
  }

  endSwitch(): void {
    if (this.#switchedAt !== null) this.ms['switch'] = Math.round(performance.now() - this.#switchedAt)
  }

  async measure<T>(step: BatchStep, work: () => Promise<T>): Promise<T> {
    const startedAt = performance.now()
    try {
      return await work()
    } finally {
      this.ms[step] = Math.round((this.ms[step] ?? 0) + performance.now() - startedAt)
    }
  }
}

/** `oldLogic`: what the store's figures are made with, where this batch takes another version into use. */
async function finishBatch(options: RunOptions, begun: Batch, oldLogic: string | null): Promise<BatchOutcome> {
  const { database, clock } = options
  const computed = new Computed()
  try {
    // After the batch has its number and before anything is named by it: a database put back to in between is then behind its mark.
    const { isNew } = await keepIncarnation(database, options.lake)
    if (isNew) options.onStep?.('cut', 'the database was put back: a new incarnation begins')
    const base = { batch: begun.baseBatch!, epoch: (await readBatch(database.pool, begun.baseBatch!)).epoch }
    await computeRange(options, begun, computed, begun.kind === 'full' ? 0 : base.epoch, begun.epoch)
    const batch = oldLogic === null ? begun : await switchLogic(options, begun, computed)

    await options.before?.('cross-check', batch)
    const { check, change } = await clock.measure('cross-check', async () => {
      if (oldLogic === null) return { check: await crossCheck(options, batch, base, computed.recomputed!), change: undefined }
      await attachAll(options.engine, computed.files, computed.recomputed!.countedPaths)
      return takeLogic(options, batch, base, oldLogic, computed.recomputed!.stages, computed.recomputed!.counts, computed.redecoded)
    })
    const { eventsRead, eventsCounted, stages } = computed.recomputed!
    const summary = computed.redecoded.files === 0 || oldLogic !== null ? check.summary : { ...check.summary, redecoded: computed.redecoded }
    options.onStep?.('cross-check', summary.text)
    if (summary.result === 'held') {
      await holdBatch(database, batch.batch, eventsRead, eventsCounted, summary, summary.text)
      throw new HeldError(`Batch ${batch.batch} is held: ${summary.text} "tidemark batch show ${batch.batch}" lists it; "batch accept" or "batch drop" decides.`, { ...summary })
    }
    await options.before?.('combine', batch)
    await clock.measure('combine', () => combineParts(database, batch, stages))
    await options.before?.('publish', batch)
    const { corrections } = check
    await clock.measure('publish', () => publish(database, { batch, corrections, eventsRead, eventsCounted, crossCheck: summary, ...(change && { logic: change }) }))
    clock.endSwitch()
    options.onStep?.('publish', `batch ${batch.batch} serves`)
    await share(options)
    await noteRun(database.pool, batch.batch, clock.ms, computed.inputs())
    return { batch: await readBatch(database.pool, batch.batch), crossCheck: { ...check, summary }, files: computed.archived }
  } catch (thrown) {
    if (!(thrown instanceof HeldError)) await failBatch(database, begun.batch, messageOf(thrown)).catch(() => undefined)
    await noteRun(database.pool, begun.batch, clock.ms, computed.inputs()).catch(() => undefined)
    throw translateError(thrown)
  }
}

/** What a run has computed so far: of one stretch of epochs, or of several that follow each other. */
class Computed {
  readonly archived: ArchiveFile[] = []
  /** Read for figures, as they are decoded now. */
  readonly files: ArchiveFile[] = []
  /** Below the base: looked through for copies. */
  readonly oldFiles: ArchiveFile[] = []
  redecoded: Redecoded = nothingRedecoded
  recomputed: Recomputed | null = null
  stretches = 0

  add(more: Recomputed): void {
    const before = this.recomputed
    this.recomputed =
      before === null
        ? more
        : {
            stages: more.stages,
            eventsRead: before.eventsRead + more.eventsRead,
            eventsCounted: before.eventsCounted + more.eventsCounted,
            counts: [...before.counts, ...more.counts],
            countedPaths: [...before.countedPaths, ...more.countedPaths],
          }
  }

  inputs(): BatchInputs {
    const topics = new Set([...this.files, ...this.oldFiles].map((file) => file.topic))
    return Object.fromEntries([...topics].map((topic) => [topic, { new: sumsOf(topic, this.files), old: sumsOf(topic, this.oldFiles) }]))
  }
}

function sumsOf(topic: string, files: readonly ArchiveFile[]): InputSums {
  const some = files.filter((file) => file.topic === topic)
  return { files: some.length, rows: some.reduce((sum, file) => sum + file.rows, 0), bytes: some.reduce((sum, file) => sum + file.bytes, 0) }
}

/** Archives and recomputes the epochs above `fromEpoch` up to `toEpoch`, on top of what is computed. */
async function computeRange(options: RunOptions, batch: Batch, computed: Computed, fromEpoch: number, toEpoch: number): Promise<void> {
  const { database, clock } = options
  computed.archived.push(...(await clock.measure('archive', () => archive(options, batch, toEpoch))))
  await options.before?.('recompute', batch)
  await checkTiling(database.pool, toEpoch)
  const ofTopic = async (from: number, to: number): Promise<ArchiveFile[]> => (await listFiles(database.pool, from, to)).filter((file) => file.topic === options.topic)
  const newFiles = await redecode(options, batch, computed, await ofTopic(fromEpoch, toEpoch))
  // What an earlier stretch of this batch read has changed as it is decoded now, and the register does not know it yet.
  if (computed.stretches === 0) computed.oldFiles.push(...(await redecode(options, batch, computed, await ofTopic(0, fromEpoch))))
  const before = [...computed.oldFiles, ...computed.files]
  const folder = await batchFolder(database, batch.batch, ++computed.stretches)
  const recomputed = await clock.measure('recompute', () =>
    recompute({ database, lake: options.lake, engine: options.engine, folder, signal: options.signal }, batch, newFiles, before, computed.recomputed?.stages),
  )
  computed.files.push(...newFiles)
  computed.add(recomputed)
  options.onStep?.('recompute', `${computed.recomputed!.eventsRead} events read, ${computed.recomputed!.eventsCounted} count`)
}

/** A full batch decodes every file again; any other only those that were decoded with other logic. */
async function redecode(options: RunOptions, batch: Batch, computed: Computed, files: readonly ArchiveFile[]): Promise<ArchiveFile[]> {
  const { database, clock } = options
  const foreign = await pathsOfOtherLogic(database.pool, batch.logicVersion!)
  const due = batch.kind === 'full' ? files : files.filter((file) => foreign.has(file.path))
  if (due.length === 0) return [...files]
  await options.before?.('redecode', batch)
  const onFile = (done: number, of: number): void => options.onStep?.('redecode', `${done} of ${of} files decoded again`)
  const done = await clock.measure('redecode', () => redecodeFiles({ ...options, onFile }, batch.batch, due))
  computed.redecoded = addRedecoded(computed.redecoded, done.redecoded)
  const byOld = new Map(due.map((file, i) => [file.path, done.files[i]!]))
  return files.map((file) => byOld.get(file.path) ?? file)
}

/** A stretch that took no longer is short enough for counting to wait for the next. */
const shortStretchMs = 2_000
/** One that took more than this of the one before was hardly long for the traffic's sake, and the next would hardly be shorter. */
const shrinkingShare = 0.9
const stretchesMax = 5

/** Whether to follow the traffic once more before counting waits, by how long each stretch took. */
export function wantsAnotherStretch(stretchesMs: readonly number[]): boolean {
  const [before = Number.POSITIVE_INFINITY, last = Number.POSITIVE_INFINITY] = [stretchesMs.at(-2), stretchesMs.at(-1)]
  return stretchesMs.length === 0 || (stretchesMs.length < stretchesMax && last > shortStretchMs && last < shrinkingShare * before)
}

/**
 * Follows the traffic stretch by stretch until little is left, then makes the last cut. From there to the publication, or to the end of this run, no flush
 * commits. Resolves to the batch at its last cut.
 */
async function switchLogic(options: RunOptions, begun: Batch, computed: Computed): Promise<Batch> {
  const { database, decoder } = options
  let epoch = begun.epoch
  const stretchesMs: number[] = []
  while (wantsAnotherStretch(stretchesMs)) {
    const startedAt = performance.now()
    const cut = await cutEpoch(database, decoder.logicVersion)
    await computeRange(options, begun, computed, epoch, cut.epoch)
    epoch = cut.epoch
    stretchesMs.push(performance.now() - startedAt)
  }
  await options.before?.('switch', begun)
  const cut = await cutEpoch(database, decoder.logicVersion, (client, last) => beginSwitch(client, begun.batch, last))
  options.clock.beginSwitch()
  options.onStep?.('switch', `epoch ${cut.epoch}: counting waits for the publication`)
  await computeRange(options, begun, computed, epoch, cut.epoch)
  return { ...begun, epoch: cut.epoch }
}

async function archive(options: RunOptions, batch: Batch, epoch: number): Promise<ArchiveFile[]> {
  await options.before?.('archive', batch)
  let rows = 0
  const files = await archiveUpTo(
    {
      ...options,
      decoder: options.archiveDecoder,
      onFile: (file) => {
        rows += file.rows
        options.onStep?.('archive', `${rows} rows in the lake`)
      },
      beforeRegister: async () => options.before?.('register', batch),
    },
    epoch,
  )
  return files
}

async function publish(database: Database, publication: Publication): Promise<void> {
  try {
    await publishBatch(database, publication)
  } catch (thrown) {
    if (thrown instanceof ConflictError) await supersedeBatch(database, publication.batch.batch, thrown.message)
    throw thrown
  }
}

/** People who ask the query engine themselves find the archive up to the horizon. The batch serves whether that can be told or not. */
async function share(options: BatchOptions): Promise<void> {
  try {
    await shareArchive(options)
  } catch (thrown) {
    options.onStep?.('publish', `the query engine's own table ${options.topic} stays as it was: ${messageOf(thrown)}`)
  }
}

/** Names outside the database carry the incarnation: a restored store must not meet its own future. */
async function batchFolder(database: Database, batch: number, stretch: number): Promise<string> {
  return `batches/${await readIncarnation(database.pool)}/${batch}/counted_events${stretch === 1 ? '' : `_${stretch}`}`
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
