/**
 * The archive's register. It alone decides what is read: a file without a row does not exist, a row without its file stops the batch. The
 * registered ranges of a partition tile [first offset, archive end) with no hole and no overlap.
 */
import { ConflictError, CorruptError } from '#core/errors.ts'
import { hasFigures } from './counted-topics.ts'
import type { Database, Queryable } from './database.ts'
import { inTransaction, run } from './database.ts'

export type ArchiveFile = {
  /** Relative to the lake's root; of a range without records `none/…`, which is no file. */
  readonly path: string
  readonly topic: string
  readonly partition: number
  readonly fromOffset: number
  readonly toOffset: number
  readonly epoch: number
  /** Events and refused records in the file. */
  readonly rows: number
  readonly accepted: number
  readonly refused: number
  /** Sums over accepted rows, to hold what a query engine read against. */
  readonly hashHiSum: bigint
  readonly hashLoSum: bigint
  readonly quantitySum: bigint
  readonly totalMinorSum: bigint
  /** First days of the local months of its events. */
  readonly months: readonly string[]
  readonly bytes: number
  readonly sha256: string
  readonly firstLogTimeMs: number | null
  readonly lastLogTimeMs: number | null
}

/** A range to archive: within one epoch, so that no file straddles a cut. */
export type ArchiveRange = { readonly topic: string; readonly partition: number; readonly epoch: number; readonly fromOffset: number; readonly toOffset: number }

/**
 * What is still to be archived up to the cut that ended `epoch`, in order, one range per epoch and partition; `committed`: up to where the speed layer stands,
 * which is of the epoch that is being written. Epoch and offsets come from one statement: whatever cut follows, its horizon lies at or above them.
 */
export async function rangesToArchive(queryable: Queryable, upTo: number | 'committed'): Promise<ArchiveRange[]> {
  const rows = await run<{ topic: string; partition: number; epoch: bigint; from_offset: bigint; to_offset: bigint }>(
    queryable,
    /* sql */ `
    WITH ends AS (
      SELECT topic, partition, epoch, next_offset FROM cut_offsets WHERE epoch <= $1 OR $1 IS NULL
      UNION ALL
      SELECT o.topic, o.partition, s.epoch, o.next_offset FROM committed_offsets o, lake_state s WHERE $1 IS NULL
    ), bounds AS (
      SELECT c.topic, c.partition, c.epoch, c.next_offset AS to_offset,
        coalesce(lag(c.next_offset) OVER (PARTITION BY c.topic, c.partition ORDER BY c.epoch), o.first_offset) AS from_offset,
        coalesce(e.next_offset, o.first_offset) AS archived
      FROM ends c
      JOIN committed_offsets o USING (topic, partition)
      LEFT JOIN archive_ends e USING (topic, partition)
    )
    SELECT topic, partition, epoch, greatest(from_offset, archived) AS from_offset, to_offset FROM bounds
    WHERE to_offset > greatest(from_offset, archived) ORDER BY epoch, topic, partition`,
    [upTo === 'committed' ? null : upTo],
  )
  return rows.map((row) => ({
    topic: row.topic,
    partition: row.partition,
    epoch: Number(row.epoch),
    fromOffset: Number(row.from_offset),
    toOffset: Number(row.to_offset),
  }))
}

/** Offsets that are counted and not archived, in the partition that has most of them. */
export async function readArchiveBacklog(queryable: Queryable): Promise<number> {
  const [row] = await run<{ backlog: bigint | null }>(
    queryable,
    'SELECT max(o.next_offset - coalesce(e.next_offset, o.first_offset)) AS backlog FROM committed_offsets o LEFT JOIN archive_ends e USING (topic, partition)',
  )
  return Number(row?.backlog ?? 0n)
}

/**
 * Registers a finished file, if the partition's archive still ends where the file begins and its range belongs to its epoch. Durable when it returns. Throws
 * ConflictError where another archiver was first, or where the database lost the flushes in a crash: this one's file is then an orphan, and the register
 * stays as it is.
 */
export async function registerFile(database: Database, file: ArchiveFile, logicVersion: string | null = null): Promise<void> {
  await inTransaction(database, {}, (client) => registerWithin(client, file, logicVersion))
}

/** The same within the caller's transaction, which must be durable. */
export async function registerWithin(client: Queryable, file: ArchiveFile, logicVersion: string | null = null): Promise<void> {
  await client.query(
    /* sql */ `
    INSERT INTO archive_ends (topic, partition, next_offset)
    SELECT topic, partition, first_offset FROM committed_offsets WHERE topic = $1 AND partition = $2 ON CONFLICT DO NOTHING`,
    [file.topic, file.partition],
  )
  const moved = await client.query('UPDATE archive_ends SET next_offset = $4 WHERE topic = $1 AND partition = $2 AND next_offset = $3', [
    file.topic,
    file.partition,
    file.fromOffset,
    file.toOffset,
  ])
  if (moved.rowCount !== 1) {
    throw new ConflictError(`The archive of ${file.topic} partition ${file.partition} does not end at ${file.fromOffset} any more: another archiver was first.`)
  }
  await refuseOtherEpoch(client, file)
  await insertFile(client, file, 1, logicVersion)
}

/**
 * Flushes commit without waiting for the disk, so a crash of the database may take back what an archiver has read of the epoch being written; counted again, a
 * cut may come to lie within the range. What this statement sees is made durable by the registration's own commit.
 */
async function refuseOtherEpoch(client: Queryable, { topic, partition, epoch, fromOffset, toOffset }: ArchiveFile): Promise<void> {
  const [bounds] = await run<{ begins: bigint; ends: bigint | null }>(
    client,
    /* sql */ `
    SELECT coalesce((SELECT max(next_offset) FROM cut_offsets c WHERE c.topic = o.topic AND c.partition = o.partition AND c.epoch < $3), o.first_offset) AS begins,
      CASE WHEN s.epoch = $3 THEN o.next_offset
        ELSE (SELECT next_offset FROM cut_offsets c WHERE c.topic = o.topic AND c.partition = o.partition AND c.epoch = $3) END AS ends
    FROM committed_offsets o, lake_state s WHERE o.topic = $1 AND o.partition = $2`,
    [topic, partition, epoch],
  )
  if (bounds !== undefined && bounds.ends !== null && Number(bounds.begins) <= fromOffset && toOffset <= Number(bounds.ends)) return
  throw new ConflictError(`Epoch ${epoch} does not hold ${fromOffset} to ${toOffset} of ${topic} partition ${partition}: the range must be asked for again.`, { ...bounds })
}

export type SwapReason = 'compacted' | 'repaired' | 'redecoded' | 'erased'

/**
 * Puts a rewritten file in the place of registered ones that cover the same offsets of one partition and epoch, within the caller's transaction, and records
 * the swap. Its sums must be theirs, unless its fields were decoded anew (`redecoded`, then with the logic version that did it). Throws ConflictError where a
 * row of `old` is not registered as it is given any more, CorruptError where the contents differ. The old files stay for readers that began before.
 */
export async function swapFiles(client: Queryable, old: readonly ArchiveFile[], rewritten: ArchiveFile, reason: SwapReason, logicVersion?: string): Promise<void> {
  const inOrder = [...old].sort((a, b) => a.fromOffset - b.fromOffset)
  refuseOtherRange(inOrder, rewritten)
  if (reason !== 'redecoded') refuseOtherSums(inOrder, rewritten)
  const removed = await run<{ path: string; sha256: string; rows: bigint; generation: number; logic_version: string | null }>(
    client,
    /* sql */ `
    WITH locked AS (SELECT path FROM archive_files WHERE path = ANY ($1) ORDER BY path FOR UPDATE)
    DELETE FROM archive_files f USING locked l WHERE f.path = l.path RETURNING f.path, f.sha256, f.rows, f.generation, f.logic_version`,
    [inOrder.map((file) => file.path)],
  )
  const found = new Map(removed.map((row) => [row.path, row]))
  for (const { path, sha256, rows, topic, partition } of inOrder) {
    const row = found.get(path)
    if (row?.sha256 === sha256 && Number(row.rows) === rows) continue
    throw new ConflictError(`${path} of ${topic} partition ${partition} was swapped for another file meanwhile: read the register again.`, { path })
  }
  const generation = Math.max(...removed.map((row) => row.generation)) + 1
  await insertFile(client, rewritten, generation, logicVersion ?? removed[0]!.logic_version)
  await recordSwap(client, inOrder, rewritten, reason, generation)
}

/** Puts a rewritten file in the place of one that was lost. Its contents must be the registered ones, to the sum. */
export async function replaceFile(database: Database, lost: ArchiveFile, rewritten: ArchiveFile): Promise<void> {
  await inTransaction(database, {}, (client) => swapFiles(client, [lost], rewritten, 'repaired'))
}

function refuseOtherRange(old: readonly ArchiveFile[], rewritten: ArchiveFile): void {
  let at = rewritten.fromOffset
  const fits = old.every((file) => {
    const follows = file.topic === rewritten.topic && file.partition === rewritten.partition && file.epoch === rewritten.epoch && file.fromOffset === at
    at = file.toOffset
    return follows
  })
  if (fits && old.length > 0 && at === rewritten.toOffset) return
  throw new CorruptError(`${rewritten.path} does not cover what ${old.map((file) => file.path).join(', ') || 'no file'} cover: nothing was swapped.`, { old, rewritten })
}

const contentSums = ['rows', 'accepted', 'refused', 'hashHiSum', 'hashLoSum', 'quantitySum', 'totalMinorSum'] as const

function refuseOtherSums(old: readonly ArchiveFile[], rewritten: ArchiveFile): void {
  const wrong = contentSums.filter((name) => old.reduce((sum, file) => sum + BigInt(file[name]), 0n) !== BigInt(rewritten[name]))
  if (wrong.length === 0) return
  const { topic, partition, fromOffset, toOffset } = rewritten
  throw new CorruptError(
    `The records ${fromOffset} to ${toOffset} of ${topic} partition ${partition} in ${rewritten.path} are not those that ${old.map((file) => file.path).join(', ')} held: other ${wrong.join(', ')}.`,
    { old, rewritten },
  )
}

async function recordSwap(client: Queryable, old: readonly ArchiveFile[], rewritten: ArchiveFile, reason: SwapReason, generation: number): Promise<void> {
  const { path, topic, partition, fromOffset, toOffset, epoch, rows, bytes, sha256 } = rewritten
  const sum = (of: (file: ArchiveFile) => number): number => old.reduce((total, file) => total + of(file), 0)
  const [row] = await run<{ swap: bigint }>(
    client,
    /* sql */ `
    INSERT INTO archive_swaps (reason, topic, partition, from_offset, to_offset, epoch, generation, new_path, old_files, old_rows, old_bytes, rows, bytes, sha256)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING swap`,
    [reason, topic, partition, fromOffset, toOffset, epoch, generation, path, old.length, sum((file) => file.rows), sum((file) => file.bytes), rows, bytes, sha256],
  )
  // Ranges without records have no file.
  const files = old.filter((file) => file.rows > 0)
  await run(
    client,
    /* sql */ `
    INSERT INTO swapped_files (path, swap, rows, bytes, sha256)
    SELECT f.path, $1, f.rows, f.bytes, f.sha256 FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[]) AS f (path, rows, bytes, sha256)`,
    [row!.swap, files.map((file) => file.path), files.map((file) => file.rows), files.map((file) => file.bytes), files.map((file) => file.sha256)],
  )
}

async function insertFile(client: Queryable, file: ArchiveFile, generation: number, logicVersion: string | null): Promise<void> {
  await run(
    client,
    /* sql */ `
    INSERT INTO archive_files (path, topic, partition, from_offset, to_offset, epoch, rows, accepted, refused, hash_hi_sum, hash_lo_sum,
      quantity_sum, total_minor_sum, months, bytes, sha256, first_log_time_ms, last_log_time_ms, generation, logic_version)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)`,
    [...identity(file), ...contents(file), generation, logicVersion],
  )
}

function identity(file: ArchiveFile): unknown[] {
  return [file.path, file.topic, file.partition, file.fromOffset, file.toOffset, file.epoch]
}

function contents(file: ArchiveFile): unknown[] {
  return [
    file.rows,
    file.accepted,
    file.refused,
    file.hashHiSum,
    file.hashLoSum,
    file.quantitySum,
    file.totalMinorSum,
    file.months,
    file.bytes,
    file.sha256,
    file.firstLogTimeMs,
    file.lastLogTimeMs,
  ]
}

type FileRow = {
  path: string
  topic: string
  partition: number
  from_offset: bigint
  to_offset: bigint
  epoch: bigint
  rows: bigint
  accepted: bigint
  refused: bigint
  hash_hi_sum: bigint
  hash_lo_sum: bigint
  quantity_sum: bigint
  total_minor_sum: string
  months: string[]
  bytes: bigint
  sha256: string
  first_log_time_ms: bigint | null
  last_log_time_ms: bigint | null
}

/** Registered files of the epochs above `aboveEpoch` up to `toEpoch`, in order of range. */
export async function listFiles(queryable: Queryable, aboveEpoch: number, toEpoch: number): Promise<ArchiveFile[]> {
  return selectFiles(queryable, 'epoch > $1 AND epoch <= $2', [aboveEpoch, toEpoch])
}

/** Every registered file with what compaction must know beside it: whether its columns are of the store's own logic, on which those of users and products do not depend. */
export async function listCompactable(queryable: Queryable): Promise<{ readonly files: ArchiveFile[]; readonly currentEpoch: number }> {
  const [state] = await run<{ epoch: bigint }>(queryable, 'SELECT epoch FROM lake_state')
  const files = await selectFiles(
    queryable,
    /* sql */ `(NOT (${hasFigures('topic')}) OR coalesce(logic_version, '') IN (SELECT coalesce(logic_version, '') FROM lake_state UNION ALL SELECT ''))
      AND path NOT IN (SELECT replaces FROM pending_files)`,
    [],
  )
  return { files, currentEpoch: Number(state!.epoch) }
}

/** The full batch that reads the archive file by file just now, or waits for a person's word to put its own files there; null where there is none. */
export async function fullBatchUnderWay(queryable: Queryable): Promise<number | null> {
  const [row] = await run<{ batch: bigint }>(queryable, `SELECT batch FROM batches WHERE kind = 'full' AND status IN ('running', 'held') ORDER BY batch LIMIT 1`)
  return row === undefined ? null : Number(row.batch)
}

/** Registered files of a partition that hold some of the offsets `from` inclusive to `to` exclusive, in order. */
export async function filesOfRange(queryable: Queryable, topic: string, partition: number, from: number, to: number): Promise<ArchiveFile[]> {
  return selectFiles(queryable, 'topic = $1 AND partition = $2 AND from_offset < $4 AND to_offset > $3', [topic, partition, from, to])
}

/** Those of these paths that are registered. */
export async function readFiles(queryable: Queryable, paths: readonly string[]): Promise<ArchiveFile[]> {
  return selectFiles(queryable, 'path = ANY ($1)', [paths])
}

async function selectFiles(queryable: Queryable, condition: string, values: readonly unknown[]): Promise<ArchiveFile[]> {
  const rows = await run<FileRow>(
    queryable,
    /* sql */ `
    SELECT path, topic, partition, from_offset, to_offset, epoch, rows, accepted, refused, hash_hi_sum, hash_lo_sum, quantity_sum, total_minor_sum,
      months::text[] AS months, bytes, sha256, first_log_time_ms, last_log_time_ms
    FROM archive_files WHERE ${condition} ORDER BY topic, partition, from_offset`,
    [...values],
  )
  return rows.map((row) => ({
    path: row.path,
    topic: row.topic,
    partition: row.partition,
    fromOffset: Number(row.from_offset),
    toOffset: Number(row.to_offset),
    epoch: Number(row.epoch),
    rows: Number(row.rows),
    accepted: Number(row.accepted),
    refused: Number(row.refused),
    hashHiSum: row.hash_hi_sum,
    hashLoSum: row.hash_lo_sum,
    quantitySum: row.quantity_sum,
    totalMinorSum: BigInt(row.total_minor_sum),
    months: row.months,
    bytes: Number(row.bytes),
    sha256: row.sha256,
    firstLogTimeMs: row.first_log_time_ms === null ? null : Number(row.first_log_time_ms),
    lastLogTimeMs: row.last_log_time_ms === null ? null : Number(row.last_log_time_ms),
  }))
}

/** Throws CorruptError naming the first hole or overlap below the cut that ended `epoch`. */
export async function checkTiling(queryable: Queryable, epoch: number): Promise<void> {
  const rows = await run<{ topic: string; partition: number; expected: bigint; found: bigint | null; path: string | null }>(
    queryable,
    /* sql */ `
    WITH files AS (
      SELECT topic, partition, path, from_offset, to_offset,
        coalesce(lag(to_offset) OVER (PARTITION BY topic, partition ORDER BY from_offset, to_offset), o.first_offset) AS expected
      FROM archive_files JOIN committed_offsets o USING (topic, partition) WHERE epoch <= $1
    ), ends AS (
      SELECT c.topic, c.partition, c.next_offset AS expected,
        (SELECT max(to_offset) FROM files f WHERE f.topic = c.topic AND f.partition = c.partition) AS found
      FROM cut_offsets c JOIN committed_offsets o USING (topic, partition) WHERE c.epoch = $1 AND c.next_offset > o.first_offset
    )
    SELECT topic, partition, expected, from_offset AS found, path FROM files WHERE from_offset <> expected
    UNION ALL
    SELECT topic, partition, expected, found, NULL FROM ends WHERE found IS DISTINCT FROM expected
    ORDER BY topic, partition, expected LIMIT 1`,
    [epoch],
  )
  const [wrong] = rows
  if (wrong === undefined) return
  const where = wrong.path === null ? `ends at ${wrong.found ?? 'nothing'}` : `has ${wrong.path} begin at ${wrong.found}`
  throw new CorruptError(
    `The archive of ${wrong.topic} partition ${wrong.partition} ${where} where ${wrong.expected} is due: the register has a hole or an overlap. ` +
      `Nothing is computed from it; restore the register's rows from a backup of the database.`,
    { ...wrong },
  )
}

/** Which of these paths the store knows: registered files of the archive, those that a publication will register, and files of published reports. */
export async function registeredPaths(queryable: Queryable, paths: readonly string[]): Promise<Set<string>> {
  const rows = await run<{ path: string }>(
    queryable,
    /* sql */ `
    SELECT path FROM archive_files WHERE path = ANY ($1)
    UNION ALL SELECT path FROM pending_files WHERE path = ANY ($1)
    UNION ALL SELECT path FROM report_files WHERE path = ANY ($1)`,
    [paths],
  )
  return new Set(rows.map((row) => row.path))
}

/** Where the archive of each partition ends. */
export async function archiveEnds(queryable: Queryable, topic: string): Promise<Map<number, number>> {
  const rows = await run<{ partition: number; next_offset: bigint }>(queryable, 'SELECT partition, next_offset FROM archive_ends WHERE topic = $1', [topic])
  return new Map(rows.map((row) => [row.partition, Number(row.next_offset)]))
}

/**
 * A log time, UTC ms, at or before that of the oldest record that is counted and not archived: of the newest archived one before it, or of the store's
 * beginning. Null where all is archived.
 */
export async function readOldestUnarchivedMs(queryable: Queryable): Promise<number | null> {
  const [row] = await run<{ oldest: bigint | null }>(
    queryable,
    /* sql */ `
    SELECT min(coalesce(
      (SELECT max(f.last_log_time_ms) FROM archive_files f WHERE f.topic = o.topic AND f.partition = o.partition),
      (SELECT extract(epoch FROM created_at) * 1000 FROM lake_state)::bigint)) AS oldest
    FROM committed_offsets o LEFT JOIN archive_ends e USING (topic, partition)
    WHERE o.next_offset > coalesce(e.next_offset, o.first_offset)`,
  )
  return row?.oldest === null || row === undefined ? null : Number(row.oldest)
}
