/** Unpacks snappy: one raw block, or the framing of xerial's snappy-java that Java producers write. kafkajs-snappy knows no limit and joins blocks in quadratic time. */
import { Unpacked, readLittleEndian } from './kafka-lz77.ts'

/** Then two versions, and blocks with their length before them. */
const xerialMagic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])
const xerialPrefixBytes = 16
/** A copy of two bytes makes 64 at most, by a wide margin. */
const growthMax = 64

/** Throws an Error where the bytes are not snappy's, or would unpack to more than the limit. */
export function unpackSnappy(packed: Buffer, bytesMax: number): Buffer {
  if (!packed.subarray(0, xerialMagic.length).equals(xerialMagic)) return unpackBlock(packed, bytesMax)
  const blocks: Buffer[] = []
  let left = bytesMax
  for (let at = xerialPrefixBytes; at < packed.length; ) {
    const end = at + 4 <= packed.length ? at + 4 + packed.readInt32BE(at) : Number.NaN
    if (!(end > at + 4 && end <= packed.length)) throw new Error('a snappy block is cut short')
    const block = unpackBlock(packed.subarray(at + 4, end), left)
    blocks.push(block)
    left -= block.length
    at = end
  }
  return Buffer.concat(blocks)
}

function unpackBlock(packed: Buffer, bytesMax: number): Buffer {
  const { length, end } = readLength(packed)
  if (length > bytesMax || length > packed.length * growthMax) throw new Error(`a snappy block claims ${length} bytes`)
  const out = new Unpacked(length)
  for (let at = end; at < packed.length; ) {
    const tag = packed[at++]!
    if ((tag & 3) === 0) {
      // A length of 60 to 63 stands in the one to four bytes that follow.
      const extra = Math.max(0, (tag >>> 2) - 59)
      const literals = extra === 0 ? (tag >>> 2) + 1 : readLittleEndian(packed, at, extra) + 1
      out.literal(packed, at + extra, literals)
      at += extra + literals
    } else if ((tag & 3) === 1) {
      out.copy(((tag >>> 5) << 8) | readLittleEndian(packed, at, 1), ((tag >>> 2) & 7) + 4)
      at += 1
    } else {
      const bytes = (tag & 3) === 2 ? 2 : 4
      out.copy(readLittleEndian(packed, at, bytes), (tag >>> 2) + 1)
      at += bytes
    }
  }
  if (out.length !== length) throw new Error('a snappy block is cut short')
  return out.bytes
}

function readLength(packed: Buffer): { readonly length: number; readonly end: number } {
  let length = 0
  let unit = 1
  for (let at = 0; at < 5; at++, unit *= 0x80) {
    const byte = readLittleEndian(packed, at, 1)
    length += (byte & 0x7f) * unit
    if (byte < 0x80) return { length, end: at + 1 }
  }
  throw new Error('a snappy block is damaged')
}
