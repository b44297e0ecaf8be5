/**
 * P11: the report of a month made with Trino on HDFS ÷ the same with DuckDB on disk, over the same files of the archive: check against the archive, files and
 * publication included. Trino's empty query is measured beside it.
 */
import type { ReportOptions } from '#batch/reports.ts'
import { freezeReport } from '#batch/reports.ts'
import { runBatch } from '#batch/run.ts'
import { openDecoder } from '#core/decode.ts'
import type { Lake, QueryEngine } from '#core/ports.ts'
import { openDiskLake } from '#engines/disk-lake.ts'
import { openDuckDb } from '#engines/duckdb.ts'
import { openHdfsLake } from '#engines/hdfs-lake.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { openTrino } from '#engines/trino.ts'
import type { Database } from '#store/database.ts'
import { run } from '#store/database.ts'
import { listFiles } from '#store/register.ts'
import { readReport } from '#store/reports.ts'
import { countLog, fillLog, openBenchDatabase, openBenchServer, topic } from './bench-store.ts'
import { missingHere, openBenchCluster } from './kafka-cluster.ts'
import { benchCurrency, benchZone } from './speed-loop.ts'
import type { Ratio } from './statistics.ts'
import { median, ratioOf, secondsOf } from './statistics.ts'

export type ReportEnginesResult = {
  readonly lines: number
  readonly seconds: { readonly duckDb: number; readonly trino: number; readonly trinoEmptyQuery: number }
  readonly ratio: Ratio
}

const month = { kind: 'monthly', period: '2025-02' } as const

export const missingForReportEngines = (): Promise<string | null> => missingHere(['hdfs', 'trino'])

export async function benchReportEngines(lines: number, pairs: number): Promise<ReportEnginesResult> {
  await using cluster = await openBenchCluster(['hdfs', 'trino'])
  const { LAKE_URL: lakeUrl, LAKE_LOCATION: location, QUERY_URL: queryUrl } = cluster.engines.environment as Record<string, string>
  await using server = await openBenchServer()
  await using database = await openBenchDatabase(server.url, 'report_engines')
  const filled = await fillLog(server.url, 'report_engines_log', 'bench', lines)
  await using log = filled.log
  await countLog(filled, database, 100_000)
  await using disk = await openDiskLake({ root: `${server.folder}/lake-report-engines` })
  await using duckDb = await openDuckDb({ lake: disk })
  await using hdfs = await openHdfsLake({ url: lakeUrl!, location: location! })
  await using trino = await openTrino({ url: queryUrl!, lake: hdfs })
  const signal = new AbortController().signal
  await runBatch({ database, log, lake: disk, engine: duckDb, codec: parquetCodec, decoder: openDecoder({ zone: benchZone, currency: benchCurrency }), topic, fileOffsetsMax: 250_000, signal })
  await copyArchive(database, disk, hdfs)
  const base = { database, codec: parquetCodec, topic, zone: benchZone, booksOpenOn: '2024-01-01', signal }
  const subjects: Record<'duckDb' | 'trino', ReportOptions> = {
    duckDb: { ...base, lake: disk, engine: duckDb, engineName: 'DuckDB' },
    trino: { ...base, lake: hdfs, engine: trino, engineName: 'Trino' },
  }
  const seconds = { duckDb: [] as number[], trino: [] as number[], trinoEmptyQuery: [] as number[] }
  for (let pair = -1; pair < pairs; pair++) {
    const duck = await secondsOf(() => make(subjects.duckDb))
    const real = await secondsOf(() => make(subjects.trino))
    const empty = await secondsOf(() => drain(trino))
    process.stderr.write(`  DuckDB ${duck.toFixed(2)} s, Trino ${real.toFixed(2)} s, an empty query ${empty.toFixed(2)} s\n`)
    if (pair < 0) continue
    seconds.duckDb.push(duck)
    seconds.trino.push(real)
    seconds.trinoEmptyQuery.push(empty)
  }
  const rounded = (of: readonly number[]): number => Math.round(median(of) * 100) / 100
  return {
    lines,
    seconds: { duckDb: rounded(seconds.duckDb), trino: rounded(seconds.trino), trinoEmptyQuery: rounded(seconds.trinoEmptyQuery) },
    ratio: ratioOf(seconds.trino, seconds.duckDb),
  }
}

async function copyArchive(database: Database, from: Lake, to: Lake): Promise<void> {
  for (const { path, rows } of await listFiles(database.pool, 0, Number.MAX_SAFE_INTEGER)) {
    if (rows === 0) continue
    const file = await from.get(path)
    async function* body(): AsyncGenerator<Uint8Array> {
      yield await file.read(0, file.bytes)
    }
    await to.put(path, body(), async (written) => {
      if (written.bytes !== file.bytes) throw new Error('void: HDFS holds something else')
    })
  }
}

/** Makes the report, holds it against the merged view, and forgets it again. */
async function make(options: ReportOptions): Promise<void> {
  await freezeReport(options, month)
  const { lines } = await readReport(options.database.pool, month.kind, month.period)
  const [truth] = await run<{ net: bigint }>(options.database.pool, `SELECT sum(net_minor)::bigint AS net FROM merged_revenue WHERE local_day >= '2025-02-01' AND local_day < '2025-03-01'`)
  if (lines.find((line) => line.section === 'total')?.now.netMinor !== String(truth!.net)) throw new Error('void: the report is not the truth')
  await options.database.pool.query('DELETE FROM report_versions; DELETE FROM report_files')
}

async function drain(engine: QueryEngine): Promise<void> {
  for await (const _rows of engine.query('SELECT 1 AS one')) continue
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await benchReportEngines(Number(process.argv[2] ?? 200_000), Number(process.argv[3] ?? 2)), null, 1)}\n`)
