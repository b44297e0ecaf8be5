/**
 * Recomputation by SQL from the archive alone. Only what is new since the base is read for figures: winners never change once below a horizon (first
 * = smallest by epoch, partition, offset, index), so a month's new rows are its base rows plus those of the new events that count.
 *
 * Whether a new event is a copy of an old one is asked in two steps, so that history costs little. Of all older files only the ids' hashes are read, two
 * integers a row, and only files that hold the hash of a new event are then read for sources and ids. Equal ids have equal hashes, so no copy is missed,
 * however old; a hash that two ids share costs the reading of a file, and decides nothing.
 */
import { CorruptError } from '#core/errors.ts'
import type { Lake, LakeEntry, ParquetColumn, QueryEngine, QueryRows } from '#core/ports.ts'
import { views } from '#core/views/all.ts'
import type { View } from '#core/views/view.ts'
import type { Batch } from '#store/batches.ts'
import { newStage, stageRows } from '#store/batches.ts'
import type { EpochCount } from '#store/cross-check.ts'
import type { Database, Queryable } from '#store/database.ts'
import { run } from '#store/database.ts'
import { namingEpoch } from '#store/flush.ts'
import type { ArchiveFile } from '#store/register.ts'
import { archiveColumns } from './archive-columns.ts'
import { checkDigests } from './file-digest.ts'
import { orphanFolder } from './orphans.ts'
import { batchSql } from './sql-files.ts'

export type RecomputeOptions = {
  readonly database: Database
  readonly lake: Lake
  readonly engine: QueryEngine
  /** Folder of the lake that only this run writes. */
  readonly folder: string
  readonly signal: AbortSignal
}

export type Recomputed = {
  /** View → the row version that its new rows are staged under. */
  readonly stages: ReadonlyMap<string, number>
  readonly eventsRead: number
  readonly eventsCounted: number
  readonly counts: readonly EpochCount[]
  /** Where `counted_events` lies. */
  readonly countedPaths: readonly string[]
}

const stagedRowsMax = 5_000

/** Columns of `counted_events.sql`. */
const countedColumns: readonly ParquetColumn[] = (
  [
    ['epoch', 'log_partition', 'log_offset', 'record_index', 'source', 'event_id', 'kind', 'order_line', 'product_id', 'product_name'],
    ['category', 'city', 'quantity', 'total_minor', 'currency', 'local_day', 'local_month', 'local_hour', 'id_hash_hi', 'id_hash_lo'],
  ] as const
)
  .flat()
  .map((name) => archiveColumns.find((column) => column.name === name)!)

/**
 * Attaches `new_events` and `old_events`, checks what is read against the register, works out which events count, and stages every view's rows. Throws
 * CorruptError naming the file where the lake does not hold what the register says. `staged` are the stages of what was recomputed before for the same
 * batch: rows are added to them.
 */
export async function recompute(
  options: RecomputeOptions,
  batch: Batch,
  newFiles: readonly ArchiveFile[],
  oldFiles: readonly ArchiveFile[],
  staged?: ReadonlyMap<string, number>,
): Promise<Recomputed> {
  const { engine, lake } = options
  await checkFiles(lake, [...newFiles, ...oldFiles])
  if (pathsOf(newFiles).length === 0) return recomputeNothing(options, batch, staged)
  const counted = await countEvents(options, newFiles, oldFiles).catch(async (thrown: unknown) => {
    options.signal.throwIfAborted()
    await checkDigests(lake, [...newFiles, ...oldFiles], thrown)
    throw thrown
  })
  await engine.attach('counted_events', counted, countedColumns)
  const stages = new Map<string, number>()
  for (const view of views) {
    options.signal.throwIfAborted()
    stages.set(view.name, await stageView(options, batch, view, staged?.get(view.name)))
  }
  const counts = await readCounts(engine)
  await nameProducts(options.database.pool, engine)
  return {
    stages,
    eventsRead: newFiles.reduce((sum, file) => sum + file.accepted, 0),
    eventsCounted: Number(counts.reduce((sum, count) => sum + count.events, 0n)),
    counts,
    countedPaths: counted,
  }
}

/** A quiet shop at its switch to other logic waits for this, and with Trino a query over no file costs what any other does. */
async function recomputeNothing({ database, engine }: RecomputeOptions, batch: Batch, staged: ReadonlyMap<string, number> | undefined): Promise<Recomputed> {
  await attachAll(engine, [], [])
  await engine.attach('old_events', [], archiveColumns)
  const stages = new Map<string, number>()
  for (const view of views) stages.set(view.name, staged?.get(view.name) ?? (await newStage(database.pool, batch.batch, view)))
  return { stages, eventsRead: 0, eventsCounted: 0, counts: [], countedPaths: [] }
}

/** Attaches what several recomputations of one batch read and counted, as one. */
export async function attachAll(engine: QueryEngine, files: readonly ArchiveFile[], countedPaths: readonly string[]): Promise<void> {
  await engine.attach('new_events', pathsOf(files), archiveColumns)
  await engine.attach('counted_events', countedPaths, countedColumns)
}

/** Reads the archive: afterwards `counted_events` lies in the files it resolves to, and `old_events` is every older file that may hold an id of a new event. */
async function countEvents({ engine, folder, signal }: RecomputeOptions, newFiles: readonly ArchiveFile[], oldFiles: readonly ArchiveFile[]): Promise<readonly string[]> {
  await engine.attach('new_events', pathsOf(newFiles), archiveColumns)
  await checkReadSums(engine, newFiles)
  signal.throwIfAborted()
  const searched = newFiles.some((file) => file.accepted > 0) ? await filesWithCopies(engine, oldFiles) : []
  signal.throwIfAborted()
  await engine.attach('old_events', pathsOf(searched), archiveColumns)
  return engine.materialize(batchSql('counted_events'), folder)
}

/** Those of the files that hold the id hash of an accepted event of `new_events`, at least. */
export async function filesWithCopies(engine: QueryEngine, oldFiles: readonly ArchiveFile[]): Promise<ArchiveFile[]> {
  const files = oldFiles.filter((file) => file.accepted > 0)
  if (files.length === 0) return []
  const byPartition = Map.groupBy(files, ({ partition }) => partition)
  for (const some of byPartition.values()) some.sort((a, b) => a.fromOffset - b.fromOffset)
  await engine.attach('archived_events', pathsOf(files), archiveColumns)
  const found = new Set<ArchiveFile>()
  try {
    for await (const { rows } of engine.query(batchSql('copy_places'))) {
      for (const [partition, offset] of rows as readonly (readonly bigint[])[]) {
        const file = fileAt(byPartition.get(Number(partition)) ?? [], Number(offset))
        if (file !== undefined) found.add(file)
      }
    }
  } finally {
    await engine.detach('archived_events')
  }
  return files.filter((file) => found.has(file))
}

/** Of files in order of their ranges, the one that holds the offset. */
function fileAt(files: readonly ArchiveFile[], offset: number): ArchiveFile | undefined {
  let low = 0
  for (let high = files.length; low < high; ) {
    const middle = (low + high) >> 1
    if (files[middle]!.toOffset > offset) high = middle
    else low = middle + 1
  }
  return files[low]
}

function pathsOf(files: readonly ArchiveFile[]): string[] {
  return files.filter((file) => file.rows > 0).map((file) => file.path)
}

/** From so many files of one folder on, one listing costs less than asking for each. */
const listFrom = 8

/** Folders looked through at a time: each answer of HDFS takes milliseconds. */
const foldersAtOnce = 8

/** Every file that is about to be read is there, as long as the register says. Throws CorruptError naming the first that is not. */
export async function checkFiles(lake: Lake, files: readonly ArchiveFile[]): Promise<void> {
  const folders = [...Map.groupBy(files.filter((file) => file.rows > 0), ({ path }) => path.slice(0, path.lastIndexOf('/') + 1))]
  const work = async (): Promise<void> => {
    for (let next = folders.pop(); next !== undefined; next = folders.pop()) await checkFolder(lake, ...next)
  }
  await Promise.all(Array.from({ length: foldersAtOnce }, work))
}

async function checkFolder(lake: Lake, folder: string, files: readonly ArchiveFile[]): Promise<void> {
  const listed = new Map<string, LakeEntry>()
  if (files.length >= listFrom) for await (const entry of lake.list(folder)) listed.set(entry.path, entry)
  for (const file of files) checkFile(file, listed.get(file.path) ?? (await lake.stat(file.path)) ?? (await reclaim(lake, file)))
}

function checkFile(file: ArchiveFile, entry: LakeEntry | null): void {
  if (entry === null) {
    throw new CorruptError(`The registered file ${file.path} is missing from the lake. Put it back, or write it again from the log with "tidemark batch repair".`, { path: file.path })
  }
  if (entry.bytes !== file.bytes) {
    throw new CorruptError(
      `The registered file ${file.path} has ${entry.bytes} bytes where ${file.bytes} were registered. Put it back, or write it again from the log with "tidemark batch repair".`,
      { path: file.path },
    )
  }
}

/** A register that was put back may know a file again that was moved aside meanwhile. Null where it was not. */
export async function reclaim(lake: Lake, file: ArchiveFile): Promise<LakeEntry | null> {
  const aside = orphanFolder + file.path
  if ((await lake.stat(aside))?.bytes !== file.bytes) return null
  await lake.move(aside, file.path)
  return lake.stat(file.path)
}

type Sums = { rows: bigint; accepted: bigint; hashHiSum: bigint; hashLoSum: bigint; quantitySum: bigint; totalMinorSum: bigint }

/** Rows, hash and amount sums that the query engine read, per (epoch, partition), against the register: a stale listing or a changed file is seen here. */
async function checkReadSums(engine: QueryEngine, files: readonly ArchiveFile[]): Promise<void> {
  const registered = new Map<string, Sums>()
  for (const file of files) {
    if (file.rows === 0) continue
    const key = `${file.epoch}:${file.partition}`
    const sums = registered.get(key) ?? { rows: 0n, accepted: 0n, hashHiSum: 0n, hashLoSum: 0n, quantitySum: 0n, totalMinorSum: 0n }
    sums.rows += BigInt(file.rows)
    sums.accepted += BigInt(file.accepted)
    sums.hashHiSum += file.hashHiSum
    sums.hashLoSum += file.hashLoSum
    sums.quantitySum += file.quantitySum
    sums.totalMinorSum += file.totalMinorSum
    registered.set(key, sums)
  }
  const read = new Map<string, Sums>()
  for (const row of await allRows(engine.query(batchSql('read_sums')))) {
    const [epoch, partition, rows, accepted, hashHiSum, hashLoSum, quantitySum, totalMinorSum] = row as bigint[]
    read.set(`${epoch}:${partition}`, { rows: rows!, accepted: accepted!, hashHiSum: hashHiSum!, hashLoSum: hashLoSum!, quantitySum: quantitySum!, totalMinorSum: totalMinorSum! })
  }
  for (const key of new Set([...registered.keys(), ...read.keys()])) {
    const expected = registered.get(key)
    const found = read.get(key)
    const names = ['rows', 'accepted', 'hashHiSum', 'hashLoSum', 'quantitySum', 'totalMinorSum'] as const
    const wrong = names.filter((name) => expected?.[name] !== found?.[name])
    if (wrong.length === 0) continue
    const paths = files.filter((file) => `${file.epoch}:${file.partition}` === key).map((file) => file.path)
    throw new CorruptError(
      `Reading the archive of epoch:partition ${key} gave other ${wrong.join(', ')} than registered. Nothing was published. Files: ${paths.slice(0, 10).join(', ')}.`,
      { paths, expected: String(expected?.rows), found: String(found?.rows) },
    )
  }
}

async function stageView(options: RecomputeOptions, batch: Batch, view: View, staged: number | undefined): Promise<number> {
  const { pool } = options.database
  const stage = staged ?? (await newStage(pool, batch.batch, view))
  for await (const { rows } of options.engine.query(batchSql(view.name))) {
    for (let from = 0; from < rows.length; from += stagedRowsMax) {
      await stageRows(pool, view, stage, rows.slice(from, from + stagedRowsMax) as (string | bigint)[][], staged !== undefined)
    }
  }
  return stage
}

async function readCounts(engine: QueryEngine): Promise<EpochCount[]> {
  const rows = (await allRows(engine.query(batchSql('counts')))) as bigint[][]
  return rows.map(([epoch, partition, events, hashHiSum, hashLoSum]) => ({
    epoch: Number(epoch),
    partition: Number(partition),
    events: events!,
    hashHiSum: hashHiSum!,
    hashLoSum: hashLoSum!,
  }))
}

/** The archive's word on each product's newest name; the speed layer's workers each know only what they read. */
async function nameProducts(queryable: Queryable, engine: QueryEngine): Promise<void> {
  for await (const { rows } of engine.query(batchSql('product_names'))) {
    const column = (at: number): unknown[] => rows.map((row) => row[at])
    await run(
      queryable,
      /* sql */ `
      INSERT INTO product_names AS t (product_id, product_name, epoch, partition, log_offset, record_index)
      SELECT p.product_id, p.product_name, ${namingEpoch('p.epoch')}, p.partition, p.log_offset, p.record_index
      FROM unnest($1::text[], $2::text[], $3::bigint[], $4::int[], $5::bigint[], $6::int[]) AS p (product_id, product_name, epoch, partition, log_offset, record_index)
      ORDER BY p.product_id COLLATE "C"
      ON CONFLICT (product_id) DO UPDATE SET product_name = EXCLUDED.product_name, epoch = EXCLUDED.epoch, partition = EXCLUDED.partition,
        log_offset = EXCLUDED.log_offset, record_index = EXCLUDED.record_index
      WHERE (t.epoch, t.partition, t.log_offset, t.record_index) < (EXCLUDED.epoch, EXCLUDED.partition, EXCLUDED.log_offset, EXCLUDED.record_index)`,
      [0, 1, 2, 3, 4, 5].map(column),
    )
  }
}

export async function allRows(batches: AsyncIterable<QueryRows>): Promise<(readonly unknown[])[]> {
  const rows: (readonly unknown[])[] = []
  for await (const batch of batches) rows.push(...batch.rows)
  return rows
}
