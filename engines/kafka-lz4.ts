/** Unpacks LZ4 frames (format 1.6). The checksums of header, blocks and content are not looked at: the record batch around the frame has its own. */
import { Unpacked, readLittleEndian } from './kafka-lz77.ts'

const magic = 0x184d2204
/** By the number in the frame's header. */
const blockBytesMax: Readonly<Record<number, number>> = { 4: 1 << 16, 5: 1 << 18, 6: 1 << 20, 7: 1 << 22 }
/** So far back a block's copies may reach into the blocks before it. */
const windowBytes = 65_536
const noWindow = Buffer.alloc(0)

/** Throws an Error where the bytes are no whole frames, or would unpack to more than the limit. */
export function unpackLz4Frame(packed: Buffer, bytesMax: number): Buffer {
  const blocks: Buffer[] = []
  let length = 0
  let at = 0
  while (at < packed.length) {
    const frame = readHeader(packed, at)
    at = frame.start
    let window = noWindow
    for (;;) {
      const size = readLittleEndian(packed, at, 4)
      at += 4
      if (size === 0) break
      const bytes = size & 0x7fffffff
      if (bytes > frame.blockBytesMax || at + bytes > packed.length) throw new Error('an LZ4 block is cut short')
      const stored = packed.subarray(at, at + bytes)
      const block = size >>> 31 === 1 ? stored : unpackBlock(stored, window, frame.blockBytesMax)
      at += bytes + (frame.blockChecksums ? 4 : 0)
      length += block.length
      if (length > bytesMax) throw new Error(`the LZ4 frame unpacks to more than ${bytesMax} bytes`)
      blocks.push(block)
      if (!frame.independent) window = Buffer.concat([window, block]).subarray(-windowBytes)
    }
    at += frame.contentChecksum ? 4 : 0
    if (at > packed.length) throw new Error('the LZ4 frame is cut short')
  }
  return Buffer.concat(blocks, length)
}

type Frame = { readonly start: number; readonly independent: boolean; readonly blockChecksums: boolean; readonly contentChecksum: boolean; readonly blockBytesMax: number }

function readHeader(packed: Buffer, at: number): Frame {
  if (readLittleEndian(packed, at, 4) !== magic) throw new Error('no LZ4 frame begins there')
  const flags = readLittleEndian(packed, at + 4, 1)
  const largest = blockBytesMax[(readLittleEndian(packed, at + 5, 1) >>> 4) & 7]
  if (flags >>> 6 !== 1 || largest === undefined) throw new Error('the LZ4 frame is of an unknown version')
  const start = at + 7 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0)
  return { start, independent: (flags & 0x20) !== 0, blockChecksums: (flags & 0x10) !== 0, contentChecksum: (flags & 0x04) !== 0, blockBytesMax: largest }
}

function unpackBlock(packed: Buffer, window: Buffer, bytesMax: number): Buffer {
  const out = new Unpacked(bytesMax, window)
  for (let at = 0; at < packed.length; ) {
    const token = packed[at++]!
    const literals = readRun(packed, at, token >>> 4)
    out.literal(packed, literals.end, literals.length)
    at = literals.end + literals.length
    // The last sequence ends with its literals.
    if (at === packed.length) break
    const distance = readLittleEndian(packed, at, 2)
    const matched = readRun(packed, at + 2, token & 15)
    out.copy(distance, matched.length + 4)
    at = matched.end
  }
  return out.bytes.subarray(window.length, out.length)
}

/** A length of 15 goes on in the bytes that follow. */
function readRun(packed: Buffer, from: number, begun: number): { readonly length: number; readonly end: number } {
  let length = begun
  let at = from
  for (let byte = begun === 15 ? 255 : 0; byte === 255; ) {
    byte = readLittleEndian(packed, at++, 1)
    length += byte
  }
  return { length, end: at }
}
