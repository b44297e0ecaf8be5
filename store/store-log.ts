/**
 * The event log as the store counts it: offsets of a topic that was made anew go on where the store stood, and ranges that a person gave up read as
 * empty. Where a topic has neither, which is nearly always, everything is passed through.
 */
import { CorruptError, LossError } from '#core/errors.ts'
import type { EventLog, LogAppend, LogBatch, LogBounds, LogReadOptions, Vector } from '#core/ports.ts'
import type { Database } from './database.ts'
import type { LogTerms, LostRange } from './losses.ts'
import { lossAt, readLogTerms } from './losses.ts'

const noTerms: LogTerms = { bases: new Map(), losses: new Map() }
/** What an append returns is for waiting only, so its terms may be this old. */
const appendTermsMs = 2_000

export function openStoreLog(database: Database, log: EventLog): EventLog {
  return new StoreLog(database, log)
}

class StoreLog implements EventLog {
  readonly #database: Database
  readonly #log: EventLog
  readonly #appendTerms = new Map<string, { readonly terms: LogTerms; readonly readAt: number }>()

  constructor(database: Database, log: EventLog) {
    this.#database = database
    this.#log = log
  }

  create(topic: string, partitions: number): Promise<void> {
    return this.#log.create(topic, partitions)
  }

  async append(topic: string, records: readonly LogAppend[]): Promise<Vector> {
    const ends = await this.#log.append(topic, records)
    let known = this.#appendTerms.get(topic)
    if (known === undefined || performance.now() - known.readAt > appendTermsMs) {
      // The records are stored: a database that is away right now must not make that a failure.
      const terms = await readLogTerms(this.#database.pool, topic).catch(() => known?.terms ?? noTerms)
      known = { terms, readAt: performance.now() }
      this.#appendTerms.set(topic, known)
    }
    return shifted(ends, known.terms, 1)
  }

  assigned(topic: string, signal: AbortSignal): AsyncIterable<readonly number[]> {
    return this.#log.assigned(topic, signal)
  }

  async *read(topic: string, from: Vector, options: LogReadOptions): AsyncGenerator<LogBatch> {
    const terms = await readLogTerms(this.#database.pool, topic)
    if (isPlain(terms, from)) {
      yield* this.#log.read(topic, from, options)
      return
    }
    const positions = new Map(from)
    while (!options.signal.aborted) {
      for (const skipped of skipLosses(terms, positions, options.to)) yield skipped
      const within = options.to === undefined ? {} : { to: shifted(options.to, terms, -1) }
      try {
        for await (const batch of this.#log.read(topic, shifted(positions, terms, -1), { ...options, ...within })) {
          const moved = rebased(batch, terms.bases.get(batch.partition) ?? 0)
          positions.set(moved.partition, moved.to)
          yield moved
        }
        return
      } catch (thrown) {
        const failed = rebasedError(thrown, terms)
        const { partition, from: at } = (failed as { details?: { partition?: unknown; from?: unknown } }).details ?? {}
        if (typeof partition !== 'number' || typeof at !== 'number') throw failed
        // An accepted range in the middle of what is read: go on behind it.
        const reached = Math.max(at, positions.get(partition) ?? at)
        if (lossAt(terms, partition, reached) === undefined) throw failed
        positions.set(partition, reached)
      }
    }
  }

  async bounds(topic: string): Promise<LogBounds> {
    const [bounds, terms] = await Promise.all([this.#log.bounds(topic), readLogTerms(this.#database.pool, topic)])
    const first = new Map(shifted(bounds.first, terms, 1))
    // What was given up can be read, as nothing.
    for (const [partition, losses] of terms.losses) {
      for (const loss of [...losses].reverse()) {
        const begins = first.get(partition)
        if (begins !== undefined && loss.from < begins && begins <= loss.to) first.set(partition, loss.from)
      }
    }
    return { first, end: shifted(bounds.end, terms, 1) }
  }

  async prune(topic: string, below: Vector, beforeMs: number): Promise<void> {
    const terms = await readLogTerms(this.#database.pool, topic)
    const own = [...shifted(below, terms, -1)].filter(([, offset]) => offset > 0)
    await this.#log.prune(topic, new Map(own), beforeMs)
  }

  async reportPosition(topic: string, positions: Vector): Promise<void> {
    if (this.#log.reportPosition === undefined) return
    await this.#log.reportPosition(topic, shifted(positions, await readLogTerms(this.#database.pool, topic), -1))
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#log[Symbol.asyncDispose]()
  }
}

function isPlain(terms: LogTerms, from: Vector): boolean {
  return [...from.keys()].every((partition) => !terms.bases.has(partition) && !terms.losses.has(partition))
}

function shifted(offsets: Vector, { bases }: LogTerms, sign: 1 | -1): Vector {
  if (bases.size === 0) return offsets
  return new Map([...offsets].map(([partition, offset]) => [partition, Math.max(0, offset + sign * (bases.get(partition) ?? 0))]))
}

/** Moves positions that stand in an accepted range behind it, and tells of each as a batch without records. */
function* skipLosses(terms: LogTerms, positions: Map<number, number>, to: Vector | undefined): Generator<LogBatch> {
  for (const partition of positions.keys()) {
    const end = to?.get(partition) ?? Number.MAX_SAFE_INTEGER
    for (;;) {
      const from = positions.get(partition)!
      const loss: LostRange | undefined = from < end ? lossAt(terms, partition, from) : undefined
      if (loss === undefined) break
      const behind = Math.min(loss.to, end)
      positions.set(partition, behind)
      yield { partition, from, to: behind, records: [] }
    }
  }
}

function rebased(batch: LogBatch, base: number): LogBatch {
  if (base === 0) return batch
  const records = batch.records.map((record) => ({ ...record, offset: record.offset + base }))
  return { partition: batch.partition, from: batch.from + base, to: batch.to + base, records }
}

function rebasedError(thrown: unknown, terms: LogTerms): unknown {
  if (!(thrown instanceof LossError || thrown instanceof CorruptError)) return thrown
  const { partition, from, to } = thrown.details
  const base = typeof partition === 'number' ? (terms.bases.get(partition) ?? 0) : 0
  if (base === 0) return thrown
  const plus = (offset: unknown): unknown => (typeof offset === 'number' ? offset + base : offset)
  const details = { ...thrown.details, from: plus(from), to: plus(to) }
  const message = `${thrown.message} (The topic was made anew; the store counts its offsets from ${base} on.)`
  return thrown instanceof LossError ? new LossError(message, details) : new CorruptError(message, details, thrown)
}
