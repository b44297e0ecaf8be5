/** Encodes record batches of format 2, as kafka-records.ts reads them; not packed. kafkajs makes objects for each record, and takes quadratic time to group them. */
import type { LogAppend } from '#core/ports.ts'
import { crc32c } from './crc32c.ts'

export type ProducerIdentity = { readonly producerId: string; readonly epoch: number; readonly transactional: boolean }

const headerBytes = 61
/** Varints of lengths and differences: five bytes each at most. */
const recordOverheadMax = 7 * 5
const transactionalBit = 0x10

/** Upper bound of the bytes that the record takes in a batch. */
export function recordBytesMax({ key, value, headers }: LogAppend): number {
  let bytes = recordOverheadMax + (key === null ? 0 : Buffer.byteLength(key)) + value.length
  for (const name in headers) bytes += 10 + Buffer.byteLength(name) + Buffer.byteLength(headers[name]!)
  return bytes
}

/** One batch of the records in their order. The log sets their time. */
export function encodeBatch(records: readonly LogAppend[], identity: ProducerIdentity, firstSequence: number): Buffer {
  const bytes = Buffer.allocUnsafe(records.reduce((sum, record) => sum + recordBytesMax(record), headerBytes))
  let at = headerBytes
  for (let index = 0; index < records.length; index++) at = writeRecord(bytes, at, records[index]!, index)
  const nowMs = BigInt(Date.now())
  bytes.writeBigInt64BE(0n, 0)
  bytes.writeInt32BE(at - 12, 8)
  bytes.writeInt32BE(-1, 12)
  bytes[16] = 2
  bytes.writeInt16BE(identity.transactional ? transactionalBit : 0, 21)
  bytes.writeInt32BE(records.length - 1, 23)
  bytes.writeBigInt64BE(nowMs, 27)
  bytes.writeBigInt64BE(nowMs, 35)
  bytes.writeBigInt64BE(BigInt(identity.producerId), 43)
  bytes.writeInt16BE(identity.epoch, 51)
  bytes.writeInt32BE(firstSequence, 53)
  bytes.writeInt32BE(records.length, 57)
  bytes.writeUInt32BE(crc32c(bytes.subarray(21, at)), 17)
  return bytes.subarray(0, at)
}

function writeRecord(bytes: Buffer, from: number, { key, value, headers }: LogAppend, offsetDelta: number): number {
  const keyBytes = key === null ? -1 : Buffer.byteLength(key)
  const entries = headers === undefined ? [] : Object.entries(headers)
  let length = 2 + varintBytes(offsetDelta) + varintBytes(keyBytes) + Math.max(0, keyBytes) + varintBytes(value.length) + value.length + varintBytes(entries.length)
  for (const [name, text] of entries) length += textBytes(name) + textBytes(text)
  let at = writeVarint(bytes, from, length)
  // Attributes, and the time's difference from the batch's.
  bytes[at++] = 0
  bytes[at++] = 0
  at = writeVarint(bytes, at, offsetDelta)
  at = writeVarint(bytes, at, keyBytes)
  if (key !== null) at += bytes.write(key, at)
  at = writeVarint(bytes, at, value.length)
  bytes.set(value, at)
  at = writeVarint(bytes, at + value.length, entries.length)
  for (const [name, text] of entries) at = writeText(bytes, writeText(bytes, at, name), text)
  return at
}

function textBytes(text: string): number {
  const bytes = Buffer.byteLength(text)
  return varintBytes(bytes) + bytes
}

function writeText(bytes: Buffer, at: number, text: string): number {
  const start = writeVarint(bytes, at, Buffer.byteLength(text))
  return start + bytes.write(text, start)
}

function varintBytes(value: number): number {
  let count = 1
  for (let rest = zigzag(value) >>> 7; rest !== 0; rest >>>= 7) count++
  return count
}

function writeVarint(bytes: Buffer, from: number, value: number): number {
  let at = from
  let rest = zigzag(value)
  for (; rest > 0x7f; rest >>>= 7) bytes[at++] = (rest & 0x7f) | 0x80
  bytes[at++] = rest
  return at
}

/** Of 31 bits, as an unsigned number. */
function zigzag(value: number): number {
  return ((value << 1) ^ (value >> 31)) >>> 0
}
