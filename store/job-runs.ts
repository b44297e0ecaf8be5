/**
 * The run ledger: which scheduled work was done for which period, by kind and period. A schedule's firing only asks it. Whoever begins a run claims its
 * row; the claim ends with the worker's connection, or when its lease runs out: a worker that was stopped keeps its connection, and must not hold up the
 * others. So two may work on one run after all, and what they publish must compare and set for itself.
 */
import type { PoolClient } from 'pg'
import type { Database, Queryable } from './database.ts'
import { connect, inTransaction, run } from './database.ts'
import { lockKeys } from './epochs.ts'

export type JobRun = {
  readonly kind: string
  readonly period: string
  /** `running`, `failed`, or what came of it. */
  readonly outcome: string
  readonly attempts: number
  readonly batch: number | null
  /** Of the report that it published, or that held already. */
  readonly version: number | null
  readonly startedAt: Date
  /** Null while it runs. */
  readonly finishedAt: Date | null
  /** Of a failed run: null where only a person can mend it. */
  readonly retryAt: Date | null
  /** Of the newest attempt that failed. */
  readonly lastError: string | null
}

export const running = 'running'
export const failed = 'failed'

export function isDone(job: JobRun | undefined): boolean {
  return job !== undefined && job.outcome !== running && job.outcome !== failed
}

/** How long after its attempt number `attempts` a run may be tried again: a minute, doubled up to half an hour. */
export function retryDelayMs(attempts: number): number {
  return Math.min(60_000 * 2 ** Math.min(attempts - 1, 10), 30 * 60_000)
}

type JobRow = {
  kind: string
  period: string
  outcome: string
  attempts: number
  batch: bigint | null
  version: number | null
  started_at: Date
  finished_at: Date | null
  retry_at: Date | null
  last_error: string | null
}

const columns = 'kind, period, outcome, attempts, batch, version, started_at, finished_at, retry_at, last_error'

function asJobRun(row: JobRow): JobRun {
  return {
    kind: row.kind,
    period: row.period,
    outcome: row.outcome,
    attempts: row.attempts,
    batch: row.batch === null ? null : Number(row.batch),
    version: row.version,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    retryAt: row.retry_at,
    lastError: row.last_error,
  }
}

export async function findJobRun(queryable: Queryable, kind: string, period: string): Promise<JobRun | null> {
  const [row] = await run<JobRow>(queryable, `SELECT ${columns} FROM job_runs WHERE kind = $1 AND period = $2`, [kind, period])
  return row === undefined ? null : asJobRun(row)
}

/** The runs of these kinds, the newest started first; all of them without a limit. */
export async function listJobRuns(queryable: Queryable, kinds: readonly string[], limit: number | null = null): Promise<JobRun[]> {
  const rows = await run<JobRow>(queryable, `SELECT ${columns} FROM job_runs WHERE kind = ANY($1) ORDER BY started_at DESC, kind, period LIMIT $2`, [kinds, limit])
  return rows.map(asJobRun)
}

export type LatestRuns = { readonly last: JobRun; readonly lastSuccess: JobRun | null }

/** Of each kind the run that started last, and the one that last ended well. */
export async function readLatestRuns(queryable: Queryable): Promise<ReadonlyMap<string, LatestRuns>> {
  const rows = await run<JobRow>(
    queryable,
    /* sql */ `
    (SELECT DISTINCT ON (kind) ${columns} FROM job_runs ORDER BY kind, started_at DESC, period DESC)
    UNION ALL
    (SELECT DISTINCT ON (kind) ${columns} FROM job_runs WHERE outcome NOT IN ('${running}', '${failed}') ORDER BY kind, finished_at DESC, period DESC)`,
  )
  const latest = new Map<string, LatestRuns>()
  for (const job of rows.map(asJobRun)) {
    const known = latest.get(job.kind)
    latest.set(job.kind, known === undefined ? { last: job, lastSuccess: null } : { ...known, lastSuccess: job })
  }
  // A kind whose only row is of the first half has it as both, where it ended well.
  for (const [kind, { last, lastSuccess }] of latest) if (lastSuccess === null && isDone(last)) latest.set(kind, { last, lastSuccess: last })
  return latest
}

export type Claim = {
  readonly kind: string
  readonly period: string
  readonly claim: bigint
  readonly attempts: number
  /** Gives up the lock and the connection that holds it; more than once is once. The run's row stays as it is. */
  readonly release: () => void
}

type ClaimRow = JobRow & { claim: bigint | null; lease_until: Date | null }

/**
 * Begins a run, or resolves to null: it is done, somebody else works on it, or its next attempt is not yet due. To be ended by `finishRun`, `failRun` or
 * `leaveRun`, all of which release it.
 */
export async function claimRun(database: Database, kind: string, period: string, nowMs: number, leaseMs: number): Promise<Claim | null> {
  const owner = await connect(database)
  // The lock goes with its connection; an error there is seen at the next statement.
  owner.on('error', () => undefined)
  const release = releasing(owner)
  let isClaimed = false
  try {
    const claim = await inTransaction(database, {}, async (client) => {
      await run(client, `INSERT INTO job_runs (kind, period, outcome, attempts, started_at, retry_at) VALUES ($1, $2, '${failed}', 0, $3, $3) ON CONFLICT DO NOTHING`, [
        kind,
        period,
        new Date(nowMs),
      ])
      const [row] = await run<ClaimRow>(client, `SELECT ${columns}, claim, lease_until FROM job_runs WHERE kind = $1 AND period = $2 FOR UPDATE`, [kind, period])
      if (!(await mayClaim(client, row!, nowMs))) return null
      const [next] = await run<{ claim: bigint }>(owner, `SELECT nextval('job_claims') AS claim`)
      await run(owner, `SELECT pg_advisory_lock(${lockKeys}$1)`, [lockOf(next!.claim)])
      await run(
        client,
        /* sql */ `
        UPDATE job_runs SET outcome = '${running}', attempts = attempts + 1, claim = $3, lease_until = $4, started_at = $5, finished_at = NULL, retry_at = NULL
        WHERE kind = $1 AND period = $2`,
        [kind, period, next!.claim, new Date(nowMs + leaseMs), new Date(nowMs)],
      )
      return { kind, period, claim: next!.claim, attempts: row!.attempts + 1, release }
    })
    isClaimed = claim !== null
    return claim
  } finally {
    if (!isClaimed) release()
  }
}

/** A worker that crashes at once, each time, must not be followed at once, each time. */
const promptTakeoversMax = 3

async function mayClaim(client: PoolClient, row: ClaimRow, nowMs: number): Promise<boolean> {
  if (row.outcome === failed) return row.retry_at !== null && row.retry_at.getTime() <= nowMs
  if (row.outcome !== running) return false
  if (row.lease_until === null || row.lease_until.getTime() <= nowMs) return true
  const [lock] = await run<{ free: boolean }>(client, `SELECT pg_try_advisory_xact_lock(${lockKeys}$1) AS free`, [lockOf(row.claim!)])
  const waitMs = row.attempts <= promptTakeoversMax ? 0 : retryDelayMs(row.attempts - promptTakeoversMax)
  return lock!.free && row.started_at.getTime() + waitMs <= nowMs
}

/** Second keys of advisory locks: purposes and batches are positive, claims negative. */
function lockOf(claim: bigint): number {
  return -Number(claim % 2_000_000_000n) - 1
}

/** Resolves to false where somebody else has claimed the run since. */
export async function extendLease(queryable: Queryable, { kind, period, claim }: Claim, untilMs: number): Promise<boolean> {
  const rows = await run(queryable, `UPDATE job_runs SET lease_until = $4 WHERE kind = $1 AND period = $2 AND claim = $3 AND outcome = '${running}' RETURNING 1`, [
    kind,
    period,
    claim,
    new Date(untilMs),
  ])
  return rows.length === 1
}

export type RunResult = { readonly outcome: string; readonly batch?: number | null; readonly version?: number | null }

/** Resolves to false where somebody else has claimed the run since: then the ledger is theirs to write. */
export async function finishRun(queryable: Queryable, claim: Claim, result: RunResult, nowMs: number): Promise<boolean> {
  return endRun(
    queryable,
    claim,
    `outcome = $4, batch = $5, version = $6, finished_at = $7`,
    [result.outcome, result.batch ?? null, result.version ?? null, new Date(nowMs)],
  )
}

/** `retryAtMs` null: only a person can mend it. */
export async function failRun(queryable: Queryable, claim: Claim, message: string, nowMs: number, retryAtMs: number | null): Promise<boolean> {
  return endRun(queryable, claim, `outcome = '${failed}', last_error = $4, finished_at = $5, retry_at = $6`, [
    message.slice(0, 2_000),
    new Date(nowMs),
    retryAtMs === null ? null : new Date(retryAtMs),
  ])
}

/** The worker stops in the middle: the run may begin again at once, and this attempt does not count. */
export async function leaveRun(queryable: Queryable, claim: Claim, nowMs: number): Promise<boolean> {
  return endRun(queryable, claim, `outcome = '${failed}', last_error = 'The worker was stopped.', attempts = attempts - 1, finished_at = $4, retry_at = $4`, [new Date(nowMs)])
}

async function endRun(queryable: Queryable, { kind, period, claim, release }: Claim, changes: string, values: readonly unknown[]): Promise<boolean> {
  try {
    const rows = await run(
      queryable,
      `UPDATE job_runs SET ${changes}, claim = NULL, lease_until = NULL WHERE kind = $1 AND period = $2 AND claim = $3 AND outcome = '${running}' RETURNING 1`,
      [kind, period, claim, ...values],
    )
    return rows.length === 1
  } finally {
    release()
  }
}

/** Ends the connection, and with it the lock, once. */
function releasing(owner: PoolClient): () => void {
  let isReleased = false
  return () => {
    if (!isReleased) owner.release(true)
    isReleased = true
  }
}
