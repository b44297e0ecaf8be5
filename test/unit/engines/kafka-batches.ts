/** Record batches made by hand for the decoder's tests: packed, marked, damaged. */
import { gzipSync, zstdCompressSync } from 'node:zlib'
import snappy from 'snappyjs'
import type { LogAppend, LogRecord } from '#core/ports.ts'
import { crc32c } from '#engines/crc32c.ts'
import { encodeBatch } from '#engines/kafka-batch.ts'
import type { CodecName } from '#engines/kafka-codecs.ts'
import { codecNames } from '#engines/kafka-codecs.ts'
import type { AbortedTransaction } from '#engines/kafka-records.ts'
import { decodeRecords } from '#engines/kafka-records.ts'

const headerBytes = 61

export type BatchMarks = {
  readonly baseOffset?: number
  readonly codec?: CodecName | 'xerial'
  readonly producerId?: number
  readonly transactional?: boolean
  /** Of every record; without it, each has its own. */
  readonly logAppendTimeMs?: number
}

export function appendOf(value: string, key: string | null = null): LogAppend {
  return { key, value: Buffer.from(value) }
}

export function batchOf(records: readonly LogAppend[], marks: BatchMarks = {}): Buffer {
  const { baseOffset = 0, codec = 'none', producerId = -1, transactional = false, logAppendTimeMs } = marks
  const plain = encodeBatch(records, { producerId: String(producerId), epoch: 0, transactional }, 0)
  const batch = Buffer.concat([plain.subarray(0, headerBytes), pack(codec, plain.subarray(headerBytes))])
  const number = codecNames.indexOf(codec === 'xerial' ? 'snappy' : codec)
  batch.writeInt16BE(batch.readInt16BE(21) | number | (logAppendTimeMs === undefined ? 0 : 0x08), 21)
  if (logAppendTimeMs !== undefined) batch.writeBigInt64BE(BigInt(logAppendTimeMs), 35)
  batch.writeBigInt64BE(BigInt(baseOffset), 0)
  return sealed(batch)
}

/** The end of a producer's transaction, as the coordinator writes it. */
export function markerOf(type: 'abort' | 'commit', producerId: number, baseOffset: number): Buffer {
  const key = Buffer.from([0, 0, 0, type === 'abort' ? 0 : 1])
  const batch = batchOf([{ key: key.toString('latin1'), value: Buffer.alloc(6) }], { producerId, baseOffset, transactional: true })
  batch.writeInt16BE(batch.readInt16BE(21) | 0x20, 21)
  return sealed(batch)
}

/** With its length and checksum set right. */
export function sealed(batch: Buffer): Buffer {
  batch.writeInt32BE(batch.length - 12, 8)
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
  return batch
}

export function decodeAll(bytes: Buffer, from = 0, limit = Number.POSITIVE_INFINITY, aborted: readonly AbortedTransaction[] = []): { records: LogRecord[]; to: number } {
  const records: LogRecord[] = []
  let to = from
  for (const chunk of decodeRecords({ topic: 't', partition: 7, bytes, aborted }, from, limit)) {
    records.push(...chunk.records)
    to = chunk.to
  }
  return { records, to }
}

function pack(codec: CodecName | 'xerial', content: Buffer): Uint8Array<ArrayBufferLike> {
  switch (codec) {
    case 'none':
      return content
    case 'gzip':
      return gzipSync(content)
    case 'zstd':
      return zstdCompressSync(content)
    case 'snappy':
      return Buffer.from(snappy.compress(content))
    case 'xerial': {
      const blocks: Uint8Array[] = [Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1])]
      for (let at = 0; at < content.length; at += 1_000) {
        const block = Buffer.from(snappy.compress(content.subarray(at, at + 1_000)))
        const length = Buffer.alloc(4)
        length.writeInt32BE(block.length)
        blocks.push(length, block)
      }
      return Buffer.concat(blocks)
    }
    case 'lz4':
      return lz4Frame(content)
  }
}

/** Literals and runs of one byte alone, in blocks of 64 KiB; what a real encoder makes is in kafka-golden.json. */
function lz4Frame(content: Uint8Array): Buffer {
  const parts: Uint8Array[] = [Buffer.from([0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82])]
  for (let at = 0; at < content.length; at += 65_536) {
    const stored = Uint8Array.from(content.subarray(at, at + 65_536))
    const block = lz4Literals(stored)
    const size = Buffer.alloc(4)
    const raw = block.length >= stored.length
    size.writeUInt32LE((raw ? stored.length | 0x80000000 : block.length) >>> 0)
    parts.push(size, raw ? stored : block)
  }
  parts.push(Buffer.alloc(4))
  return Buffer.concat(parts)
}

function lz4Literals(bytes: Uint8Array): Buffer {
  const out: number[] = []
  let literalsAt = 0
  const run = (length: number): void => {
    let left = length - 15
    for (; left >= 255; left -= 255) out.push(255)
    out.push(left)
  }
  const sequence = (to: number, matched: number): void => {
    const literals = to - literalsAt
    out.push((Math.min(literals, 15) << 4) | (matched === 0 ? 0 : Math.min(matched - 4, 15)))
    if (literals >= 15) run(literals)
    out.push(...bytes.subarray(literalsAt, to))
    if (matched === 0) return
    out.push(1, 0)
    if (matched - 4 >= 15) run(matched - 4)
    literalsAt = to + matched
  }
  for (let at = 1; at < bytes.length - 12; ) {
    let end = at
    while (end < bytes.length - 12 && bytes[end] === bytes[at - 1]) end++
    if (end - at >= 4) {
      sequence(at, end - at)
      at = end + 1
    } else at++
  }
  sequence(bytes.length, 0)
  return Buffer.from(out)
}
