/**
 * Kafka's record batches (format 2), read from the bytes of a fetch response. Source: the message format in Kafka's documentation, and KIP-98.
 *
 *     batch   = base offset (8 bytes) · length of the rest (4) · leader epoch (4) · format, 2 (1) · CRC-32C of what follows (4) · attributes (2) ·
 *               last offset − base (4) · first and last time (8, 8) · producer id, epoch, first sequence (8, 2, 4) · number of records (4) · records,
 *               packed whole by the codec that the attributes name
 *     record  = varint(bytes) · attributes (1) · varint(time − first time) · varint(offset − base) · bytes(key) · bytes(value) · varint(headers) · header …
 *     header  = bytes(name) · bytes(value)        bytes(x) = varint(length, −1 for null) · x        varint = zigzag, seven bits at a time
 *
 * Every batch that is stepped over is checked against its checksum first; kafkajs does not look at it. Base offset and leader epoch lie outside the
 * checksum, since brokers write them: of the offset, what order and limits can tell is checked.
 *
 * Values are views into the response (or into the unpacked batch), which they keep alive.
 */
import { CorruptError } from '#core/errors.ts'
import { sourceHeader } from '#core/decode.ts'
import type { LogHeaders, LogRecord } from '#core/ports.ts'
import { crc32c } from './crc32c.ts'
import { codecNames, unpack } from './kafka-codecs.ts'

const prefixBytes = 12
const headerBytes = 61
const format = 2
const at = { length: 8, format: 16, crc: 17, attributes: 21, lastDelta: 23, firstTime: 27, lastTime: 35, producerId: 43, records: 57 } as const
const attribute = { codec: 0x07, logAppendTime: 0x08, transactional: 0x10, control: 0x20 } as const
const abortMarker = 0
/** Batches are handed out together until there are so many records, and large ones in several parts. */
const chunkRecords = 5_000
/** Of one record. A record with more keeps what decides (the source of its ids) and a note of what was left out. */
export const headersMax = 256
export const headerBytesMax = 65_536
export const omittedHeader = 'tidemark-headers-omitted'

export type AbortedTransaction = { readonly producerId: bigint; readonly firstOffset: number }

export type FetchedRecords = {
  readonly topic: string
  readonly partition: number
  readonly bytes: Buffer
  /** Ascending by `firstOffset`. */
  readonly aborted: readonly AbortedTransaction[]
}

export type Chunk = { readonly to: number; readonly records: readonly LogRecord[] }

/** The first offset after the whole batches, as their headers say: where to fetch on. Damage ends the scan; decoding meets it and says so. */
export function endOfBatches(bytes: Buffer, from: number): { readonly next: number; readonly damaged: boolean } {
  let next = from
  let start = 0
  while (start + headerBytes <= bytes.length) {
    const end = start + prefixBytes + bytes.readInt32BE(start + at.length)
    if (end < start + headerBytes || bytes[start + at.format] !== format) return { next, damaged: true }
    if (end > bytes.length) break
    const following = readInt64(bytes, start) + bytes.readInt32BE(start + at.lastDelta) + 1
    if (!(following > next) && start > 0) return { next, damaged: true }
    next = Math.max(next, following)
    start = end
  }
  // A broker sends the first batch whole, however large it is.
  return { next, damaged: start === 0 && bytes.length > 0 }
}

/**
 * The committed records at offsets `from` inclusive to `limit` exclusive, in runs that follow on each other. The last run ends after the last whole batch,
 * or at the limit. Throws CorruptError at the first batch that is not what was stored, after the runs before it.
 */
export function* decodeRecords(fetched: FetchedRecords, from: number, limit: number): Generator<Chunk> {
  const { aborted } = fetched
  const abortedProducers = new Set<bigint>()
  let abortedSeen = 0
  let records: LogRecord[] = []
  let next = from
  let start = 0
  while (next < limit) {
    let batch: Batch | null
    try {
      batch = readBatch(fetched, start, next)
    } catch (thrown) {
      // What stands before the damage is whole.
      if (records.length > 0) yield { to: next, records }
      throw thrown
    }
    if (batch === null) break
    while (abortedSeen < aborted.length && aborted[abortedSeen]!.firstOffset <= batch.lastOffset) abortedProducers.add(aborted[abortedSeen++]!.producerId)
    if (batch.control) {
      if (isAbortMarker(batch)) abortedProducers.delete(batch.producerId)
    } else if (!(batch.transactional && abortedProducers.has(batch.producerId))) {
      const cursor = new RecordCursor(fetched, batch)
      try {
        for (let full = cursor.readUntil(records, next, limit); full; full = cursor.readUntil(records, next, limit)) {
          next = records.at(-1)!.offset + 1
          yield { to: next, records }
          records = []
        }
      } catch (thrown) {
        if (records.length > 0) yield { to: records.at(-1)!.offset + 1, records }
        throw thrown
      }
    }
    next = Math.min(limit, Math.max(next, batch.lastOffset + 1))
    start = batch.end
    if (records.length >= chunkRecords) {
      yield { to: next, records }
      records = []
    }
  }
  if (records.length > 0 || next > from) yield { to: next, records }
}

type Batch = {
  readonly baseOffset: number
  readonly lastOffset: number
  readonly end: number
  readonly control: boolean
  readonly transactional: boolean
  readonly producerId: bigint
  readonly count: number
  readonly firstTimeMs: number
  /** The time of every record, where the log sets it. */
  readonly logTimeMs: number | null
  readonly content: Buffer
}

/** The batch that begins there, unpacked; null where none does or the response ends within it. */
function readBatch(fetched: FetchedRecords, start: number, wanted: number): Batch | null {
  const { bytes } = fetched
  if (start === bytes.length) return null
  const damage = (finding: string, baseOffset = wanted, to: number | null = null): CorruptError => corrupt(fetched, baseOffset, to, finding)
  if (start + headerBytes > bytes.length) {
    if (start === 0) throw damage('is cut short')
    return null
  }
  const end = start + prefixBytes + bytes.readInt32BE(start + at.length)
  if (bytes[start + at.format] !== format) throw damage(`has message format ${bytes[start + at.format]}, and this version reads ${format}`)
  if (end < start + headerBytes) throw damage('is shorter than its own header')
  if (end > bytes.length) {
    if (start === 0) throw damage('is cut short')
    return null
  }
  const baseOffset = readInt64(bytes, start)
  const lastOffset = baseOffset + bytes.readInt32BE(start + at.lastDelta)
  if (crc32c(bytes.subarray(start + at.attributes, end)) !== bytes.readUInt32BE(start + at.crc)) {
    throw damage('does not match its checksum', wanted, offsetBehind(bytes, end, wanted, lastOffset))
  }
  // Only the first batch of a response may begin before what was asked for.
  if (!Number.isSafeInteger(lastOffset) || lastOffset < baseOffset || lastOffset < wanted || (start > 0 && baseOffset < wanted)) {
    throw damage(`claims offsets ${baseOffset} to ${lastOffset + 1}`)
  }
  const attributes = bytes.readInt16BE(start + at.attributes)
  const codec = codecNames[attributes & attribute.codec]
  if (codec === undefined) throw damage(`is packed by codec ${attributes & attribute.codec}, which this version does not know`, baseOffset, lastOffset + 1)
  let content: Buffer
  try {
    content = unpack(codec, bytes.subarray(start + headerBytes, end))
  } catch (cause) {
    throw corrupt(fetched, baseOffset, lastOffset + 1, `cannot be unpacked by ${codec}`, cause)
  }
  return {
    baseOffset,
    lastOffset,
    end,
    control: (attributes & attribute.control) !== 0,
    transactional: (attributes & attribute.transactional) !== 0,
    producerId: (attributes & attribute.transactional) === 0 ? -1n : bytes.readBigInt64BE(start + at.producerId),
    count: bytes.readInt32BE(start + at.records),
    firstTimeMs: readInt64(bytes, start + at.firstTime),
    logTimeMs: (attributes & attribute.logAppendTime) === 0 ? null : readInt64(bytes, start + at.lastTime),
    content,
  }
}

/** Where the log goes on behind a damaged batch: the next one says so, or else its own header, if that is still right. */
function offsetBehind(bytes: Buffer, end: number, wanted: number, lastOffset: number): number | null {
  const following = end + headerBytes <= bytes.length && bytes[end + at.format] === format ? readInt64(bytes, end) : lastOffset + 1
  return Number.isSafeInteger(following) && following > wanted ? following : null
}

/** A control batch has one record, whose key says what it marks: version (2 bytes), type (2 bytes). */
function isAbortMarker({ content }: Batch): boolean {
  // Length, attributes and two differences of one byte each come before the key's length.
  const key = new Varints(content)
  key.read()
  key.at += 1
  key.read()
  key.read()
  const keyBytes = key.read()
  return keyBytes >= 4 && key.at + 4 <= content.length && content.readInt16BE(key.at + 2) === abortMarker
}

/** Steps through the records of one batch. */
class RecordCursor {
  readonly #fetched: FetchedRecords
  readonly #batch: Batch
  readonly #varints: Varints
  #left: number
  #last: number

  constructor(fetched: FetchedRecords, batch: Batch) {
    this.#fetched = fetched
    this.#batch = batch
    this.#last = batch.baseOffset - 1
    this.#varints = new Varints(batch.content)
    this.#left = batch.count
    if (batch.count < 0) throw this.#damage(`claims ${batch.count} records`)
  }

  /** Appends records at offsets from `from` to `limit` (exclusive); true where it stopped because there are enough of them. */
  readUntil(records: LogRecord[], from: number, limit: number): boolean {
    const { content, baseOffset, lastOffset, firstTimeMs, logTimeMs } = this.#batch
    const varints = this.#varints
    while (this.#left > 0) {
      if (records.length >= chunkRecords && this.#left > 0) return true
      this.#left -= 1
      const length = varints.read()
      const end = varints.at + length
      if (!(length > 0 && end <= content.length)) throw this.#damage('ends within a record')
      varints.at += 1
      const timeDelta = varints.read()
      const offset = baseOffset + varints.read()
      const keyBytes = varints.read()
      if (keyBytes > 0) varints.at += keyBytes
      const valueBytes = Math.max(0, varints.read())
      const valueAt = varints.at
      varints.at += valueBytes
      if (!(varints.at < end)) throw this.#damage('holds a record that is longer than it says')
      // Of records that are not asked for as well: one that is read at a wrong offset must not pass for one below.
      if (!(offset > this.#last && offset <= lastOffset)) throw this.#damage(`holds offset ${offset} after ${this.#last}`)
      this.#last = offset
      const wanted = offset >= from && offset < limit
      const headers = content[varints.at] === 0 ? null : this.#headers(end, wanted)
      if (headers === null) varints.at += 1
      if (varints.at !== end) throw this.#damage('holds a record of another length than it says')
      if (!wanted) continue
      records.push({ offset, logTimeMs: logTimeMs ?? Math.min(Math.max(0, firstTimeMs + timeDelta), Number.MAX_SAFE_INTEGER), value: viewOf(content, valueAt, valueBytes), headers })
    }
    if (this.#left === 0 && varints.at !== content.length) throw this.#damage('holds more than its records')
    this.#left = -1
    return false
  }

  /** Text that is not UTF-8 becomes U+FFFD, of several headers of one name the last counts. */
  #headers(end: number, wanted: boolean): LogHeaders | null {
    const { content } = this.#batch
    const varints = this.#varints
    const count = varints.read()
    const firstAt = varints.at
    const keepsAll = count <= headersMax && end - firstAt <= headerBytesMax
    const entries: [string, string][] = []
    for (let index = 0; index < count; index++) {
      const nameBytes = varints.read()
      const nameAt = varints.at
      varints.at += Math.max(0, nameBytes)
      const valueBytes = Math.max(0, varints.read())
      const valueAt = varints.at
      varints.at += valueBytes
      if (!(nameBytes >= 0 && varints.at <= end)) throw this.#damage('holds a header that is longer than its record')
      if (!wanted || !(keepsAll || (nameBytes === sourceHeader.length && valueBytes <= headerBytesMax))) continue
      const name = content.toString('utf8', nameAt, nameAt + nameBytes)
      if (!keepsAll && name !== sourceHeader) continue
      if (!keepsAll) entries.length = 0
      entries.push([name, content.toString('utf8', valueAt, valueAt + valueBytes)])
    }
    if (!keepsAll && wanted) entries.push([omittedHeader, `${count} headers of ${end - firstAt} bytes`])
    return entries.length === 0 ? emptyHeaders : Object.fromEntries(entries)
  }

  #damage(finding: string): CorruptError {
    return corrupt(this.#fetched, this.#batch.baseOffset, this.#batch.lastOffset + 1, finding)
  }
}

const emptyHeaders: LogHeaders = {}

/** Of 64 bits. */
const varintBytesMax = 10

class Varints {
  readonly #bytes: Buffer
  at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /**
   * A signed number of up to ten bytes, beyond 2^53 not exact; what is longer, or ends early, is NaN and leaves `at` NaN, which the caller's comparison with
   * the end refuses.
   */
  read(): number {
    const bytes = this.#bytes
    const first = bytes[this.at++]
    if (first === undefined) return (this.at = Number.NaN)
    if (first < 0x80) return (first >>> 1) ^ -(first & 1)
    const second = bytes[this.at++]
    if (second === undefined) return (this.at = Number.NaN)
    if (second < 0x80) {
      const short = (first & 0x7f) | (second << 7)
      return (short >>> 1) ^ -(short & 1)
    }
    let value = (first & 0x7f) + (second & 0x7f) * 0x80
    let unit = 0x4000
    let read = 2
    for (let more = second; more >= 0x80; unit *= 0x80) {
      const byte = bytes[this.at++]
      if (byte === undefined || ++read > varintBytesMax) return (this.at = Number.NaN)
      value += (byte & 0x7f) * unit
      more = byte
    }
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }
}

function viewOf(bytes: Buffer, from: number, length: number): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset + from, length)
}

/** Beyond 2^53 it is no longer exact, and refused by the caller. */
function readInt64(bytes: Buffer, from: number): number {
  return bytes.readInt32BE(from) * 0x1_0000_0000 + bytes.readUInt32BE(from + 4)
}

function corrupt({ topic, partition }: FetchedRecords, from: number, to: number | null, finding: string, cause?: unknown): CorruptError {
  const range = to === null ? `at offset ${from}` : `of offsets ${from} to ${to}`
  return new CorruptError(
    `The stored batch ${range} in partition ${partition} of topic ${topic} ${finding}. Restore the partition from a replica or a backup, or accept the loss of the range.`,
    { topic, partition, from, to },
    cause,
  )
}
