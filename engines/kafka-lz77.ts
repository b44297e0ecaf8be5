/** What snappy and LZ4 have in common: literal bytes, and copies of what was unpacked shortly before. */

/** Unpacked bytes with room for so many; what would go beyond is damage. */
export class Unpacked {
  readonly bytes: Buffer
  length: number

  /** `window` is what copies may refer to before the first byte. */
  constructor(bytesMax: number, window: Buffer = Buffer.alloc(0)) {
    this.bytes = Buffer.allocUnsafe(window.length + bytesMax)
    window.copy(this.bytes)
    this.length = window.length
  }

  literal(packed: Buffer, from: number, length: number): void {
    if (from + length > packed.length || this.length + length > this.bytes.length) throw new Error('a block is damaged')
    packed.copy(this.bytes, this.length, from, from + length)
    this.length += length
  }

  copy(distance: number, length: number): void {
    const { bytes, length: to } = this
    if (distance === 0 || distance > to || to + length > bytes.length) throw new Error('a block is damaged')
    if (distance >= length) bytes.copyWithin(to, to - distance, to - distance + length)
    // The copy reads what it has just written.
    else for (let index = to; index < to + length; index++) bytes[index] = bytes[index - distance]!
    this.length += length
  }
}

/** Little-endian number of one to four bytes. */
export function readLittleEndian(packed: Buffer, from: number, bytes: number): number {
  if (from + bytes > packed.length) throw new Error('a block is cut short')
  return packed.readUIntLE(from, bytes)
}
