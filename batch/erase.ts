/**
 * Erasing one person: their id, and the original bytes and headers of every record that carries it, are blanked in the archive and in the tables. Each file is
 * written anew and swapped in the register, one at a time, so a run that was interrupted goes on where it was. No figure holds a person, and ids of events
 * and the checksums of their fields stay, so figures, copies and recomputations are what they were.
 */
import { ConflictError, InvalidRequestError } from '#core/errors.ts'
import { namesUser } from '#core/names-user.ts'
import type { Lake, ParquetCodec, ParquetValues, QueryEngine } from '#core/ports.ts'
import type { Database } from '#store/database.ts'
import { runningBatches } from '#store/batches.ts'
import { beginErasure, eraseFromTables, findLettersOf, finishErasure, forgetSwapped, hasReference, readStalePending, readSwappedPaths, swapErased } from '#store/erasures.ts'
import type { ArchiveFile } from '#store/register.ts'
import { listFiles, registeredPaths } from '#store/register.ts'
import { ArchiveRows, ArchiveSums, archiveColumns, columnAt } from './archive-columns.ts'
import { rowGroupBytes, rowGroupRows, writeArchiveFile } from './archive.ts'
import { blankRecord } from './erased-record.ts'
import { readFileRecords } from './file-rows.ts'
import { orphanFolder } from './orphans.ts'
import { allRows, checkFiles } from './recompute.ts'
import { shareArchive } from './share.ts'
import { batchSql } from './sql-files.ts'

export type EraseOptions = {
  readonly database: Database
  readonly lake: Lake
  readonly codec: ParquetCodec
  readonly engine: QueryEngine
  readonly topics: readonly string[]
  /** The one that the query engine shows under its name. */
  readonly sharedTopic: string
  readonly signal: AbortSignal
  /** Counts, and changes nothing. */
  readonly dryRun?: boolean
  /** Removes old files that hold the person at once, not after the grace of orphans. */
  readonly now?: boolean
  /** A file that is younger and was never registered may still be about to be. */
  readonly orphanAfterMs: number
  readonly onStep?: (detail: string) => void
  /** Where tests may stop the run: before each swap of a file. */
  readonly beforeSwap?: (file: ArchiveFile) => Promise<void>
}

export type Erased = {
  readonly files: number
  readonly records: number
  readonly deadLetters: number
  readonly references: number
  readonly filesRemoved: number
  /** Old files that could not be read, and so were left: they may hold the person. */
  readonly unreadable: readonly string[]
  /** Files that hold the person and were written a moment ago: whoever wrote them may be about to register them, or died. */
  readonly waiting: readonly string[]
}

/** Each round ends with fewer files to do, unless somebody rewrites them all the time. */
const roundsMax = 10

export async function eraseUser(options: EraseOptions, given: string): Promise<Erased> {
  const userId = given.normalize('NFC')
  // oxlint-disable-next-line no-control-regex -- control characters are meant
  if (userId.trim() === '' || /[\x00-\x1f]/.test(userId)) throw new InvalidRequestError('A user id is expected, as events carry it.')
  const { database } = options
  if (options.dryRun === true) return countOnly(options, userId)
  const erasure = await beginErasure(database.pool, userId)
  let files = 0
  let records = 0
  for (const topic of options.topics) {
    for (let round = 1; ; round++) {
      const found = await findFiles(options, topic, userId, await filesOf(database, topic))
      if (found.length === 0) break
      if (round === roundsMax) throw new ConflictError(`Files of ${topic} are rewritten as fast as they are blanked: run it again when compaction and batches rest.`)
      for (const { file, offsets } of found) {
        options.signal.throwIfAborted()
        if (!(await blankFile(options, erasure, file, offsets, userId))) continue
        files++
        records += offsets.size
        options.onStep?.(`${topic}: ${records} records in ${files} files blanked`)
      }
    }
  }
  // People who ask the query engine themselves must not be left with files that are to go.
  if (files > 0) await shareArchive({ database, engine: options.engine, topic: options.sharedTopic })
  const { deadLetters, references } = await eraseFromTables(database, erasure, userId)
  if (options.now === true) await refuseWhileRead(database)
  const old = options.now === true ? await removeOld(options, userId) : { filesRemoved: 0, unreadable: [], waiting: [] }
  await finishErasure(database.pool, erasure)
  return { files, records, deadLetters, references, ...old }
}

async function countOnly(options: EraseOptions, userId: string): Promise<Erased> {
  const { database, topics } = options
  let files = 0
  let records = 0
  for (const topic of topics) {
    for (const { offsets } of await findFiles(options, topic, userId, await filesOf(database, topic))) {
      files++
      records += offsets.size
    }
  }
  const deadLetters = (await findLettersOf(database.pool, userId)).length
  return { files, records, deadLetters, references: (await hasReference(database.pool, userId)) ? 1 : 0, filesRemoved: 0, unreadable: [], waiting: [] }
}

async function filesOf({ pool }: Database, topic: string): Promise<ArchiveFile[]> {
  return (await listFiles(pool, 0, Number.MAX_SAFE_INTEGER)).filter((file) => file.topic === topic && file.rows > 0)
}

type FoundFile = { readonly file: ArchiveFile; readonly offsets: ReadonlySet<number> }

/** The files that hold the person, and the offsets of the records that do. */
async function findFiles({ lake, engine }: EraseOptions, topic: string, userId: string, files: readonly ArchiveFile[]): Promise<FoundFile[]> {
  if (files.length === 0) return []
  await checkFiles(lake, files)
  const found = new Map<ArchiveFile, Set<number>>()
  const byPartition = Map.groupBy(files, ({ partition }) => partition)
  for (const [partition, offset] of await findRecords(engine, files.map((file) => file.path), userId)) {
    const file = byPartition.get(partition)?.find(({ fromOffset, toOffset }) => fromOffset <= offset && offset < toOffset)
    if (file === undefined) throw new ConflictError(`A record at offset ${offset} of ${topic} partition ${partition} lies in no file that was read.`)
    const offsets = found.get(file) ?? new Set()
    found.set(file, offsets.add(offset))
  }
  return [...found].map(([file, offsets]) => ({ file, offsets }))
}

type Position = readonly [partition: number, offset: number]

async function findRecords(engine: QueryEngine, paths: readonly string[], userId: string): Promise<Position[]> {
  await engine.attach('erasure_files', paths, archiveColumns)
  try {
    const found: Position[] = []
    const ofUser = batchSql('rows_of_user').replace(':user', () => `'${userId.replaceAll("'", "''")}'`)
    for (const [partition, offset] of (await allRows(engine.query(ofUser))) as [bigint, bigint][]) found.push([Number(partition), Number(offset)])
    for await (const { rows } of engine.query(batchSql('refused_records'))) {
      for (const [partition, offset, bytes] of rows as readonly (readonly [bigint, bigint, string])[]) {
        if (namesUser(Buffer.from(bytes, 'base64'), userId)) found.push([Number(partition), Number(offset)])
      }
    }
    return found
  } finally {
    await engine.detach('erasure_files')
  }
}

/** False where somebody swapped the file meanwhile: it is looked for again. */
async function blankFile(options: EraseOptions, erasure: number, file: ArchiveFile, offsets: ReadonlySet<number>, userId: string): Promise<boolean> {
  const sums = new ArchiveSums()
  const blanked = await writeArchiveFile(options, file, sums, blankedRows(options, file, sums, offsets, userId))
  await options.beforeSwap?.(file)
  try {
    await swapErased(options.database, erasure, file, blanked, offsets.size)
    return true
  } catch (thrown) {
    if (thrown instanceof ConflictError) return false
    throw thrown
  }
}

async function* blankedRows({ engine, signal }: EraseOptions, file: ArchiveFile, sums: ArchiveSums, offsets: ReadonlySet<number>, userId: string): AsyncGenerator<readonly ParquetValues[]> {
  let group = new ArchiveRows(file.epoch, file.partition, sums)
  for await (const rows of readFileRecords(engine, file.path)) {
    const kept = offsets.has(rows[0][offsetAt] as number) ? blankRecord(rows, (one) => one === userId) : rows
    for (const row of kept) group.push(row)
    if (group.rows < rowGroupRows && group.bytes < rowGroupBytes) continue
    signal.throwIfAborted()
    yield group.columns
    group = new ArchiveRows(file.epoch, file.partition, sums)
  }
  if (group.rows > 0) yield group.columns
}

const offsetAt = columnAt('log_offset')

/** A batch that began before reads the files that it found registered then. */
async function refuseWhileRead(database: Database): Promise<void> {
  const [batch] = await runningBatches(database)
  if (batch !== undefined) throw new ConflictError(`Everything is blanked, but batch ${batch} runs and may read the old files: run this again with --now when it has ended.`, { batch })
}

/** A table costs a second with Trino, and a shop has thousands of orphans, most of which hold nobody: so many are asked at once. */
const lookedThroughAtOnce = 500

/** Files that nothing reads any more, registered or not: those that hold the person go at once. */
async function removeOld(options: EraseOptions, userId: string): Promise<Pick<Erased, 'filesRemoved' | 'unreadable' | 'waiting'>> {
  const { database, lake } = options
  const { old, young } = await oldFiles(options)
  const unreadable: string[] = []
  const waiting: string[] = []
  let filesRemoved = 0
  for (let from = 0; from < old.length; from += lookedThroughAtOnce) {
    for await (const { path, holds } of holdersAmong(options, old.slice(from, from + lookedThroughAtOnce), userId)) {
      if (!holds) unreadable.push(path)
      else if (young.has(path)) waiting.push(path)
      else {
        await lake.remove(path)
        await forgetSwapped(database.pool, path)
        filesRemoved++
        options.onStep?.(`${filesRemoved} old files removed`)
      }
    }
  }
  return { filesRemoved, unreadable, waiting }
}

/** Of every topic, what the lake has and the register does not know, or knows as given up; and which of them an archiver or an import may be about to register. */
async function oldFiles({ database, lake, topics, orphanAfterMs }: EraseOptions): Promise<{ old: readonly string[]; young: ReadonlySet<string> }> {
  const stale = await readStalePending(database.pool)
  const given = new Set([...(await readSwappedPaths(database.pool)), ...stale])
  const old = new Set<string>()
  const young = new Set<string>()
  for (const path of given) if ((await lake.stat(path)) !== null) old.add(path)
  for (const topic of topics) {
    for (const prefix of [`${topic}/`, `${orphanFolder}${topic}/`]) {
      for await (const { path, modifiedMs } of lake.list(prefix)) {
        old.add(path)
        if (!given.has(path) && prefix === `${topic}/` && modifiedMs > Date.now() - orphanAfterMs) young.add(path)
      }
    }
  }
  const known = await registeredPaths(database.pool, [...old])
  for (const path of stale) known.delete(path)
  return { old: [...old].filter((path) => !known.has(path)).sort(), young }
}

/** The files that hold the person, and those of which it cannot be told. */
async function* holdersAmong(options: EraseOptions, paths: readonly string[], userId: string): AsyncGenerator<{ readonly path: string; readonly holds: boolean }> {
  options.signal.throwIfAborted()
  const found = await findUnlessUnreadable(options, paths, userId)
  if (found?.length === 0) return
  if (paths.length === 1) yield { path: paths[0]!, holds: found !== null }
  else for (const some of suspectsOf(paths, found)) yield* holdersAmong(options, some, userId)
}

/** Null where one of the files cannot be read. */
async function findUnlessUnreadable({ engine }: EraseOptions, paths: readonly string[], userId: string): Promise<readonly Position[] | null> {
  try {
    return await findRecords(engine, paths, userId)
  } catch {
    // An engine that is away has said nothing of any file.
    await allRows(engine.query('SELECT 1 AS one'))
    return null
  }
}

/** Which to look at again: by their names one by one, in halves where names do not tell. A name that says no range tells nothing, beside whatever others. */
function suspectsOf(paths: readonly string[], found: readonly Position[] | null): readonly (readonly string[])[] {
  const suspects = new Set(paths.filter((path) => rangeOf(path) === null))
  for (const position of found ?? []) {
    const holders = paths.filter((path) => mayHold(path, position))
    if (holders.length === 0) found = null
    for (const path of holders) suspects.add(path)
  }
  if (found !== null) return [...suspects].map((path) => [path])
  const half = Math.ceil(paths.length / 2)
  return [paths.slice(0, half), paths.slice(half)]
}

/** A file's name says its range (`archive.ts`), but not whether the records were blanked. */
function mayHold(path: string, [partition, offset]: Position): boolean {
  const range = rangeOf(path)
  return range !== null && range.partition === partition && range.from <= offset && offset < range.to
}

/** Null of what was never finished: its name says nothing of what it holds. */
function rangeOf(path: string): { readonly partition: number; readonly from: number; readonly to: number } | null {
  const [, partition, from, to] = /^[^+]+\+(\d+)\+(\d+)\+(\d+)\+[^+]+\.parquet$/.exec(path.slice(path.lastIndexOf('/') + 1)) ?? []
  return to === undefined ? null : { partition: Number(partition), from: Number(from), to: Number(to) }
}
