/** The event log in Kafka. What the port promises is kept by the parts: kafka-reader.ts, kafka-producer.ts, kafka-group.ts, kafka-topics.ts. */
import { setMaxListeners } from 'node:events'
import { UnavailableError } from '#core/errors.ts'
import type { EventLog, LogAppend, LogBatch, LogBounds, LogReadOptions, Vector } from '#core/ports.ts'
import type { KafkaSettings } from './kafka-connection.ts'
import { GroupMember, followGroup } from './kafka-group.ts'
import { KafkaLink } from './kafka-link.ts'
import { listOffsets } from './kafka-offsets.ts'
import { KafkaProducer } from './kafka-producer.ts'
import { readPartitions } from './kafka-reader.ts'
import { createTopic } from './kafka-topics.ts'
import { parseKafkaUrl } from './kafka-url.ts'
import { checkTopic } from './topic-names.ts'

export type KafkaLogOptions = {
  /** `kafka://host:port,host2:port`; kafka-url.ts says what else it may hold. */
  readonly url: string
  /** Readers of a topic share its partitions in the consumer group `<groupPrefix>.<topic>`. */
  readonly groupPrefix: string
  readonly clientId?: string
  readonly connectTimeoutMs?: number
  /** For the answer to a request, beside what the request itself waits for. */
  readonly requestTimeoutMs?: number
  /** For a whole call but `append`, back-off included. */
  readonly callTimeoutMs?: number
  /** For a whole append, back-off included: longer than a broker takes to come back. */
  readonly appendTimeoutMs?: number
  /** How long a broker holds a fetch that finds nothing new. */
  readonly fetchWaitMs?: number
  /** Stored bytes of one fetch from one broker. A reader holds two for each broker. */
  readonly fetchBytesMax?: number
  /** Silence after which a process's partitions are given to others. Brokers allow no less than 6 s by default. */
  readonly sessionTimeoutMs?: number
  readonly heartbeatMs?: number
  readonly partitionsCheckMs?: number
  /** A producer that dies within a transaction holds readers up for so long. */
  readonly transactionTimeoutMs?: number
}

const defaults = {
  clientId: 'tidemark',
  connectTimeoutMs: 5_000,
  requestTimeoutMs: 10_000,
  callTimeoutMs: 30_000,
  appendTimeoutMs: 120_000,
  fetchWaitMs: 250,
  fetchBytesMax: 8 * 1024 * 1024,
  sessionTimeoutMs: 6_000,
  heartbeatMs: 500,
  partitionsCheckMs: 10_000,
  transactionTimeoutMs: 10_000,
} as const

/** Connects to a broker, to find a wrong address at once. Throws ConfigError or UnavailableError. */
export async function openKafkaLog(options: KafkaLogOptions): Promise<EventLog> {
  const log = new KafkaLog({ ...defaults, ...options })
  try {
    await log.check()
    return log
  } catch (thrown) {
    await log[Symbol.asyncDispose]()
    throw thrown
  }
}

class KafkaLog implements EventLog {
  readonly #options: Required<KafkaLogOptions>
  readonly #settings: KafkaSettings
  readonly #closing = new AbortController()
  readonly #link: KafkaLink
  readonly #producer: KafkaProducer
  readonly #members = new Map<GroupMember, string>()

  constructor(options: Required<KafkaLogOptions>) {
    this.#options = options
    // One listener for each reader that is open.
    setMaxListeners(0, this.#closing.signal)
    const { url, clientId, connectTimeoutMs, requestTimeoutMs, appendTimeoutMs, transactionTimeoutMs } = options
    this.#settings = { address: parseKafkaUrl(url), clientId, connectTimeoutMs, requestTimeoutMs }
    this.#link = this.#open()
    this.#producer = new KafkaProducer({ link: this.#open(), clientId, appendTimeoutMs, transactionTimeoutMs })
  }

  async check(): Promise<void> {
    await this.#link.retry('connect', this.#options.callTimeoutMs, () => this.#link.metadata([]))
  }

  async create(topic: string, partitions: number): Promise<void> {
    checkTopic(topic, partitions)
    await createTopic(this.#link, topic, partitions, this.#options.callTimeoutMs)
  }

  async append(topic: string, records: readonly LogAppend[]): Promise<Vector> {
    return this.#producer.append(topic, records)
  }

  async *assigned(topic: string, signal: AbortSignal): AsyncGenerator<readonly number[]> {
    if (signal.aborted) return
    const { groupPrefix, callTimeoutMs, sessionTimeoutMs, heartbeatMs, partitionsCheckMs } = this.#options
    const member = new GroupMember({ link: this.#open(), groupId: `${groupPrefix}.${topic}`, topic, callTimeoutMs, sessionTimeoutMs, heartbeatMs, partitionsCheckMs })
    this.#members.set(member, topic)
    try {
      yield* followGroup(member, signal)
    } finally {
      this.#members.delete(member)
    }
  }

  read(topic: string, from: Vector, options: LogReadOptions): AsyncIterable<LogBatch> {
    const { callTimeoutMs, fetchWaitMs, fetchBytesMax } = this.#options
    return readPartitions({ open: () => this.#open(), topic, callTimeoutMs, fetchWaitMs, fetchBytesMax }, from, options)
  }

  async bounds(topic: string): Promise<LogBounds> {
    return listOffsets(this.#link, topic, this.#options.callTimeoutMs)
  }

  async reportPosition(topic: string, positions: Vector): Promise<void> {
    for (const [member, of] of this.#members) if (of === topic) await member.reportPositions(positions)
  }

  /** Kafka forgets by its own retention. */
  async prune(): Promise<void> {}

  #open(): KafkaLink {
    return new KafkaLink(this.#settings, this.#closing.signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new UnavailableError('The event log was closed.'))
    await Promise.all([...this.#members.keys()].map(({ finished }) => finished))
  }
}
