/**
 * What a Parquet column can hold, how its values become bytes (encoding PLAIN), and in which order they stand.
 *
 * parquetjs-lite converts with `parseInt` and compares text by UTF-16 units: a text passed for a number gets statistics in the wrong
 * order, whole numbers from 2^53 on are rounded, dates before 1970 refused. So nothing is converted here: a value fits exactly or is refused.
 */
import type { FieldOptions } from 'parquetjs-lite'
import type { ParquetType } from '#core/ports.ts'

export type ParquetValue = number | bigint | string | Uint8Array | boolean

export type ValueKind = {
  /** The name parquetjs-lite knows the type by. */
  readonly fieldType: FieldOptions['type']
  /** What fits, for messages. */
  readonly accepts: string
  readonly fits: (value: unknown) => boolean
  /** Every value takes the same few bytes. */
  readonly fixedSize: boolean
  /** Upper bound of the bytes of one value. */
  readonly sizeBound: (value: ParquetValue) => number
  /** Values `from` inclusive to `to` exclusive. */
  readonly encode: (values: readonly ParquetValue[], from: number, to: number) => Buffer
  /** Negative where `a` stands before `b`. null: this type gets no minimum and maximum. */
  readonly compare: ((a: ParquetValue, b: ParquetValue) => number) | null
  /** The one order also serves the old statistics, which compare bytes as signed. */
  readonly signed: boolean
  /** Whether equal values are common enough, and cheap enough to find, for a dictionary. */
  readonly dictionary: boolean
}

const int64Min = -(2n ** 63n)
const int64Max = 2n ** 63n - 1n
const int32Min = -(2 ** 31)
const int32Max = 2 ** 31 - 1
const twoTo32 = 2 ** 32

const int64: ValueKind = {
  fieldType: 'INT64',
  accepts: 'a whole number up to 2^53 - 1 or a bigint of 64 bits',
  fits: (value) => Number.isSafeInteger(value) || (typeof value === 'bigint' && value >= int64Min && value <= int64Max),
  fixedSize: true,
  sizeBound: () => 8,
  encode: (values, from, to) => encodeInt64(values as readonly (number | bigint)[], from, to),
  compare: compareNumbers,
  signed: true,
  dictionary: true,
}

const int32: ValueKind = {
  fieldType: 'INT32',
  accepts: 'a whole number of 32 bits',
  fits: isInt32,
  fixedSize: true,
  sizeBound: () => 4,
  encode: (values, from, to) => encodeInt32(values as readonly number[], from, to),
  compare: compareNumbers,
  signed: true,
  dictionary: true,
}

const text: ValueKind = {
  fieldType: 'UTF8',
  accepts: 'text without lone surrogates',
  fits: (value) => typeof value === 'string' && value.isWellFormed(),
  fixedSize: false,
  // A UTF-16 unit takes at most three bytes of UTF-8, and four bytes hold the length.
  sizeBound: (value) => 4 + (value as string).length * 3,
  encode: (values, from, to) => encodeText(values as readonly string[], from, to),
  compare: (a, b) => compareCodePoints(a as string, b as string),
  signed: false,
  dictionary: true,
}

const bytes: ValueKind = {
  fieldType: 'BYTE_ARRAY',
  accepts: 'bytes (Uint8Array)',
  fits: (value) => value instanceof Uint8Array,
  fixedSize: false,
  sizeBound: (value) => 4 + (value as Uint8Array).byteLength,
  encode: (values, from, to) => encodeBytes(values as readonly Uint8Array[], from, to),
  compare: null,
  signed: false,
  dictionary: false,
}

const boolean: ValueKind = {
  fieldType: 'BOOLEAN',
  accepts: 'true or false',
  fits: (value) => typeof value === 'boolean',
  fixedSize: true,
  sizeBound: () => 1,
  encode: (values, from, to) => encodeBooleans(values as readonly boolean[], from, to),
  compare: null,
  signed: false,
  dictionary: false,
}

export const valueKinds: Readonly<Record<ParquetType, ValueKind>> = {
  int64,
  int32,
  text,
  bytes,
  boolean,
  date: { ...int32, fieldType: 'DATE', accepts: 'whole days since 1970-01-01 of 32 bits' },
  timestamp: {
    ...int64,
    fieldType: 'TIMESTAMP_MILLIS',
    accepts: 'whole UTC epoch milliseconds up to 2^53 - 1',
    fits: (value) => Number.isSafeInteger(value),
  },
}

/**
 * Compares text by code points, which is the order of its UTF-8 bytes and what Parquet's statistics mean. JavaScript's `<` compares
 * UTF-16 units and puts U+10000 (units D800 DC00) before U+FFFD.
 */
export function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let index = 0; index < length; index++) {
    const unitA = a.charCodeAt(index)
    const unitB = b.charCodeAt(index)
    if (unitA !== unitB) return codePointRank(unitA) - codePointRank(unitB)
  }
  return a.length - b.length
}

/** Surrogates stand for code points above every single unit, so they move behind U+E000 to U+FFFF. */
function codePointRank(unit: number): number {
  if (unit < 0xd800) return unit
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800
}

/** Numbers and bigints compare exactly with one another. */
function compareNumbers(a: ParquetValue, b: ParquetValue): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function isInt32(value: unknown): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= int32Min && value <= int32Max
}

function encodeInt64(values: readonly (number | bigint)[], from: number, to: number): Buffer {
  const encoded = Buffer.allocUnsafe((to - from) * 8)
  const view = new DataView(encoded.buffer, encoded.byteOffset, encoded.byteLength)
  for (let index = from, at = 0; index < to; index++, at += 8) {
    const value = values[index]!
    if (typeof value === 'number') {
      // Dividing by a power of two is exact, and `setInt32` keeps the low 32 bits: five times as fast as by way of bigint.
      view.setInt32(at, value, true)
      view.setInt32(at + 4, Math.floor(value / twoTo32), true)
    } else {
      view.setBigInt64(at, value, true)
    }
  }
  return encoded
}

function encodeInt32(values: readonly number[], from: number, to: number): Buffer {
  const encoded = Buffer.allocUnsafe((to - from) * 4)
  const view = new DataView(encoded.buffer, encoded.byteOffset, encoded.byteLength)
  for (let index = from, at = 0; index < to; index++, at += 4) view.setInt32(at, values[index]!, true)
  return encoded
}

function encodeText(values: readonly string[], from: number, to: number): Buffer {
  let bound = 0
  for (let index = from; index < to; index++) bound += 4 + values[index]!.length * 3
  const encoded = Buffer.allocUnsafe(bound)
  let at = 0
  for (let index = from; index < to; index++) {
    const length = writeText(encoded, at + 4, values[index]!)
    encoded.writeUInt32LE(length, at)
    at += 4 + length
  }
  return encoded.subarray(0, at)
}

/** Most values are short and ASCII, where a loop beats the call into native code. Returns the bytes written. */
function writeText(target: Buffer, at: number, value: string): number {
  const length = value.length
  if (length > 32) return target.write(value, at, 'utf8')
  for (let index = 0; index < length; index++) {
    const unit = value.charCodeAt(index)
    if (unit >= 0x80) return target.write(value, at, 'utf8')
    target[at + index] = unit
  }
  return length
}

function encodeBytes(values: readonly Uint8Array[], from: number, to: number): Buffer {
  let size = 0
  for (let index = from; index < to; index++) size += 4 + values[index]!.byteLength
  const encoded = Buffer.allocUnsafe(size)
  let at = 0
  for (let index = from; index < to; index++) {
    const value = values[index]!
    encoded.writeUInt32LE(value.byteLength, at)
    encoded.set(value, at + 4)
    at += 4 + value.byteLength
  }
  return encoded
}

function encodeBooleans(values: readonly boolean[], from: number, to: number): Buffer {
  const encoded = Buffer.alloc(Math.ceil((to - from) / 8))
  for (let index = from; index < to; index++) {
    if (values[index]!) encoded[(index - from) >> 3]! |= 1 << ((index - from) & 7)
  }
  return encoded
}
