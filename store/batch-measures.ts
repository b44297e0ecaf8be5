/** What the batch layer came to, for metrics. */
import type { ReportKind } from '#core/report/periods.ts'
import type { Queryable } from './database.ts'
import { run } from './database.ts'

export type LastCheck = {
  readonly durationSeconds: number
  readonly eventsRead: number
  readonly eventsCounted: number
  readonly keysDiffering: number
  readonly corrections: number
  readonly isHeld: boolean
}

/** The newest batch that was cross-checked, whatever became of it; null before the first. */
export async function readLastCheck(queryable: Queryable): Promise<LastCheck | null> {
  const [row] = await run<{ seconds: number; events_read: bigint | null; events_counted: bigint | null; keys: bigint; corrections: bigint; status: string }>(
    queryable,
    /* sql */ `
    SELECT extract(epoch FROM coalesce(finished_at, clock_timestamp()) - started_at)::float8 AS seconds, events_read, events_counted, status,
      coalesce((cross_check->>'keysDiffering')::bigint, 0) AS keys, coalesce((cross_check->>'corrections')::bigint, 0) AS corrections
    FROM batches WHERE batch > 0 AND cross_check IS NOT NULL ORDER BY batch DESC LIMIT 1`,
  )
  if (row === undefined) return null
  return {
    durationSeconds: row.seconds,
    eventsRead: Number(row.events_read ?? 0n),
    eventsCounted: Number(row.events_counted ?? 0n),
    keysDiffering: Number(row.keys),
    corrections: Number(row.corrections),
    isHeld: row.status === 'held',
  }
}

/** Each period that has a report; `toDay` in days since 1970-01-01, exclusive. */
export async function readMadePeriods(queryable: Queryable): Promise<{ readonly kind: ReportKind; readonly period: string; readonly toDay: number }[]> {
  const rows = await run<{ kind: ReportKind; period: string; to_day: number }>(queryable, `SELECT kind, period, to_day - DATE '1970-01-01' AS to_day FROM report_versions WHERE version = 1`)
  return rows.map((row) => ({ kind: row.kind, period: row.period, toDay: row.to_day }))
}
