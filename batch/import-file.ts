/** The file of the lake that an import's chunk becomes: no log keeps these records, so it is written before they are counted. */
import type { Decoder } from '#core/decode.ts'
import type { Lake, LogRecord, ParquetCodec, ParquetValues } from '#core/ports.ts'
import type { ArchiveFile, ArchiveRange } from '#store/register.ts'
import { ArchiveRows, ArchiveSums } from './archive-columns.ts'
import { rowGroupBytes, rowGroupRows, writeArchiveFile } from './archive.ts'

export type ImportFileOptions = { readonly lake: Lake; readonly codec: ParquetCodec; readonly decoder: Decoder }

/** Verified when it resolves; registers nothing. */
export async function writeImportFile(options: ImportFileOptions, range: ArchiveRange, records: readonly LogRecord[]): Promise<ArchiveFile> {
  const sums = new ArchiveSums()
  return writeArchiveFile(options, range, sums, rowGroups(options, range, sums, records))
}

async function* rowGroups({ decoder }: ImportFileOptions, range: ArchiveRange, sums: ArchiveSums, records: readonly LogRecord[]): AsyncGenerator<readonly ParquetValues[]> {
  let rows = new ArchiveRows(range.epoch, range.partition, sums)
  for (const record of records) {
    rows.add(record, decoder.decode(record, range.topic))
    if (rows.rows < rowGroupRows && rows.bytes < rowGroupBytes) continue
    yield rows.columns
    rows = new ArchiveRows(range.epoch, range.partition, sums)
  }
  if (rows.rows > 0) yield rows.columns
}
