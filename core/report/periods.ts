/** The periods that have reports: how they are named, what days they hold, which come before, and which are closed. Pure. */
import { civilFromDays, digitsAt } from '../calendar.ts'
import { InvalidRequestError } from '../errors.ts'
import type { ClosedPeriod, Seasons } from '../period.ts'
import { monthKey, parseMonthPeriod, parseSeasonPeriod, parseYearPeriod, seasonKey, yearKey, yearMin } from '../period.ts'

export const reportKinds = ['monthly', 'quarterly', 'seasonal', 'yearly'] as const
export type ReportKind = (typeof reportKinds)[number]

/** `monthly` names `2025-03`, `quarterly` `2025-Q1`, `seasonal` `2025-spring`, `yearly` `2025`. Throws InvalidRequestError naming what is expected. */
export function parseReportPeriod(kind: ReportKind, period: string, seasons: Seasons): ClosedPeriod {
  if (kind === 'monthly') return parseMonthPeriod(period, 'period')
  if (kind === 'quarterly') return parseQuarterPeriod(period)
  if (kind === 'seasonal') return parseSeasonPeriod(period, seasons)
  return parseYearPeriod(period, 'period')
}

export function parseReportKind(text: string): ReportKind {
  const kind = reportKinds.find((one) => one === text)
  if (kind === undefined) throw new InvalidRequestError(`kind must be one of ${reportKinds.join(', ')}.`, { parameter: 'kind' })
  return kind
}

/** `2025-Q1` → 2025-01-01 to 2025-04-01. */
function parseQuarterPeriod(period: string): ClosedPeriod {
  const quarter = period.length === 7 && period.slice(4, 6) === '-Q' ? digitsAt(period, 6, 1) : -1
  if (quarter < 1 || quarter > 4) throw new InvalidRequestError('period must be a quarter such as 2025-Q1.', { parameter: 'period' })
  const month = (at: number): string => `${period.slice(0, 4)}-${String(at).padStart(2, '0')}`
  return { fromDay: parseMonthPeriod(month(quarter * 3 - 2), 'period').fromDay, toDay: parseMonthPeriod(month(quarter * 3), 'period').toDay }
}

/** The period of a kind that holds the day. */
export function reportPeriodOf(kind: ReportKind, day: number, seasons: Seasons): string {
  if (kind === 'monthly') return monthKey(day)
  if (kind === 'quarterly') return `${yearKey(day)}-Q${Math.ceil(civilFromDays(day).month / 3)}`
  if (kind === 'seasonal') return seasonKey(day, seasons)
  return yearKey(day)
}

/** The period that ends where this one begins; null before the first year that periods can name. */
export function periodBefore(kind: ReportKind, period: string, seasons: Seasons): string | null {
  const before = reportPeriodOf(kind, parseReportPeriod(kind, period, seasons).fromDay - 1, seasons)
  return Number(before.slice(0, 4)) < yearMin ? null : before
}

/** The period of the same name a year earlier; null before the first year that periods can name. */
export function periodYearBefore(period: string): string | null {
  const year = Number(period.slice(0, 4)) - 1
  return year < yearMin ? null : `${year}${period.slice(4)}`
}

/**
 * Periods of a kind that have ended by the day (exclusive: a period whose `toDay` is that day has ended) and hold a day of the books, oldest first.
 */
export function closedReportPeriods(kind: ReportKind, booksOpenDay: number, byDay: number, seasons: Seasons): { readonly period: string; readonly days: ClosedPeriod }[] {
  const closed: { period: string; days: ClosedPeriod }[] = []
  for (let day = Math.max(booksOpenDay, firstNamedDay(kind, seasons)); day < byDay; ) {
    const period = reportPeriodOf(kind, day, seasons)
    const days = parseReportPeriod(kind, period, seasons)
    if (days.toDay > byDay) break
    closed.push({ period, days })
    day = days.toDay
  }
  return closed
}

/** The first day whose period has a name: the season that began before the first year has none. */
function firstNamedDay(kind: ReportKind, seasons: Seasons): number {
  const year = String(yearMin)
  return kind === 'seasonal' ? parseSeasonPeriod(`${year}-${seasons.starts[0]!.name}`, seasons).fromDay : parseYearPeriod(year, 'period').fromDay
}
