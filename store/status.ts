/** Where the store stands: positions, batches, workers, dead letters, stopped partitions and the archive, in one snapshot. */
import { UnavailableError } from '#core/errors.ts'
import type { Queryable } from './database.ts'
import { run } from './database.ts'

export type StatusBatch = {
  readonly id: number
  readonly epoch: number
  readonly kind: string
  readonly status: string
  readonly startedAt: string
  readonly finishedAt: string | null
  readonly publishedAt: string | null
  readonly eventsRead: number | null
  readonly eventsCounted: number | null
  readonly message: string | null
  readonly crossCheck: { readonly result: string; readonly corrections: number; readonly checkedAt: string | null } | null
}

export type StatusPartition = {
  readonly topic: string
  readonly partition: number
  readonly nextOffset: number
  readonly lastLogTime: string | null
  readonly records: number
  readonly accepted: number
  readonly copies: number
  readonly conflicts: number
  readonly refused: number
  readonly late: number
}

export type StatusWorker = {
  readonly worker: string
  readonly startedAt: string
  readonly seenAt: string
  readonly partitions: readonly number[]
  readonly ledgerIds: number
  readonly flushes: number
  readonly fencedFlushes: number
  readonly failedFlushes: number
  readonly skippedReplays: number
}

export type StoreStatus = {
  readonly incarnation: string
  readonly epoch: number
  readonly batch: { readonly id: number; readonly epoch: number; readonly moves: number; readonly publishedAt: string | null; readonly pausedReason: string | null }
  readonly partitions: readonly StatusPartition[]
  readonly workers: readonly StatusWorker[]
  readonly batches: readonly StatusBatch[]
  readonly deadLettersByReason: Readonly<Record<string, number>>
  readonly stopped: readonly { readonly topic: string; readonly partition: number; readonly from: number; readonly to: number | null; readonly reason: string; readonly noticedAt: string }[]
  readonly archive: { readonly files: number; readonly bytes: number; readonly rows: number }
}

const batchesShown = 10
const workersShown = 100

/** Instants come as ISO text; counts as JSON numbers, far below 2^53. */
const instant = (column: string): string => `to_char(${column}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

const statusSql = /* sql */ `
  SELECT json_build_object(
    'incarnation', s.incarnation,
    'epoch', s.epoch,
    'batch', json_build_object('id', x.batch, 'epoch', x.epoch, 'moves', x.moves,
      'publishedAt', CASE WHEN x.batch > 0 THEN ${instant('b.published_at')} END, 'pausedReason', x.paused_reason),
    'partitions', (SELECT coalesce(json_agg(json_build_object('topic', topic, 'partition', partition, 'nextOffset', next_offset,
        'lastLogTime', ${instant('to_timestamp(last_log_time_ms / 1000.0)')}, 'records', records, 'accepted', accepted, 'copies', copies, 'conflicts', conflicts,
        'refused', refused, 'late', late) ORDER BY topic, partition), '[]') FROM committed_offsets),
    'workers', (SELECT coalesce(json_agg(json_build_object('worker', worker, 'startedAt', ${instant('started_at')}, 'seenAt', ${instant('seen_at')},
        'partitions', partitions, 'ledgerIds', ledger_ids, 'flushes', flushes, 'fencedFlushes', fenced_flushes, 'failedFlushes', failed_flushes,
        'skippedReplays', skipped_replays) ORDER BY seen_at DESC, worker), '[]')
      FROM (SELECT * FROM speed_workers ORDER BY seen_at DESC LIMIT ${workersShown}) w),
    'batches', (SELECT coalesce(json_agg(json_build_object('id', batch, 'epoch', epoch, 'kind', kind, 'status', status, 'startedAt', ${instant('started_at')},
        'finishedAt', ${instant('finished_at')}, 'publishedAt', ${instant('published_at')}, 'eventsRead', events_read, 'eventsCounted', events_counted,
        'message', message, 'crossCheck', CASE WHEN cross_check IS NOT NULL THEN json_build_object('result', cross_check->>'result',
          'corrections', coalesce((cross_check->>'corrections')::bigint, 0), 'checkedAt', cross_check->>'checkedAt') END) ORDER BY batch DESC), '[]')
      FROM (SELECT * FROM batches WHERE batch > 0 ORDER BY batch DESC LIMIT ${batchesShown}) n),
    'deadLettersByReason', (SELECT coalesce(json_object_agg(reason, letters), '{}') FROM (SELECT reason, count(*) AS letters FROM dead_letters GROUP BY reason ORDER BY reason) d),
    'stopped', (SELECT coalesce(json_agg(json_build_object('topic', topic, 'partition', partition, 'from', from_offset, 'to', to_offset, 'reason', reason,
        'noticedAt', ${instant('noticed_at')}) ORDER BY topic, partition), '[]') FROM stopped_partitions),
    'archive', (SELECT json_build_object('files', count(*), 'bytes', coalesce(sum(bytes), 0), 'rows', coalesce(sum(rows), 0)) FROM archive_files)
  ) AS status
  FROM lake_state s, publish_pointer x JOIN batches b ON b.batch = x.batch`

/** Throws UnavailableError where the store has no state yet: it is not migrated, or being reset. */
export async function readStatus(queryable: Queryable): Promise<StoreStatus> {
  const [row] = await run<{ status: StoreStatus }>(queryable, statusSql)
  if (row === undefined) throw new UnavailableError('The store has no state yet. Start "tidemark up", which prepares it.')
  return row.status
}
