/** The connections that one reader, writer or group member has to the brokers, and what it knows of where topics are. */
import { UnavailableError } from '#core/errors.ts'
import type { KafkaSettings } from './kafka-connection.ts'
import { ConnectionFailure, KafkaConnection } from './kafka-connection.ts'
import { KafkaFailure, code, codeOf, failIf, isPassing, translate, unknownTopic } from './kafka-errors.ts'
import type { Metadata, TopicMetadata } from './kafka-requests.ts'
import { metadataRequest } from './kafka-requests.ts'
import type { BrokerAddress } from './kafka-url.ts'
import { pause } from './waiting.ts'

/** A topic that was just made is not known to every broker yet. */
const unknownTopicMs = 5_000
const backOffMs = { first: 20, max: 2_000 } as const

export type Coordinator = 'group' | 'transaction'

export class KafkaLink {
  readonly settings: KafkaSettings
  readonly #connections = new Map<string, Promise<KafkaConnection>>()
  readonly #stopping = new AbortController()
  #brokers: ReadonlyMap<number, BrokerAddress> = new Map()
  #turn = Math.floor(Math.random() * 1_000)

  /** `closing` is aborted, with the reason to throw, when the log is closed. */
  constructor(settings: KafkaSettings, closing: AbortSignal) {
    this.settings = settings
    const close = (): void => this.close(closing.reason)
    if (closing.aborted) close()
    else closing.addEventListener('abort', close, { once: true })
    this.#stopping.signal.addEventListener('abort', () => closing.removeEventListener('abort', close), { once: true })
  }

  get closed(): AbortSignal {
    return this.#stopping.signal
  }

  /** Ends all connections at once; what is under way fails with the reason. */
  close(reason: unknown = new ConnectionFailure('The connection was closed')): void {
    if (this.#stopping.signal.aborted) return
    this.#stopping.abort(reason)
    for (const opening of this.#connections.values()) opening.then((connection) => connection.destroy(), () => undefined)
  }

  /** The broker of that number, once metadata has named it. */
  async to(nodeId: number): Promise<KafkaConnection> {
    const broker = this.#brokers.get(nodeId)
    if (broker === undefined) throw new ConnectionFailure(`No broker ${nodeId} is known`)
    return this.#connect(broker)
  }

  /** Any broker: those of the cluster by turns, the ones of the address where none of them is known or answers. */
  async any(): Promise<KafkaConnection> {
    const known = [...this.#brokers.values()]
    const turn = this.#turn++
    const rotated = [...known.slice(turn % Math.max(1, known.length)), ...known.slice(0, turn % Math.max(1, known.length))]
    const { brokers } = this.settings.address
    const candidates = [...rotated, ...brokers.slice(turn % brokers.length), ...brokers.slice(0, turn % brokers.length)]
    let failure: unknown
    for (const broker of candidates) {
      try {
        return await this.#connect(broker)
      } catch (thrown) {
        failure = thrown
        if (this.#stopping.signal.aborted || !(thrown instanceof Error) || codeOf(thrown) !== null) break
      }
    }
    throw failure
  }

  async metadata(topics: readonly string[]): Promise<Metadata> {
    const connection = await this.any()
    const metadata = await connection.send(metadataRequest(topics))
    if (metadata.brokers.size > 0) this.#brokers = metadata.brokers
    return metadata
  }

  /** Where a topic is; waits a little for one that was just made. Throws ConfigError where there is none, or what `retry` throws. */
  async topic(topic: string, deadlineMs: number, signal?: AbortSignal): Promise<TopicMetadata> {
    const unknownUntil = performance.now() + Math.min(unknownTopicMs, deadlineMs)
    return this.retry(`look where topic ${topic} stands`, deadlineMs, async () => {
      const found = (await this.metadata([topic])).topics.get(topic)
      const errorCode = found?.errorCode ?? code.unknownTopicOrPartition
      if (errorCode === code.unknownTopicOrPartition && performance.now() > unknownUntil) throw unknownTopic(topic)
      failIf(errorCode)
      return found!
    }, signal)
  }

  async coordinator(kind: Coordinator, key: string): Promise<KafkaConnection> {
    const connection = await this.any()
    type Found = { readonly errorCode: number; readonly coordinator: BrokerAddress & { readonly nodeId: number } }
    const { coordinator } = await connection.request<Found>('GroupCoordinator', { groupId: key, coordinatorType: kind === 'group' ? 0 : 1 })
    return this.#connect({ host: coordinator.host, port: coordinator.port })
  }

  /**
   * Does it again, with back-off, as long as what it throws passes. Throws UnavailableError at the deadline, the closing's reason when the log is closed, and
   * the signal's when that is aborted.
   */
  async retry<T>(task: string, deadlineMs: number, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const endAt = performance.now() + deadlineMs
    const stop = signal === undefined ? this.#stopping.signal : AbortSignal.any([this.#stopping.signal, signal])
    for (let waitMs: number = backOffMs.first; ; waitMs = Math.min(waitMs * 2, backOffMs.max)) {
      stop.throwIfAborted()
      try {
        return await work()
      } catch (thrown) {
        stop.throwIfAborted()
        if (!isTransient(thrown)) throw translate(thrown, task)
        if (performance.now() + waitMs > endAt) throw new UnavailableError(`The event log could not ${task} within ${Math.round(deadlineMs / 1_000)} s.`, {}, translate(thrown, task))
      }
      await pause(waitMs, stop)
    }
  }

  async #connect(broker: BrokerAddress): Promise<KafkaConnection> {
    if (this.#stopping.signal.aborted) throw this.#stopping.signal.reason
    const key = `${broker.host}:${broker.port}`
    const known = this.#connections.get(key)
    if (known !== undefined) {
      const connection = await known
      if (connection.isOpen) return connection
      if (this.#connections.get(key) === known) this.#connections.delete(key)
      return this.#connect(broker)
    }
    const opening = KafkaConnection.open(this.settings, broker)
    this.#connections.set(key, opening)
    try {
      const connection = await opening
      if (this.#stopping.signal.aborted) {
        connection.destroy()
        throw this.#stopping.signal.reason
      }
      return connection
    } catch (thrown) {
      if (this.#connections.get(key) === opening) this.#connections.delete(key)
      throw thrown
    }
  }
}

/** A failure of the network, or an answer that says that it will pass. */
export function isTransient(thrown: unknown): boolean {
  const errorCode = codeOf(thrown)
  if (errorCode !== null) return isPassing(errorCode)
  if (thrown instanceof ConnectionFailure || thrown instanceof KafkaFailure) return true
  return thrown instanceof Error && /^KafkaJS(Connection|Request|Timeout)/.test(thrown.name)
}
