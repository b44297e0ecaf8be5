/**
 * The archiver: log → decode → Parquet → lake → register, one file per offset range of one partition and epoch. A crash between any two steps leaves
 * either nothing, or a file that no reader knows (an orphan), and the range is written again under a new name.
 */
import { randomUUID } from 'node:crypto'
import { formatDay } from '#core/calendar.ts'
import type { Decoder } from '#core/decode.ts'
import { decodeReference, isReferenceTopic } from '#core/decode-reference.ts'
import { ConflictError, CorruptError, LossError } from '#core/errors.ts'
import type { EventLog, Lake, LogBatch, LogRecord, ParquetCodec, ParquetValues, QueryEngine } from '#core/ports.ts'
import type { Database } from '#store/database.ts'
import { readErasedUsers } from '#store/erasures.ts'
import { checkCommitted } from '#store/fingerprint.ts'
import { listImports } from '#store/imports.ts'
import { acceptLossCommand } from '#store/losses.ts'
import type { ArchiveFile, ArchiveRange } from '#store/register.ts'
import { listFiles, rangesToArchive, registerFile, replaceFile } from '#store/register.ts'
import type { ArchiveRunKind } from '#store/archive-totals.ts'
import { recordArchiveRun } from '#store/archive-totals.ts'
import type { ArchiveRow } from './archive-columns.ts'
import { ArchiveRows, ArchiveSums, archiveColumns, archiveRowsOf } from './archive-columns.ts'
import { withoutErased } from './erased-record.ts'
import { isWhole, putVerified } from './file-digest.ts'
import { readLakeRange } from './lake-range.ts'
import { reclaim } from './recompute.ts'
import { referenceRowOf } from './reference-rows.ts'

export type ArchiveOptions = {
  readonly database: Database
  readonly log: EventLog
  readonly lake: Lake
  readonly codec: ParquetCodec
  /** Reads from the lake what the log has forgotten. */
  readonly engine?: QueryEngine
  readonly decoder: Decoder
  /** Offsets a file spans at most. */
  readonly fileOffsetsMax: number
  readonly signal: AbortSignal
  readonly onFile?: (file: ArchiveFile) => void
  /** Where tests may stop the archiver between the finished file and its registration. */
  readonly beforeRegister?: (file: ArchiveFile) => Promise<void>
}

export const rowGroupRows = 50_000
export const rowGroupBytes = 32 * 1024 * 1024
/** Two archivers of the same ranges may take turns for a while. */
const turnsMax = 50

/** Brings the archive up to the cut that ended `epoch`. Resolves to the files it registered. Throws ConflictError where others are first again and again. */
export async function archiveUpTo(options: ArchiveOptions, epoch: number): Promise<ArchiveFile[]> {
  return recorded(options, 'batch', async (onFile) => {
    // Each turn ends with less to do, since cuts are made, or with what another archiver did.
    for (let overtaken = 0; ; ) {
      const turn = await archiveOnce({ ...options, onFile }, epoch)
      if (turn === 'nothing') return
      overtaken = turn === 'archived' ? 0 : overtaken + 1
      if (turn instanceof ConflictError && overtaken === turnsMax) throw turn
    }
  })
}

/**
 * Archives what is counted now and no cut has ended yet, so that a batch has only the rest to do. Safe beside flushes, cuts, batches and other archivers.
 * Resolves to the files it registered, which may be none.
 */
export async function archiveCommitted(options: ArchiveOptions): Promise<ArchiveFile[]> {
  return recorded(options, 'committed', async (onFile) => {
    // What is counted meanwhile, and what others go on taking, is the next call's.
    for (let turn = 0; turn < turnsMax; turn++) if (!((await archiveOnce({ ...options, onFile }, 'committed')) instanceof ConflictError)) return
  })
}

/** Archives the ranges that are open at the moment. Resolves to the conflict where another archiver took one of them. */
async function archiveOnce(options: ArchiveOptions, upTo: number | 'committed'): Promise<'nothing' | 'archived' | ConflictError> {
  const ranges = await rangesToArchive(options.database.pool, upTo)
  if (ranges.length === 0) return 'nothing'
  try {
    await checkTopics(options, ranges)
    for (const range of ranges) {
      for (const piece of pieces(range, options.fileOffsetsMax)) {
        options.signal.throwIfAborted()
        await archiveRange(options, piece)
      }
    }
    return 'archived'
  } catch (thrown) {
    if (!(thrown instanceof ConflictError)) throw thrown
    return thrown
  }
}

/** Collects the files of a run, and adds what it registered to the totals, also where it failed on the way. */
async function recorded(options: ArchiveOptions, kind: ArchiveRunKind, archive: (onFile: (file: ArchiveFile) => void) => Promise<void>): Promise<ArchiveFile[]> {
  const files: ArchiveFile[] = []
  const beganAt = performance.now()
  try {
    await archive((file) => {
      files.push(file)
      options.onFile?.(file)
    })
    return files
  } finally {
    if (files.length > 0) await recordArchiveRun(options.database.pool, kind, files, performance.now() - beganAt).catch(() => undefined)
  }
}

/**
 * Writes registered files that the lake has lost, or holds with other bytes, again, from the log, and swaps their rows of the register. Resolves to their new paths.
 * Throws CorruptError, once all others are written, naming files of imports: no log holds those.
 */
export async function repairArchive(options: ArchiveOptions, epoch: number): Promise<string[]> {
  const lost: string[] = []
  const rewrittenFiles = await recorded(options, 'repair', (onFile) => rewriteLost(options, epoch, lost, onFile))
  const repaired = rewrittenFiles.map((file) => file.path)
  if (lost.length > 0) {
    throw new CorruptError(`${repaired.length} files were written again. No log holds what was imported: put these back from a copy of the lake, or from a backup: ${lost.join('; ')}.`, { repaired, lost })
  }
  return repaired
}

async function rewriteLost(options: ArchiveOptions, epoch: number, lost: string[], onFile: (file: ArchiveFile) => void): Promise<void> {
  const imports = new Map((await listImports(options.database.pool)).map(({ name, topic, partition }) => [`${topic} ${partition}`, name]))
  for (const file of await listFiles(options.database.pool, 0, epoch)) {
    if (file.rows === 0) continue
    if ((await options.lake.stat(file.path)) === null) await reclaim(options.lake, file)
    if (await isWhole(options.lake, file)) continue
    const imported = imports.get(`${file.topic} ${file.partition}`)
    if (imported !== undefined) {
      lost.push(`${file.path} of the import ${imported}, lines ${file.fromOffset + 1} to ${file.toOffset}`)
      continue
    }
    // The log may hold those still who were erased from the archive.
    const rewritten = await writeRange(options, file, await readErasedUsers(options.database.pool))
    try {
      await replaceFile(options.database, file, rewritten)
      onFile(rewritten)
    } catch (thrown) {
      // Swapped meanwhile: another repair, or a compaction, had read what was whole then.
      if (!(thrown instanceof ConflictError)) throw thrown
    }
  }
}

/** Records of a topic that was made anew must not pass for those that were counted. Throws LossError. */
async function checkTopics({ database, log, signal }: ArchiveOptions, ranges: readonly ArchiveRange[]): Promise<void> {
  for (const topic of new Set(ranges.map((range) => range.topic))) {
    const partitions = new Set(ranges.filter((range) => range.topic === topic).map((range) => range.partition))
    await checkCommitted(database.pool, log, topic, [...partitions], signal)
  }
}

function* pieces(range: ArchiveRange, offsetsMax: number): Iterable<ArchiveRange> {
  for (let fromOffset = range.fromOffset; fromOffset < range.toOffset; fromOffset += offsetsMax) {
    yield { ...range, fromOffset, toOffset: Math.min(fromOffset + offsetsMax, range.toOffset) }
  }
}

async function archiveRange(options: ArchiveOptions, range: ArchiveRange): Promise<ArchiveFile> {
  const file = await writeRange(options, range)
  // The topic may have been made anew while it was read.
  await checkTopics(options, [range])
  await options.beforeRegister?.(file)
  await registerFile(options.database, file, options.decoder.logicVersion)
  options.onFile?.(file)
  return file
}

/** Writes the range's file, verified; registers nothing. */
async function writeRange(options: ArchiveOptions, range: ArchiveRange, erased: ReadonlySet<string> = new Set()): Promise<ArchiveFile> {
  const sums = new ArchiveSums()
  return writeArchiveFile(options, range, sums, rowGroups(options, range, sums, erased))
}

/** Writes a file of these row groups, whose sums are gathered while they are made, and verifies it; registers nothing. A range without rows has no file. */
export async function writeArchiveFile(
  { lake, codec }: Pick<ArchiveOptions, 'lake' | 'codec'>,
  range: ArchiveRange,
  sums: ArchiveSums,
  rowGroupsOfRange: AsyncIterable<readonly ParquetValues[]>,
): Promise<ArchiveFile> {
  const groups = rowGroupsOfRange[Symbol.asyncIterator]()
  // The first row group tells the folder, and whether there is anything to write at all.
  const first = await groups.next()
  const name = `${range.topic}+${range.partition}+${range.fromOffset}+${range.toOffset}+${randomUUID()}`
  if (first.done === true) return archiveFile(range, sums, `none/${name}`, 0, '')
  const month = formatDay(Math.floor(sums.firstLogTimeMs! / 86_400_000)).slice(0, 7)
  const path = `${range.topic}/logged=${month}/${name}.parquet`
  const body = codec.encode(archiveColumns, startingWith(first.value, groups))
  const { bytes, sha256 } = await putVerified(lake, path, body, async (file) => {
    const rows = await codec.rowCount(file)
    if (rows !== sums.rows) throw new CorruptError(`${path} holds ${rows} rows where ${sums.rows} were written.`, { path })
  })
  return archiveFile(range, sums, path, bytes, sha256)
}

function archiveFile(range: ArchiveRange, sums: ArchiveSums, path: string, bytes: number, sha256: string): ArchiveFile {
  const { topic, partition, fromOffset, toOffset, epoch } = range
  const months = [...sums.months].sort((a, b) => a - b).map(formatDay)
  const { rows, accepted, refused, hashHiSum, hashLoSum, quantitySum, totalMinorSum, firstLogTimeMs, lastLogTimeMs } = sums
  const contents = { rows, accepted, refused, hashHiSum, hashLoSum, quantitySum, totalMinorSum, months, bytes, sha256, firstLogTimeMs, lastLogTimeMs }
  return { path, topic, partition, fromOffset, toOffset, epoch, ...contents }
}

async function* startingWith<T>(first: T, rest: AsyncIterator<T>): AsyncGenerator<T> {
  yield first
  for (;;) {
    const next = await rest.next()
    if (next.done === true) return
    yield next.value
  }
}

async function* rowGroups(options: ArchiveOptions, range: ArchiveRange, sums: ArchiveSums, erased: ReadonlySet<string>): AsyncGenerator<readonly ParquetValues[]> {
  let rows = new ArchiveRows(range.epoch, range.partition, sums)
  for await (const batch of readRange(options, range)) {
    for (const record of batch.records) {
      if (record.offset < range.fromOffset || record.offset >= range.toOffset) continue
      for (const row of withoutErased(rowsOf(range, record, options.decoder), erased)) rows.push(row)
      if (rows.rows < rowGroupRows && rows.bytes < rowGroupBytes) continue
      yield rows.columns
      rows = new ArchiveRows(range.epoch, range.partition, sums)
    }
  }
  if (rows.rows > 0) yield rows.columns
}

function rowsOf({ topic, epoch, partition }: ArchiveRange, record: LogRecord, decoder: Decoder): readonly ArchiveRow[] {
  if (isReferenceTopic(topic)) return [referenceRowOf(topic, epoch, partition, record, decodeReference(topic, record))]
  return archiveRowsOf(epoch, partition, record, decoder.decode(record, topic))
}

/**
 * The range's batches: from the log, and what it has forgotten from the lake, which holds it still where the database was put back. Ending early is an
 * error, since a short file would pass for the whole range.
 */
async function* readRange(options: ArchiveOptions, range: ArchiveRange): AsyncGenerator<LogBatch> {
  const { topic, partition, toOffset } = range
  let position = range.fromOffset
  while (position < toOffset) {
    for await (const batch of readLog(options, range, position)) {
      position = Math.max(position, batch.to)
      yield batch
    }
    options.signal.throwIfAborted()
    if (position >= toOffset) return
    const first = (await options.log.bounds(topic)).first.get(partition) ?? 0
    const lost = { topic, partition, from: position, to: first > position ? first : toOffset }
    const behind = Math.min(lost.to, toOffset)
    const { database, lake, engine } = options
    const refill = engine === undefined || first <= position ? null : await readLakeRange({ queryable: database.pool, lake, engine }, topic, partition, position, behind)
    if (refill === null) {
      throw new LossError(
        `The log of ${topic} partition ${partition} gives nothing between ${position} and ${lost.to}: the range is not archived, and the batch before goes on serving. ` +
          (first > position ? `Put the records back, or give them up with "${acceptLossCommand(lost)}".` : 'Look with "tidemark doctor" why, and run the batch again.'),
        lost,
      )
    }
    yield* refill
    position = behind
  }
}

/** What the log holds from there on, as far as it goes without a hole. */
async function* readLog(options: ArchiveOptions, { topic, partition, toOffset }: ArchiveRange, from: number): AsyncGenerator<LogBatch> {
  let position = from
  const to = new Map([[partition, toOffset]])
  try {
    for await (const batch of options.log.read(topic, new Map([[partition, from]]), { to, signal: options.signal })) {
      if (batch.from > position) return
      position = batch.to
      yield batch
    }
  } catch (thrown) {
    if (!(thrown instanceof LossError)) throw thrown
  }
}
