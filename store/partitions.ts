/**
 * Opening partitions: committed offsets and ledger pages in one snapshot. Read in two, a flush between them would be counted twice: its
 * offset seen, its ids not.
 */
import type { Ledger } from '#core/ledger.ts'
import { readPage } from '#core/ledger-page.ts'
import { readPages } from './ledger-pages.ts'
import type { Database } from './database.ts'
import { inTransaction, run } from './database.ts'
import { isSameLogic, otherLogic, readLogic, settleSwitch } from './logic.ts'

export type OpenedPartition = {
  readonly partition: number
  readonly nextOffset: number
  /** The last committed record, to notice a topic that was rebuilt. */
  readonly last: { readonly offset: number; readonly checksum: number } | null
}

/** Ids read at a time: pages are large, and only their ids stay. */
const idsPerFetch = 500_000
/** A full ledger takes seconds to fill between two fetches; this transaction holds no lock that others wait for. */
const openingIdleTimeoutMs = 60_000

/**
 * Reads where each partition stands and fills `ledger` with the newest pages that hold `idsMax` ids or just more. `firstOffsets` gives the log's oldest
 * offset for partitions never seen before.
 */
export async function openPartitions(
  database: Database,
  topic: string,
  firstOffsets: ReadonlyMap<number, number>,
  ledger: Ledger,
): Promise<OpenedPartition[]> {
  const partitions = [...firstOffsets.keys()].sort((a, b) => a - b)
  // ON CONFLICT alone would wait for a flush under way, up to seconds where its worker was stopped in it.
  await run(
    database.pool,
    /* sql */ `
    INSERT INTO committed_offsets (topic, partition, first_offset, next_offset)
    SELECT $1, p.partition, p.first_offset, p.first_offset FROM unnest($2::int[], $3::bigint[]) AS p (partition, first_offset)
    WHERE NOT EXISTS (SELECT FROM committed_offsets o WHERE o.topic = $1 AND o.partition = p.partition)
    ORDER BY p.partition ON CONFLICT DO NOTHING`,
    [topic, partitions, partitions.map((partition) => firstOffsets.get(partition)!)],
  )
  return inTransaction(database, { isolation: 'REPEATABLE READ' }, async (client) => {
    await client.query(`SET LOCAL idle_in_transaction_session_timeout = ${openingIdleTimeoutMs}`)
    const offsets = await run<{ partition: number; next_offset: bigint; last_offset: bigint | null; last_checksum: bigint | null }>(
      client,
      'SELECT partition, next_offset, last_offset, last_checksum FROM committed_offsets WHERE topic = $1 AND partition = ANY ($2) ORDER BY partition',
      [topic, partitions],
    )
    const pages = await run<{ page: bigint; ids: number; partition: number }>(
      client,
      'SELECT page, ids, partition FROM ledger_pages WHERE topic = $1 AND partition = ANY ($2) ORDER BY page DESC',
      [topic, partitions],
    )
    const wanted: typeof pages = []
    let ids = 0
    for (const page of pages) {
      // The page that crosses the limit too: the ledger bounds itself, and forgetting a whole page would forget recent ids.
      if (ids >= ledger.idsMax) break
      ids += page.ids
      wanted.push(page)
    }
    // Oldest first, so that what the ledger forgets first is the oldest.
    wanted.reverse()
    const partitionOf = new Map(wanted.map((page) => [page.page, page.partition]))
    for (const chunk of chunksOf(wanted)) {
      for (const row of await readPages(client, chunk.map((page) => page.page))) {
        readPage(row.entries, (key, entry) => ledger.count(key, 0, entry.checksum, partitionOf.get(row.page)!, entry.offset))
      }
    }
    return offsets.map((row) => ({
      partition: row.partition,
      nextOffset: Number(row.next_offset),
      last: row.last_offset === null || row.last_checksum === null ? null : { offset: Number(row.last_offset), checksum: Number(row.last_checksum) },
    }))
  })
}

/** Pages in order, so many at a time that they hold about `idsPerFetch` ids. */
function* chunksOf<Page extends { readonly ids: number }>(pages: readonly Page[]): Generator<Page[]> {
  let chunk: Page[] = []
  let ids = 0
  for (const page of pages) {
    chunk.push(page)
    ids += page.ids
    if (ids < idsPerFetch) continue
    yield chunk
    chunk = []
    ids = 0
  }
  if (chunk.length > 0) yield chunk
}

/**
 * Refuses where the store holds figures made by another logic version: what is asked or archived now would be decoded otherwise than what was counted.
 * Changes nothing: only a speed worker makes a version the store's own.
 */
export async function checkLogic(database: Database, logicVersion: string): Promise<void> {
  const logic = await readLogic(database.pool)
  if (!isSameLogic(logic, logicVersion)) throw otherLogic(logic.version, logicVersion)
}

/**
 * Makes the logic version the store's own, or refuses where the store already holds figures made by another: zone, currency and decoding change under
 * stored days and amounts by a full batch alone. Throws SwitchingError while one is about to publish.
 */
export async function agreeOnLogic(database: Database, logicVersion: string): Promise<void> {
  await settleSwitch(database)
  await run(database.pool, 'UPDATE lake_state SET logic_version = $1 WHERE logic_version IS NULL OR NOT EXISTS (SELECT FROM committed_offsets WHERE records > 0)', [
    logicVersion,
  ])
  const logic = await readLogic(database.pool)
  if (logic.version !== logicVersion) throw otherLogic(logic.version, logicVersion)
}
