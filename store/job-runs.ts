/** The run ledger: which scheduled work was done for which period. A schedule's firing only asks it. */
import type { Queryable } from './database.ts'
import { run } from './database.ts'

export type JobRun = { readonly kind: string; readonly period: string; readonly outcome: string; readonly batch: number | null; readonly startedAt: Date; readonly finishedAt: Date }

export async function findJobRun(queryable: Queryable, kind: string, period: string): Promise<JobRun | null> {
  const [row] = await run<{ kind: string; period: string; outcome: string; batch: bigint | null; started_at: Date; finished_at: Date }>(
    queryable,
    'SELECT kind, period, outcome, batch, started_at, finished_at FROM job_runs WHERE kind = $1 AND period = $2',
    [kind, period],
  )
  if (row === undefined) return null
  const { outcome, batch, started_at: startedAt, finished_at: finishedAt } = row
  return { kind, period, outcome, batch: batch === null ? null : Number(batch), startedAt, finishedAt }
}

/** Of two that did the same work the first stands. */
export async function recordJobRun(queryable: Queryable, job: Omit<JobRun, 'finishedAt'>): Promise<void> {
  await run(queryable, 'INSERT INTO job_runs (kind, period, outcome, batch, started_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING', [
    job.kind,
    job.period,
    job.outcome,
    job.batch,
    job.startedAt,
  ])
}
