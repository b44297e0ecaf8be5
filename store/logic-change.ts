/**
 * What a publication with another logic version changes beside the figures, all of it in its transaction: the store's version, the ledger (new checksums, and
 * ids that count or count no more), the dead letters, each partition's totals, and how many ids count in each epoch. It is made ready in staging tables
 * while no flush commits, so that the transaction is short.
 */
import type { PoolClient } from 'pg'
import { OvertakenError } from '#core/errors.ts'
import type { Batch } from './batches.ts'
import type { EpochCount } from './cross-check.ts'
import type { Queryable } from './database.ts'
import { run } from './database.ts'
import { lockKeys, lockPurpose } from './epochs.ts'

export type PartitionAccount = { readonly partition: number; readonly accepted: bigint; readonly copies: bigint; readonly conflicts: bigint; readonly refused: bigint; readonly late: bigint }

export type LogicChange = {
  readonly topic: string
  /** By (epoch, partition): what the archive counts more than the live side, corrections of before included. */
  readonly counts: readonly EpochCount[]
  /** What the archive says of each partition whose log has no hole. */
  readonly accounts: readonly PartitionAccount[]
}

export type StagedPage = {
  readonly topic: string
  readonly partition: number
  readonly epoch: number
  readonly fromOffset: number
  readonly toOffset: number
  readonly ids: number
  readonly entries: Uint8Array
}

export async function stagePage(queryable: Queryable, batch: number, place: number, page: StagedPage): Promise<void> {
  const { topic, partition, epoch, fromOffset, toOffset, ids, entries } = page
  const bytes = Buffer.from(entries.buffer, entries.byteOffset, entries.byteLength)
  await run(queryable, 'INSERT INTO staged_pages (batch, place, topic, partition, epoch, from_offset, to_offset, ids, entries) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)', [
    batch,
    place,
    topic,
    partition,
    epoch,
    fromOffset,
    toOffset,
    ids,
    bytes,
  ])
}

export type LetterPlace = { readonly partition: number; readonly offset: number; readonly index: number }

export type StagedLetter = LetterPlace & {
  readonly reason: string
  readonly detail: string
  readonly logTimeMs: number
  readonly first: { readonly partition: number; readonly offset: number } | null
  readonly headers: string | null
  readonly bytes: Uint8Array
}

/** Positions that are dead letters no more. */
export async function stageRemovals(queryable: Queryable, batch: number, topic: string, places: readonly LetterPlace[]): Promise<void> {
  await run(
    queryable,
    'INSERT INTO staged_letters (batch, topic, partition, log_offset, record_index) SELECT $1, $2, * FROM unnest($3::int[], $4::bigint[], $5::int[])',
    [batch, topic, places.map(({ partition }) => partition), places.map(({ offset }) => offset), places.map(({ index }) => index)],
  )
}

export async function stageLetter(queryable: Queryable, batch: number, topic: string, letter: StagedLetter): Promise<void> {
  const { partition, offset, index, reason, detail, logTimeMs, first, headers, bytes } = letter
  await run(
    queryable,
    /* sql */ `
    INSERT INTO staged_letters (batch, topic, partition, log_offset, record_index, reason, detail, log_time_ms, first_partition, first_offset, headers, bytes)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
    [
      batch,
      topic,
      partition,
      offset,
      index,
      reason,
      detail,
      logTimeMs,
      first?.partition ?? null,
      first?.offset ?? null,
      headers,
      Buffer.from(bytes),
    ],
  )
}

export async function dropStagedLogic(queryable: Queryable, batch: number): Promise<void> {
  await run(queryable, 'DELETE FROM staged_pages WHERE batch = $1', [batch])
  await run(queryable, 'DELETE FROM staged_letters WHERE batch = $1', [batch])
}

/** The dead letters of a topic below the cut that ended `epoch`, by partition, offset and index. */
export async function readLetterPlaces(queryable: Queryable, topic: string): Promise<Map<string, LetterPlace & { readonly reason: string; readonly firstOffset: number | null }>> {
  const rows = await run<{ partition: number; log_offset: bigint; record_index: number; reason: string; first_offset: bigint | null }>(
    queryable,
    'SELECT partition, log_offset, record_index, reason, first_offset FROM dead_letters WHERE topic = $1',
    [topic],
  )
  return new Map(
    rows.map((row) => {
      const place = { partition: row.partition, offset: Number(row.log_offset), index: row.record_index }
      return [letterKey(place), { ...place, reason: row.reason, firstOffset: row.first_offset === null ? null : Number(row.first_offset) }]
    }),
  )
}

export function letterKey({ partition, offset, index }: LetterPlace): string {
  return `${partition}:${offset}:${index}`
}

/** Partition → where its ledger pages begin. */
export async function ledgerBegins(queryable: Queryable, topic: string): Promise<Map<number, number>> {
  const rows = await run<{ partition: number; from_offset: bigint }>(queryable, 'SELECT partition, min(from_offset) AS from_offset FROM ledger_pages WHERE topic = $1 GROUP BY partition ORDER BY partition', [
    topic,
  ])
  return new Map(rows.map((row) => [row.partition, Number(row.from_offset)]))
}

/** Within the transaction that publishes the batch. Throws OvertakenError where flushes went on meanwhile, since this run was taken for dead. */
export async function changeLogic(client: PoolClient, batch: Batch, { topic, counts, accounts }: LogicChange): Promise<void> {
  const switched = await client.query('UPDATE lake_state SET logic_version = $1, switching_batch = NULL WHERE switching_batch = $2', [batch.logicVersion, batch.batch])
  if (switched.rowCount !== 1) throw new OvertakenError(`Batch ${batch.batch} lost its connection to the database, and counting went on with the logic of before. Run it again.`)
  await client.query('UPDATE archive_files SET logic_version = $1 WHERE topic = $2 AND epoch <= $3', [batch.logicVersion, topic, batch.epoch])
  await bookCounts(client, batch, topic, counts)
  await replacePages(client, batch, topic)
  await replaceLetters(client, batch, topic)
  await client.query(
    /* sql */ `
    UPDATE committed_offsets o SET accepted = a.accepted, copies = a.copies, conflicts = a.conflicts, refused = a.refused, late = a.late
    FROM unnest($2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[]) AS a (partition, accepted, copies, conflicts, refused, late)
    WHERE o.topic = $1 AND o.partition = a.partition`,
    [topic, ...(['partition', 'accepted', 'copies', 'conflicts', 'refused', 'late'] as const).map((name) => accounts.map((account) => account[name]))],
  )
  // Minutes of the other logic cannot be told from those that will be added to them.
  await client.query('DELETE FROM live_minutes')
  await dropStagedLogic(client, batch.batch)
}

/** So that counts, like figures, add up between any two kept batches. */
async function bookCounts(client: PoolClient, batch: Batch, topic: string, counts: readonly EpochCount[]): Promise<void> {
  await client.query(
    /* sql */ `
    INSERT INTO correction_counts (batch, epoch, counted_epoch, topic, partition, events, hash_hi_sum, hash_lo_sum)
    SELECT $1, $2, c.epoch, $3, c.partition, c.events, c.hi, c.lo
    FROM unnest($4::bigint[], $5::int[], $6::bigint[], $7::bigint[], $8::bigint[]) AS c (epoch, partition, events, hi, lo)`,
    [
      batch.batch,
      batch.epoch,
      topic,
      counts.map((count) => count.epoch),
      counts.map((count) => count.partition),
      counts.map((count) => count.events),
      counts.map((count) => count.hashHiSum),
      counts.map((count) => count.hashLoSum),
    ],
  )
}

/** Pages are read newest first by number, over all partitions: so partitions take turns within an epoch, as their flushes did. */
async function replacePages(client: PoolClient, batch: Batch, topic: string): Promise<void> {
  await client.query(`SELECT pg_advisory_xact_lock(${lockKeys}${lockPurpose.merge})`)
  await client.query('DELETE FROM ledger_pages WHERE topic = $1', [topic])
  await client.query(
    /* sql */ `
    INSERT INTO ledger_pages (topic, partition, epoch, from_offset, to_offset, ids, entries)
    SELECT topic, partition, epoch, from_offset, to_offset, ids, entries FROM (
      SELECT *, row_number() OVER (PARTITION BY epoch, partition ORDER BY place)::float8 / count(*) OVER (PARTITION BY epoch, partition) AS turn
      FROM staged_pages WHERE batch = $1
    ) pages ORDER BY epoch, turn, partition`,
    [batch.batch],
  )
}

async function replaceLetters(client: PoolClient, batch: Batch, topic: string): Promise<void> {
  await client.query(
    /* sql */ `
    DELETE FROM dead_letters d USING staged_letters s
    WHERE s.batch = $1 AND s.reason IS NULL AND d.topic = $2 AND d.partition = s.partition AND d.log_offset = s.log_offset AND d.record_index = s.record_index`,
    [batch.batch, topic],
  )
  await client.query(
    /* sql */ `
    INSERT INTO dead_letters AS d (topic, partition, log_offset, record_index, epoch, reason, detail, log_time_ms, first_partition, first_offset, found_by, headers, bytes)
    SELECT topic, partition, log_offset, record_index, $2, reason, detail, log_time_ms, first_partition, first_offset, 'batch', headers, bytes
    FROM staged_letters WHERE batch = $1 AND reason IS NOT NULL ORDER BY partition, log_offset, record_index
    ON CONFLICT (topic, partition, log_offset, record_index) DO UPDATE SET
      epoch = EXCLUDED.epoch, reason = EXCLUDED.reason, detail = EXCLUDED.detail, first_partition = EXCLUDED.first_partition, first_offset = EXCLUDED.first_offset`,
    [batch.batch, batch.epoch],
  )
}
