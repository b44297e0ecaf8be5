/**
 * CRC-32C (Castagnoli), the checksum of HDFS's blocks and of Kafka's record batches. Node's own `crc32` has another polynomial. Eight bytes a step by
 * eight tables ("slicing by 8", Kounavis and Berry, 2005).
 */
const polynomial = 0x82f63b78
const slices = 8
const tables = makeTables()

/** The checksum of the bytes as an unsigned number of 32 bits; `start` is the checksum of what came before them. */
export function crc32c(bytes: Uint8Array, start = 0): number {
  const end = bytes.length
  const endOfSlices = end - (end % slices)
  let crc = ~start
  let at = 0
  for (; at < endOfSlices; at += slices) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    crc =
      tables[0x700 | (crc & 0xff)]! ^
      tables[0x600 | ((crc >>> 8) & 0xff)]! ^
      tables[0x500 | ((crc >>> 16) & 0xff)]! ^
      tables[0x400 | (crc >>> 24)]! ^
      tables[0x300 | bytes[at + 4]!]! ^
      tables[0x200 | bytes[at + 5]!]! ^
      tables[0x100 | bytes[at + 6]!]! ^
      tables[bytes[at + 7]!]!
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ tables[(crc ^ bytes[at]!) & 0xff]!
  return ~crc >>> 0
}

/** Table k holds, for each byte, its effect k bytes further on; all in one array, 256 entries each. */
function makeTables(): Int32Array {
  const all = new Int32Array(slices * 256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) * polynomial)
    all[byte] = crc
  }
  for (let at = 256; at < all.length; at++) {
    const before = all[at - 256]!
    all[at] = (before >>> 8) ^ all[before & 0xff]!
  }
  return all
}
