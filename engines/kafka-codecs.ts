/**
 * The codecs of Kafka's record batches. Each throws where the bytes are not of its format, or where they would unpack to more than the limit: a batch of a
 * few kilobytes can claim gigabytes.
 */
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { unpackLz4Frame } from './kafka-lz4.ts'
import { unpackSnappy } from './kafka-snappy.ts'

/** What a record batch may unpack to. */
export const unpackedBytesMax = 128 * 1024 * 1024

/** By the number in a batch's attributes. */
export const codecNames = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
export type CodecName = (typeof codecNames)[number]

/** Throws an Error that says what is wrong with the bytes. */
export function unpack(codec: CodecName, packed: Buffer, bytesMax = unpackedBytesMax): Buffer {
  switch (codec) {
    case 'none':
      return packed
    case 'gzip':
      return gunzipSync(packed, { maxOutputLength: bytesMax })
    case 'zstd':
      return zstdDecompressSync(packed, { maxOutputLength: bytesMax })
    case 'snappy':
      return unpackSnappy(packed, bytesMax)
    case 'lz4':
      return unpackLz4Frame(packed, bytesMax)
  }
}
