/**
 * P10: MB/s of an archive file into HDFS, written, verified and renamed, ÷ `curl -L -T` of the same bytes, which verifies nothing. Once as the archiver verifies
 * (length, footer, and HDFS's own checksum of the blocks against ours), and once with the whole file read back, as it does where HDFS gives no checksum.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ArchiveRows, ArchiveSums, archiveColumns } from '#batch/archive-columns.ts'
import { sha256Of } from '#batch/file-digest.ts'
import { openDecoder } from '#core/decode.ts'
import type { Lake, LakeVerify, ParquetValues } from '#core/ports.ts'
import { openHdfsLake } from '#engines/hdfs-lake.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { missingHere, openBenchCluster } from './kafka-cluster.ts'
import { benchCurrency, benchZone, profileBatches } from './speed-loop.ts'
import type { Ratio } from './statistics.ts'
import { median, ratioOf, secondsOf } from './statistics.ts'
import { nullOf } from './kafka-end-to-end.ts'

export type ArchiveResult = {
  readonly megabytes: number
  readonly megabytesPerSecond: { readonly curl: number; readonly archiver: number; readonly readBack: number }
  /** P10, as the archiver verifies. */
  readonly archiver: Ratio
  readonly readBack: Ratio
  readonly nullOfCurl: Ratio
}

const megabyte = 1_000_000
const groupRows = 50_000

export const missingForHdfs = (): Promise<string | null> => missingHere(['hdfs'], ['curl'])

export async function benchHdfsArchive(lines: number, pairs: number): Promise<ArchiveResult> {
  await using cluster = await openBenchCluster(['hdfs'])
  const { LAKE_URL: url, LAKE_LOCATION: location } = cluster.engines.environment as { LAKE_URL: string; LAKE_LOCATION: string }
  await using lake = await openHdfsLake({ url, location })
  const { bytes, rows } = await encodeArchive(lines)
  const file = join(cluster.folder, 'archive.parquet')
  await writeFile(file, bytes)
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const readBack: LakeVerify = async (written) => {
    if (written.bytes !== bytes.length || (await parquetCodec.rowCount(written)) !== rows) throw new Error('void: HDFS holds something else')
    if ((await sha256Of(written)) !== sha256) throw new Error('void: HDFS holds other bytes')
  }
  const archiver: LakeVerify = async (written) => {
    if (written.isProven !== true) return readBack(written)
    if (written.bytes !== bytes.length || (await parquetCodec.rowCount(written)) !== rows) throw new Error('void: HDFS holds something else')
  }
  const seconds = { curl: [] as number[], archiver: [] as number[], readBack: [] as number[] }
  for (let pair = -1; pair < pairs; pair++) {
    const uploaded = `${cluster.engines.urls.hdfs!}/webhdfs/v1/shopsphere/curl-${pair + 1}.parquet?op=CREATE&user.name=tidemark`
    const measured = {
      archiver: await secondsOf(() => put(lake, `bench/archiver-${pair + 1}.parquet`, file, archiver)),
      curl: await secondsOf(() => runCurl(['-sS', '-f', '-L', '-T', file, uploaded])),
      readBack: await secondsOf(() => put(lake, `bench/read-back-${pair + 1}.parquet`, file, readBack)),
    }
    process.stderr.write(`  curl ${measured.curl.toFixed(2)} s, ours ${measured.archiver.toFixed(2)} s, read back ${measured.readBack.toFixed(2)} s\n`)
    if (pair < 0) continue
    for (const name of ['curl', 'archiver', 'readBack'] as const) seconds[name].push(measured[name])
  }
  const rate = (of: readonly number[]): number => Math.round(bytes.length / megabyte / median(of))
  return {
    megabytes: Math.round(bytes.length / megabyte),
    megabytesPerSecond: { curl: rate(seconds.curl), archiver: rate(seconds.archiver), readBack: rate(seconds.readBack) },
    archiver: ratioOf(seconds.curl, seconds.archiver),
    readBack: ratioOf(seconds.curl, seconds.readBack),
    nullOfCurl: nullOf(seconds.curl),
  }
}

/** What the archiver writes for so many lines. */
export async function encodeArchive(lines: number): Promise<{ bytes: Buffer; rows: number }> {
  const decoder = openDecoder({ zone: benchZone, currency: benchCurrency })
  const sums = new ArchiveSums()
  function* groups(): Generator<readonly ParquetValues[]> {
    let rows = new ArchiveRows(1, 0, sums)
    for (const batch of profileBatches('bench', lines)) {
      for (const record of batch.records) rows.add(record, decoder.decode(record, 'transactions'))
      if (rows.rows < groupRows) continue
      yield rows.columns
      rows = new ArchiveRows(1, 0, sums)
    }
    if (rows.rows > 0) yield rows.columns
  }
  const chunks: Uint8Array[] = []
  for await (const chunk of parquetCodec.encode(archiveColumns, groups())) chunks.push(chunk)
  return { bytes: Buffer.concat(chunks), rows: sums.rows }
}

/** From the same file as curl. */
async function put(lake: Lake, path: string, file: string, verify: LakeVerify): Promise<void> {
  await lake.put(path, createReadStream(file, { highWaterMark: 256 * 1024 }), verify)
}

async function runCurl(args: readonly string[]): Promise<void> {
  const child = spawn('curl', args, { stdio: ['ignore', 'ignore', 'inherit'] })
  const code = await new Promise((resolve) => child.once('exit', resolve))
  if (code !== 0) throw new Error(`curl ended with ${String(code)}`)
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await benchHdfsArchive(Number(process.argv[2] ?? 200_000), Number(process.argv[3] ?? 2)), null, 1)}\n`)
