/**
 * The requests that kafkajs has in too old a form, or decodes in a way that costs too much: Metadata and Fetch with topic ids (KIP-516), so that a topic that was
 * made anew is never taken for the old one, with the records left as bytes; and Produce of batches that are encoded already.
 */
import type { Api } from 'kafkajs/src/network/connection.js'
import apiKeys from 'kafkajs/src/protocol/requests/apiKeys.js'
import Encoder from 'kafkajs/src/protocol/encoder.js'
import type { BrokerAddress } from './kafka-url.ts'
import type { AbortedTransaction } from './kafka-records.ts'

const noTopicId = Buffer.alloc(16)
const readCommitted = 1

export type TopicMetadata = {
  readonly errorCode: number
  readonly topicId: Buffer
  readonly partitions: ReadonlyMap<number, { readonly errorCode: number; readonly leader: number }>
}
export type Metadata = { readonly brokers: ReadonlyMap<number, BrokerAddress>; readonly topics: ReadonlyMap<string, TopicMetadata> }

export function metadataRequest(topics: readonly string[]): Api<Metadata> {
  return flexible('Metadata', 12, (body) => {
    body.writeUVarInt(topics.length + 1)
    for (const topic of topics) body.writeBuffer(noTopicId).writeUVarIntString(topic).writeUVarInt(0)
    // No topic is made by asking for it, and no rights are listed.
    body.writeBoolean(false).writeBoolean(false).writeUVarInt(0)
  }, (bytes) => {
    bytes.int32()
    const brokers = new Map(bytes.array(() => {
      const nodeId = bytes.int32()
      const broker = { host: bytes.string() ?? '', port: bytes.int32() }
      bytes.string()
      bytes.tags()
      return [nodeId, broker] as const
    }))
    bytes.string()
    bytes.int32()
    const found = new Map(bytes.array(() => {
      const errorCode = bytes.int16()
      const topic = bytes.string() ?? ''
      const topicId = Buffer.from(bytes.take(16))
      bytes.skip(1)
      const partitions = new Map(bytes.array(() => {
        const partitionError = bytes.int16()
        const partition = bytes.int32()
        const leader = bytes.int32()
        bytes.int32()
        for (let list = 0; list < 3; list++) bytes.array(() => bytes.int32())
        bytes.tags()
        return [partition, { errorCode: partitionError, leader }] as const
      }))
      bytes.int32()
      bytes.tags()
      return [topic, { errorCode, topicId, partitions }] as const
    }))
    return { brokers, topics: found }
  })
}

export type FetchWanted = { readonly partition: number; readonly offset: number }
export type FetchOptions = { readonly topicId: Buffer; readonly wanted: readonly FetchWanted[]; readonly waitMs: number; readonly bytesMax: number; readonly partitionBytesMax: number }
export type FetchedPartition = {
  readonly partition: number
  readonly errorCode: number
  readonly aborted: readonly AbortedTransaction[]
  readonly bytes: Buffer
}
export type Fetched = { readonly errorCode: number; readonly partitions: readonly FetchedPartition[] }

/** Committed records only. The broker fills the answer in the order of `wanted`. */
export function fetchRequest({ topicId, wanted, waitMs, bytesMax, partitionBytesMax }: FetchOptions): Api<Fetched> {
  return flexible('Fetch', 13, (body) => {
    body.writeInt32(-1).writeInt32(waitMs).writeInt32(1).writeInt32(bytesMax).writeInt8(readCommitted)
    // No fetch session (KIP-227): each request says everything.
    body.writeInt32(0).writeInt32(-1)
    body.writeUVarInt(2).writeBuffer(topicId).writeUVarInt(wanted.length + 1)
    for (const { partition, offset } of wanted) {
      body.writeInt32(partition).writeInt32(-1).writeInt64(offset).writeInt32(-1).writeInt64(-1).writeInt32(partitionBytesMax).writeUVarInt(0)
    }
    body.writeUVarInt(0).writeUVarInt(1).writeUVarIntString('').writeUVarInt(0)
  }, (bytes) => {
    bytes.int32()
    const errorCode = bytes.int16()
    bytes.int32()
    const partitions: FetchedPartition[] = []
    bytes.array(() => {
      bytes.take(16)
      partitions.push(...bytes.array(() => fetchedPartition(bytes)))
      bytes.tags()
    })
    return { errorCode, partitions }
  })
}

function fetchedPartition(bytes: Bytes): FetchedPartition {
  const partition = bytes.int32()
  const errorCode = bytes.int16()
  // High watermark, last stable offset, log start.
  bytes.skip(24)
  const aborted = bytes.array(() => {
    const producerId = bytes.bigInt64()
    const firstOffset = Number(bytes.bigInt64())
    bytes.tags()
    return { producerId, firstOffset }
  })
  bytes.int32()
  const length = bytes.uvarint() - 1
  const records = bytes.take(Math.max(0, length))
  bytes.tags()
  return { partition, errorCode, aborted: aborted.sort((a, b) => a.firstOffset - b.firstOffset), bytes: records }
}

export type ProduceOptions = {
  readonly topic: string
  readonly transactionalId: string | null
  readonly timeoutMs: number
  readonly batches: readonly { readonly partition: number; readonly bytes: Buffer }[]
}
export type Produced = { readonly partition: number; readonly errorCode: number; readonly baseOffset: number }

/** One batch for each partition, acknowledged by all replicas in sync. */
export function produceRequest({ topic, transactionalId, timeoutMs, batches }: ProduceOptions): Api<readonly Produced[]> {
  const encode = async (): Promise<Encoder> => {
    const body = new Encoder(batches.reduce((sum, { bytes }) => sum + bytes.length + 8, 512))
    body.writeString(transactionalId).writeInt16(-1).writeInt32(timeoutMs).writeInt32(1).writeString(topic).writeInt32(batches.length)
    for (const { partition, bytes } of batches) body.writeInt32(partition).writeInt32(bytes.length).writeBuffer(bytes)
    return body
  }
  return {
    request: { apiKey: apiKeys.Produce, apiVersion: 7, apiName: 'Produce', encode },
    response: {
      decode: async (payload) => payload,
      parse: async (payload: Buffer) => {
        const bytes = new Bytes(payload)
        const produced: Produced[] = []
        for (let topics = bytes.int32(); topics > 0; topics--) {
          bytes.skip(bytes.int16())
          for (let partitions = bytes.int32(); partitions > 0; partitions--) {
            produced.push({ partition: bytes.int32(), errorCode: bytes.int16(), baseOffset: Number(bytes.bigInt64()) })
            bytes.skip(16)
          }
        }
        return produced
      },
    },
  }
}

/** A request of a flexible version (KIP-482). kafkajs writes the older header; the newer one has empty tags at its end, as has the answer's. */
function flexible<T>(apiName: 'Metadata' | 'Fetch', apiVersion: number, write: (body: Encoder) => void, read: (bytes: Bytes) => T): Api<T> {
  const encode = async (): Promise<Encoder> => {
    const body = new Encoder().writeUVarInt(0)
    write(body)
    return body
  }
  return {
    request: { apiKey: apiKeys[apiName], apiVersion, apiName, encode },
    response: {
      decode: async (payload) => payload,
      parse: async (payload: Buffer) => {
        const bytes = new Bytes(payload)
        bytes.tags()
        return read(bytes)
      },
    },
  }
}

/** Reads an answer from its front. Past the end it throws RangeError, as Buffer does. */
class Bytes {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  int16(): number {
    this.#at += 2
    return this.#bytes.readInt16BE(this.#at - 2)
  }

  int32(): number {
    this.#at += 4
    return this.#bytes.readInt32BE(this.#at - 4)
  }

  bigInt64(): bigint {
    this.#at += 8
    return this.#bytes.readBigInt64BE(this.#at - 8)
  }

  uvarint(): number {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.#bytes.readUInt8(this.#at++)
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
  }

  skip(bytes: number): void {
    this.#at += Math.max(0, bytes)
  }

  take(bytes: number): Buffer {
    this.#at += bytes
    if (this.#at > this.#bytes.length) throw new RangeError('an answer of Kafka is cut short')
    return this.#bytes.subarray(this.#at - bytes, this.#at)
  }

  string(): string | null {
    const length = this.uvarint() - 1
    return length < 0 ? null : this.take(length).toString('utf8')
  }

  array<T>(read: () => T): T[] {
    return Array.from({ length: Math.max(0, this.uvarint() - 1) }, read)
  }

  tags(): void {
    for (let left = this.uvarint(); left > 0; left--) {
      this.uvarint()
      this.skip(this.uvarint())
    }
  }
}
