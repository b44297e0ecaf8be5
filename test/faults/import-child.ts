/**
 * An import in a process of its own that is killed as by `kill -9` at a point of its second chunk.
 * Arguments: database URL, schema, folder of the lake, topic, file, point.
 */
import { writeImportFile } from '#batch/import-file.ts'
import { openDecoder } from '#core/decode.ts'
import { openDiskLake } from '#engines/disk-lake.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { runImport } from '#speed/import.ts'
import { openDatabase } from '#store/database.ts'
import { beginImport } from '#store/imports.ts'
import { readImportChunks } from '../../cli/import-lines.ts'

export type ImportDeath = 'file written' | 'before commit' | 'after commit'

const [url, schema, lakeRoot, topic, file, point] = process.argv.slice(2) as [string, string, string, string, string, ImportDeath]
const signal = new AbortController().signal
let passes = 0

async function dieAt(here: ImportDeath): Promise<void> {
  if (here !== point || ++passes < 2) return
  process.kill(process.pid, 'SIGKILL')
  await new Promise(() => undefined)
}

const database = openDatabase({ url, schema })
const decoder = openDecoder({ zone: 'Europe/London', currency: 'GBP' })
const lake = await openDiskLake({ root: lakeRoot })
const begun = await beginImport(database, { name: 'old-shop', topic, source: 'old-shop', logTimeMs: Date.parse('2026-01-01T00:00:00Z') })
await runImport(
  {
    database,
    decoder,
    ledgerIdsMax: 100_000,
    writeFile: (range, records) => writeImportFile({ lake, codec: parquetCodec, decoder }, range, records),
    readChunks: (stands) => readImportChunks({ name: 'old-shop', paths: [file], chunkLinesMax: 10, chunkBytesMax: 1_000_000, signal }, stands),
    faults: { afterFile: () => dieAt('file written'), beforeCommit: () => dieAt('before commit'), afterCommit: () => dieAt('after commit') },
  },
  begun,
  signal,
)
