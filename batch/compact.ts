/**
 * Compaction: small files of the archive, merged. Files of one topic, partition and epoch that follow each other become one, so that no file straddles a cut, as
 * a new generation: written and verified as the archiver does, compared with the old ones row by row by the query engine, and then put in their place in the
 * register by one transaction. Whoever reads meanwhile reads the old files or the new one, never both; the old ones stay in the lake until the grace of orphans
 * is over and no batch runs that began before the swap.
 */
import { ConflictError, CorruptError } from '#core/errors.ts'
import type { Lake, ParquetCodec, ParquetValues, QueryEngine } from '#core/ports.ts'
import { recordArchiveRun } from '#store/archive-totals.ts'
import type { Database } from '#store/database.ts'
import { inTransaction } from '#store/database.ts'
import type { ArchiveFile } from '#store/register.ts'
import { fullBatchUnderWay, listCompactable, registeredPaths, swapFiles } from '#store/register.ts'
import { ArchiveRows, ArchiveSums, archiveColumns } from './archive-columns.ts'
import { allRows, checkFiles } from './recompute.ts'
import { rowGroupBytes, rowGroupRows, writeArchiveFile } from './archive.ts'
import { checkDigests } from './file-digest.ts'
import { readFileRecords } from './file-rows.ts'
import { batchSql } from './sql-files.ts'

export type CompactOptions = {
  readonly database: Database
  readonly lake: Lake
  readonly engine: QueryEngine
  readonly codec: ParquetCodec
  /** A merged file has at most so many rows, and spans at most so many offsets. */
  readonly fileOffsetsMax: number
  readonly signal: AbortSignal
  readonly onMerge?: (done: Merged, merges: { readonly done: number; readonly of: number }) => void
  /** Where tests may stop a compactor, between the verified file and the swap. */
  readonly beforeSwap?: (file: ArchiveFile) => Promise<void>
}

/** Files that become one, in order of their ranges; two or more. */
export type Merge = readonly ArchiveFile[]
export type Merged = { readonly from: Merge; readonly into: ArchiveFile }

export type Compacted = {
  readonly merged: readonly Merged[]
  /** Whose files another compactor, a repair or a batch had swapped first. */
  readonly overtaken: number
  /** The full batch that compaction leaves the archive to, and that it waits for. */
  readonly waitsFor: number | null
}

/** What there is to merge. Files of the epoch that is being written are merged only where it at least doubles the largest, since more will follow. */
export async function planCompaction({ database, fileOffsetsMax }: Pick<CompactOptions, 'database' | 'fileOffsetsMax'>): Promise<Merge[]> {
  const { files, currentEpoch } = await listCompactable(database.pool)
  return [...runsOf(files, fileOffsetsMax)].filter((run) => run.length > 1 && (run[0]!.epoch < currentEpoch || isWorthIt(run)))
}

/** Longest runs, from the left, that fit into one file. */
function* runsOf(files: readonly ArchiveFile[], rowsMax: number): Iterable<Merge> {
  let run: ArchiveFile[] = []
  let rows = 0
  for (const file of files) {
    const last = run.at(-1)
    const follows = last !== undefined && last.topic === file.topic && last.partition === file.partition && last.epoch === file.epoch && last.toOffset === file.fromOffset
    if (follows && rows + file.rows <= rowsMax && file.toOffset - run[0]!.fromOffset <= rowsMax) {
      run.push(file)
      rows += file.rows
      continue
    }
    if (run.length > 0) yield run
    run = [file]
    rows = file.rows
  }
  if (run.length > 0) yield run
}

function isWorthIt(run: Merge): boolean {
  return 2 * Math.max(...run.map((file) => file.rows)) <= run.reduce((sum, file) => sum + file.rows, 0)
}

/** Merges what there is to merge. Throws CorruptError naming the file where the lake holds another than was registered; nothing is swapped then. */
export async function compactArchive(options: CompactOptions): Promise<Compacted> {
  const { database, signal } = options
  const merged: Merged[] = []
  const beganAt = performance.now()
  let overtaken = 0
  let waitsFor = await fullBatchUnderWay(database.pool)
  try {
    const merges = waitsFor === null ? await planCompaction(options) : []
    for (const files of merges) {
      signal.throwIfAborted()
      const into = await mergeFiles(options, files).catch((thrown: unknown) => {
        if (thrown instanceof ConflictError) return null
        throw thrown
      })
      if (into === null) overtaken++
      else {
        merged.push({ from: files, into })
        options.onMerge?.({ from: files, into }, { done: merged.length, of: merges.length })
      }
      waitsFor = await fullBatchUnderWay(database.pool)
      if (waitsFor !== null) break
    }
    return { merged, overtaken, waitsFor }
  } finally {
    if (merged.length > 0) await recordArchiveRun(database.pool, 'compaction', merged.map(({ into }) => into), performance.now() - beganAt).catch(() => undefined)
  }
}

async function mergeFiles(options: CompactOptions, files: Merge): Promise<ArchiveFile> {
  const { database } = options
  const [first] = files as readonly [ArchiveFile, ...ArchiveFile[]]
  const range = { topic: first.topic, partition: first.partition, epoch: first.epoch, fromOffset: first.fromOffset, toOffset: files.at(-1)!.toOffset }
  const sums = new ArchiveSums()
  const into = await checkFiles(options.lake, files)
    .then(() => writeArchiveFile(options, range, sums, rowGroups(options, files, sums)))
    .then(async (file) => {
      await checkMerged(options.engine, files, file)
      return file
    })
    .catch(async (thrown: unknown) => {
      options.signal.throwIfAborted()
      await refuseSwapped(database, files, thrown)
      await checkDigests(options.lake, files, thrown)
      throw thrown
    })
  await options.beforeSwap?.(into)
  await inTransaction(database, {}, async (client) => {
    const batch = await fullBatchUnderWay(client)
    if (batch !== null) throw new ConflictError(`Batch ${batch} decodes the archive again: compaction waits for it.`, { batch })
    await swapFiles(client, files, into, 'compacted')
  })
  return into
}

/** What was swapped meanwhile may have left the lake. */
async function refuseSwapped(database: Database, files: Merge, thrown: unknown): Promise<void> {
  const registered = await registeredPaths(database.pool, files.map((file) => file.path))
  const gone = files.find((file) => !registered.has(file.path))
  if (gone !== undefined) throw new ConflictError(`${gone.path} was swapped for another file meanwhile: read the register again.`, { path: gone.path }, thrown)
}

async function* rowGroups({ engine, signal }: CompactOptions, files: Merge, sums: ArchiveSums): AsyncGenerator<readonly ParquetValues[]> {
  const [first] = files as readonly [ArchiveFile, ...ArchiveFile[]]
  const paths = pathsOf(files)
  if (paths.length === 0) return
  let group = new ArchiveRows(first.epoch, first.partition, sums)
  for await (const rows of readFileRecords(engine, paths)) {
    for (const row of rows) group.push(row)
    if (group.rows < rowGroupRows && group.bytes < rowGroupBytes) continue
    signal.throwIfAborted()
    yield group.columns
    group = new ArchiveRows(first.epoch, first.partition, sums)
  }
  if (group.rows > 0) yield group.columns
}

/** A range without records has no file. */
function pathsOf(files: readonly ArchiveFile[]): string[] {
  return files.filter((file) => file.rows > 0).map((file) => file.path)
}

let checks = 0

/** The sums of the register hold few columns. Rows have positions, none twice: as many rows, and none of the old lost, are the same rows. */
async function checkMerged(engine: QueryEngine, files: Merge, into: ArchiveFile): Promise<void> {
  if (into.rows === 0) return
  const from = `merged_from_${++checks}`
  const to = `merged_into_${checks}`
  try {
    await engine.attach(from, pathsOf(files), archiveColumns)
    await engine.attach(to, [into.path], archiveColumns)
    const [row] = await allRows(engine.query(batchSql('rows_lost').replace('merged_from', from).replace('merged_into', to)))
    if (row?.[0] !== 0n) throw new CorruptError(`${into.path} lacks ${String(row?.[0])} rows of the ${files.length} files that it was merged from. Nothing was swapped.`, { path: into.path })
  } finally {
    await engine.detach(from)
    await engine.detach(to)
  }
}
