/** An import on an environment: the speed layer counts its lines, the batch layer writes them into the lake. */
import { writeImportFile } from '#batch/import-file.ts'
import { Ledger, partitionMax } from '#core/ledger.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { Accumulator } from '#speed/accumulator.ts'
import type { ImportChunk, ImportOutcome, ImportSums } from '#speed/import.ts'
import { recordsOf, runImport } from '#speed/import.ts'
import { maintainLedger } from '#speed/maintenance.ts'
import type { Import, ImportTerms } from '#store/imports.ts'
import { beginImport, checkImportName, emptySha256 } from '#store/imports.ts'
import type { Environment } from './environment.ts'
import { transactionsTopic } from './environment.ts'
import type { ImportFormat } from './import-lines.ts'
import { checkImportFiles, readImportChunks } from './import-lines.ts'
import { openLogger } from './logger.ts'

export type ImportRequest = {
  readonly name: string
  readonly source: string
  readonly paths: readonly string[]
  readonly format?: ImportFormat
  readonly nowMs: number
  readonly onChunk?: (chunk: ImportChunk, sums: ImportSums) => void
}

/** A file of the lake of some 5 MB: as many lines are held in memory, and lost to a crash. */
const chunkLinesMax = 50_000
const chunkBytesMax = 32 * 1024 * 1024
/** An import runs beside the workers, and takes half of their memory: 4 million ids, 136 MB. A copy from further back is the next batch's to find. */
const ledgerShare = 0.5

export async function importFiles(environment: Environment, request: ImportRequest, signal: AbortSignal): Promise<ImportOutcome> {
  const { database, decoder, settings } = environment
  const lake = await environment.lake()
  await checkImportFiles(request)
  const terms: ImportTerms = { name: request.name, topic: transactionsTopic, source: request.source, logTimeMs: request.nowMs }
  const begun = await beginImport(database, terms)
  const stopped = new AbortController()
  // As the speed layer does, which need not run meanwhile.
  const maintenance = maintainLedger(database, openLogger('import', 'warn'), AbortSignal.any([signal, stopped.signal]))
  try {
    return await runImport(
      {
        database,
        decoder,
        ledgerIdsMax: Math.ceil(settings.ledgerIdsMax * ledgerShare),
        writeFile: (range, records) => writeImportFile({ lake, codec: parquetCodec, decoder }, range, records),
        readChunks: (stands) => readImportChunks(linesOf(request, signal), stands),
        ...(request.onChunk && { onChunk: request.onChunk }),
      },
      begun,
      signal,
    )
  } finally {
    stopped.abort()
    await maintenance
  }
}

export type DryRefusal = { readonly offset: number; readonly reason: string; readonly detail: string }
export type DryRun = { readonly sums: ImportSums; readonly byReason: Readonly<Record<string, number>>; readonly firstRefused: readonly DryRefusal[] }

const refusedShownMax = 20

/** What an import of these files would come to, as if it were the first of its name; nothing is written. */
export async function importDry(environment: Environment, request: ImportRequest, signal: AbortSignal): Promise<DryRun> {
  const { decoder, settings } = environment
  checkImportName(request.name, transactionsTopic)
  checkImportName(request.source, transactionsTopic)
  const terms: Pick<Import, 'source' | 'logTimeMs'> = { source: request.source, logTimeMs: request.nowMs }
  const accumulator = new Accumulator({ topic: transactionsTopic, decoder, ledger: new Ledger(Math.ceil(settings.ledgerIdsMax * ledgerShare)), views: [] }, new Map([[partitionMax, 0]]))
  const sums: ImportSums = { lines: 0, accepted: 0, copies: 0, conflicts: 0, refused: 0 }
  const byReason: Record<string, number> = {}
  const firstRefused: DryRefusal[] = []
  for await (const chunk of readImportChunks(linesOf(request, signal), { nextOffset: 0, contentSha256: emptySha256, finishedAt: null })) {
    accumulator.add({ partition: partitionMax, from: chunk.from, to: chunk.to, records: recordsOf(chunk, terms) })
    const { partitions, deadLetters } = accumulator.take()
    const [part] = partitions
    sums.lines += part!.records
    for (const name of ['accepted', 'copies', 'conflicts', 'refused'] as const) sums[name] += part![name]
    for (const { reason, detail, offset } of deadLetters) {
      byReason[reason] = (byReason[reason] ?? 0) + 1
      if (firstRefused.length < refusedShownMax) firstRefused.push({ offset, reason, detail })
    }
    request.onChunk?.(chunk, sums)
  }
  return { sums, byReason, firstRefused }
}

function linesOf({ name, paths, format }: ImportRequest, signal: AbortSignal): Parameters<typeof readImportChunks>[0] {
  return { name, paths, chunkLinesMax, chunkBytesMax, signal, ...(format && { format }) }
}
