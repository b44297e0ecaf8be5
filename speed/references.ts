/**
 * The topics `users` and `products`: log → decode → reference tables, with the fence, the dead letters and the cuts of any other partition, so that the batch
 * archives them as it does events. They bring little, so any process may read them at any time and needs no partition of its own: of two at once the fence
 * lets one go on.
 */
import { crc32 } from 'node:zlib'
import type { ReferenceTopic } from '#core/decode-reference.ts'
import { decodeReference } from '#core/decode-reference.ts'
import { FencedError, LossError, TidemarkError } from '#core/errors.ts'
import { Ledger } from '#core/ledger.ts'
import type { EventLog, LogBatch, LogRecord, Vector } from '#core/ports.ts'
import { readCommitted } from '#store/committed.ts'
import type { Database } from '#store/database.ts'
import { checkFingerprints } from '#store/fingerprint.ts'
import type { DeadLetter, FlushFaults, PartitionFlush } from '#store/flush.ts'
import { commitFlush } from '#store/flush.ts'
import type { LossKind } from '#store/losses.ts'
import { readLogTerms } from '#store/losses.ts'
import { openPartitions } from '#store/partitions.ts'
import type { ReferenceAt } from '#store/references.ts'
import { putReferences } from '#store/references.ts'
import { clearStopped, recordStopped } from '#store/workers.ts'
import { delay } from './delay.ts'
import type { Refill } from './refill.ts'
import { findRefills, readRefilled } from './refill.ts'
import type { SpeedLogger } from './worker.ts'

export type ReferencesOptions = {
  readonly database: Database
  readonly log: EventLog
  readonly topics: readonly ReferenceTopic[]
  readonly logicVersion: string
  readonly refill?: Refill
  readonly faults?: FlushFaults
}

const pollIntervalMs = 1_000
const retryMaxMs = 30_000
const flushRecordsMax = 10_000
const flushBytesMax = 16 * 1024 * 1024
/** No id of theirs is counted. */
const ledgerIdsMin = 1_000
const noPage = { ids: 0, entries: new Uint8Array(0), hashHiSum: 0, hashLoSum: 0 }

/** Runs until aborted. A log or a store that is away, and a topic that lost records, are asked again; what was lost is told once each time it is met. */
export async function followReferences(options: ReferencesOptions & { readonly logger: SpeedLogger }, signal: AbortSignal): Promise<void> {
  let waitMs = pollIntervalMs
  let said = ''
  while (!signal.aborted) {
    try {
      await catchUpReferences(options, signal)
      waitMs = pollIntervalMs
      said = ''
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError) || (!thrown.retryable && !(thrown instanceof LossError))) throw thrown
      if (!(thrown instanceof FencedError) && thrown.message !== said) options.logger.warn({ code: thrown.code }, `users and products are not followed: ${thrown.message}`)
      said = thrown.message
      waitMs = Math.min(waitMs * 2, retryMaxMs)
    }
    await delay(waitMs, signal)
  }
}

/**
 * Reads each topic to where its log ends now. Resolves to how many records it read. Throws FencedError where another process read them meanwhile, and LossError,
 * once it is on record, where the log lost some.
 */
export async function catchUpReferences(options: ReferencesOptions, signal: AbortSignal): Promise<number> {
  let records = 0
  let loss: LossError | null = null
  for (const topic of options.topics) {
    const stopped = new Set<number>()
    // Each turn leaves out one more partition: those beside it go on.
    for (;;) {
      try {
        records += await catchUpTopic(options, topic, stopped, signal)
        break
      } catch (thrown) {
        if (!(thrown instanceof LossError)) throw thrown
        await stopPartition(options.database, topic, thrown, stopped)
        loss ??= thrown
      }
    }
  }
  if (loss !== null) throw loss
  return records
}

async function stopPartition(database: Database, topic: ReferenceTopic, loss: LossError, stopped: Set<number>): Promise<void> {
  const { partition, from, to, what } = loss.details as { partition?: number; from?: number; to?: number; what?: LossKind }
  if (partition === undefined || stopped.has(partition)) throw loss
  await recordStopped(database.pool, { topic, partition, fromOffset: from ?? 0, toOffset: to ?? null, what: what ?? 'gap', reason: loss.message })
  stopped.add(partition)
}

async function catchUpTopic({ database, log, refill, logicVersion, faults }: ReferencesOptions, topic: ReferenceTopic, stopped: ReadonlySet<number>, signal: AbortSignal): Promise<number> {
  const bounds = await log.bounds(topic)
  const committed = await readCommitted(database.pool, topic)
  const moved = [...bounds.end].filter(([partition, end]) => !stopped.has(partition) && end !== (committed.get(partition) ?? 0)).map(([partition]) => partition)
  if (moved.length === 0) return 0
  const opened = await openPartitions(database, topic, new Map(moved.map((partition) => [partition, bounds.first.get(partition) ?? 0])), new Ledger(ledgerIdsMin))
  await checkFingerprints(log, topic, opened, bounds, await readLogTerms(database.pool, topic), signal)
  const refills = await findRefills(refill, topic, opened, bounds, signal)
  await clearStopped(database.pool, topic, moved)
  const positions = new Map(opened.map(({ partition, nextOffset }) => [partition, nextOffset]))
  const to: Vector = new Map(moved.map((partition) => [partition, bounds.end.get(partition)!]))
  let content = new Content(topic)
  let records = 0
  const flush = async (): Promise<void> => {
    if (content.isEmpty) return
    await content.commit(database, logicVersion, faults)
    records += content.records
    content = new Content(topic)
  }
  for await (const batch of readRefilled(log, topic, positions, refills, signal, to)) {
    content.add(batch)
    if (content.records >= flushRecordsMax || content.bytes >= flushBytesMax) await flush()
  }
  await flush()
  return records
}

type Part = { -readonly [Key in keyof PartitionFlush]: PartitionFlush[Key] }

class Content {
  readonly #topic: ReferenceTopic
  readonly #parts = new Map<number, Part>()
  readonly #references: ReferenceAt[] = []
  readonly #deadLetters: DeadLetter[] = []
  records = 0
  bytes = 0

  constructor(topic: ReferenceTopic) {
    this.#topic = topic
  }

  get isEmpty(): boolean {
    return this.#parts.size === 0
  }

  add({ partition, from, to, records }: LogBatch): void {
    let part = this.#parts.get(partition)
    if (part === undefined) {
      part = { partition, fromOffset: from, toOffset: from, last: null, records: 0, accepted: 0, copies: 0, conflicts: 0, refused: 0, late: 0, page: noPage }
      this.#parts.set(partition, part)
    }
    for (const record of records) this.#addRecord(part, record)
    part.toOffset = to
  }

  #addRecord(part: Part, record: LogRecord): void {
    const { partition } = part
    const { offset, logTimeMs, headers, value } = record
    this.records++
    this.bytes += value.length
    part.records++
    part.last = { offset, checksum: crc32(value), logTimeMs }
    const decoded = decodeReference(this.#topic, record)
    if ('reference' in decoded) {
      part.accepted++
      this.#references.push({ reference: decoded.reference, logTimeMs, partition, offset })
      return
    }
    part.refused++
    const { reason, detail } = decoded.refusal
    this.#deadLetters.push({ partition, offset, index: 0, reason, detail, logTimeMs, first: null, headers, bytes: value })
  }

  async commit(database: Database, logicVersion: string, faults?: FlushFaults): Promise<void> {
    const nothingElse = { cells: [], productNames: [], minutes: [] }
    await commitFlush(database, { topic: this.#topic, logicVersion, partitions: [...this.#parts.values()], deadLetters: this.#deadLetters, ...nothingElse }, faults, {
      isDurable: false,
      work: (client) => putReferences(client, this.#references),
    })
  }
}
