/** Where the search follower stands, for status and metrics. */
import { hasFigures } from './counted-topics.ts'
import type { Queryable } from './database.ts'
import { run } from './database.ts'
import { figuresFollower } from './search-follower.ts'
import type { IndexState, SearchKind } from './search-indices.ts'

export type SearchStatus = {
  readonly incarnation: string
  readonly readNumber: number
  readonly position: string
  /** Transactions since the position, of this database cluster; few of them are of this store. */
  readonly lagTransactions: number
  /** Since the moment up to which the documents are complete. */
  readonly lagSeconds: number
  readonly monthsResent: number
  readonly rejects: number
  /** Records that the speed layer counted and that are not in the documents of the sales. */
  readonly salesBehind: number
  readonly indices: readonly { readonly name: string; readonly kind: SearchKind; readonly state: IndexState; readonly monthsDue: number; readonly monthsLeft: number }[]
}

/** null before a follower ran. */
export async function readSearchStatus(queryable: Queryable): Promise<SearchStatus | null> {
  const [row] = await run<{ incarnation: string; read_number: bigint; position: string; transactions: bigint; seconds: number; resent: bigint; rejects: bigint; behind: bigint }>(
    queryable,
    /* sql */ `
    SELECT incarnation, read_number, position_xid::text AS position, months_resent AS resent,
      pg_snapshot_xmax(pg_current_snapshot())::text::bigint - position_xid::text::bigint AS transactions,
      extract(epoch FROM clock_timestamp() - position_at)::float8 AS seconds,
      (SELECT count(*) FROM search_rejects) AS rejects,
      (SELECT coalesce(sum(greatest(0, o.next_offset - coalesce(p.next_offset, o.first_offset))), 0)::bigint FROM committed_offsets o
        JOIN search_indices i ON i.kind = 'sales' AND i.state = 'serving'
        LEFT JOIN search_sale_positions p ON p.index_name = i.index_name AND p.topic = o.topic AND p.partition = o.partition
        WHERE ${hasFigures('o.topic')}) AS behind
    FROM search_followers WHERE follower = $1`,
    [figuresFollower],
  )
  if (row === undefined) return null
  const indices = await run<{ index_name: string; kind: SearchKind; state: IndexState; months_due: number; left: bigint }>(
    queryable,
    /* sql */ `
    SELECT index_name, kind, state, months_due, (SELECT count(*) FROM search_months_due d WHERE d.index_name = i.index_name) AS left
    FROM search_indices i ORDER BY kind, created_at`,
  )
  return {
    incarnation: row.incarnation,
    readNumber: Number(row.read_number),
    position: row.position,
    lagTransactions: Number(row.transactions),
    lagSeconds: Math.max(0, row.seconds),
    monthsResent: Number(row.resent),
    rejects: Number(row.rejects),
    salesBehind: Number(row.behind),
    indices: indices.map((index) => ({ name: index.index_name, kind: index.kind, state: index.state, monthsDue: index.months_due, monthsLeft: Number(index.left) })),
  }
}
