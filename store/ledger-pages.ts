/**
 * Ledger pages at rest. Each flush leaves one page a partition, four a second: small old ones are merged in the background, and pages that neither
 * the de-duplication window nor an unpublished epoch needs are dropped.
 */
import type { PoolClient } from 'pg'
import { readPage } from '#core/ledger-page.ts'
import type { Database, Queryable } from './database.ts'
import { inTransaction, run } from './database.ts'
import { lockKeys, lockPurpose } from './epochs.ts'
import type { LostRange } from './losses.ts'

/** A page below this many ids is worth merging. */
const smallPageIds = 20_000
/** Merging fewer than this costs more than it saves; merging more holds a long transaction. */
const mergePagesMin = 32
const mergePagesMax = 512
const mergeIdsMax = 200_000

/** Entries of the pages named, by page. As hexadecimal text: the driver's binary mode reads bytea as UTF-8 and damages it. */
export async function readPages(queryable: Queryable, pages: readonly bigint[]): Promise<{ page: bigint; entries: Buffer }[]> {
  return run<{ page: bigint; entries: Buffer }>(queryable, 'SELECT page, entries FROM ledger_pages WHERE page = ANY ($1) ORDER BY page', [pages])
}

/** Visits the entries of all pages that the condition on `ledger_pages` chooses, in their order, holding one page at a time. */
export async function visitEntries(queryable: Queryable, condition: string, values: readonly unknown[], visit: Parameters<typeof readPage>[1]): Promise<void> {
  const pages = await run<{ page: bigint }>(queryable, `SELECT page FROM ledger_pages WHERE ${condition} ORDER BY page`, values)
  for (const { page } of pages) {
    for (const { entries } of await readPages(queryable, [page])) readPage(entries, visit)
  }
}

/** The same for the entries of one partition whose offsets lie from `from` inclusive to `to` exclusive. */
export async function visitRange(queryable: Queryable, { topic, partition, from, to }: LostRange, visit: Parameters<typeof readPage>[1]): Promise<void> {
  await visitEntries(queryable, 'topic = $1 AND partition = $2 AND from_offset < $4 AND to_offset > $3', [topic, partition, from, to], (key, entry) => {
    if (entry.offset >= from && entry.offset < to) visit(key, entry)
  })
}

/**
 * Merges the oldest run of small pages of one partition and epoch. The new page holds only what this transaction's own DELETE returned, so two
 * mergers, or a merger and a pruner, cannot bring ids back or lose them. Resolves to how many pages became one; 0 when there is nothing to do.
 */
export async function mergeSmallPages(database: Database, pagesMin = mergePagesMin): Promise<number> {
  return inTransaction(database, { durable: false }, async (client) => {
    const [lock] = await run<{ ours: boolean }>(client, `SELECT pg_try_advisory_xact_lock(${lockKeys}${lockPurpose.merge}) AS ours`)
    if (lock?.ours !== true) return 0
    const [group] = await run<{ topic: string; partition: number; epoch: bigint }>(
      client,
      /* sql */ `
      SELECT topic, partition, epoch FROM ledger_pages WHERE ids < ${smallPageIds}
      GROUP BY topic, partition, epoch HAVING count(*) >= $1 ORDER BY count(*) DESC LIMIT 1`,
      [pagesMin],
    )
    return group === undefined ? 0 : mergeGroup(client, group)
  })
}

async function mergeGroup(client: PoolClient, group: { topic: string; partition: number; epoch: bigint }): Promise<number> {
  const rows = await run<{ page: bigint; from_offset: bigint; to_offset: bigint; ids: number; entries: Buffer }>(
    client,
    /* sql */ `
    DELETE FROM ledger_pages WHERE page IN (
      SELECT page FROM (
        SELECT page, sum(ids) OVER (ORDER BY page) AS ids_so_far FROM ledger_pages
        WHERE topic = $1 AND partition = $2 AND epoch = $3 AND ids < ${smallPageIds} ORDER BY page LIMIT ${mergePagesMax}
      ) oldest WHERE ids_so_far <= ${mergeIdsMax})
    RETURNING page, from_offset, to_offset, ids, entries`,
    [group.topic, group.partition, group.epoch],
  )
  if (rows.length === 0) return 0
  rows.sort((a, b) => Number(a.from_offset) - Number(b.from_offset))
  await client.query(
    /* sql */ `
    INSERT INTO ledger_pages (page, topic, partition, epoch, from_offset, to_offset, ids, entries) OVERRIDING SYSTEM VALUE
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [
      // Pages are read newest first by number: a merged page is as new as its newest, or recent ids would count as old.
      rows.map((row) => row.page).reduce((newest, page) => (page > newest ? page : newest)),
      group.topic,
      group.partition,
      group.epoch,
      rows[0]!.from_offset,
      rows.at(-1)!.to_offset,
      rows.reduce((sum, row) => sum + row.ids, 0),
      Buffer.concat(rows.map((row) => row.entries)),
    ],
  )
  return rows.length
}

/**
 * Drops pages beyond the window: a partition's pages older than its newest `idsMax` ids, and only of epochs up to `publishedEpoch`, so that the
 * cross-check always has its evidence.
 */
export async function dropOldPages(queryable: Queryable, idsMax: number, publishedEpoch: number): Promise<number> {
  const rows = await run(
    queryable,
    /* sql */ `
    DELETE FROM ledger_pages WHERE page IN (
      SELECT page FROM (
        SELECT page, ids, epoch, sum(ids) OVER (PARTITION BY topic, partition ORDER BY page DESC) AS ids_up_to FROM ledger_pages
      ) aged WHERE ids_up_to - ids > $1 AND epoch <= $2)
    RETURNING page`,
    [idsMax, publishedEpoch],
  )
  return rows.length
}
