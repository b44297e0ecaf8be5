/**
 * Asking: what is due is read from the store, claimed in the run ledger and done, one after the other. Asked twice, late, or by two workers at once, each
 * run is done once; one that failed in passing is tried again when asked after its pause, and no failure holds up what does not need it.
 */
import { TidemarkError, UnavailableError, messageOf } from '#core/errors.ts'
import type { Vector } from '#core/ports.ts'
import type { ReportKind } from '#core/report/periods.ts'
import { reportKinds } from '#core/report/periods.ts'
import { readCommitted } from '#store/committed.ts'
import type { Database } from '#store/database.ts'
import { translateError } from '#store/database.ts'
import type { Claim, RunResult } from '#store/job-runs.ts'
import { claimRun, extendLease, failRun, finishRun, leaveRun, listJobRuns, retryDelayMs } from '#store/job-runs.ts'
import { readDatabaseClock, readLogEnds, readPublished, readRebuilds, recordLogEnds } from '#store/log-ends.ts'
import { readSeasons } from '#store/seasons.ts'
import type { Abilities, DueItem, Facts, Plan, ScheduleTerms } from './due.ts'
import { batchKinds, makePlan } from './due.ts'

export type AskTerms = Omit<ScheduleTerms, 'seasons'> & { readonly database: Database; readonly topic: string; /** UTC ms; the database's by default. */ readonly clock?: () => Promise<number> }

/** What can be done about what is due. Each may run twice at once after all (see the run ledger): what it publishes compares and sets for itself. */
export type Work = {
  /** Where the log ends, as the store counts it. */
  readonly logEnds: () => Promise<Vector>
  readonly runBatch: (signal: AbortSignal) => Promise<{ readonly batch: number; readonly outcome: string }>
  readonly freezeReport?: (kind: ReportKind, period: string, signal: AbortSignal) => Promise<{ readonly outcome: 'published' | 'unchanged'; readonly version: number }>
  /** Makes the next version of each frozen period whose figures changed with the published batch. */
  readonly restateReports?: (signal: AbortSignal) => Promise<unknown>
  readonly compact?: (signal: AbortSignal) => Promise<{ readonly outcome: string }>
  /** Sends what is published and not delivered yet; keeps its own account. */
  readonly deliver?: (signal: AbortSignal) => Promise<unknown>
}

export type AskOptions = {
  readonly terms: AskTerms
  readonly work: Work
  readonly say: (fields: object, text: string) => void
  readonly leaseMs?: number
}

/** A worker that was stopped is overtaken after so long. */
const leaseMsDefault = 60_000
/** What no retry can mend at once, a person may have mended by then; a night's batch waits for the next night. */
const slowRetryMs = 6 * 60 * 60_000
/** An error that we do not know may pass, or may be a fault of ours that costs a whole batch each time. */
const unknownAttemptsMax = 6
/** Of nights and what follows them the newest decide; of reports each. */
const batchRunsMax = 200
/** More than a shop's books have periods: beyond it something is due without end. */
const itemsMax = 5_000

export type ReadPlan = { readonly plan: Plan; readonly facts: Facts; readonly terms: ScheduleTerms }

export async function readPlan(terms: AskTerms, abilities: Abilities): Promise<ReadPlan> {
  const { pool } = terms.database
  const nowMs = await clockOf(terms)
  const [seasons, published, committed, ends, rebuilds, batchRuns, reportRuns] = await Promise.all([
    readSeasons(pool),
    readPublished(pool, terms.topic, terms.booksOpenDay),
    readCommitted(pool, terms.topic),
    readLogEnds(pool, terms.topic),
    readRebuilds(pool, terms.topic),
    listJobRuns(pool, batchKinds, batchRunsMax),
    listJobRuns(pool, reportKinds),
  ])
  const facts: Facts = { nowMs, published, committed, logEnds: ends, rebuilds, runs: [...batchRuns, ...reportRuns] }
  return { plan: makePlan({ ...terms, seasons }, facts, abilities), facts, terms: { ...terms, seasons } }
}

function abilitiesOf(work: Work): Abilities {
  return { restates: work.restateReports !== undefined, compacts: work.compact !== undefined, reports: work.freezeReport !== undefined }
}

/** Records the log's end where a period's end asks for it; says whether anything is due now. */
export async function lookAhead({ terms, work }: AskOptions): Promise<boolean> {
  const { plan } = await readPlan(terms, abilitiesOf(work))
  if (plan.recordsLogEnds) {
    // The time is read before the end: an end that is said to be later than it is could leave out what a period still needs.
    const atMs = await clockOf(terms)
    await recordLogEnds(terms.database.pool, terms.topic, await work.logEnds(), atMs)
  }
  return plan.due.length > 0
}

/** Does all that is due. Throws the first failure once everything else was tried; what failed stands in the run ledger. */
export async function doWhatIsDue(options: AskOptions, signal: AbortSignal): Promise<void> {
  await lookAhead(options)
  const failures: unknown[] = []
  const tried = new Set<string>()
  while (!signal.aborted && tried.size < itemsMax) {
    const { plan } = await readPlan(options.terms, abilitiesOf(options.work))
    const item = plan.due.find(({ kind, period }) => !tried.has(`${kind} ${period}`))
    if (item === undefined) break
    tried.add(`${item.kind} ${item.period}`)
    const failure = await doItem(options, item, signal)
    if (failure === null) continue
    failures.push(failure.thrown)
    // An engine that is away is away for the other periods too.
    if (failure.thrown instanceof UnavailableError) break
  }
  if (!signal.aborted) await options.work.deliver?.(signal).catch((thrown: unknown) => failures.push(thrown))
  if (failures.length > 0) throw failures[0]
}

async function doItem(options: AskOptions, item: DueItem, signal: AbortSignal): Promise<{ readonly thrown: unknown } | null> {
  const { terms, say } = options
  const leaseMs = options.leaseMs ?? leaseMsDefault
  const { pool } = terms.database
  const claim = await claimRun(terms.database, item.kind, item.period, await clockOf(terms), leaseMs)
  if (claim === null) return null
  const lost = new AbortController()
  const beat = setInterval(() => void keepClaim(options, claim, leaseMs, lost), leaseMs / 4)
  const startedAt = performance.now()
  try {
    const result = await perform(options.work, item, AbortSignal.any([signal, lost.signal]))
    const isOurs = await finishRun(pool, claim, result, await clockOf(terms))
    say({ ...item, ...result, attempt: claim.attempts, seconds: Math.round(performance.now() - startedAt) / 1000 }, isOurs ? 'done' : 'done, and by another worker too: its publication decided')
    return null
  } catch (thrown) {
    const error = translateError(thrown)
    const isTaken = await endFailed(options, claim, error, signal.aborted).then(
      (isOurs) => !isOurs,
      // A database that is away tells nothing; the claim ends with its connection or its lease.
      () => false,
    )
    if (signal.aborted) return null
    if (isTaken) {
      say({ ...item, reason: messageOf(error) }, 'another worker took this run over')
      return null
    }
    return { thrown: error }
  } finally {
    clearInterval(beat)
    claim.release()
  }
}

async function perform(work: Work, { kind, period }: DueItem, signal: AbortSignal): Promise<RunResult> {
  if (kind === 'nightly' || kind === 'catch-up') return work.runBatch(signal)
  if (kind !== 'restate' && kind !== 'compact') return work.freezeReport!(kind, period, signal)
  if (kind === 'compact') return work.compact!(signal)
  await work.restateReports!(signal)
  return { outcome: 'done' }
}

async function endFailed({ terms }: AskOptions, claim: Claim, error: unknown, isStopped: boolean): Promise<boolean> {
  const { pool } = terms.database
  const nowMs = await clockOf(terms)
  if (isStopped) return leaveRun(pool, claim, nowMs)
  return failRun(pool, claim, messageOf(error), nowMs, retryAt(claim, error, nowMs))
}

function retryAt({ kind, attempts }: Claim, error: unknown, nowMs: number): number | null {
  const isKnown = error instanceof TidemarkError
  if (isKnown && (error.retryable || error.code === 'conflict')) return nowMs + retryDelayMs(attempts)
  if (!isKnown && attempts < unknownAttemptsMax) return nowMs + retryDelayMs(attempts)
  return kind === 'nightly' || kind === 'catch-up' ? null : nowMs + slowRetryMs
}

/** A beat that does not get through is no loss yet: the next one may, and where none does the lease runs out. */
async function keepClaim({ terms }: AskOptions, claim: Claim, leaseMs: number, lost: AbortController): Promise<void> {
  try {
    if (!(await extendLease(terms.database.pool, claim, (await clockOf(terms)) + leaseMs))) lost.abort()
  } catch {
    // Heard of by the work itself, which uses the same database.
  }
}

function clockOf({ clock, database }: AskTerms): Promise<number> {
  return clock === undefined ? readDatabaseClock(database.pool) : clock()
}
