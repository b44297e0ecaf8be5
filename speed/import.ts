/**
 * An import: lines of files → decode → ledger → fold → flush, as the worker does it with a log. Since no log keeps these lines, a chunk's file is written to the
 * lake first, and goes into the register in the one transaction that counts it. A crash in between leaves a file that nobody knows; the next run goes on at
 * the first line that is not counted.
 */
import type { Decoder } from '#core/decode.ts'
import { sourceHeader } from '#core/decode.ts'
import { ConflictError, FencedError, TidemarkError } from '#core/errors.ts'
import { Ledger } from '#core/ledger.ts'
import type { LogRecord } from '#core/ports.ts'
import type { Database } from '#store/database.ts'
import { releaseLocks } from '#store/database.ts'
import type { Flush, FlushFaults } from '#store/flush.ts'
import { commitFlush } from '#store/flush.ts'
import type { Import, ImportedFile } from '#store/imports.ts'
import { findImport, finishImport, moveImport, ownImport, readEpoch } from '#store/imports.ts'
import { agreeOnLogic, openPartitions } from '#store/partitions.ts'
import type { ArchiveFile, ArchiveRange } from '#store/register.ts'
import { registerWithin } from '#store/register.ts'
import { Accumulator } from './accumulator.ts'
import { delay } from './delay.ts'

export type ImportLine = { readonly offset: number; readonly value: Uint8Array }

/** Lines `from` inclusive to `to` exclusive; empty ones are left out of `lines`. */
export type ImportChunk = {
  readonly from: number
  readonly to: number
  readonly lines: readonly ImportLine[]
  /** All files up to `to`. */
  readonly files: readonly ImportedFile[]
  /** Of all lines up to `to`. */
  readonly contentSha256: string
}

export type ImportOptions = {
  readonly database: Database
  readonly decoder: Decoder
  readonly ledgerIdsMax: number
  /** Writes a range's file into the lake, verified, and registers nothing. */
  readonly writeFile: (range: ArchiveRange, records: readonly LogRecord[]) => Promise<ArchiveFile>
  /** Lines from that offset on, once what stands before it is proven to be what was imported. */
  readonly readChunks: (from: Pick<Import, 'nextOffset' | 'contentSha256' | 'finishedAt'>) => AsyncIterable<ImportChunk>
  readonly onChunk?: (chunk: ImportChunk, sums: ImportSums) => void
  readonly faults?: FlushFaults & { readonly beforeFile?: () => Promise<void>; readonly afterFile?: () => Promise<void> }
}

/** Of this run. */
export type ImportSums = { lines: number; accepted: number; copies: number; conflicts: number; refused: number }

export type ImportOutcome = {
  readonly import: Import
  readonly sums: ImportSums
  /** False where it was stopped, and goes on when run again. */
  readonly isFinished: boolean
}

const triesMax = 12
const retryMinMs = 100
const retryMaxMs = 5_000

/** Where a cut came between the writing of a file and its flush: the file says another epoch than the deltas would. */
class EpochMovedError extends ConflictError {}

/** Imports what is left of it. Aborted, the signal ends it behind the chunk in hand. Throws ConflictError where another process works on it. */
export async function runImport(options: ImportOptions, begun: Import, signal: AbortSignal): Promise<ImportOutcome> {
  const { database, decoder } = options
  await agreeOnLogic(database, decoder.logicVersion)
  const owner = await ownImport(database, begun)
  try {
    // Read once it is ours: whoever had it before may have come further.
    const stands = (await findImport(database.pool, begun.name))!
    const sums: ImportSums = { lines: 0, accepted: 0, copies: 0, conflicts: 0, refused: 0 }
    const isFinished = await importChunks(options, stands, sums, signal)
    if (isFinished) await finishImport(database.pool, begun.name)
    return { import: (await findImport(database.pool, begun.name))!, sums, isFinished }
  } finally {
    await releaseLocks(owner)
  }
}

/** Resolves to whether the lines came to their end. */
async function importChunks(options: ImportOptions, stands: Import, sums: ImportSums, signal: AbortSignal): Promise<boolean> {
  const { topic, partition } = stands
  const ledger = new Ledger(options.ledgerIdsMax)
  await openPartitions(options.database, topic, new Map([[partition, 0]]), ledger)
  const accumulator = new Accumulator({ topic, decoder: options.decoder, ledger }, new Map([[partition, stands.nextOffset]]))
  for await (const chunk of options.readChunks(stands)) {
    if (signal.aborted) return false
    const records = recordsOf(chunk, stands)
    accumulator.add({ partition, from: chunk.from, to: chunk.to, records })
    const flush = accumulator.take()
    await commitChunk(options, stands, chunk, records, flush)
    addTo(sums, flush)
    options.onChunk?.(chunk, sums)
  }
  return !signal.aborted
}

/** The source stands in a header, as a producer's would: so the bytes kept in the lake decode alike wherever they are read. */
export function recordsOf({ lines }: ImportChunk, { source, logTimeMs }: Pick<Import, 'source' | 'logTimeMs'>): LogRecord[] {
  const headers = { [sourceHeader]: source }
  return lines.map(({ offset, value }) => ({ offset, logTimeMs, value, headers }))
}

function addTo(sums: ImportSums, flush: Flush): void {
  for (const part of flush.partitions) {
    sums.lines += part.records
    sums.accepted += part.accepted
    sums.copies += part.copies
    sums.conflicts += part.conflicts
    sums.refused += part.refused
  }
}

/** Tries again where a cut came in between, where the store was away, and where nobody knows what became of a commit. */
async function commitChunk(options: ImportOptions, stands: Import, chunk: ImportChunk, records: readonly LogRecord[], flush: Flush): Promise<void> {
  let retryMs = retryMinMs
  for (let tries = 1; ; tries++) {
    try {
      if (tries === 1 || !(await isCounted(options.database, stands.name, chunk))) await commitOnce(options, stands, chunk, records, flush)
      return
    } catch (thrown) {
      if (tries === triesMax || !(thrown instanceof TidemarkError) || thrown instanceof FencedError) throw thrown
      if (thrown instanceof EpochMovedError) continue
      if (!thrown.retryable) throw thrown
      await delay(retryMs, new AbortController().signal)
      retryMs = Math.min(retryMs * 2, retryMaxMs)
    }
  }
}

async function isCounted(database: Database, name: string, { from, to }: ImportChunk): Promise<boolean> {
  const { nextOffset } = (await findImport(database.pool, name))!
  if (nextOffset === to) return true
  if (nextOffset === from) return false
  throw new FencedError(`The import ${name} stands at line ${nextOffset}, not at ${from}: another process works on it. Run it again once that is done.`, { name, nextOffset })
}

async function commitOnce(options: ImportOptions, { name, topic, partition }: Import, chunk: ImportChunk, records: readonly LogRecord[], flush: Flush): Promise<void> {
  const { database, faults = {} } = options
  await faults.beforeFile?.()
  const epoch = await readEpoch(database.pool)
  const file = await options.writeFile({ topic, partition, epoch, fromOffset: chunk.from, toOffset: chunk.to }, records)
  await faults.afterFile?.()
  await commitFlush(database, flush, faults, {
    isDurable: true,
    work: async (client, current) => {
      if (current !== epoch) throw new EpochMovedError(`A batch began while a chunk of the import ${name} was written: it is written again.`, { epoch, current })
      await registerWithin(client, file, flush.logicVersion)
      await moveImport(client, name, chunk.files, chunk.contentSha256)
    },
  })
}
