/**
 * Appends to a topic in Kafka: acknowledged by all replicas in sync, and by an idempotent producer, so that a request that is sent again after a lost answer is
 * stored once.
 *
 * One record batch is stored whole or not at all, so an append that fits one batch of one partition is sent as it is. An append of several batches is a
 * transaction (KIP-98): its records become visible together, or never. It resolves once a reader of committed records would see them, since the coordinator
 * writes the commit into the partitions only after it has answered.
 *
 * One append is under way at a time: a producer's requests are numbered for each partition, and must arrive in that order.
 */
import { randomUUID } from 'node:crypto'
import { InvalidRequestError, TidemarkError, UnavailableError } from '#core/errors.ts'
import type { LogAppend, Vector } from '#core/ports.ts'
import type { ProducerIdentity } from './kafka-batch.ts'
import { encodeBatch, recordBytesMax } from './kafka-batch.ts'
import type { KafkaConnection } from './kafka-connection.ts'
import { KafkaFailure, code, codeOf, translate, unknownTopic } from './kafka-errors.ts'
import type { KafkaLink } from './kafka-link.ts'
import { isTransient } from './kafka-link.ts'
import { listEnds } from './kafka-offsets.ts'
import type { TopicMetadata } from './kafka-requests.ts'
import { produceRequest } from './kafka-requests.ts'
import { batchBytesMax } from './kafka-topics.ts'
import { LogPartitioner } from './log-partitioner.ts'
import { pause } from './waiting.ts'

export type ProducerOptions = {
  readonly link: KafkaLink
  readonly clientId: string
  /** For a whole append, back-off included. */
  readonly appendTimeoutMs: number
  /** A producer that dies within a transaction holds readers up for so long. */
  readonly transactionTimeoutMs: number
}

/** Records of one partition go out in batches of about this size. */
const batchBytesWanted = 1024 * 1024
const batchRecordsMax = 100_000
/** Batches of several partitions in one request. */
const requestBytesMax = 8 * 1024 * 1024
/** A topic may get more partitions at any time. */
const metadataMaxAgeMs = 30_000
const backOffMs = { first: 5, max: 2_000 } as const
/** Another producer's open transaction holds the end back; the append is durable all the same. */
const visibleMs = 2_000

type Topic = { readonly found: TopicMetadata; readonly partitions: number; readonly readAt: number }
type Sending = { readonly partition: number; readonly records: readonly LogAppend[] }
type Identity = ProducerIdentity & { readonly transactionalId: string | null; readonly sequences: Map<string, number> }

/** The broker knows this producer no more, or another one took its place. */
const identityLost: ReadonlySet<number> = new Set([code.outOfOrderSequence, code.invalidProducerEpoch, code.invalidTransactionState, code.invalidProducerIdMapping, code.unknownProducerId, code.producerFenced])

export class KafkaProducer {
  readonly #options: ProducerOptions
  readonly #transactionalId: string
  readonly #topics = new Map<string, Topic>()
  readonly #partitioners = new Map<string, LogPartitioner>()
  #plain: Identity | null = null
  #transactional: Identity | null = null
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: ProducerOptions) {
    this.#options = options
    // Two processes with one id would end each other's transactions.
    this.#transactionalId = `${options.clientId}-${randomUUID()}`
  }

  /**
   * UnavailableError where the outcome is unknown, too: the records may then be stored, those of one batch all or none, those of a transaction all or none.
   * Event ids make a repeat harmless.
   */
  async append(topic: string, records: readonly LogAppend[]): Promise<Vector> {
    if (records.length === 0) return new Map()
    for (const record of records) {
      const bytes = recordBytesMax(record)
      if (bytes > batchBytesMax) throw new InvalidRequestError(`A record of ${bytes} bytes is too large for the log: send at most ${batchBytesMax} bytes.`, { topic, bytes })
    }
    const turn = this.#last.then(() => this.#append(topic, records))
    this.#last = turn.catch(() => undefined)
    return turn
  }

  async #append(topic: string, records: readonly LogAppend[]): Promise<Vector> {
    const deadline = performance.now() + this.#options.appendTimeoutMs
    const task = `append to topic ${topic}`
    try {
      const { partitions } = await this.#topic(topic, deadline)
      const sendings = this.#cut(topic, records, partitions)
      return sendings.length === 1 ? await this.#appendBatch(topic, sendings[0]!, deadline) : await this.#appendTransaction(topic, sendings, deadline)
    } catch (thrown) {
      this.#topics.delete(topic)
      if (this.#options.link.closed.aborted) throw this.#options.link.closed.reason
      throw translate(thrown, task)
    }
  }

  #cut(topic: string, records: readonly LogAppend[], partitions: number): Sending[] {
    const partitioner = this.#partitioners.get(topic) ?? new LogPartitioner()
    this.#partitioners.set(topic, partitioner)
    const sendings: Sending[] = []
    for (const [partition, indices] of partitioner.spread(records.map(({ key }) => key), partitions)) {
      let batch: LogAppend[] = []
      let bytes = 0
      for (const index of indices) {
        const record = records[index]!
        const recordBytes = recordBytesMax(record)
        if (batch.length > 0 && (bytes + recordBytes > batchBytesWanted || batch.length === batchRecordsMax)) {
          sendings.push({ partition, records: batch })
          batch = []
          bytes = 0
        }
        batch.push(record)
        bytes += recordBytes
      }
      sendings.push({ partition, records: batch })
    }
    return sendings
  }

  async #appendBatch(topic: string, sending: Sending, deadline: number): Promise<Vector> {
    for (let attempt = 1; ; attempt++) {
      const identity = (this.#plain ??= await this.#identify(null, deadline))
      const sent = { doubtful: false }
      try {
        return await this.#produce(topic, [sending], identity, deadline, sent)
      } catch (thrown) {
        // The numbers that the broker expects next are no longer known.
        this.#plain = null
        if (!isIdentityLost(thrown) || attempt > 1) throw thrown
        if (sent.doubtful) throw new UnavailableError(`The event log cannot tell whether an append to topic ${topic} was stored.`, { topic }, thrown)
      }
    }
  }

  async #appendTransaction(topic: string, sendings: readonly Sending[], deadline: number): Promise<Vector> {
    const identity = (this.#transactional ??= await this.#identify(this.#transactionalId, deadline))
    const next = new Map<number, number>()
    try {
      const partitions = [...new Set(sendings.map(({ partition }) => partition))]
      await this.#coordinate('add the partitions to the transaction', deadline, identity, async (coordinator, transaction) => {
        await coordinator.request('AddPartitionsToTxn', { ...transaction, topics: [{ topic, partitions }] })
      })
      for (const round of roundsOf(sendings)) for (const [partition, end] of await this.#produce(topic, round, identity, deadline, { doubtful: false })) next.set(partition, end)
    } catch (thrown) {
      this.#transactional = null
      await this.#abort(identity)
      throw thrown
    }
    try {
      // Said again after a lost answer, the coordinator answers as the first time.
      await this.#coordinate('commit the transaction', deadline, identity, async (coordinator, transaction) => {
        await coordinator.request('EndTxn', { ...transaction, transactionResult: true })
      })
    } catch (thrown) {
      this.#transactional = null
      throw thrown
    }
    await this.#whenVisible(topic, next)
    return next
  }

  /** Best effort: what is left open is ended by the coordinator, at the transaction's time-out or when this producer starts again. */
  async #abort(identity: Identity): Promise<void> {
    const deadline = performance.now() + this.#options.link.settings.requestTimeoutMs
    await this.#coordinate('abort the transaction', deadline, identity, async (coordinator, transaction) => {
      await coordinator.request('EndTxn', { ...transaction, transactionResult: false })
    }).catch(() => undefined)
  }

  async #identify(transactionalId: string | null, deadline: number): Promise<Identity> {
    const { link, transactionTimeoutMs } = this.#options
    type Identified = { readonly producerId: string; readonly producerEpoch: number }
    const { producerId, producerEpoch } = await link.retry('become a producer', deadline - performance.now(), async () => {
      const connection = transactionalId === null ? await link.any() : await link.coordinator('transaction', transactionalId)
      return connection.request<Identified>('InitProducerId', { transactionalId, transactionTimeout: transactionTimeoutMs })
    })
    return { producerId, epoch: producerEpoch, transactional: transactionalId !== null, transactionalId, sequences: new Map() }
  }

  async #coordinate(task: string, deadline: number, identity: Identity, work: (coordinator: KafkaConnection, transaction: object) => Promise<void>): Promise<void> {
    const { link } = this.#options
    const transaction = { transactionalId: identity.transactionalId, producerId: identity.producerId, producerEpoch: identity.epoch }
    await link.retry(task, deadline - performance.now(), async () => work(await link.coordinator('transaction', identity.transactionalId!), transaction))
  }

  /** Sends one batch for each partition until all are stored. Resolves to the next offsets. `doubtful` is set once an answer was lost. */
  async #produce(topic: string, sendings: readonly Sending[], identity: Identity, deadline: number, sent: { doubtful: boolean }): Promise<Map<number, number>> {
    const next = new Map<number, number>()
    let left = sendings.map(({ partition, records }) => {
      const sequence = identity.sequences.get(`${topic}/${partition}`) ?? 0
      return { partition, records: records.length, bytes: encodeBatch(records, identity, sequence) }
    })
    for (let waitMs: number = backOffMs.first; left.length > 0; waitMs = Math.min(waitMs * 2, backOffMs.max)) {
      const stored = await this.#send(topic, left, identity, deadline, sent)
      for (const { partition, records } of left) {
        const baseOffset = stored.get(partition)
        if (baseOffset === undefined) continue
        const sequence = identity.sequences.get(`${topic}/${partition}`) ?? 0
        // After the largest number comes 0 again.
        identity.sequences.set(`${topic}/${partition}`, (sequence + records) % 2 ** 31)
        next.set(partition, baseOffset + records)
      }
      left = left.filter(({ partition }) => !stored.has(partition))
      if (left.length === 0) break
      this.#topics.delete(topic)
      if (performance.now() + waitMs > deadline) throw new UnavailableError(`The event log did not take an append to topic ${topic} in time; it may be stored in part.`, { topic })
      await pause(waitMs, this.#options.link.closed)
      this.#options.link.closed.throwIfAborted()
    }
    return next
  }

  /** One attempt. Resolves to the base offsets of what is stored; what may pass is left out, anything else thrown. */
  async #send(
    topic: string,
    batches: readonly { readonly partition: number; readonly records: number; readonly bytes: Buffer }[],
    identity: Identity,
    deadline: number,
    sent: { doubtful: boolean },
  ): Promise<Map<number, number>> {
    const { link } = this.#options
    const stored = new Map<number, number>()
    const { found } = await this.#topic(topic, deadline)
    const byLeader = Map.groupBy(batches, ({ partition }) => found.partitions.get(partition)?.leader ?? -1)
    await Promise.all([...byLeader].map(async ([leader, own]) => {
      try {
        const connection = await link.to(leader)
        const timeoutMs = link.settings.requestTimeoutMs
        for (const { partition, errorCode, baseOffset } of await connection.send(produceRequest({ topic, transactionalId: identity.transactionalId, timeoutMs, batches: own }), timeoutMs)) {
          if (errorCode === code.none && baseOffset >= 0) stored.set(partition, baseOffset)
          else if (errorCode === code.none || errorCode === code.duplicateSequence) {
            // Stored by an earlier attempt, so long ago that its place is forgotten: it lies below the end.
            const records = own.find((batch) => batch.partition === partition)?.records ?? 0
            stored.set(partition, ((await listEnds(link, topic, leader, [partition])).get(partition) ?? 0) - records)
          } else if (errorCode === code.unknownTopicOrPartition || isTransient(new KafkaFailure(errorCode))) {
            // In time it stored nothing, or not on enough replicas.
            sent.doubtful = true
          } else throw new KafkaFailure(errorCode)
        }
      } catch (thrown) {
        if (thrown instanceof KafkaFailure || thrown instanceof TidemarkError || !isTransient(thrown)) throw thrown
        sent.doubtful = true
      }
    }))
    return stored
  }

  async #whenVisible(topic: string, next: Vector): Promise<void> {
    const { link } = this.#options
    const endAt = performance.now() + visibleMs
    let left = [...next.keys()]
    for (let waitMs = 1; left.length > 0 && performance.now() < endAt; waitMs = Math.min(waitMs * 2, 50)) {
      try {
        const { found } = await this.#topic(topic, endAt)
        for (const [leader, partitions] of Map.groupBy(left, (partition) => found.partitions.get(partition)?.leader ?? -1)) {
          const ends = await listEnds(link, topic, leader, partitions)
          left = left.filter((partition) => !((ends.get(partition) ?? 0) >= next.get(partition)!))
        }
      } catch {
        this.#topics.delete(topic)
      }
      if (left.length > 0) await pause(waitMs, link.closed)
    }
  }

  async #topic(topic: string, deadline: number): Promise<Topic> {
    const known = this.#topics.get(topic)
    if (known !== undefined && performance.now() - known.readAt < metadataMaxAgeMs) return known
    const found = await this.#options.link.topic(topic, deadline - performance.now())
    if (found.partitions.size === 0) throw unknownTopic(topic)
    const read = { found, partitions: found.partitions.size, readAt: performance.now() }
    this.#topics.set(topic, read)
    return read
  }
}

/** At least: a batch may hold one record that is larger than any batch should be. */
function sizeOf({ records }: Sending): number {
  return Math.max(batchBytesWanted, records.reduce((sum, { value, key }) => sum + value.length + (key?.length ?? 0), 0))
}

/** Requests hold one batch of a partition, and are bounded in bytes; the batches of a partition keep their order. */
function roundsOf(sendings: readonly Sending[]): Sending[][] {
  const rounds: Sending[][] = []
  let left = sendings
  while (left.length > 0) {
    const round: Sending[] = []
    const rest: Sending[] = []
    const taken = new Set<number>()
    let bytes = 0
    for (const sending of left) {
      const size = sizeOf(sending)
      const fits = bytes === 0 || bytes + size <= requestBytesMax
      if (!fits || taken.has(sending.partition)) rest.push(sending)
      else {
        round.push(sending)
        bytes += size
      }
      taken.add(sending.partition)
    }
    rounds.push(round)
    left = rest
  }
  return rounds
}

function isIdentityLost(thrown: unknown): boolean {
  const errorCode = codeOf(thrown)
  return errorCode !== null && identityLost.has(errorCode)
}
