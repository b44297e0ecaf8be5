/**
 * An archiver in a process of its own that is killed, as by `kill -9`, at one point of its first file or before it registers it. Arguments: database URL, schema,
 * the log's schema, topic, the lake's URL, epoch, point.
 */
import { archiveUpTo } from '#batch/archive.ts'
import { openDecoder } from '#core/decode.ts'
import { openHdfsLake } from '#engines/hdfs-lake.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'
import { openDatabase } from '#store/database.ts'

const [url, schema, logSchema, topic, lakeUrl, epoch, crashPoint] = process.argv.slice(2) as [string, string, string, string, string, string, string]

function reach(point: string): void {
  if (point === crashPoint) process.kill(process.pid, 'SIGKILL')
}

await archiveUpTo(
  {
    database: openDatabase({ url, schema }),
    log: await openPostgresLog({ connectionString: url, schema: logSchema, pollIntervalMs: 5 }),
    lake: await openHdfsLake({ url: lakeUrl, location: '', faults: reach }),
    codec: parquetCodec,
    decoder: openDecoder({ zone: 'Europe/London', currency: 'GBP' }),
    fileOffsetsMax: 50,
    signal: new AbortController().signal,
    beforeRegister: async () => reach('register'),
  },
  Number(epoch),
)
// Not killed: the test says so.
process.stdout.write(`${topic} is archived\n`)
process.exit(0)
