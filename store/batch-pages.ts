/** Batches as people look through them: newest first, by pages; each with its horizon, its cross-check and what it cost. */
import type { OffsetsByTopic } from '#core/receipt.ts'
import type { BatchKind, BatchStatus } from './batches.ts'
import type { Queryable } from './database.ts'
import { run } from './database.ts'

export type ListedBatch = {
  readonly batch: number
  readonly kind: BatchKind
  readonly status: BatchStatus
  /** The pointer stands on it. */
  readonly isServing: boolean
  readonly epoch: number
  readonly baseBatch: number | null
  readonly startedAt: string
  readonly finishedAt: string | null
  readonly publishedAt: string | null
  readonly durationMs: number | null
  readonly eventsRead: number | null
  readonly eventsCounted: number | null
  readonly logicVersion: string | null
  readonly horizon: OffsetsByTopic
  readonly crossCheck: {
    readonly result: string
    readonly corrections: number
    readonly correctionsByReason: Readonly<Record<string, number>>
    readonly keysDiffering: number
    readonly checkedAt: string | null
  } | null
  /** Why it is held, failed or superseded. */
  readonly message: string | null
}

export type BatchDetail = ListedBatch & {
  /** Milliseconds by step, and what was read. Null of batches that ran before these were kept. */
  readonly steps: Readonly<Record<string, number>> | null
  readonly inputs: Readonly<Record<string, unknown>> | null
  /** The whole cross-check; of a held batch with the keys and events that nothing explains. */
  readonly crossCheckDetail: Readonly<Record<string, unknown>> | null
  /** Each time that it began to serve: its publication, then roll-backs to it. */
  readonly servedFrom: readonly string[]
}

const instant = (column: string): string => `to_char(${column}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

const listedSql = /* sql */ `
  'batch', b.batch, 'kind', b.kind, 'status', b.status, 'isServing', b.batch = x.batch, 'epoch', b.epoch, 'baseBatch', b.base_batch,
  'startedAt', ${instant('b.started_at')}, 'finishedAt', ${instant('b.finished_at')}, 'publishedAt', CASE WHEN b.batch > 0 THEN ${instant('b.published_at')} END,
  'durationMs', round(extract(epoch FROM b.finished_at - b.started_at) * 1000)::bigint, 'eventsRead', b.events_read, 'eventsCounted', b.events_counted,
  'logicVersion', b.logic_version,
  'horizon', coalesce((SELECT json_object_agg(topic, offsets) FROM (
    SELECT topic, json_object_agg(partition, next_offset ORDER BY partition) AS offsets FROM cut_offsets o WHERE o.epoch = b.epoch GROUP BY topic ORDER BY topic) t), '{}'),
  'crossCheck', CASE WHEN b.cross_check IS NOT NULL THEN json_build_object('result', coalesce(b.cross_check->>'result', 'unknown'),
    'corrections', coalesce((b.cross_check->>'corrections')::bigint, 0), 'correctionsByReason', coalesce(b.cross_check->'correctionsByReason', '{}'),
    'keysDiffering', coalesce((b.cross_check->>'keysDiffering')::bigint, 0), 'checkedAt', b.cross_check->>'checkedAt') END,
  'message', b.message`

/** Those below `before`, newest first. */
export async function pageOfBatches(queryable: Queryable, page: { readonly before: number | null; readonly limit: number }): Promise<ListedBatch[]> {
  const rows = await run<{ batch: ListedBatch }>(
    queryable,
    `SELECT json_build_object(${listedSql}) AS batch FROM batches b, publish_pointer x WHERE $1::bigint IS NULL OR b.batch < $1 ORDER BY b.batch DESC LIMIT $2`,
    [page.before, page.limit],
  )
  return rows.map((row) => row.batch)
}

export async function findBatchDetail(queryable: Queryable, batch: number): Promise<BatchDetail | null> {
  const [row] = await run<{ batch: BatchDetail }>(
    queryable,
    /* sql */ `
    SELECT json_build_object(${listedSql}, 'steps', b.steps, 'inputs', b.inputs, 'crossCheckDetail', b.cross_check,
      'servedFrom', coalesce((SELECT json_agg(${instant('m.moved_at')} ORDER BY m.moves) FROM pointer_moves m WHERE m.batch = b.batch), '[]')) AS batch
    FROM batches b, publish_pointer x WHERE b.batch = $1`,
    [batch],
  )
  return row?.batch ?? null
}
