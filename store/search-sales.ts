/** How far the documents of the sales are: positions in the log per index family, months, and the corrections that settle which copy stands. */
import type { Queryable } from './database.ts'
import { run } from './database.ts'
import type { Xid } from './search-follower.ts'

/** Partition → next offset to read, beginning where the speed layer began. */
export async function readSalePositions(queryable: Queryable, index: string, topic: string): Promise<Map<number, number>> {
  const rows = await run<{ partition: number; next_offset: bigint }>(
    queryable,
    /* sql */ `
    SELECT o.partition, coalesce(p.next_offset, o.first_offset) AS next_offset FROM committed_offsets o
    LEFT JOIN search_sale_positions p ON p.index_name = $1 AND p.topic = o.topic AND p.partition = o.partition WHERE o.topic = $2`,
    [index, topic],
  )
  return new Map(rows.map((row) => [row.partition, Number(row.next_offset)]))
}

export async function moveSalePositions(queryable: Queryable, index: string, topic: string, positions: ReadonlyMap<number, number>): Promise<void> {
  await run(
    queryable,
    /* sql */ `
    INSERT INTO search_sale_positions AS t (index_name, topic, partition, next_offset)
    SELECT i.index_name, $2, p.partition, p.next_offset FROM search_indices i, unnest($3::int[], $4::bigint[]) AS p (partition, next_offset)
    WHERE i.index_name = $1 AND i.state <> 'retired'
    ON CONFLICT (index_name, topic, partition) DO UPDATE SET next_offset = greatest(t.next_offset, EXCLUDED.next_offset)`,
    [index, topic, [...positions.keys()], [...positions.values()]],
  )
}

/** Positions of conflicts within the ranges, `partition:offset:index`: they do not count. */
export async function readConflictPositions(queryable: Queryable, topic: string, ranges: readonly { readonly partition: number; readonly from: number; readonly to: number }[]): Promise<Set<string>> {
  const rows = await run<{ at: string }>(
    queryable,
    /* sql */ `
    SELECT concat_ws(':', d.partition, d.log_offset, d.record_index) AS at
    FROM unnest($2::int[], $3::bigint[], $4::bigint[]) AS r (partition, from_offset, to_offset)
    JOIN dead_letters d ON d.topic = $1 AND d.partition = r.partition AND d.log_offset >= r.from_offset AND d.log_offset < r.to_offset AND d.reason = 'conflict'`,
    [topic, ranges.map((range) => range.partition), ranges.map((range) => range.from), ranges.map((range) => range.to)],
  )
  return new Set(rows.map((row) => row.at))
}

/** First days of the months that have an index. */
export async function readSaleMonths(queryable: Queryable, index: string): Promise<string[]> {
  return (await run<{ month: string }>(queryable, 'SELECT month FROM search_sale_months WHERE index_name = $1 ORDER BY month', [index])).map((row) => row.month)
}

export async function addSaleMonth(queryable: Queryable, index: string, month: string): Promise<void> {
  await run(queryable, 'INSERT INTO search_sale_months (index_name, month) VALUES ($1, $2) ON CONFLICT DO NOTHING', [index, month])
}

export async function dropSaleMonth(queryable: Queryable, index: string, month: string): Promise<void> {
  await run(queryable, 'DELETE FROM search_sale_months WHERE index_name = $1 AND month = $2', [index, month])
}

export type LogPosition = { readonly partition: number; readonly offset: number }

/** What a published batch settled of one event. */
export type SettledSale = {
  readonly batch: number
  readonly source: string
  readonly eventId: string
  /** Where the copy stands that counts; null where none does. */
  readonly first: LogPosition | null
}

export type DueCorrections = {
  /** Complete below it. */
  readonly xmin: Xid
  readonly settled: readonly SettledSale[]
  /** Positions of events that count no more, of lost ranges, with no id known, and the batch that took them out. */
  readonly lost: readonly (LogPosition & { readonly batch: number })[]
  /** Partition → where the log must have been read to before they are applied. */
  readonly horizon: ReadonlyMap<number, number>
}

type CorrectionRow = {
  xmin: string
  batch: bigint
  epoch: bigint
  reason: string
  sign: number
  source: string
  event_id: string
  partition: number
  log_offset: bigint
  first_partition: number | null
  first_offset: bigint | null
}

/** Corrections that are complete and not in these documents yet; of copies nothing changes but where they stand. */
export async function readDueCorrections(queryable: Queryable, index: string, topic: string): Promise<DueCorrections | null> {
  const rows = await run<CorrectionRow>(
    queryable,
    /* sql */ `
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin, c.batch, c.epoch, c.reason, c.sign, c.source, c.event_id, c.partition, c.log_offset, c.first_partition, c.first_offset
    FROM correction_events c JOIN search_indices i ON i.index_name = $1
    WHERE c.topic = $2 AND c.reason <> 'copy' AND c.xid >= i.corrections_xid AND c.xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY c.batch, c.sign`,
    [index, topic],
  )
  if (rows.length === 0) return null
  const horizon = await run<{ partition: number; next_offset: bigint }>(
    queryable,
    'SELECT partition, max(next_offset) AS next_offset FROM cut_offsets WHERE topic = $1 AND epoch = ANY ($2) GROUP BY partition',
    [topic, [...new Set(rows.map((row) => row.epoch))]],
  )
  const settled = new Map<string, SettledSale>()
  // A row of +1 comes last and says best where the copy stands that counts.
  for (const row of rows) {
    if (isOfNobody(row)) continue
    const first =
      row.sign === 1
        ? { partition: row.partition, offset: Number(row.log_offset) }
        : row.first_partition === null || row.first_offset === null
          ? null
          : { partition: row.first_partition, offset: Number(row.first_offset) }
    settled.set(JSON.stringify([row.source, row.event_id]), { batch: Number(row.batch), source: row.source, eventId: row.event_id, first })
  }
  const lost = rows.filter(isOfNobody).map((row) => ({ batch: Number(row.batch), partition: row.partition, offset: Number(row.log_offset) }))
  return { xmin: rows[0]!.xmin, settled: [...settled.values()], lost, horizon: new Map(horizon.map((row) => [row.partition, Number(row.next_offset)])) }
}

/** What is lost; a copy that counts in its place is booked for the same reason, with its id. */
function isOfNobody({ reason, sign }: CorrectionRow): boolean {
  return reason === 'lost' && sign === -1
}

export async function moveCorrections(queryable: Queryable, index: string, xmin: Xid): Promise<void> {
  await run(queryable, 'UPDATE search_indices SET corrections_xid = $2 WHERE index_name = $1 AND corrections_xid < $2', [index, xmin])
}

/** The highest version that a document of a sale can have. */
export async function saleVersionMax(queryable: Queryable): Promise<number> {
  const [row] = await run<{ batch: bigint }>(queryable, 'SELECT max(batch) AS batch FROM batches')
  return Number(row!.batch) + 1
}
