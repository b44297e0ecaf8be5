/** What the schedules are, when they last ran and what comes next: read from the store and the queues, for people and for programs. */
import type { NamedScheduler } from '#batch/jobs.ts'
import { readSchedulers } from '#batch/jobs.ts'
import type { JudgedPeriod } from '#batch/due.ts'
import { nextNight, nextReport } from '#batch/due.ts'
import { readPlan } from '#batch/ask.ts'
import { archiveId, archivePattern, batchSchedules } from '#batch/schedule.ts'
import { openCalendar } from '#core/calendar.ts'
import type { ZoneCalendar } from '#core/calendar.ts'
import { TidemarkError, messageOf } from '#core/errors.ts'
import type { ReportKind } from '#core/report/periods.ts'
import { reportKinds } from '#core/report/periods.ts'
import { readArchiveTotals } from '#store/archive-totals.ts'
import type { JobRun } from '#store/job-runs.ts'
import { failed, readLatestRuns, running } from '#store/job-runs.ts'
import type { Environment } from './environment.ts'
import { count, print, printTable } from './output.ts'
import { jobsOptions } from './job-queues.ts'
import { askTerms, scheduledWork } from './schedule-layer.ts'

/** Of a list for people; `--json` has all. */
const shownMax = 12

type LastRun = {
  readonly period: string | null
  readonly outcome: string
  readonly startedAt: string | null
  readonly finishedAt: string | null
  readonly durationMs: number | null
  readonly attempts: number
  readonly batch: number | null
  readonly version: number | null
  readonly retryAt: string | null
  readonly lastError: string | null
}

type ListedSchedule = {
  readonly kind: string
  /** Cron with seconds, in the shop's zone; null for what follows a batch. */
  readonly pattern: string | null
  /** What says when, for people. */
  readonly when: string
  readonly lastRun: LastRun | null
  readonly lastSuccessAt: string | null
  readonly nextRunAt: string | null
  readonly nextPeriod: string | null
  /** Whether the queue has it so; null where that is not known, or where it has no pattern. */
  readonly registered: boolean | null
}

export type Listing = {
  readonly zone: string
  readonly now: string
  readonly schedules: readonly ListedSchedule[]
  readonly dueNow: readonly { readonly kind: string; readonly period: string }[]
  /** Closed periods without a report that is due now. */
  readonly waiting: readonly { readonly kind: string; readonly period: string; readonly state: string; readonly reason: string }[]
  readonly queue: string
}

export async function readListing(environment: Environment): Promise<Listing> {
  const { settings, database, databaseUrl } = environment
  const { plan, facts, terms } = await readPlan(askTerms(environment), scheduledWork)
  const [latest, archive, queue] = await Promise.all([readLatestRuns(database.pool), readArchiveTotals(database.pool), readQueues(environment, databaseUrl)])
  const runsOf = (kind: string): { last: LastRun | null; success: string | null } => {
    const runs = latest.get(kind)
    return { last: runs === undefined ? null : asLastRun(runs.last), success: runs?.lastSuccess?.finishedAt?.toISOString() ?? null }
  }
  const listed = (kind: string, pattern: string | null, when: string, next: { atMs: number | null; period: string | null }): ListedSchedule => {
    const { last, success } = kind === archiveId ? archiveRun(archive) : runsOf(kind)
    const found = queue.schedulers?.find(({ id }) => id === kind)
    return {
      kind,
      pattern,
      when,
      lastRun: last,
      lastSuccessAt: success,
      nextRunAt: next.atMs === null ? null : new Date(next.atMs).toISOString(),
      nextPeriod: next.period,
      registered: pattern === null || queue.schedulers === null ? null : found?.pattern === pattern && found.zone === settings.zone,
    }
  }
  const patternOf = new Map(batchSchedules(settings.nightlyAt, terms.seasons).map(({ id, pattern }) => [id, pattern]))
  const night = nextNight(terms, facts.nowMs)
  const nightly = `each night at ${settings.nightlyAt}`
  const afterEnd: Readonly<Record<ReportKind, string>> = { monthly: 'month', quarterly: 'quarter', seasonal: 'season', yearly: 'year' }
  const archiveNext = queue.schedulers?.find(({ id }) => id === archiveId)?.nextMs ?? null
  return {
    zone: settings.zone,
    now: new Date(facts.nowMs).toISOString(),
    schedules: [
      listed(archiveId, archivePattern(settings.archiveEverySeconds), `every ${settings.archiveEverySeconds} s`, { atMs: archiveNext, period: null }),
      listed('nightly', patternOf.get('nightly')!, nightly, { atMs: night, period: null }),
      listed('catch-up', null, 'by day, where the log lagged behind in the night', { atMs: null, period: null }),
      listed('restate', null, 'after each batch', { atMs: null, period: null }),
      ...reportKinds.map((kind) => listed(kind, patternOf.get(kind)!, `in the night after a ${afterEnd[kind]}’s end`, nextReport(terms, kind, facts.nowMs))),
      listed('compact', null, 'after the night’s batch', { atMs: night, period: null }),
    ],
    dueNow: plan.due.map(({ kind, period }) => ({ kind, period })),
    waiting: plan.periods.filter(({ state }) => state !== 'done' && state !== 'due').map(({ kind, period, state, reason }: JudgedPeriod) => ({ kind, period, state, reason })),
    queue: queue.says,
  }
}

/** A queue that is away is no reason to say nothing: all but its own next firings stands in the store. */
async function readQueues({ settings }: Environment, databaseUrl: string): Promise<{ readonly schedulers: NamedScheduler[] | null; readonly says: string }> {
  try {
    const [batch, archive] = await Promise.all([readSchedulers(jobsOptions(settings, databaseUrl)), readSchedulers(jobsOptions(settings, databaseUrl, 'tidemark-archive'))])
    const schedulers = [...batch, ...archive]
    return { schedulers, says: schedulers.length === 0 ? 'no schedule is registered: "tidemark batch work", which "tidemark up" starts, registers them within a minute' : 'answers' }
  } catch (thrown) {
    const isMissing = /SchemaMigration|schema|does not exist/i.test(`${(thrown as Error).name} ${messageOf(thrown)}`) && !(thrown instanceof TidemarkError)
    return { schedulers: isMissing ? [] : null, says: isMissing ? 'is not made yet: "tidemark batch work", which "tidemark up" starts, makes it' : `does not answer: ${messageOf(thrown)}` }
  }
}

function asLastRun(job: JobRun): LastRun {
  return {
    period: job.period,
    outcome: job.outcome,
    startedAt: job.startedAt.toISOString(),
    finishedAt: job.finishedAt?.toISOString() ?? null,
    durationMs: job.finishedAt === null ? null : job.finishedAt.getTime() - job.startedAt.getTime(),
    attempts: job.attempts,
    batch: job.batch,
    version: job.version,
    retryAt: job.retryAt?.toISOString() ?? null,
    lastError: job.lastError,
  }
}

/** The last that found something to file: one that finds nothing leaves no trace. */
function archiveRun(totals: Awaited<ReturnType<typeof readArchiveTotals>>): { last: LastRun | null; success: string | null } {
  const run = totals.filter(({ kind }) => kind === 'committed' || kind === 'batch').sort((a, b) => b.lastAt.getTime() - a.lastAt.getTime())[0]
  if (run === undefined) return { last: null, success: null }
  const { files, rows, durationMs } = run.last
  const finishedAt = run.lastAt.toISOString()
  const startedAt = new Date(run.lastAt.getTime() - durationMs).toISOString()
  return { last: { period: null, outcome: `${count(rows)} rows in ${files} files`, startedAt, finishedAt, durationMs, attempts: 1, batch: null, version: null, retryAt: null, lastError: null }, success: finishedAt }
}

export function printListing({ zone, schedules, dueNow, waiting, queue }: Listing): void {
  const calendar = openCalendar(zone)
  const local = (instant: string | null): string => (instant === null ? '' : localText(calendar, Date.parse(instant)))
  print(`Schedules in the time of ${zone}.`)
  print('')
  printTable(
    ['kind', 'when', 'last run', 'of', 'outcome', 'took', 'next'],
    schedules.map(({ kind, when, lastRun, nextRunAt, nextPeriod }) => [
      kind,
      when,
      local(lastRun?.startedAt ?? null) || 'never',
      lastRun?.period ?? '',
      lastRun === null ? '' : outcomeText(lastRun),
      lastRun === null || lastRun.durationMs === null ? '' : durationText(lastRun.durationMs),
      nextRunAt === null ? '' : `${local(nextRunAt)}${nextPeriod === null ? '' : ` of ${nextPeriod}`}`,
    ]),
    99,
  )
  print('')
  print(dueNow.length === 0 ? 'Nothing is due now.' : `Due now: ${shortened(dueNow.map(({ kind, period }) => `${kind} ${period}`)).join(', ')}.`)
  for (const { kind, period, state, reason } of waiting.slice(0, shownMax)) print(`${kind} ${period} ${state === 'waiting' ? 'waits' : state}: ${reason}.`)
  if (waiting.length > shownMax) print(`… and ${waiting.length - shownMax} more: --json lists them.`)
  const failures = schedules.flatMap(({ kind, lastRun }) => (lastRun?.outcome === failed ? [`${kind} ${lastRun.period ?? ''} failed: ${lastRun.lastError ?? ''}`] : []))
  for (const failure of failures) print(failure)
  const amiss = schedules.filter(({ registered }) => registered === false).map(({ kind }) => kind)
  if (queue !== 'answers') print(`The job queue ${queue}.`)
  else if (amiss.length > 0) print(`Not registered as the settings say: ${amiss.join(', ')}. "tidemark batch work" registers them within a minute.`)
}

function shortened(items: readonly string[]): string[] {
  return items.length <= shownMax ? [...items] : [...items.slice(0, shownMax), `and ${items.length - shownMax} more`]
}

function outcomeText({ outcome, attempts, version, retryAt }: LastRun): string {
  const tries = attempts > 1 ? `, attempt ${attempts}` : ''
  if (outcome === running) return `runs${tries}`
  if (outcome === failed) return `failed${tries}${retryAt === null ? '' : ', tried again'}`
  return `${outcome}${version === null ? '' : ` v${version}`}${tries}`
}

/** `Sun 2025-03-30 03:00 +01:00` */
export function localText(calendar: ZoneCalendar, instantMs: number): string {
  const offsetMs = calendar.offsetMs(instantMs)
  const local = new Date(instantMs + offsetMs)
  const weekday = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'][local.getUTCDay()]!
  const minutes = Math.round(Math.abs(offsetMs) / 60_000)
  const offset = `${offsetMs < 0 ? '-' : '+'}${String(Math.floor(minutes / 60)).padStart(2, '0')}:${String(minutes % 60).padStart(2, '0')}`
  return `${weekday} ${local.toISOString().slice(0, 16).replace('T', ' ')} ${offset}`
}

export function durationText(durationMs: number): string {
  if (durationMs < 60_000) return `${(durationMs / 1000).toFixed(1)} s`
  const minutes = Math.floor(durationMs / 60_000)
  return minutes < 60 ? `${minutes} min ${Math.round((durationMs % 60_000) / 1000)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
