/**
 * The speed worker: log → decode → ledger → fold → flush. Crash-only: after a failed flush, or one whose outcome is unknown, it drops its memory and
 * opens its partitions again from the store, which alone knows what was counted. While one flush commits, the next is being filled.
 */
import type { Decoder } from '#core/decode.ts'
import { CorruptError, FencedError, LossError, TidemarkError, messageOf } from '#core/errors.ts'
import { Ledger } from '#core/ledger.ts'
import type { EventLog, LogBatch, Vector } from '#core/ports.ts'
import type { View } from '#core/views/view.ts'
import type { Database } from '#store/database.ts'
import type { FlushFaults } from '#store/flush.ts'
import type { LossKind } from '#store/losses.ts'
import { commitFlush } from '#store/flush.ts'
import { checkFingerprints } from '#store/fingerprint.ts'
import { checkWorkerLogic } from '#store/logic.ts'
import { readLogTerms } from '#store/losses.ts'
import { openPartitions } from '#store/partitions.ts'
import { clearStopped, recordStopped, reportWorker } from '#store/workers.ts'
import { Accumulator } from './accumulator.ts'
import { delay } from './delay.ts'
import type { Refill } from './refill.ts'
import { findRefills, readRefilled } from './refill.ts'

export type SpeedLogger = { debug(fields: object, text: string): void; info(fields: object, text: string): void; warn(fields: object, text: string): void }

export type SpeedOptions = {
  readonly database: Database
  readonly log: EventLog
  readonly decoder: Decoder
  readonly topic: string
  /** Unique among workers; for status only. */
  readonly worker: string
  readonly ledgerIdsMax: number
  /** With little traffic a flush is cut by time. */
  readonly flushIntervalMs: number
  /** With a backlog it is cut by size. */
  readonly flushRecordsMax: number
  readonly logger: SpeedLogger
  readonly views?: readonly View[]
  readonly faults?: FlushFaults
  /** Reads from the lake what the log holds no more. */
  readonly refill?: Refill
  readonly onFlush?: (flushed: { readonly records: number; readonly positions: Vector }) => void
}

/** A flush is also cut by the bytes of rubbish in it, which are kept whole. */
const deadLetterBytesMax = 32 * 1024 * 1024
const retryMinMs = 100
const retryMaxMs = 5_000
/** Opening again reads the ledger again, for all partitions: seldom enough to cost nothing. */
const stoppedRetryMs = 300_000
const reportIntervalMs = 5_000

/** Runs until aborted; then finishes the flush in hand and returns. Only errors that no retry can mend are thrown. */
export async function runSpeedWorker(options: SpeedOptions, signal: AbortSignal): Promise<void> {
  const worker = new SpeedWorker(options)
  // Also aborted when the worker fails, or it would keep partitions from others that it reads no more.
  const leaving = new AbortController()
  const assignments = options.log.assigned(options.topic, AbortSignal.any([signal, leaving.signal]))[Symbol.asyncIterator]()
  try {
    await followAssignments(worker, assignments, signal)
  } finally {
    leaving.abort()
    await assignments.return?.().catch(() => undefined)
  }
}

async function followAssignments(worker: SpeedWorker, assignments: AsyncIterator<readonly number[]>, signal: AbortSignal): Promise<void> {
  let next = assignments.next()
  let partitions: readonly number[] = []
  while (!signal.aborted) {
    // Where the worker fails first, this is heard by nobody.
    next.catch(() => undefined)
    const session = new AbortController()
    const stop = (): void => session.abort()
    signal.addEventListener('abort', stop, { once: true })
    const running = worker.keepRunning(partitions, session.signal)
    try {
      const changed = await Promise.race([next, running])
      if (changed === undefined || changed.done === true) return
      partitions = changed.value
    } finally {
      session.abort()
      await running
      signal.removeEventListener('abort', stop)
    }
    // Only now, with the old partitions let go, is the log asked for the next assignment.
    next = assignments.next()
  }
}

class SpeedWorker {
  readonly #options: SpeedOptions
  #flushes = 0
  #fencedFlushes = 0
  #failedFlushes = 0
  #skippedReplays = 0
  #ledgerIds = 0
  #reportedAt = 0
  #lossSeen = ''

  constructor(options: SpeedOptions) {
    this.#options = options
  }

  /** Opens and reads the partitions, again after each failure, until aborted. */
  async keepRunning(assigned: readonly number[], signal: AbortSignal): Promise<void> {
    let retryMs = retryMinMs
    let partitions = assigned
    while (!signal.aborted) {
      // A stopped partition is tried again now and then: its log may have been put back.
      const isWhole = partitions.length === assigned.length
      const session = isWhole ? signal : AbortSignal.any([signal, AbortSignal.timeout(stoppedRetryMs)])
      try {
        if (partitions.length === 0) {
          await this.#report(partitions)
          await whenAborted(session)
        } else await this.#session(partitions, session, () => (retryMs = retryMinMs))
        partitions = assigned
      } catch (thrown) {
        if (thrown instanceof FencedError) this.#fencedFlushes++
        else if (!(thrown instanceof LossError || isDamagedPartition(thrown))) this.#failedFlushes++
        if (signal.aborted) {
          // Nothing is lost with it: whoever reads these partitions next begins where the store stands.
          this.#options.logger.warn({ partitions, code: codeOf(thrown) }, `speed layer let its partitions go without their last flush: ${messageOf(thrown)}`)
          return
        }
        if (this.#isNewLoss(thrown)) continue
        if (thrown instanceof LossError || isDamagedPartition(thrown)) {
          // A database that is away right now cannot take the note: the loss is met again at the next opening.
          partitions = await this.#stopPartition(partitions, thrown).catch((cause: unknown) => {
            if (cause instanceof TidemarkError && cause.retryable) return partitions
            throw cause
          })
          await delay(retryMs, signal)
          continue
        }
        if (!(thrown instanceof TidemarkError && thrown.retryable)) throw thrown
        this.#options.logger.warn({ partitions, retryMs, code: thrown.code }, `speed layer opens its partitions again: ${thrown.message}`)
        await delay(retryMs, signal)
        retryMs = Math.min(retryMs * 2, retryMaxMs)
      }
    }
  }

  async #session(partitions: readonly number[], signal: AbortSignal, onProgress: () => void): Promise<void> {
    const { database, log, topic, decoder } = this.#options
    await checkWorkerLogic(database, decoder.logicVersion)
    const ledger = new Ledger(this.#options.ledgerIdsMax)
    const bounds = await log.bounds(topic)
    const firstOffsets = new Map(partitions.map((partition) => [partition, bounds.first.get(partition) ?? 0]))
    const opened = await openPartitions(database, topic, firstOffsets, ledger)
    await checkFingerprints(log, topic, opened, bounds, await readLogTerms(database.pool, topic), signal)
    if (signal.aborted) return
    const refills = await findRefills(this.#options.refill, topic, opened, bounds, signal)
    await clearStopped(database.pool, topic, partitions)
    const positions = new Map(opened.map((partition) => [partition.partition, partition.nextOffset]))
    const accumulator = new Accumulator({ topic, decoder, ledger, ...(this.#options.views && { views: this.#options.views }) }, positions)
    const read = new AbortController()
    const stop = (): void => read.abort()
    signal.addEventListener('abort', stop, { once: true })
    // What was aborted while the partitions were opened tells nobody who listens from now on.
    if (signal.aborted) stop()
    const reading = refills.length === 0 ? log.read(topic, positions, { signal: read.signal }) : readRefilled(log, topic, positions, refills, read.signal)
    const batches = reading[Symbol.asyncIterator]()
    const flusher = new Flusher(this.#options, accumulator, (records, reached) => {
      this.#flushes++
      onProgress()
      this.#options.onFlush?.({ records, positions })
      log.reportPosition?.(topic, reached).catch(() => undefined)
    })
    try {
      await this.#pump(batches, accumulator, flusher, partitions, ledger)
      await flusher.flush()
      await flusher.settled()
    } finally {
      this.#skippedReplays += accumulator.skippedReplays
      signal.removeEventListener('abort', stop)
      read.abort()
      await flusher.settled().catch(() => undefined)
      await batches.return?.().catch(() => undefined)
    }
  }

  /** Moves batches into the accumulator and cuts flushes by time or size, until the reader ends. */
  async #pump(batches: AsyncIterator<LogBatch>, accumulator: Accumulator, flusher: Flusher, partitions: readonly number[], ledger: Ledger): Promise<void> {
    const { flushIntervalMs, flushRecordsMax } = this.#options
    let next = batches.next()
    // A reader that fails while a flush runs is heard at the next turn.
    next.catch(() => undefined)
    let flushAt = 0
    for (;;) {
      this.#ledgerIds = ledger.size
      await this.#report(partitions)
      flusher.throwIfFailed()
      const waitMs = accumulator.isEmpty ? reportIntervalMs : Math.max(0, flushAt - performance.now())
      const outcome = await within(next, waitMs, flusher.failed)
      if (outcome === 'timeout') {
        if (!accumulator.isEmpty) await flusher.flush()
        continue
      }
      if (outcome.done === true) return
      if (accumulator.isEmpty) flushAt = performance.now() + flushIntervalMs
      accumulator.add(outcome.value)
      next = batches.next()
      next.catch(() => undefined)
      const full = accumulator.records >= flushRecordsMax || accumulator.deadLetterBytes >= deadLetterBytesMax
      // Past its time, a flush waits for size as long as another is under way: so flushes grow with the backlog, and cost per event falls.
      if (full || (performance.now() >= flushAt && !flusher.busy)) await flusher.flush()
    }
  }

  /** Met while reading, a loss is looked at from the beginning once: the lake may hold the range, or a person have given it up. */
  #isNewLoss(thrown: unknown): boolean {
    if (!(thrown instanceof LossError) || thrown.details['what'] !== undefined) return false
    const seen = `${String(thrown.details['partition'])}:${String(thrown.details['from'])}`
    const isNew = seen !== this.#lossSeen
    this.#lossSeen = seen
    return isNew
  }

  async #stopPartition(partitions: readonly number[], loss: LossError | CorruptError): Promise<readonly number[]> {
    const { partition, from, to, what } = loss.details as { partition?: number; from?: number; to?: number | null; what?: LossKind }
    if (partition === undefined) throw loss
    await recordStopped(this.#options.database.pool, {
      topic: this.#options.topic,
      partition,
      fromOffset: from ?? 0,
      toOffset: to ?? null,
      what: what ?? (loss instanceof CorruptError ? 'damaged' : 'gap'),
      reason: loss.message,
    })
    this.#options.logger.warn({ partition, from, to }, loss.message)
    return partitions.filter((other) => other !== partition)
  }

  async #report(partitions: readonly number[]): Promise<void> {
    if (performance.now() - this.#reportedAt < reportIntervalMs && this.#reportedAt > 0) return
    this.#reportedAt = performance.now()
    await reportWorker(this.#options.database.pool, {
      worker: this.#options.worker,
      partitions,
      ledgerIds: this.#ledgerIds,
      flushes: this.#flushes,
      fencedFlushes: this.#fencedFlushes,
      failedFlushes: this.#failedFlushes,
      skippedReplays: this.#skippedReplays,
    })
  }
}

/** At most one flush under way; a second waits for it, and nothing follows a failed one. */
class Flusher {
  readonly #options: SpeedOptions
  readonly #accumulator: Accumulator
  readonly #onDone: (records: number, reached: Vector) => void
  readonly #failed = new AbortController()
  #running: Promise<void> | null = null
  #failure: { readonly thrown: unknown } | null = null

  constructor(options: SpeedOptions, accumulator: Accumulator, onDone: (records: number, reached: Vector) => void) {
    this.#options = options
    this.#accumulator = accumulator
    this.#onDone = onDone
  }

  get busy(): boolean {
    return this.#running !== null
  }

  /** Aborted when a flush fails, so that nobody waits for records meanwhile. */
  get failed(): AbortSignal {
    return this.#failed.signal
  }

  throwIfFailed(): void {
    if (this.#failure !== null) throw this.#failure.thrown
  }

  /** Starts a flush of what is there once the one before is done. */
  async flush(): Promise<void> {
    await this.settled()
    if (this.#accumulator.isEmpty) return
    const { records } = this.#accumulator
    const flush = this.#accumulator.take()
    const startedAt = performance.now()
    this.#running = commitFlush(this.#options.database, flush, this.#options.faults)
      .then(
        (epoch) => {
          this.#options.logger.debug({ epoch, records, durationMs: Math.round(performance.now() - startedAt) }, 'flushed')
          this.#onDone(records, new Map(flush.partitions.map(({ partition, toOffset }) => [partition, toOffset])))
        },
        (thrown: unknown) => {
          this.#failure = { thrown }
          this.#failed.abort()
        },
      )
      .finally(() => {
        this.#running = null
      })
  }

  /** Resolves when no flush is under way; throws what the last one threw. */
  async settled(): Promise<void> {
    await this.#running
    this.throwIfFailed()
  }
}

/** 'timeout' also when woken. */
/** A stored batch of the log that cannot be read stops its partition; the others go on. */
function isDamagedPartition(thrown: unknown): thrown is CorruptError {
  return thrown instanceof CorruptError && typeof thrown.details['partition'] === 'number'
}

async function within<T>(promise: Promise<T>, timeoutMs: number, wake?: AbortSignal): Promise<T | 'timeout'> {
  if (wake?.aborted === true) return 'timeout'
  let timer: NodeJS.Timeout | undefined
  let stop = (): void => undefined
  const timeout = new Promise<'timeout'>((resolve) => {
    stop = () => resolve('timeout')
    timer = setTimeout(stop, timeoutMs)
    wake?.addEventListener('abort', stop)
  })
  try {
    return await Promise.race([promise, timeout])
  } finally {
    clearTimeout(timer)
    wake?.removeEventListener('abort', stop)
  }
}

async function whenAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

function codeOf(thrown: unknown): string | undefined {
  return thrown instanceof TidemarkError ? thrown.code : undefined
}
