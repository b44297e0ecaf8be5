/**
 * HDFS's checksum of a file, computed here while its bytes go out: the CRC-32C of every 512 bytes, the MD5 of each block's CRCs, the MD5 of those MD5s and of zeros behind them.
 * A DataNode keeps these CRCs beside the block and has checked the bytes against them when it took them, so an equal checksum says that HDFS took the
 * same bytes, without reading them back (hadoop-hdfs-client, FileChecksumHelper).
 */
import { createHash } from 'node:crypto'
import { crc32c } from './crc32c.ts'

const chunkBytes = 512
const crcBytes = 4
const pendingCrcsMax = 4096
/** Bytes per CRC, CRCs per block, then the MD5. */
const md5From = 12
const md5To = 28

/** As GETFILECHECKSUM answers. */
export type FileChecksum = { readonly algorithm: string; readonly bytes: string }

export class ChecksumOfFile {
  readonly #blockBytes: number
  readonly #blockDigests: Buffer[] = []
  #block = createHash('md5')
  #bytesOfBlock = 0
  readonly #crcs = Buffer.alloc(pendingCrcsMax * crcBytes)
  #crcsEnd = 0
  /** The beginning of a chunk whose end is still to come. */
  readonly #part = Buffer.alloc(chunkBytes)
  #partBytes = 0

  /** `blockBytes` of the file, a multiple of 512. */
  constructor(blockBytes: number) {
    this.#blockBytes = blockBytes
  }

  update(bytes: Uint8Array): void {
    let at = 0
    if (this.#partBytes > 0) {
      at = Math.min(chunkBytes - this.#partBytes, bytes.length)
      this.#keep(bytes.subarray(0, at))
      if (this.#partBytes === chunkBytes) this.#endPart()
    }
    for (; at + chunkBytes <= bytes.length; at += chunkBytes) this.#addChunk(bytes.subarray(at, at + chunkBytes))
    this.#keep(bytes.subarray(at))
  }

  /** Once, after the last byte of a file that is not empty. */
  finish(): { readonly algorithm: string; readonly md5: string } {
    if (this.#partBytes > 0) this.#endPart()
    if (this.#bytesOfBlock > 0) this.#endBlock()
    const crcsPerBlock = this.#blockDigests.length > 1 ? this.#blockBytes / chunkBytes : 0
    const md5 = createHash('md5').update(padded(Buffer.concat(this.#blockDigests))).digest('hex')
    return { algorithm: `MD5-of-${crcsPerBlock}MD5-of-${chunkBytes}CRC32C`, md5 }
  }

  #keep(bytes: Uint8Array): void {
    this.#part.set(bytes, this.#partBytes)
    this.#partBytes += bytes.length
  }

  #endPart(): void {
    this.#addChunk(this.#part.subarray(0, this.#partBytes))
    this.#partBytes = 0
  }

  #addChunk(chunk: Uint8Array): void {
    this.#crcsEnd = this.#crcs.writeUInt32BE(crc32c(chunk), this.#crcsEnd)
    this.#bytesOfBlock += chunk.length
    if (this.#crcsEnd === this.#crcs.length) this.#passOn()
    if (this.#bytesOfBlock === this.#blockBytes) this.#endBlock()
  }

  #passOn(): void {
    this.#block.update(this.#crcs.subarray(0, this.#crcsEnd))
    this.#crcsEnd = 0
  }

  #endBlock(): void {
    this.#passOn()
    this.#blockDigests.push(this.#block.digest())
    this.#block = createHash('md5')
    this.#bytesOfBlock = 0
  }
}

/** HDFS digests the whole buffer that it collects the blocks' MD5s in, whose size doubles from 32 bytes, zeros behind them included. */
function padded(digests: Buffer): Buffer {
  let size = 32
  while (size < digests.length) size *= 2
  const buffer = Buffer.alloc(size)
  digests.copy(buffer)
  return buffer
}

/** `incomparable` where the cluster keeps other checksums (dfs.checksum.type, dfs.bytes-per-checksum, dfs.checksum.combine.mode). */
export function compareChecksums(own: ReturnType<ChecksumOfFile['finish']>, theirs: FileChecksum): 'same' | 'different' | 'incomparable' {
  if (theirs.algorithm !== own.algorithm) return 'incomparable'
  return theirs.bytes.slice(md5From * 2, md5To * 2).toLowerCase() === own.md5 ? 'same' : 'different'
}
