/**
 * What is due, as data: pure, with the clock passed in. A night's batch is due from its time of day on. A period's report is due once a published batch has
 * passed the log's end as it stood after the period's end and a grace, which is recorded when that moment comes: so a log that lags for hours at month's end
 * freezes no half report, and no event's time decides anything. Months before the books opened, and before the shop's first figures, have no report.
 */
import { dayMs, formatDay } from '#core/calendar.ts'
import type { ZoneCalendar } from '#core/calendar.ts'
import type { Seasons } from '#core/period.ts'
import type { Vector } from '#core/ports.ts'
import type { ReportKind } from '#core/report/periods.ts'
import { closedReportPeriods, parseReportPeriod, reportKinds, reportPeriodOf } from '#core/report/periods.ts'
import type { JobRun } from '#store/job-runs.ts'
import { failed, isDone, running } from '#store/job-runs.ts'
import type { LogEndRecord, Published, Rebuild } from '#store/log-ends.ts'

/** `catch-up`: a batch by day, for periods that the night's batch left waiting. `restate`: closed periods compared with a new batch. */
export const batchKinds = ['nightly', 'catch-up', 'restate', 'compact'] as const
export type DueKind = (typeof batchKinds)[number] | ReportKind
export type DueItem = { readonly kind: DueKind; readonly period: string }

export type ScheduleTerms = {
  readonly calendar: ZoneCalendar
  readonly seasons: Seasons
  /** `HH:MM`, local. */
  readonly nightlyAt: string
  readonly graceMs: number
  /** Days since 1970-01-01. */
  readonly booksOpenDay: number
}

/** All that decides, read at one moment. */
export type Facts = {
  readonly nowMs: number
  readonly published: Published
  /** Next offsets that the speed layer has committed. */
  readonly committed: Vector
  readonly logEnds: readonly LogEndRecord[]
  readonly rebuilds: readonly Rebuild[]
  /** Of all kinds above. */
  readonly runs: readonly JobRun[]
}

export type ClosedReport = { readonly kind: ReportKind; readonly period: string; readonly toDay: number; readonly closesAtMs: number }

export type PeriodState = 'done' | 'due' | 'running' | 'failed' | 'waiting'
/** `needs` is what the published horizon must reach; null while that is not recorded. */
export type JudgedPeriod = ClosedReport & { readonly state: PeriodState; readonly reason: string; readonly needs: Vector | null; readonly run: JobRun | null }

export type Plan = {
  readonly night: string
  /** Whether the log's end is to be recorded now. */
  readonly recordsLogEnds: boolean
  /** Closed periods, oldest first. */
  readonly periods: readonly JudgedPeriod[]
  /** In the order in which to do it. */
  readonly due: readonly DueItem[]
}

/** What the caller can do: kinds of work that nobody has wired are not due. */
export type Abilities = { readonly restates: boolean; readonly compacts: boolean; readonly reports: boolean }

/** The local day whose nightly batch is due at an instant: the day before until `nightlyAt`, then this one. */
export function dueNight(calendar: ZoneCalendar, nightlyAt: string, nowMs: number): string {
  const today = localDay(calendar, nowMs)
  return formatDay(nowMs >= nightlyInstant(calendar, nightlyAt, today) ? today : today - 1)
}

/** When the batch of a local day's night begins, UTC ms. */
export function nightlyInstant(calendar: ZoneCalendar, nightlyAt: string, day: number): number {
  const [hour = 0, minute = 0] = nightlyAt.split(':').map(Number)
  return calendar.instantOf(day * dayMs + (hour * 60 + minute) * 60_000)
}

export function localDay(calendar: ZoneCalendar, instantMs: number): number {
  return Math.floor((instantMs + calendar.offsetMs(instantMs)) / dayMs)
}

/** The periods of all kinds that have ended, oldest first; the books may hold only a part of the first of each kind. */
export function closedReports({ calendar, seasons, booksOpenDay }: ScheduleTerms, firstDay: number | null, nowMs: number): ClosedReport[] {
  if (firstDay === null) return []
  const fromDay = Math.max(booksOpenDay, firstDay)
  const today = localDay(calendar, nowMs)
  const closed = reportKinds.flatMap((kind) =>
    closedReportPeriods(kind, fromDay, today, seasons).map(({ period, days }) => ({ kind, period, toDay: days.toDay, closesAtMs: calendar.dayEndMs(days.toDay - 1) })),
  )
  return closed.sort((a, b) => a.closesAtMs - b.closesAtMs)
}

/** When the report of the period that is open now can be made: with the night that follows its end, and not within the grace. */
export function nextReport(terms: ScheduleTerms, kind: ReportKind, nowMs: number): { readonly period: string; readonly atMs: number } {
  const { calendar, seasons, nightlyAt, graceMs } = terms
  const period = reportPeriodOf(kind, localDay(calendar, nowMs), seasons)
  const { toDay } = parseReportPeriod(kind, period, seasons)
  const graceEndsMs = calendar.dayEndMs(toDay - 1) + graceMs
  return { period, atMs: Math.max(nightlyInstant(calendar, nightlyAt, toDay), graceEndsMs) }
}

export function nextNight({ calendar, nightlyAt }: Pick<ScheduleTerms, 'calendar' | 'nightlyAt'>, nowMs: number): number {
  const today = localDay(calendar, nowMs)
  const atMs = nightlyInstant(calendar, nightlyAt, today)
  return atMs > nowMs ? atMs : nightlyInstant(calendar, nightlyAt, today + 1)
}

export function makePlan(terms: ScheduleTerms, facts: Facts, abilities: Abilities): Plan {
  const { nowMs, published, runs } = facts
  const runOf = new Map(runs.map((job) => [keyOf(job), job]))
  const night = dueNight(terms.calendar, terms.nightlyAt, nowMs)
  const closed = closedReports(terms, published.firstDay, nowMs)
  const periods = closed.map((period) => judge(period, terms, facts, runOf.get(keyOf(period)) ?? null))
  const undone = periods.filter(({ state }) => state !== 'done')

  const isNightDone = isDone(runOf.get(keyOf({ kind: 'nightly', period: night })))
  const wanted: DueItem[] = [{ kind: 'nightly', period: night }]
  const catchUp = isNightDone ? catchUpFor(undone, facts, night) : null
  if (catchUp !== null) wanted.push({ kind: 'catch-up', period: catchUp })
  if (abilities.restates && published.batch > 0) wanted.push({ kind: 'restate', period: `batch-${published.batch}` })
  if (abilities.reports) wanted.push(...undone.filter(({ state }) => state === 'due' || state === 'running').map(({ kind, period }) => ({ kind, period })))
  if (abilities.compacts && isNightDone) wanted.push({ kind: 'compact', period: night })
  return { night, recordsLogEnds: wantsLogEnds(terms, facts), periods, due: wanted.filter((item) => mayRun(runOf.get(keyOf(item)), nowMs)) }
}

function keyOf({ kind, period }: { readonly kind: string; readonly period: string }): string {
  return `${kind} ${period}`
}

/** A run that somebody works on may be claimed all the same, where that worker is gone: whether it is, the claim finds out. */
function mayRun(job: JobRun | undefined, nowMs: number): boolean {
  if (job === undefined || job.outcome === running) return true
  return job.outcome === failed && job.retryAt !== null && job.retryAt.getTime() <= nowMs
}

/** Whether a period has ended, its grace too, and no record was made since: also where nothing is published yet, for the record must be older than the cut. */
function wantsLogEnds(terms: ScheduleTerms, { nowMs, logEnds }: Facts): boolean {
  const newestMs = logEnds.at(-1)?.recordedAtMs ?? Number.NEGATIVE_INFINITY
  return closedReports(terms, terms.booksOpenDay, nowMs).some(({ closesAtMs }) => closesAtMs + terms.graceMs <= nowMs && closesAtMs + terms.graceMs > newestMs)
}

function judge(period: ClosedReport, { graceMs }: ScheduleTerms, facts: Facts, job: JobRun | null): JudgedPeriod {
  const graceEndsMs = period.closesAtMs + graceMs
  const ended = facts.logEnds.find(({ recordedAtMs }) => recordedAtMs >= graceEndsMs)
  const needs = ended === undefined ? null : neededOf(ended, facts.rebuilds)
  const as = (state: PeriodState, reason: string): JudgedPeriod => ({ ...period, state, reason, needs, run: job })
  if (isDone(job ?? undefined)) return as('done', '')
  if (facts.nowMs < graceEndsMs) return as('waiting', `late events may still come until ${timeText(graceEndsMs)}`)
  if (needs === null) return as('waiting', 'where the log ended after it is not recorded yet; "tidemark batch work" does so within a minute')
  const behind = [...needs].filter(([partition, end]) => (facts.published.horizon.get(partition) ?? 0) < end)
  if (behind.length > 0) {
    const list = behind.map(([partition, end]) => `${partition}:${facts.published.horizon.get(partition) ?? 0} of ${end}`).join(' ')
    const counted = isReached(needs, facts.committed)
    return as('waiting', `batch ${facts.published.batch} does not reach the log's end of ${timeText(ended!.recordedAtMs)} (${list})${counted ? '; the next batch will' : ', and neither does the speed layer yet'}`)
  }
  if (job?.outcome === running) return as('running', `attempt ${job.attempts} runs since ${timeText(job.startedAt.getTime())}`)
  if (job?.outcome === failed && !mayRun(job, facts.nowMs)) {
    const next = job.retryAt === null ? 'a person must mend it' : `the next is due at ${timeText(job.retryAt.getTime())}`
    return as('failed', `attempt ${job.attempts} failed, ${next}: ${job.lastError ?? ''}`)
  }
  return as('due', '')
}

/** What the log had after a rebuild's offset went with the topic that was. */
function neededOf({ recordedAtMs, ends }: LogEndRecord, rebuilds: readonly Rebuild[]): Vector {
  const needs = new Map(ends)
  for (const { partition, offset, acceptedAtMs } of rebuilds) {
    const end = needs.get(partition)
    if (end !== undefined && acceptedAtMs >= recordedAtMs && offset < end) needs.set(partition, offset)
  }
  return needs
}

function isReached(needs: Vector, position: Vector): boolean {
  return [...needs].every(([partition, end]) => (position.get(partition) ?? 0) >= end)
}

/**
 * The day of the newest period that only waits for a batch although its night has had one: the log lagged then, or the worker was away. Null where there is
 * none, or where a batch would not help yet.
 */
function catchUpFor(undone: readonly JudgedPeriod[], { committed }: Facts, night: string): string | null {
  const waiting = undone.filter(({ state, needs, toDay }) => state === 'waiting' && needs !== null && formatDay(toDay) <= night && isReached(needs, committed))
  return waiting.length === 0 ? null : formatDay(waiting.at(-1)!.toDay)
}

function timeText(instantMs: number): string {
  return `${new Date(instantMs).toISOString().slice(0, 16).replace('T', ' ')} UTC`
}
