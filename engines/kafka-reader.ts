/**
 * Reads partitions of a topic in Kafka, without a consumer group: the caller says where, and nothing else is ever asked or believed about positions.
 *
 * One fetch is under way to each broker that leads wanted partitions. When an answer comes, the headers of its batches say where to go on, so the next fetch
 * is sent before the records at hand are decoded and handed out. A broker fills its answer in the order of the request, so each time another partition
 * stands first.
 *
 * What passes (another leader, a broker that is gone) is looked up and tried again with back-off for as long as it takes; what does not pass is thrown:
 * LossError where the log no longer or not yet holds the offset, CorruptError where stored bytes are damaged, both naming the range.
 *
 * Memory: two answers of `fetchBytesMax` for each broker (a single larger batch comes alone), and the records of one LogBatch.
 */
import { strict as assert } from 'node:assert'
import { CorruptError, LossError, UnavailableError } from '#core/errors.ts'
import type { LogBatch, LogReadOptions, Vector } from '#core/ports.ts'
import { UnreadableAnswer } from './kafka-connection.ts'
import { KafkaFailure, code, isPassing, translate, unknownTopic } from './kafka-errors.ts'
import type { KafkaLink } from './kafka-link.ts'
import { isTransient } from './kafka-link.ts'
import { listOffsets } from './kafka-offsets.ts'
import { decodeRecords, endOfBatches } from './kafka-records.ts'
import type { Fetched, FetchedPartition, TopicMetadata } from './kafka-requests.ts'
import { fetchRequest } from './kafka-requests.ts'
import { pause, unlessAborted } from './waiting.ts'

export type ReadSource = {
  /** A link of the reader's own. */
  readonly open: () => KafkaLink
  readonly topic: string
  readonly callTimeoutMs: number
  /** How long a broker holds a fetch that finds nothing new. */
  readonly fetchWaitMs: number
  readonly fetchBytesMax: number
}

/** A single partition's share of an answer is no smaller. */
const partitionBytesMin = 256 * 1024
const backOffMs = { first: 50, max: 2_000 } as const
/** An empty answer that comes sooner than asked for is not followed at once. */
const emptyPauseMs = 20
/** A known topic, or a partition that was read from, may be unknown to a broker that starts; after so long it is gone. */
const missingMs = 15_000

export async function* readPartitions(source: ReadSource, from: Vector, { to, signal }: LogReadOptions): AsyncGenerator<LogBatch> {
  if (signal.aborted) return
  const link = source.open()
  const abort = (): void => link.close(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    yield* new PartitionReader({ ...source, link }, from, to).batches()
  } catch (thrown) {
    if (!signal.aborted) throw translate(thrown, `read topic ${source.topic}`)
  } finally {
    signal.removeEventListener('abort', abort)
    link.close()
  }
}

type Position = {
  readonly partition: number
  readonly limit: number
  /** Where the next fetch begins. */
  next: number
  /** null while it must be looked up. */
  leader: number | null
  /** Since when no broker knows the partition. */
  missingSince: number | null
  /** Its damage is met when what was fetched is decoded. */
  damaged: boolean
}

type Outcome =
  | { readonly kind: 'fetched'; readonly nodeId: number; readonly fetched: Fetched; readonly wanted: ReadonlyMap<number, number> }
  | { readonly kind: 'failed'; readonly nodeId: number; readonly thrown: unknown }
  | { readonly kind: 'looked'; readonly found: TopicMetadata | null }

const looking = -1

class PartitionReader {
  readonly #source: ReadSource & { readonly link: KafkaLink }
  readonly #positions: Position[]
  readonly #underWay = new Map<number, Promise<Outcome>>()
  #topicId: Buffer | null = null
  #round = 0
  #backOffMs = 0

  constructor(source: ReadSource & { readonly link: KafkaLink }, from: Vector, to: Vector | undefined) {
    this.#source = source
    this.#positions = [...from].map(([partition, next]) => ({
      partition,
      limit: to === undefined ? Number.POSITIVE_INFINITY : (to.get(partition) ?? 0),
      next,
      leader: null,
      missingSince: null,
      damaged: false,
    }))
  }

  async *batches(): AsyncGenerator<LogBatch> {
    const { link, topic, callTimeoutMs } = this.#source
    if (this.#unfinished().length === 0) return
    const found = await unlessAborted(link.topic(topic, callTimeoutMs), link.closed)
    this.#locate(found)
    while (this.#unfinished().length > 0) {
      this.#send()
      const outcome = await unlessAborted(Promise.race(this.#underWay.values()), link.closed)
      if (outcome.kind === 'looked') {
        this.#underWay.delete(looking)
        if (outcome.found !== null) this.#locate(outcome.found)
        continue
      }
      this.#underWay.delete(outcome.nodeId)
      if (outcome.kind === 'failed') {
        if (!isTransient(outcome.thrown) || outcome.thrown instanceof UnreadableAnswer) throw outcome.thrown
        this.#forget(outcome.nodeId)
        continue
      }
      const arrived = await this.#advance(outcome)
      this.#send()
      for (const { position, from, fetched } of arrived) {
        let start = from
        for (const { to, records } of decodeRecords({ topic, ...fetched }, from, position.limit)) {
          yield { partition: position.partition, from: start, to, records }
          link.closed.throwIfAborted()
          start = to
        }
        assert(!position.damaged, 'decoding meets the damage that the headers showed')
      }
    }
  }

  #unfinished(): Position[] {
    return this.#positions.filter((position) => position.next < position.limit || position.damaged)
  }

  /** One fetch to each leader that has none under way, and a look at the metadata where a leader is not known. */
  #send(): void {
    const wanted = this.#unfinished().filter((position) => !position.damaged)
    if (wanted.some(({ leader }) => leader === null) && !this.#underWay.has(looking)) this.#underWay.set(looking, this.#look())
    for (const nodeId of new Set(wanted.map(({ leader }) => leader))) {
      if (nodeId === null || this.#underWay.has(nodeId)) continue
      this.#underWay.set(nodeId, this.#fetch(nodeId, wanted.filter(({ leader }) => leader === nodeId)))
    }
  }

  async #look(): Promise<Outcome> {
    const { link, topic } = this.#source
    await pause(this.#backOffMs, link.closed)
    this.#backOffMs = Math.min(Math.max(this.#backOffMs * 2, backOffMs.first), backOffMs.max)
    try {
      const found = (await link.metadata([topic])).topics.get(topic)
      return { kind: 'looked', found: found ?? null }
    } catch {
      return { kind: 'looked', found: null }
    }
  }

  async #fetch(nodeId: number, positions: readonly Position[]): Promise<Outcome> {
    const { link, fetchBytesMax, fetchWaitMs } = this.#source
    const turn = this.#round++ % positions.length
    const wanted = [...positions.slice(turn), ...positions.slice(0, turn)].map(({ partition, next }) => ({ partition, offset: next }))
    const partitionBytesMax = Math.max(partitionBytesMin, Math.floor(fetchBytesMax / positions.length))
    const startedAt = performance.now()
    try {
      const connection = await link.to(nodeId)
      const request = fetchRequest({ topicId: this.#topicId!, wanted, waitMs: fetchWaitMs, bytesMax: fetchBytesMax, partitionBytesMax })
      const fetched = await connection.send(request, fetchWaitMs)
      if (fetched.errorCode !== code.none) throw new KafkaFailure(fetched.errorCode)
      const isEmpty = fetched.partitions.every(({ bytes, errorCode }) => bytes.length === 0 && errorCode === code.none)
      if (isEmpty && performance.now() - startedAt < emptyPauseMs) await pause(emptyPauseMs, link.closed)
      return { kind: 'fetched', nodeId, fetched, wanted: new Map(wanted.map(({ partition, offset }) => [partition, offset])) }
    } catch (thrown) {
      return { kind: 'failed', nodeId, thrown }
    }
  }

  #forget(nodeId: number): void {
    for (const position of this.#positions) if (position.leader === nodeId) position.leader = null
  }

  #locate(found: TopicMetadata): void {
    const { topic } = this.#source
    const now = performance.now()
    const known = found.errorCode === code.none
    if (!known && !isPassing(found.errorCode)) throw new KafkaFailure(found.errorCode)
    if (known && this.#topicId !== null && !this.#topicId.equals(found.topicId)) {
      for (const { partition, next } of this.#unfinished()) if (next > 0) throw lost('rebuilt', topic, partition, 0, next, 'was made anew while it was read')
    }
    if (known) this.#topicId = found.topicId
    for (const position of this.#unfinished()) {
      const place = known ? found.partitions.get(position.partition) : undefined
      if (place !== undefined) {
        position.missingSince = null
        position.leader = place.leader >= 0 ? place.leader : null
        continue
      }
      position.leader = null
      position.missingSince ??= now
      if (now - position.missingSince < missingMs) continue
      if (position.next > 0) throw lost('rebuilt', topic, position.partition, 0, position.next, 'is gone')
      if (!known) throw unknownTopic(topic)
    }
  }

  /** Moves past what arrived. Resolves to what there is to decode. */
  async #advance(outcome: Outcome & { readonly kind: 'fetched' }): Promise<{ position: Position; from: number; fetched: FetchedPartition }[]> {
    const arrived: { position: Position; from: number; fetched: FetchedPartition }[] = []
    for (const fetched of outcome.fetched.partitions) {
      const position = this.#positions.find(({ partition }) => partition === fetched.partition)
      const from = outcome.wanted.get(fetched.partition)
      if (position === undefined || from === undefined || from !== position.next) continue
      if (fetched.errorCode !== code.none) {
        await this.#meet(fetched.errorCode, position)
        continue
      }
      this.#backOffMs = 0
      if (fetched.bytes.length === 0) continue
      const { next, damaged } = endOfBatches(fetched.bytes, from)
      position.next = Math.min(next, position.limit)
      // Damage at or past the limit is nobody's concern here.
      position.damaged = damaged && position.next < position.limit
      arrived.push({ position, from, fetched })
    }
    return arrived
  }

  async #meet(errorCode: number, position: Position): Promise<void> {
    const { topic } = this.#source
    const { partition, next } = position
    position.leader = null
    if (errorCode === code.offsetOutOfRange) await this.#explainRange(position)
    else if (errorCode === code.corruptMessage) {
      const message = `Kafka cannot read partition ${partition} of topic ${topic} at offset ${next}: what is stored there is damaged. Restore the partition from a replica or a backup, or accept the loss of the range.`
      throw new CorruptError(message, { topic, partition, from: next, to: null })
    } else if (!isPassing(errorCode)) throw new KafkaFailure(errorCode)
  }

  /** The log may have moved, and moved back, meanwhile: then reading goes on. */
  async #explainRange({ partition, next }: Position): Promise<void> {
    const { link, topic, callTimeoutMs } = this.#source
    const { first, end } = await listOffsets(link, topic, callTimeoutMs)
    const from = first.get(partition) ?? 0
    const to = end.get(partition) ?? 0
    if (next < from) throw lost('gap', topic, partition, next, from, `no longer holds offsets ${next} to ${from}`)
    if (next > to) throw lost('rebuilt', topic, partition, to, next, `ends at offset ${to}, before ${next}: it was made anew or restored`)
    if (this.#backOffMs > 0) throw new UnavailableError(`Kafka refuses offset ${next} of partition ${partition} of topic ${topic}, though it holds ${from} to ${to}.`, { topic, partition })
  }
}

function lost(what: 'gap' | 'rebuilt', topic: string, partition: number, from: number, to: number, finding: string): LossError {
  return new LossError(`Partition ${partition} of topic ${topic} ${finding}. Restore the log, or accept the loss of the range to go on after it.`, { topic, partition, from, to, what })
}
