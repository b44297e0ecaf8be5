/** What speed workers say of themselves, and the partitions that stopped. Read by status, metrics and receipts. */
import type { Queryable } from './database.ts'
import { run } from './database.ts'
import type { LossKind } from './losses.ts'

export type WorkerReport = {
  readonly worker: string
  readonly partitions: readonly number[]
  readonly ledgerIds: number
  readonly flushes: number
  readonly fencedFlushes: number
  readonly failedFlushes: number
  readonly skippedReplays: number
}

/** Workers not seen for so long are forgotten. */
const forgottenAfter = '1 day'

export async function reportWorker(queryable: Queryable, report: WorkerReport): Promise<void> {
  await run(
    queryable,
    /* sql */ `
    INSERT INTO speed_workers (worker, partitions, ledger_ids, flushes, fenced_flushes, failed_flushes, skipped_replays) VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (worker) DO UPDATE SET seen_at = clock_timestamp(), partitions = EXCLUDED.partitions, ledger_ids = EXCLUDED.ledger_ids,
      flushes = EXCLUDED.flushes, fenced_flushes = EXCLUDED.fenced_flushes, failed_flushes = EXCLUDED.failed_flushes, skipped_replays = EXCLUDED.skipped_replays`,
    [report.worker, report.partitions, report.ledgerIds, report.flushes, report.fencedFlushes, report.failedFlushes, report.skippedReplays],
  )
  await run(queryable, `DELETE FROM speed_workers WHERE seen_at < clock_timestamp() - interval '${forgottenAfter}'`)
}

export type StoppedPartition = { readonly topic: string; readonly partition: number; readonly fromOffset: number; readonly toOffset: number | null; readonly what: LossKind; readonly reason: string }

export async function recordStopped(queryable: Queryable, stopped: StoppedPartition): Promise<void> {
  await run(
    queryable,
    /* sql */ `
    INSERT INTO stopped_partitions (topic, partition, from_offset, to_offset, what, reason) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (topic, partition) DO UPDATE SET from_offset = EXCLUDED.from_offset, to_offset = EXCLUDED.to_offset, what = EXCLUDED.what, reason = EXCLUDED.reason`,
    [stopped.topic, stopped.partition, stopped.fromOffset, stopped.toOffset, stopped.what, stopped.reason],
  )
}

/** A partition that reads again is no longer stopped. */
export async function clearStopped(queryable: Queryable, topic: string, partitions: readonly number[]): Promise<void> {
  await run(queryable, 'DELETE FROM stopped_partitions WHERE topic = $1 AND partition = ANY ($2)', [topic, partitions])
}
