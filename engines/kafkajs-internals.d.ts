/** The parts of kafkajs 2.2.4 below its public interface that the Kafka log stands on: connection, authentication, and the encoders of requests. */

declare module 'kafkajs/src/protocol/encoder.js' {
  export default class Encoder {
    constructor(bytes?: number)
    writeInt8(value: number): this
    writeInt16(value: number): this
    writeInt32(value: number): this
    writeInt64(value: number | string): this
    writeBoolean(value: boolean): this
    writeString(value: string | null): this
    writeUVarInt(value: number): this
    writeUVarIntString(value: string | null): this
    writeBuffer(value: Buffer): this
    readonly buffer: Buffer
  }
}

declare module 'kafkajs/src/protocol/requests/apiKeys.js' {
  const apiKeys: Readonly<Record<ApiName, number>>
  export type ApiName =
    | 'Produce' | 'Fetch' | 'ListOffsets' | 'Metadata' | 'OffsetCommit' | 'GroupCoordinator' | 'JoinGroup' | 'Heartbeat' | 'LeaveGroup' | 'SyncGroup'
    | 'ApiVersions' | 'CreateTopics' | 'DescribeConfigs' | 'InitProducerId' | 'AddPartitionsToTxn' | 'EndTxn' | 'SaslAuthenticate'
  export default apiKeys
}

declare module 'kafkajs/src/protocol/requests/index.js' {
  import type { ApiName } from 'kafkajs/src/protocol/requests/apiKeys.js'
  import type { Api, ApiVersions } from 'kafkajs/src/network/connection.js'

  type Definition = { readonly versions: readonly string[]; protocol(options: { readonly version: number }): (options?: object) => Api<unknown> }
  const all: {
    readonly requests: Readonly<Record<ApiName, Definition>>
    readonly lookup: (versions: ApiVersions) => (apiKey: number, definition: Definition) => (options?: object) => Api<unknown>
  }
  export default all
}

declare module 'kafkajs/src/network/connection.js' {
  import type { Socket } from 'node:net'
  import type { Logger } from 'kafkajs/src/loggers/index.js'
  import type Encoder from 'kafkajs/src/protocol/encoder.js'

  export type ApiVersions = Readonly<Record<number, { readonly minVersion: number; readonly maxVersion: number }>>
  export type Api<T> = {
    readonly request: { readonly apiKey: number; readonly apiVersion: number; readonly apiName: string; readonly encode: () => Promise<Encoder> }
    readonly response: { readonly decode: (payload: Buffer) => Promise<unknown>; readonly parse: (decoded: never) => Promise<T> }
  }
  export type Sasl = { readonly mechanism: string; readonly username: string; readonly password: string }
  export type SocketFactory = (options: { readonly host: string; readonly port: number; readonly ssl: object | null; readonly onConnect: () => void }) => Socket

  export default class Connection {
    constructor(options: {
      readonly host: string
      readonly port: number
      readonly clientId: string
      readonly logger: Logger
      readonly socketFactory: SocketFactory
      readonly ssl: object | null
      readonly sasl: Sasl | null
      readonly requestTimeout: number
      readonly connectionTimeout: number
      readonly enforceRequestTimeout: boolean
    })
    readonly requestQueue: { pending: readonly unknown[]; throttledUntil: number; scheduleCheckPendingRequests: () => void }
    processData: (bytes: Buffer) => void
    connect(): Promise<unknown>
    authenticate(): Promise<void>
    setVersions(versions: ApiVersions): void
    setSupportAuthenticationProtocol(isSupported: boolean): void
    send<T>(api: Api<T> & { readonly logResponseError: boolean }): Promise<T>
  }
}

declare module 'kafkajs/src/loggers/index.js' {
  export type Logger = { namespace(name: string): Logger }
  const loggers: { createLogger(options: { readonly level: number; readonly logCreator: () => () => void }): Logger }
  export default loggers
}

declare module 'kafkajs/src/protocol/error.js' {
  const errors: { createErrorFromCode(code: number): Error & { readonly type: string; readonly code: number; readonly retriable: boolean } }
  export default errors
}
