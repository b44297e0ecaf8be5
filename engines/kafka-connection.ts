/**
 * One connection to one broker: kafkajs's framing, TLS and authentication, with time-outs and an end of our own. kafkajs waits for the answers under way
 * before it closes, which a peer that hangs never gives; here a request that takes too long, and closing, destroy the socket.
 *
 * A broker answers the requests of one connection in their order, so whoever waits long (a fetch, joining a group) has a connection of its own.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import loggers from 'kafkajs/src/loggers/index.js'
import type { Api } from 'kafkajs/src/network/connection.js'
import Connection from 'kafkajs/src/network/connection.js'
import type { ApiName } from 'kafkajs/src/protocol/requests/apiKeys.js'
import apiKeys from 'kafkajs/src/protocol/requests/apiKeys.js'
import protocol from 'kafkajs/src/protocol/requests/index.js'
import { ConfigError, messageOf } from '#core/errors.ts'
import type { BrokerAddress, KafkaAddress } from './kafka-url.ts'

export type KafkaSettings = {
  readonly address: KafkaAddress
  readonly clientId: string
  /** Until a connection stands and is authenticated. */
  readonly connectTimeoutMs: number
  /** For the answer to a request, beside what the request itself waits for. */
  readonly requestTimeoutMs: number
}

/** The peer is silent, gone, was left, or speaks something else. */
export class ConnectionFailure extends Error {}

/** An answer that nothing can be read from. Whoever asks again without end must tell it: it may as well be our own reading that is wrong. */
export class UnreadableAnswer extends ConnectionFailure {}

const silent = loggers.createLogger({ level: 0, logCreator: () => () => undefined })
/** Versions that the requests of our own are written in; Kafka 3.1 has them all. */
const needed: readonly (readonly [ApiName, number])[] = [['Fetch', 13], ['Metadata', 12], ['Produce', 7]]
const keepAliveMs = 10_000

export class KafkaConnection {
  readonly broker: BrokerAddress
  readonly #settings: KafkaSettings
  readonly #connection: Connection
  readonly #sockets = new Set<Socket>()
  #lookup: ReturnType<typeof protocol.lookup> | null = null
  #failure: Error | null = null

  private constructor(settings: KafkaSettings, broker: BrokerAddress) {
    this.broker = broker
    this.#settings = settings
    const { clientId, connectTimeoutMs, requestTimeoutMs, address } = settings
    this.#connection = new Connection({
      ...broker,
      clientId,
      logger: silent,
      socketFactory: ({ host, port, ssl, onConnect }) => this.#open(host, port, ssl !== null, onConnect),
      ssl: address.tls ? {} : null,
      sasl: address.sasl,
      requestTimeout: requestTimeoutMs,
      connectionTimeout: connectTimeoutMs,
      enforceRequestTimeout: false,
    })
    // With nothing to send, kafkajs would set a timer in the past after each answer; Node 24 warns of it.
    const { requestQueue } = this.#connection
    const schedule = requestQueue.scheduleCheckPendingRequests.bind(requestQueue)
    requestQueue.scheduleCheckPendingRequests = () => {
      if (requestQueue.pending.length > 0 || requestQueue.throttledUntil > Date.now()) schedule()
    }
    // What it throws here nobody else would catch.
    const processData = this.#connection.processData.bind(this.#connection)
    this.#connection.processData = (bytes) => {
      try {
        processData(bytes)
      } catch (cause) {
        this.destroy(this.#unreadable('an answer', cause))
      }
    }
  }

  /** Connected and authenticated, or a throw. Throws ConfigError where the broker is too old. */
  static async open(settings: KafkaSettings, broker: BrokerAddress): Promise<KafkaConnection> {
    const opened = new KafkaConnection(settings, broker)
    try {
      await opened.#within(opened.#start(), settings.connectTimeoutMs, `connect to ${broker.host}:${broker.port}`)
    } catch (thrown) {
      const failure = opened.#failure
      opened.destroy()
      // Authenticating, kafkajs takes it for a wrong password.
      throw failure instanceof UnreadableAnswer ? failure : thrown
    }
    return opened
  }

  get isOpen(): boolean {
    return this.#failure === null
  }

  /** One of kafkajs's requests, in the newest version that both sides know. */
  async request<T>(name: ApiName, options: object, waitMs = 0): Promise<T> {
    const api = this.#lookup!(apiKeys[name], protocol.requests[name])(options) as Api<T>
    return this.send(api, waitMs)
  }

  /** Throws ConnectionFailure, or the error that the answer says. `waitMs` is what the broker may take on purpose. */
  async send<T>(api: Api<T>, waitMs = 0): Promise<T> {
    if (this.#failure !== null) throw this.#failure
    const { request, response } = api
    const { apiName } = request
    const sent = this.#connection.send({
      request,
      response: {
        decode: async (payload: Buffer) => this.#read(apiName, async () => response.decode(payload)),
        parse: async (decoded) => this.#read(apiName, async () => response.parse(decoded)),
      },
      logResponseError: false,
    })
    return this.#within(sent, waitMs + this.#settings.requestTimeoutMs, `wait for the answer to ${apiName}`)
  }

  /** Ends it at once; what is under way fails. */
  destroy(reason: Error = new ConnectionFailure('The connection was closed')): void {
    this.#failure ??= reason
    for (const socket of this.#sockets) socket.destroy(this.#failure)
  }

  async #start(): Promise<void> {
    await this.#connection.connect()
    const { apiVersions } = await this.send(protocol.requests.ApiVersions.protocol({ version: 2 })() as Api<{ apiVersions: { apiKey: number; minVersion: number; maxVersion: number }[] }>)
    const versions = Object.fromEntries(apiVersions.map(({ apiKey, minVersion, maxVersion }) => [apiKey, { minVersion, maxVersion }]))
    for (const [name, version] of needed) {
      if ((versions[apiKeys[name]]?.maxVersion ?? -1) < version) throw new ConfigError(`The broker at ${this.broker.host}:${this.broker.port} is too old: use Kafka 3.1 or newer.`)
    }
    this.#connection.setVersions(versions)
    this.#connection.setSupportAuthenticationProtocol(versions[apiKeys.SaslAuthenticate] !== undefined)
    await this.#read('SaslHandshake', async () => this.#connection.authenticate())
    this.#lookup = protocol.lookup(versions)
  }

  #open(host: string, port: number, tls: boolean, onConnect: () => void): Socket {
    const socket = tls ? connectTls({ host, port, servername: host }, onConnect) : connect({ host, port }, onConnect)
    socket.setKeepAlive(true, keepAliveMs)
    socket.setNoDelay(true)
    this.#sockets.add(socket)
    socket.once('end', () => this.destroy(new ConnectionFailure(`${host}:${port} closed the connection`)))
    socket.once('error', (cause) => this.destroy(new ConnectionFailure(`The connection to ${host}:${port} broke: ${cause.message}`, { cause })))
    socket.once('close', () => {
      this.#sockets.delete(socket)
      this.destroy()
    })
    return socket
  }

  async #read<T>(apiName: string, read: () => Promise<T>): Promise<T> {
    try {
      return await read()
    } catch (thrown) {
      // What the broker says is an error of kafkajs's own kind.
      if (!(thrown instanceof RangeError || thrown instanceof TypeError)) throw thrown
      const failure = this.#unreadable(`the answer to ${apiName}`, thrown)
      this.destroy(failure)
      throw failure
    }
  }

  #unreadable(what: string, cause: unknown): UnreadableAnswer {
    return new UnreadableAnswer(`${this.broker.host}:${this.broker.port} sent ${what} that cannot be read (${messageOf(cause)})`, { cause })
  }

  async #within<T>(work: Promise<T>, timeoutMs: number, task: string): Promise<T> {
    const { promise: late, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => {
      const failure = new ConnectionFailure(`${this.broker.host}:${this.broker.port} took longer than ${timeoutMs} ms to ${task}`)
      this.destroy(failure)
      reject(failure)
    }, timeoutMs)
    // Its failure is told once, by whichever is first.
    work.catch(() => undefined)
    try {
      return await Promise.race([work, late])
    } finally {
      clearTimeout(timer)
    }
  }
}
