/**
 * The shop's local days and hours, from its IANA zone. Local day and hour are computed once, at decoding, and stored with the event;
 * every later grouping uses the stored value. A local time that happens twice in an autumn night is the first of the two; one that does not exist
 * in spring is moved forward by the length of the gap.
 */

export const dayMs = 86_400_000
const hourMs = 3_600_000
/** One offset serves a slot, unless clocks change within it: Newfoundland changed its at a minute past midnight until 2011. */
const slotMs = 900_000
/** Slots kept; a year has 35,040. Beyond it the cache starts afresh. */
const cachedSlotsMax = 200_000

/** 0001-01-01. No earlier local day is accepted: PostgreSQL and Parquet readers write such years in ways of their own. */
export const firstLocalDay = -719_162

/** `2024-12-30` → 20087. Null where the text is no day of the years 0001 to 9999. */
export function parseDay(text: string): number | null {
  if (text.length !== 10 || text.charCodeAt(4) !== 45 || text.charCodeAt(7) !== 45) return null
  const year = digitsAt(text, 0, 4)
  const month = digitsAt(text, 5, 2)
  const day = digitsAt(text, 8, 2)
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) return null
  return daysFromCivil(year, month, day)
}

/** The number at `from`, or −1 where a character is no digit. */
export function digitsAt(text: string, from: number, length: number): number {
  let value = 0
  for (let at = from; at < from + length; at++) {
    const digit = text.charCodeAt(at) - 48
    if (!(digit >= 0 && digit <= 9)) return -1
    value = value * 10 + digit
  }
  return value
}

export function daysInMonth(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
}

/** Days since 1970-01-01 of a proleptic Gregorian date. After Howard Hinnant, "chrono-compatible low-level date algorithms". */
export function daysFromCivil(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year
  const era = Math.floor(y / 400)
  const yearOfEra = y - era * 400
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear
  return era * 146_097 + dayOfEra - 719_468
}

export function civilFromDays(days: number): { year: number; month: number; day: number } {
  const shifted = days + 719_468
  const era = Math.floor(shifted / 146_097)
  const dayOfEra = shifted - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const mp = Math.floor((5 * dayOfYear + 2) / 153)
  const month = mp + (mp < 10 ? 3 : -9)
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day: dayOfYear - Math.floor((153 * mp + 2) / 5) + 1 }
}

/** 20087 → `2024-12-30`. */
export function formatDay(days: number): string {
  const { year, month, day } = civilFromDays(days)
  return `${String(year).padStart(4, '0')}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}`
}

/** First day of the local month that holds the day. */
export function monthStart(days: number): number {
  const { year, month } = civilFromDays(days)
  return daysFromCivil(year, month, 1)
}

export type ZoneCalendar = {
  readonly zone: string
  /** Offset of local from UTC time at an instant, in milliseconds. */
  offsetMs(instantMs: number): number
  /** The instant of a wall time given as if it were UTC milliseconds; see the rules above. */
  instantOf(localMs: number): number
  /** The instant at which the local day ends, exclusive. */
  dayEndMs(localDay: number): number
}

/** Throws RangeError where the zone is unknown to this machine. */
export function openCalendar(zone: string): ZoneCalendar {
  // `gregory`, which ECMA-402 makes proleptic: the calendar `iso8601` leaves the era out, and year 0 would pass for year 1.
  const format = new Intl.DateTimeFormat('en-US-u-ca-gregory-nu-latn', {
    timeZone: zone,
    hourCycle: 'h23',
    era: 'short',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })
  /** null where clocks change within the slot. */
  const offsets = new Map<number, number | null>()
  const dayEnds = new Map<number, number>()

  function measureOffset(instantMs: number): number {
    let year = 0
    let month = 0
    let day = 0
    let hour = 0
    let minute = 0
    let second = 0
    let beforeChrist = false
    for (const part of format.formatToParts(instantMs)) {
      if (part.type === 'year') year = Number(part.value)
      else if (part.type === 'month') month = Number(part.value)
      else if (part.type === 'day') day = Number(part.value)
      else if (part.type === 'hour') hour = Number(part.value)
      else if (part.type === 'minute') minute = Number(part.value)
      else if (part.type === 'second') second = Number(part.value)
      else if (part.type === 'era') beforeChrist = part.value.startsWith('B')
    }
    if (beforeChrist) year = 1 - year
    const local = daysFromCivil(year, month, day) * dayMs + hour * hourMs + minute * 60_000 + second * 1000
    return local - Math.floor(instantMs / 1000) * 1000
  }

  function offsetMs(instantMs: number): number {
    const slot = Math.floor(instantMs / slotMs)
    const known = offsets.get(slot)
    if (known !== undefined) return known ?? measureOffset(instantMs)
    if (offsets.size >= cachedSlotsMax) offsets.clear()
    const offset = measureOffset(slot * slotMs)
    const changes = measureOffset((slot + 1) * slotMs - 1000) !== offset
    offsets.set(slot, changes ? null : offset)
    return changes ? measureOffset(instantMs) : offset
  }

  function instantOf(localMs: number): number {
    const before = offsetMs(localMs - dayMs)
    const after = offsetMs(localMs + dayMs)
    const first = localMs - before
    if (before === after) return first
    if (offsetMs(first) === before) return first
    const second = localMs - after
    return offsetMs(second) === after ? second : first
  }

  function dayEndMs(localDay: number): number {
    const known = dayEnds.get(localDay)
    if (known !== undefined) return known
    if (dayEnds.size >= cachedSlotsMax) dayEnds.clear()
    const end = instantOf((localDay + 1) * dayMs)
    dayEnds.set(localDay, end)
    return end
  }

  return { zone, offsetMs, instantOf, dayEndMs }
}
