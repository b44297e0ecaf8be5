/**
 * A batch run in a process of its own that is killed, as by `kill -9`, at one point of its first file or before one of its steps. Arguments: database URL, schema,
 * the log's schema, topic, the lake's folder, point; and a zone, which a full run then takes into use.
 */
import { openDecoder } from '#core/decode.ts'
import { openDiskLake } from '#engines/disk-lake.ts'
import { openDuckDb } from '#engines/duckdb.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'
import { runBatch } from '#batch/run.ts'
import { openDatabase } from '#store/database.ts'
import type { BatchCrashPoint } from '#test/lab/crash.ts'

const [url, schema, logSchema, topic, root, crashPoint, zone] = process.argv.slice(2) as [string, string, string, string, string, BatchCrashPoint, string?]

function reach(point: string): void {
  if (point === crashPoint) process.kill(process.pid, 'SIGKILL')
}

const lake = await openDiskLake({ root, faults: (point, path) => path.startsWith('marks/') || reach(`lake ${point}`) })
await runBatch({
  database: openDatabase({ url, schema }),
  log: await openPostgresLog({ connectionString: url, schema: logSchema, pollIntervalMs: 5 }),
  lake,
  engine: await openDuckDb({ lake, threads: 1 }),
  codec: parquetCodec,
  decoder: openDecoder({ zone: zone ?? 'Europe/London', currency: 'GBP' }),
  topic,
  fileOffsetsMax: 50,
  full: zone !== undefined,
  signal: new AbortController().signal,
  before: async (step) => reach(`batch ${step}`),
})
process.exit(0)
