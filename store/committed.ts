/** Where the speed layer stands, for those who wait for it. */
import type { Queryable } from './database.ts'
import { run } from './database.ts'

/** Partition → next offset. */
export async function readCommitted(queryable: Queryable, topic: string): Promise<Map<number, number>> {
  const rows = await run<{ partition: number; next_offset: bigint }>(queryable, 'SELECT partition, next_offset FROM committed_offsets WHERE topic = $1', [topic])
  return new Map(rows.map((row) => [row.partition, Number(row.next_offset)]))
}

/** Whether a worker said within so many seconds that it runs. */
export async function isWorkerAlive(queryable: Queryable, withinSeconds: number): Promise<boolean> {
  const rows = await run(queryable, `SELECT FROM speed_workers WHERE seen_at > clock_timestamp() - make_interval(secs => $1) AND cardinality(partitions) > 0`, [withinSeconds])
  return rows.length > 0
}
