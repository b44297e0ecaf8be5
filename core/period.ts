/**
 * Periods of local days: what a request calls a day, month, season, year or range, as a half-open range of days since 1970-01-01. Pure; every
 * refusal names the parameter and what it may be.
 */
import { civilFromDays, daysFromCivil, digitsAt, formatDay, parseDay } from './calendar.ts'
import { InvalidRequestError } from './errors.ts'

export const yearMin = 1970
export const yearMax = 2100

/** Days since 1970-01-01: `fromDay` inclusive, `toDay` exclusive; null is open. */
export type Period = { readonly fromDay: number | null; readonly toDay: number | null }
export type ClosedPeriod = { readonly fromDay: number; readonly toDay: number }

/** A season by its name and first day of the year; it lasts until the next one's first day and belongs to the year it starts in. */
export type SeasonStart = { readonly name: string; readonly firstMonth: number; readonly firstDay: number }
/** One version of the table of seasons, by first day within the year. Never empty. `calendar` is what people call it. */
export type Seasons = { readonly version: number; readonly calendar: string; readonly starts: readonly SeasonStart[] }

const dayMin = daysFromCivil(yearMin, 1, 1)
/** The last day that an exclusive end may name. */
const dayEndMax = daysFromCivil(yearMax + 1, 1, 1)
const yearsAllowed = `years ${yearMin} to ${yearMax}`

/** `2024-12-30` → that day. */
export function parseDayPeriod(text: string, parameter = 'day'): ClosedPeriod {
  const day = parseDayWithin(text, parameter, dayEndMax - 1)
  return { fromDay: day, toDay: day + 1 }
}

/** `2024-12` → that month. */
export function parseMonthPeriod(text: string, parameter = 'month'): ClosedPeriod {
  const year = text.length === 7 && text[4] === '-' ? digitsAt(text, 0, 4) : -1
  const month = digitsAt(text, 5, 2)
  if (year < yearMin || year > yearMax || month < 1 || month > 12) {
    throw new InvalidRequestError(`${parameter} must be a month such as 2024-12, of the ${yearsAllowed}.`, { parameter, given: shorten(text) })
  }
  return { fromDay: daysFromCivil(year, month, 1), toDay: month === 12 ? daysFromCivil(year + 1, 1, 1) : daysFromCivil(year, month + 1, 1) }
}

/** `2024` → that year. */
export function parseYearPeriod(text: string, parameter = 'year'): ClosedPeriod {
  const year = text.length === 4 ? digitsAt(text, 0, 4) : -1
  if (year < yearMin || year > yearMax) {
    throw new InvalidRequestError(`${parameter} must be a year such as 2024, of the ${yearsAllowed}.`, { parameter, given: shorten(text) })
  }
  return { fromDay: daysFromCivil(year, 1, 1), toDay: daysFromCivil(year + 1, 1, 1) }
}

/** Both ends optional; `to` is exclusive and must lie after `from`. */
export function parseRange(from: string | undefined, to: string | undefined): Period {
  const fromDay = from === undefined ? null : parseDayWithin(from, 'from', dayEndMax - 1)
  const toDay = to === undefined ? null : parseDayWithin(to, 'to', dayEndMax)
  if (fromDay !== null && toDay !== null && fromDay >= toDay) {
    throw new InvalidRequestError(`from must lie before to, and to is exclusive: for the single day ${formatDay(fromDay)} ask to=${formatDay(fromDay + 1)}.`, {
      parameter: 'to',
      from: formatDay(fromDay),
      to: formatDay(toDay),
    })
  }
  return { fromDay, toDay }
}

/** Checks the form of a season key, `2024-winter`, before the table of seasons is at hand. */
export function checkSeasonKey(text: string): void {
  if (!/^\d{4}-[\p{L}\p{N}_ -]{1,60}$/u.test(text) || Number(text.slice(0, 4)) < yearMin || Number(text.slice(0, 4)) > yearMax) {
    throw new InvalidRequestError(`season must be a year and a name such as 2024-winter, of the ${yearsAllowed}.`, { parameter: 'season', given: shorten(text) })
  }
}

/** `2024-winter` → 2024-12-01 to 2025-03-01, with the seasons that the store keeps. */
export function parseSeasonPeriod(text: string, seasons: Seasons): ClosedPeriod {
  checkSeasonKey(text)
  const year = Number(text.slice(0, 4))
  const at = seasons.starts.findIndex((start) => start.name === text.slice(5))
  if (at < 0) {
    const names = seasons.starts.map((start) => start.name).join(', ')
    throw new InvalidRequestError(`There is no season of that name: the seasons are ${names}, for example ${year}-${seasons.starts[0]!.name}.`, {
      parameter: 'season',
      given: shorten(text),
    })
  }
  const next = at + 1 === seasons.starts.length ? startDay(seasons.starts[0]!, year + 1) : startDay(seasons.starts[at + 1]!, year)
  return { fromDay: startDay(seasons.starts[at]!, year), toDay: next }
}

/** `2024-winter` for 2025-02-01. */
export function seasonKey(day: number, seasons: Seasons): string {
  const { year, month, day: dayOfMonth } = civilFromDays(day)
  const started = seasons.starts.findLast((start) => start.firstMonth < month || (start.firstMonth === month && start.firstDay <= dayOfMonth))
  return started === undefined ? `${yearText(year - 1)}-${seasons.starts.at(-1)!.name}` : `${yearText(year)}-${started.name}`
}

/** Whether every season starts on the first of a month, so that months never straddle seasons. */
export function seasonsFollowMonths(seasons: Seasons): boolean {
  return seasons.starts.every((start) => start.firstDay === 1)
}

/** `2024-12` of a day. */
export function monthKey(day: number): string {
  return formatDay(day).slice(0, -3)
}

/** `2024` of a day. */
export function yearKey(day: number): string {
  return formatDay(day).slice(0, -6)
}

export function yearText(year: number): string {
  return String(year).padStart(4, '0')
}

/** A 29 February or 31 April is the day after the month's last where that year has none, as in comparing (month, day) pairs. */
function startDay(start: SeasonStart, year: number): number {
  const thisMonth = daysFromCivil(year, start.firstMonth, 1)
  const nextMonth = start.firstMonth === 12 ? daysFromCivil(year + 1, 1, 1) : daysFromCivil(year, start.firstMonth + 1, 1)
  return Math.min(thisMonth + start.firstDay - 1, nextMonth)
}

function parseDayWithin(text: string, parameter: string, dayMax: number): number {
  const day = parseDay(text)
  if (day === null || day < dayMin || day > dayMax) {
    throw new InvalidRequestError(`${parameter} must be a day such as 2024-12-30 that exists, of the ${yearsAllowed}.`, { parameter, given: shorten(text) })
  }
  return day
}

/** What was given, short enough for an error. */
function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text
}
