/** Parquet's run-length and bit-packing hybrid, in the two shapes that need no search for runs: one repeated value, or everything packed. */

/** So many values that are all the same, as one run. `width`: bits of a value, 1 to 24. */
export function encodeRun(value: number, count: number, width: number): Buffer {
  const valueBytes = Math.ceil(width / 8)
  const encoded = Buffer.alloc(varintBytesMax + valueBytes)
  const at = writeVarint(encoded, count * 2)
  encoded.writeUIntLE(value, at, valueBytes)
  return encoded.subarray(0, at + valueBytes)
}

/** Values of `width` bits each (1 to 24), lowest bit first, filled up with zeros to a multiple of eight values. */
export function encodeBitPacked(values: Uint32Array | Uint8Array, width: number): Buffer {
  const groups = Math.ceil(values.length / 8)
  const encoded = Buffer.alloc(varintBytesMax + groups * width)
  const start = writeVarint(encoded, groups * 2 + 1)
  let at = start
  let held = 0
  let heldBits = 0
  for (const value of values) {
    held |= value << heldBits
    heldBits += width
    while (heldBits >= 8) {
      encoded[at++] = held & 0xff
      held >>>= 8
      heldBits -= 8
    }
  }
  if (heldBits > 0) encoded[at] = held
  return encoded.subarray(0, start + groups * width)
}

/** Bits that hold 0 to `valueMax`; at least one, since readers differ about values of no bits. */
export function bitWidthOf(valueMax: number): number {
  return Math.max(1, 32 - Math.clz32(valueMax))
}

const varintBytesMax = 5

function writeVarint(target: Buffer, value: number): number {
  let at = 0
  let rest = value
  while (rest >= 0x80) {
    target[at++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  target[at++] = rest
  return at
}
