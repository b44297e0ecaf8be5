/**
 * The binary form of one stored batch of the PostgreSQL log.
 *
 *     batch   = version (1 byte, 1) · CRC-32 of what follows (4 bytes, little endian) · record …
 *     record  = varint(ms since the record before) · varint(2 × value bytes + (1 if headers)) · [headers] · value
 *     headers = varint(count) · (varint(bytes) · name · varint(bytes) · text) …
 *
 * Offsets are not stored: a batch has none missing, so base offset and position give them. Log time never goes back within a
 * partition, so the differences are not negative. About three bytes a record beside its value.
 */
import { strict as assert } from 'node:assert'
import { crc32 } from 'node:zlib'

import { CorruptError } from '#core/errors.ts'
import type { LogHeaders, LogRecord } from '#core/ports.ts'

const VERSION = 1
const PREFIX_BYTES = 5
const VARINT_BYTES_MAX = 8 // 53 bits, seven at a time

export type FrameRecord = {
  readonly value: Uint8Array
  readonly headers: LogHeaders | null
  readonly logTimeMs: number
}

/** Where a batch stands, as its row says. Offsets are `baseOffset` inclusive to `nextOffset` exclusive. */
export type FramePlace = {
  readonly partition: number
  readonly baseOffset: number
  readonly nextOffset: number
  readonly baseLogTimeMs: number
}

/** Upper bound of the bytes that the record takes in a batch. */
export function frameBytesMax(value: Uint8Array, headers: LogHeaders | null | undefined): number {
  let bytes = 3 * VARINT_BYTES_MAX + value.length
  for (const name in headers) bytes += 2 * VARINT_BYTES_MAX + Buffer.byteLength(name) + Buffer.byteLength(headers[name]!)
  return bytes
}

/** Encodes records whose log times do not go back; the first one's log time is the batch's base. */
export function encodeFrame(records: readonly FrameRecord[]): Buffer {
  let bytesMax = PREFIX_BYTES
  for (const record of records) bytesMax += frameBytesMax(record.value, record.headers)
  const bytes = Buffer.allocUnsafe(bytesMax)
  let at = PREFIX_BYTES
  let timeMs = records[0]?.logTimeMs ?? 0
  for (const { value, headers, logTimeMs } of records) {
    assert(logTimeMs >= timeMs, 'log time goes back within a batch')
    at = writeVarint(bytes, at, logTimeMs - timeMs)
    timeMs = logTimeMs
    const entries = headers === null ? [] : Object.entries(headers)
    at = writeVarint(bytes, at, value.length * 2 + (entries.length > 0 ? 1 : 0))
    if (entries.length > 0) {
      at = writeVarint(bytes, at, entries.length)
      for (const [name, text] of entries) at = writeText(bytes, writeText(bytes, at, name), text)
    }
    bytes.set(value, at)
    at += value.length
  }
  bytes[0] = VERSION
  bytes.writeUInt32LE(crc32(bytes.subarray(PREFIX_BYTES, at)), 1)
  return bytes.subarray(0, at)
}

/**
 * Decodes the batch's records at offsets `from` inclusive to `to` exclusive. Values are views into `bytes`, which they keep alive.
 * Throws CorruptError where the bytes are not what was stored.
 */
export function decodeFrame(bytes: Buffer, place: FramePlace, from: number, to: number): LogRecord[] {
  if (bytes.length < PREFIX_BYTES) throw corrupt(place, 'is cut short')
  if (bytes[0] !== VERSION) throw corrupt(place, `has format ${bytes[0]}, and this version reads ${VERSION}`)
  if (crc32(bytes.subarray(PREFIX_BYTES)) !== bytes.readUInt32LE(1)) throw corrupt(place, 'does not match its checksum')
  const records: LogRecord[] = []
  const cursor = { at: PREFIX_BYTES }
  let logTimeMs = place.baseLogTimeMs
  for (let offset = place.baseOffset; offset < place.nextOffset && offset < to; offset += 1) {
    logTimeMs += readVarint(bytes, cursor)
    const size = readVarint(bytes, cursor)
    const headers = size % 2 === 1 ? readHeaders(bytes, cursor) : null
    const end = cursor.at + (size - (size % 2)) / 2
    if (!(end <= bytes.length)) throw corrupt(place, `ends within the record at offset ${offset}`)
    if (offset >= from) records.push({ offset, logTimeMs, value: bytes.subarray(cursor.at, end), headers })
    cursor.at = end
  }
  if (to >= place.nextOffset && cursor.at !== bytes.length) throw corrupt(place, 'holds more than its offsets say')
  return records
}

function readHeaders(bytes: Buffer, cursor: { at: number }): LogHeaders {
  const entries: [string, string][] = []
  for (let left = readVarint(bytes, cursor); left > 0; left -= 1) {
    const name = readText(bytes, cursor)
    entries.push([name, readText(bytes, cursor)])
  }
  return Object.fromEntries(entries)
}

function writeText(bytes: Buffer, at: number, text: string): number {
  const start = writeVarint(bytes, at, Buffer.byteLength(text))
  return start + bytes.write(text, start)
}

function readText(bytes: Buffer, cursor: { at: number }): string {
  const length = readVarint(bytes, cursor)
  const start = cursor.at
  cursor.at += length
  return bytes.toString('utf8', start, cursor.at)
}

function writeVarint(bytes: Buffer, at: number, value: number): number {
  let rest = value
  while (rest > 0x7f) {
    bytes[at++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  bytes[at++] = rest
  return at
}

/** Past the end it gives NaN, which the caller's comparison with the end refuses. */
function readVarint(bytes: Buffer, cursor: { at: number }): number {
  let byte = bytes[cursor.at++]
  if (byte === undefined) return Number.NaN
  let value = byte & 0x7f
  for (let unit = 0x80; byte >= 0x80; unit *= 0x80) {
    byte = bytes[cursor.at++]
    if (byte === undefined) return Number.NaN
    value += (byte & 0x7f) * unit
  }
  return value
}

function corrupt(place: FramePlace, finding: string): CorruptError {
  return new CorruptError(
    `The stored log batch of partition ${place.partition}, offsets ${place.baseOffset} to ${place.nextOffset}, ${finding}. ` +
      'Restore the database from a backup.',
    { ...place },
  )
}
