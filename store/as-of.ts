/**
 * Answers as of a batch: its rows alone, whatever is published now. What lies above its horizon, live or corrected, is not added: the figure is the one
 * that the batch gave. A batch can be asked for as long as its rows are kept.
 */
import type { PoolClient } from 'pg'
import { InvalidRequestError } from '#core/errors.ts'
import type { Queryable } from './database.ts'
import { run } from './database.ts'

/** A batch by its number, or by a time (UTC ms): the one that served then, following every publication and roll-back. */
export type AsOf = { readonly batch: number } | { readonly timeMs: number }

/** A time as a bound value of a statement. */
export function timeText(timeMs: number): string {
  return new Date(timeMs).toISOString()
}

/** In whole milliseconds, as answers tell of publications: the time that an answer gave is the batch's own. */
export function movedBy(time: string): string {
  return `date_trunc('milliseconds', moved_at) <= ${time}`
}

/** Notes where the pointer stands now, in the transaction that moved it. The first move to a batch is its publication, and has its time. */
export async function recordMove(client: PoolClient): Promise<void> {
  await client.query(/* sql */ `
    INSERT INTO pointer_moves (moves, batch, epoch, moved_at)
    SELECT x.moves, x.batch, x.epoch, CASE WHEN EXISTS (SELECT FROM pointer_moves m WHERE m.batch = x.batch) THEN clock_timestamp() ELSE b.published_at END
    FROM publish_pointer x JOIN batches b ON b.batch = x.batch`)
}

/** Why there is no such answer, with the batches that can be asked for. */
export async function refuseAsOf(queryable: Queryable, asOf: AsOf): Promise<never> {
  const [state] = await run<{ kept: string[]; began: Date; now: Date }>(
    queryable,
    /* sql */ `
    SELECT coalesce((SELECT array_agg(batch::text ORDER BY batch DESC) FROM batches WHERE status = 'published'), '{}') AS kept,
      (SELECT min(moved_at) FROM pointer_moves) AS began, clock_timestamp() AS now`,
  )
  const { kept, began, now } = state!
  const details = { kept: kept.map(Number) }
  if ('timeMs' in asOf && asOf.timeMs > now.getTime()) {
    throw new InvalidRequestError(`asOf lies in the future: by the clock of the store it is ${now.toISOString()}.`, { parameter: 'asOf', ...details })
  }
  if ('timeMs' in asOf && asOf.timeMs < began.getTime()) {
    throw new InvalidRequestError(`Nothing was published then: this store begins at ${began.toISOString()}.`, { parameter: 'asOf', ...details })
  }
  const [found] = await run<{ batch: bigint; status: string | null }>(
    queryable,
    'timeMs' in asOf
      ? `SELECT m.batch, b.status FROM (SELECT batch FROM pointer_moves WHERE ${movedBy('$1')} ORDER BY moves DESC LIMIT 1) m LEFT JOIN batches b ON b.batch = m.batch`
      : 'SELECT batch, status FROM batches WHERE batch = $1',
    ['timeMs' in asOf ? timeText(asOf.timeMs) : asOf.batch],
  )
  const parameter = 'timeMs' in asOf ? 'asOf' : 'asOfBatch'
  const choice = `Kept are ${kept.join(', ')}. What was frozen of earlier ones stands in the reports: /v1/reports, or "tidemark report list".`
  if (found === undefined) throw new InvalidRequestError(`There is no such batch. ${choice}`, { parameter, ...details })
  const batch = Number(found.batch)
  if (found.status === 'pruned' || found.status === null) throw new InvalidRequestError(`The rows of batch ${batch} are kept no more. ${choice}`, { parameter, batch, status: 'pruned', ...details })
  throw new InvalidRequestError(`Batch ${batch} was never published: it is ${found.status}. ${choice}`, { parameter, batch, status: found.status, ...details })
}
