/**
 * The table of seasons as a shop writes it: names with their first and last days, read from JSON or CSV and checked over a leap year, day by day. Pure.
 * Every fault is one InvalidRequestError that names the days.
 */
import { daysInMonth } from './calendar.ts'
import { InvalidRequestError } from './errors.ts'
import type { Seasons } from './period.ts'

/** `month` 1 to 12, `day` 1 to 31; of a leap year. */
export type SeasonDate = { readonly month: number; readonly day: number }
/** Both days belong to it. Where `to` lies before `from` it runs over the end of the year, and belongs to the year it starts in. */
export type Season = { readonly name: string; readonly from: SeasonDate; readonly to: SeasonDate }
/** By first day within the year; each day of a leap year lies in exactly one. A last day of 29 February is the last of February in every year. */
export type SeasonTable = { readonly calendar: string; readonly seasons: readonly Season[] }
/** A table as the store keeps it. */
export type SeasonVersion = SeasonTable & { readonly version: number; readonly createdAt: string; readonly isCurrent: boolean }

export const seasonsMax = 12
export const seasonFileBytesMax = 65_536
const calendarCharactersMax = 60
/** Names stand in folders of the lake and in addresses. */
const nameForm = /^[a-z][a-z0-9_]{0,29}$/
const leapYear = 2024
const february28: SeasonDate = { month: 2, day: 28 }
const february29: SeasonDate = { month: 2, day: 29 }

export const seasonsExample = `{"calendar": "meteorological, northern hemisphere", "seasons": [
  {"name": "spring", "from": "03-01", "to": "05-31"},
  {"name": "summer", "from": "06-01", "to": "08-31"},
  {"name": "autumn", "from": "09-01", "to": "11-30"},
  {"name": "winter", "from": "12-01", "to": "02-29"}]}`

export const seasonsCsvExample = `name,from,to,calendar
low,02-01,10-31,"high and low"
high,11-01,01-31,"high and low"`

type Row = { readonly name: string; readonly from: string; readonly to: string; readonly calendar: string }

/** Reads what a file holds: JSON where it begins with a brace or a bracket, else CSV with a head. Throws InvalidRequestError with everything that is wrong. */
export function parseSeasonTable(text: string): SeasonTable {
  const content = text.replace(/^\uFEFF/, '').trim()
  const rows = /^[[{]/.test(content) ? rowsOfJson(content) : rowsOfCsv(content)
  return checkSeasonTable(rows)
}

/** One table is the other, whatever its version. */
export function sameSeasonTable(one: SeasonTable, other: SeasonTable): boolean {
  return JSON.stringify(plain(one)) === JSON.stringify(plain(other))
}

/** As it is written in a file. */
export function plain({ calendar, seasons }: SeasonTable): { calendar: string; seasons: { name: string; from: string; to: string }[] } {
  return { calendar, seasons: seasons.map(({ name, from, to }) => ({ name, from: dateText(from), to: dateText(to) })) }
}

export function seasonsOf({ version, calendar, seasons }: SeasonTable & { readonly version: number }): Seasons {
  return { version, calendar, starts: seasons.map(({ name, from }) => ({ name, firstMonth: from.month, firstDay: from.day })) }
}

/** `03-01` */
export function dateText({ month, day }: SeasonDate): string {
  return `${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}`
}

function checkSeasonTable(rows: readonly Row[]): SeasonTable {
  const faults: string[] = []
  if (rows.length === 0) faults.push('there is no season in it: at least one, which may be the whole year')
  if (rows.length > seasonsMax) faults.push(`it has ${rows.length} seasons, and ${seasonsMax} are the most`)
  const names = rows.map((row) => row.name)
  for (const name of new Set(names)) {
    if (!nameForm.test(name)) faults.push(`"${shorten(name)}" cannot be a name: a small letter, then small letters, digits and _, 30 at most`)
    if (names.filter((other) => other === name).length > 1) faults.push(`the name ${shorten(name)} stands there more than once`)
  }
  const calendars = [...new Set(rows.map((row) => row.calendar))]
  if (calendars.length > 1) faults.push(`its rows name more than one calendar: ${calendars.map((calendar) => `"${shorten(calendar)}"`).join(', ')}`)
  for (const calendar of calendars) {
    const { length } = Array.from(calendar)
    if (length < 1 || length > calendarCharactersMax || /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(calendar)) faults.push(`calendar must be 1 to ${calendarCharactersMax} printable characters`)
  }
  const seasons = rows.map((row) => ({ name: row.name, from: parseDate(row, 'from', faults), to: parseDate(row, 'to', faults) }))
  refuse(faults)
  const whole = seasons.map(endOfFebruary).sort((a, b) => dayOfYear(a.from) - dayOfYear(b.from))
  refuse(coverFaults(whole))
  return { calendar: calendars[0]!, seasons: whole }
}

/** A last day of 28 February means the last of February, unless another season starts on the 29th. */
function endOfFebruary(season: Season, _at: number, all: readonly Season[]): Season {
  const isLast = sameDate(season.to, february28) && !all.some(({ from }) => sameDate(from, february29))
  return isLast ? { ...season, to: february29 } : season
}

/** Days of a leap year that lie in no season or in several, as runs of days. */
function coverFaults(seasons: readonly Season[]): string[] {
  const owners: string[][] = Array.from({ length: 366 }, () => [])
  for (const { name, from, to } of seasons) {
    const first = dayOfYear(from)
    const days = ((dayOfYear(to) - first + 366) % 366) + 1
    for (let n = 0; n < days; n++) owners[(first + n) % 366]!.push(name)
  }
  const faults: string[] = []
  for (const { from, to, owner } of runsOf(owners)) {
    const days = from === to ? `${dateText(dateOfYear(from))} lies` : `${dateText(dateOfYear(from))} to ${dateText(dateOfYear(to))} lie`
    if (owner.length === 0) faults.push(`${days} in no season`)
    else if (owner.length > 1) faults.push(`${days} in ${owner.join(' and ')}`)
  }
  for (const { name, from, to } of seasons) {
    if (sameDate(from, february29) && sameDate(to, february29)) faults.push(`${name} would have no day in most years: a season of 29 February alone cannot be`)
  }
  return faults
}

/** Runs of days with the same owners; one over the end of the year is one run. */
function runsOf(owners: readonly (readonly string[])[]): { from: number; to: number; owner: readonly string[] }[] {
  const key = (day: number): string => owners[day]!.join(' ')
  const runs: { from: number; to: number; owner: readonly string[] }[] = []
  for (let day = 0; day < owners.length; day++) {
    const last = runs.at(-1)
    if (last !== undefined && key(last.from) === key(day)) last.to = day
    else runs.push({ from: day, to: day, owner: owners[day]! })
  }
  const [first, last] = [runs[0]!, runs.at(-1)!]
  if (runs.length > 1 && key(first.from) === key(last.from)) {
    runs.shift()
    last.to = first.to
  }
  return runs
}

function rowsOfJson(content: string): Row[] {
  let value: unknown
  try {
    value = JSON.parse(content)
  } catch (thrown) {
    throw refusal([`it is no JSON: ${thrown instanceof Error ? thrown.message : String(thrown)}`])
  }
  const table = Array.isArray(value) ? { seasons: value as unknown[] } : (value as { calendar?: unknown; seasons?: unknown })
  if (!Array.isArray(table.seasons)) throw refusal(['"seasons" must be a list'])
  const outer = 'calendar' in table ? table.calendar : undefined
  return table.seasons.map((season: unknown, at) => {
    const row = { calendar: outer, ...(typeof season === 'object' ? season : {}) } as Record<string, unknown>
    const wrong = (['name', 'from', 'to', 'calendar'] as const).filter((field) => typeof row[field] !== 'string')
    if (wrong.length > 0) throw refusal([`season ${at + 1} needs ${wrong.join(', ')} as text`])
    return row as Row
  })
}

function rowsOfCsv(content: string): Row[] {
  const [head = [], ...lines] = content.split(/\r?\n/).filter((line) => line.trim() !== '').map(csvFields)
  const wanted = ['name', 'from', 'to', 'calendar'] as const
  const places = wanted.map((field) => head.indexOf(field))
  if (places.includes(-1)) throw refusal([`its first line must name the columns ${wanted.join(',')}`])
  return lines.map((fields, at) => {
    if (fields.length !== head.length) throw refusal([`line ${at + 2} has ${fields.length} fields where the first line names ${head.length}`])
    const [name, from, to, calendar] = places.map((place) => fields[place]!) as [string, string, string, string]
    return { name, from, to, calendar }
  })
}

/** Fields of a line, quoted ones with their quotes doubled; spaces around them do not count. */
function csvFields(line: string): string[] {
  const fields: string[] = []
  const form = /\s*(?:"((?:[^"]|"")*)"|([^",]*))\s*(,|$)/y
  for (;;) {
    const match = form.exec(line)
    if (match === null) throw refusal([`a line cannot be read: ${shorten(line)}`])
    fields.push(match[1] === undefined ? match[2]!.trim() : match[1].replaceAll('""', '"'))
    if (match[3] === '') return fields
  }
}

function parseDate(row: Row, field: 'from' | 'to', faults: string[]): SeasonDate {
  const [, month = '0', day = '0'] = /^(\d\d)-(\d\d)$/.exec(row[field]) ?? []
  const date = { month: Number(month), day: Number(day) }
  const isThere = date.month >= 1 && date.month <= 12 && date.day >= 1 && date.day <= daysInMonth(leapYear, date.month)
  if (!isThere) faults.push(`${field} of ${shorten(row.name)} must be a day of the year such as 03-01 (month, day), not "${shorten(row[field])}"`)
  return date
}

function sameDate(one: SeasonDate, other: SeasonDate): boolean {
  return one.month === other.month && one.day === other.day
}

/** 0 for 1 January to 365 for 31 December of a leap year. */
function dayOfYear({ month, day }: SeasonDate): number {
  let days = day - 1
  for (let before = 1; before < month; before++) days += daysInMonth(leapYear, before)
  return days
}

function dateOfYear(dayOfLeapYear: number): SeasonDate {
  let [month, day] = [1, dayOfLeapYear + 1]
  for (; day > daysInMonth(leapYear, month); month++) day -= daysInMonth(leapYear, month)
  return { month, day }
}

function refuse(faults: readonly string[]): void {
  if (faults.length > 0) throw refusal(faults)
}

function refusal(faults: readonly string[]): InvalidRequestError {
  return new InvalidRequestError(`This table of seasons cannot be used:\n  ${faults.join('\n  ')}\n"tidemark seasons set --help" shows one that can.`, { parameter: 'seasons', faults })
}

function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text
}
