/**
 * P10 on the local disk: MB/s of an archive file into the lake, written, synced, verified by its checksum, its footer and its rows, and renamed, ÷ a plain copy of
 * the same bytes into the same folder: once as `cp` leaves them, in the system's cache, and once synced, as a file must be that the log is to forget.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sha256Of } from '#batch/file-digest.ts'
import type { LakeVerify } from '#core/ports.ts'
import { openDiskLake } from '#engines/disk-lake.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { encodeArchive } from './hdfs-archive.ts'
import { nullOf } from './kafka-end-to-end.ts'
import type { Ratio } from './statistics.ts'
import { median, ratioOf, secondsOf } from './statistics.ts'

export type DiskArchiveResult = {
  readonly megabytes: number
  readonly megabytesPerSecond: { readonly copy: number; readonly syncedCopy: number; readonly archiver: number }
  /** P10. */
  readonly ofCopy: Ratio
  readonly ofSyncedCopy: Ratio
  readonly nullOfCopy: Ratio
}

const megabyte = 1_000_000
const pieceBytes = 256 * 1024

export async function benchDiskArchive(lines: number, pairs: number): Promise<DiskArchiveResult> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-bench-'))
  await using stack = new AsyncDisposableStack()
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const lake = stack.use(await openDiskLake({ root: join(folder, 'lake') }))
  const { bytes, rows } = await encodeArchive(lines)
  const file = join(folder, 'archive.parquet')
  await writeFile(file, bytes)
  await mkdir(join(folder, 'lake', 'bench'), { recursive: true })
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const verify: LakeVerify = async (written) => {
    if (written.bytes !== bytes.length || (await parquetCodec.rowCount(written)) !== rows || (await sha256Of(written)) !== sha256) throw new Error('void: the disk holds something else')
  }
  const copyTo = (name: string): string => join(folder, 'lake', 'bench', name)
  const seconds = { copy: [] as number[], syncedCopy: [] as number[], archiver: [] as number[] }
  for (let pair = -1; pair < pairs; pair++) {
    const measured = {
      archiver: await secondsOf(() => lake.put(`bench/archiver-${pair + 1}.parquet`, createReadStream(file, { highWaterMark: pieceBytes }), verify)),
      copy: await secondsOf(() => copyBytes(file, copyTo(`copy-${pair + 1}.parquet`), false)),
      syncedCopy: await secondsOf(() => copyBytes(file, copyTo(`synced-${pair + 1}.parquet`), true)),
    }
    process.stderr.write(`  copy ${measured.copy.toFixed(3)} s, synced ${measured.syncedCopy.toFixed(3)} s, ours ${measured.archiver.toFixed(3)} s\n`)
    if (pair >= 0) for (const name of ['copy', 'syncedCopy', 'archiver'] as const) seconds[name].push(measured[name])
  }
  const rate = (of: readonly number[]): number => Math.round(bytes.length / megabyte / median(of))
  return {
    megabytes: Math.round(bytes.length / megabyte),
    megabytesPerSecond: { copy: rate(seconds.copy), syncedCopy: rate(seconds.syncedCopy), archiver: rate(seconds.archiver) },
    ofCopy: ratioOf(seconds.copy, seconds.archiver),
    ofSyncedCopy: ratioOf(seconds.syncedCopy, seconds.archiver),
    nullOfCopy: nullOf(seconds.syncedCopy),
  }
}

/** Reads and writes: `copyFile` and `cp` let some file systems share the blocks of the two files, and then copy nothing. */
async function copyBytes(from: string, to: string, isSynced: boolean): Promise<void> {
  await using source = await open(from)
  await using target = await open(to, 'w')
  const piece = Buffer.alloc(pieceBytes)
  for (;;) {
    const { bytesRead } = await source.read(piece, 0, piece.length, null)
    if (bytesRead === 0) break
    await target.write(piece, 0, bytesRead)
  }
  if (isSynced) await target.sync()
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await benchDiskArchive(Number(process.argv[2] ?? 200_000), Number(process.argv[3] ?? 5)), null, 1)}\n`)
