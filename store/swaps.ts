/** Files that a swap took out of the register, for as long as the lake may hold them. */
import type { Queryable } from './database.ts'
import { run } from './database.ts'

/** Which of these paths a swap took out, and when, UTC ms. */
export async function readSwapped(queryable: Queryable, paths: readonly string[]): Promise<Map<string, number>> {
  const rows = await run<{ path: string; at: bigint }>(queryable, 'SELECT path, (extract(epoch FROM swapped_at) * 1000)::bigint AS at FROM swapped_files WHERE path = ANY ($1)', [paths])
  return new Map(rows.map((row) => [row.path, Number(row.at)]))
}

/** When the oldest batch began that still runs, or says so after a crash, UTC ms; null where none runs. What it listed before a swap it reads. */
export async function oldestRunningMs(queryable: Queryable): Promise<number | null> {
  const [row] = await run<{ began: bigint | null }>(queryable, `SELECT (extract(epoch FROM min(started_at)) * 1000)::bigint AS began FROM batches WHERE status = 'running'`)
  return row === undefined || row.began === null ? null : Number(row.began)
}

/** The lake holds these no more. */
export async function forgetSwapped(queryable: Queryable, paths: readonly string[]): Promise<void> {
  await run(queryable, 'DELETE FROM swapped_files WHERE path = ANY ($1)', [paths])
}

export type ArchiveSwap = {
  readonly swap: number
  readonly at: Date
  readonly reason: 'compacted' | 'repaired' | 'redecoded' | 'erased'
  readonly topic: string
  readonly partition: number
  readonly fromOffset: number
  readonly toOffset: number
  readonly generation: number
  readonly newPath: string
  readonly oldFiles: number
  readonly rows: number
}

/** Newest first. */
export async function listSwaps(queryable: Queryable, limit = 100): Promise<ArchiveSwap[]> {
  const rows = await run<{ swap: bigint; at: Date; reason: ArchiveSwap['reason']; topic: string; partition: number; from_offset: bigint; to_offset: bigint; generation: number; new_path: string; old_files: number; rows: bigint }>(
    queryable,
    'SELECT swap, at, reason, topic, partition, from_offset, to_offset, generation, new_path, old_files, rows FROM archive_swaps ORDER BY swap DESC LIMIT $1',
    [limit],
  )
  return rows.map((row) => ({
    swap: Number(row.swap),
    at: row.at,
    reason: row.reason,
    topic: row.topic,
    partition: row.partition,
    fromOffset: Number(row.from_offset),
    toOffset: Number(row.to_offset),
    generation: row.generation,
    newPath: row.new_path,
    oldFiles: row.old_files,
    rows: Number(row.rows),
  }))
}
