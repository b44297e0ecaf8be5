import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { civilFromDays, dayMs, daysFromCivil, daysInMonth, firstLocalDay, formatDay, monthStart, openCalendar, parseDay } from '#core/calendar.ts'

const london = openCalendar('Europe/London')
const local = (zone: string, instant: string): string => {
  const at = Date.parse(instant)
  return new Date(at + openCalendar(zone).offsetMs(at)).toISOString().slice(0, 16)
}
const instant = (zone: string, time: string): string => new Date(openCalendar(zone).instantOf(Date.parse(`${time}Z`))).toISOString().slice(0, 16)

describe('days', () => {
  test('count as the Date of the platform counts, over ten thousand years', () => {
    const wrong: number[] = []
    for (let at = firstLocalDay; at < daysFromCivil(10_000, 1, 1); at += 13) {
      const date = new Date(at * dayMs)
      const { year, month, day } = civilFromDays(at)
      const same = year === date.getUTCFullYear() && month === date.getUTCMonth() + 1 && day === date.getUTCDate()
      if (!same || daysFromCivil(year, month, day) !== at) wrong.push(at)
    }
    expect(wrong.slice(0, 5)).toEqual([])
  })

  test('are written and read back', () => {
    fc.assert(
      fc.property(fc.integer({ min: firstLocalDay, max: 2_932_896 }), (day) => {
        expect(parseDay(formatDay(day))).toBe(day)
      }),
    )
  })

  test.each(['2025-02-29', '2100-02-29', '2024-13-01', '2024-00-10', '2024-04-31', '0000-12-31', '2024-1-01', '20240101', '2024-01-01 ', '٢٠٢٤-٠١-٠١', ''])('%j is none', (text) => {
    expect(parseDay(text)).toBeNull()
  })

  test('belong to exactly one month, whose start is its first day', () => {
    fc.assert(
      fc.property(fc.integer({ min: firstLocalDay, max: 2_932_896 }), (day) => {
        const start = monthStart(day)
        const { year, month } = civilFromDays(day)
        expect(civilFromDays(start)).toEqual({ year, month, day: 1 })
        expect(day - start).toBeLessThan(daysInMonth(year, month))
        expect(start).toBeLessThanOrEqual(day)
      }),
    )
  })

  test('begin with the year 1', () => {
    expect(formatDay(firstLocalDay)).toBe('0001-01-01')
  })
})

describe('local time', () => {
  test.each([
    ['Europe/London', '2025-03-30T00:59:59Z', '2025-03-30T00:59'],
    ['Europe/London', '2025-03-30T01:00:00Z', '2025-03-30T02:00'],
    ['Europe/London', '2025-10-26T00:59:59Z', '2025-10-26T01:59'],
    ['Europe/London', '2025-10-26T01:00:00Z', '2025-10-26T01:00'],
    ['Europe/London', '1970-01-01T00:00:00Z', '1970-01-01T01:00'],
    ['Asia/Kolkata', '2025-01-31T18:29:59Z', '2025-01-31T23:59'],
    ['Asia/Kolkata', '2025-01-31T18:30:00Z', '2025-02-01T00:00'],
    ['Asia/Kathmandu', '2025-01-01T00:00:00Z', '2025-01-01T05:45'],
    ['America/New_York', '2024-02-29T04:59:59Z', '2024-02-28T23:59'],
    ['America/New_York', '2024-02-29T05:00:00Z', '2024-02-29T00:00'],
    ['Australia/Lord_Howe', '2025-10-04T15:30:00Z', '2025-10-05T02:30'],
    ['America/St_Johns', '1996-10-27T02:30:59Z', '1996-10-27T00:00'],
    ['America/St_Johns', '1996-10-27T02:31:00Z', '1996-10-26T23:01'],
    ['America/St_Johns', '1996-10-27T02:44:59Z', '1996-10-26T23:14'],
    ['Africa/Monrovia', '1972-01-07T00:44:29Z', '1972-01-06T23:59'],
    ['Africa/Monrovia', '1972-01-07T00:44:30Z', '1972-01-07T00:44'],
    ['Pacific/Apia', '2011-12-30T09:59:59Z', '2011-12-29T23:59'],
    ['Pacific/Apia', '2011-12-30T10:00:00Z', '2011-12-31T00:00'],
  ])('in %s at %s is %s', (zone, at, expected) => {
    expect(local(zone, at)).toBe(expected)
  })

  test.each([
    ['twice in the autumn night: the first', 'Europe/London', '2025-10-26T01:30', '2025-10-26T00:30'],
    ['before it', 'Europe/London', '2025-10-26T00:59', '2025-10-25T23:59'],
    ['after it', 'Europe/London', '2025-10-26T02:00', '2025-10-26T02:00'],
    ['in the spring gap: moved forward', 'Europe/London', '2025-03-30T01:30', '2025-03-30T01:30'],
    ['twice in New York', 'America/New_York', '2025-11-02T01:30', '2025-11-02T05:30'],
    ['in the gap of New York', 'America/New_York', '2025-03-09T02:30', '2025-03-09T07:30'],
    ['a half-hour gap', 'Australia/Lord_Howe', '2025-10-05T02:15', '2025-10-04T15:45'],
    ['a day that Samoa left out', 'Pacific/Apia', '2011-12-30T12:00', '2011-12-30T22:00'],
    ['no season at all', 'Asia/Kolkata', '2025-06-01T00:00', '2025-05-31T18:30'],
    ['the year 1', 'Europe/London', '0001-01-01T00:00', '0001-01-01T00:01'],
  ])('%s: %s %s is %s', (_what, zone, time, expected) => {
    expect(instant(zone, time)).toBe(expected)
  })

  test('comes back from its instant wherever it is not ambiguous', () => {
    fc.assert(
      fc.property(fc.constantFrom('Europe/London', 'America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe', 'Pacific/Chatham'), fc.integer({ min: 63_072_000_000, max: 2_145_916_800_000 }), (zone, at) => {
        const calendar = openCalendar(zone)
        const time = at + calendar.offsetMs(at)
        const again = calendar.instantOf(time)
        // Either the instant itself, or the first of the two that show this time.
        expect(again + calendar.offsetMs(again)).toBe(time)
        expect(again).toBeLessThanOrEqual(at)
      }),
      { numRuns: 3_000 },
    )
  })

  test('days end where the next begins, and have 23, 24 or 25 hours in London', () => {
    const hours = new Map<number, number>()
    for (let day = daysFromCivil(2025, 1, 1); day < daysFromCivil(2026, 1, 1); day++) {
      const length = (london.dayEndMs(day) - london.dayEndMs(day - 1)) / 3_600_000
      hours.set(length, (hours.get(length) ?? 0) + 1)
    }
    expect(hours).toEqual(
      new Map([
        [23, 1],
        [24, 363],
        [25, 1],
      ]),
    )
  })

  test('of an unknown zone is an error at the start', () => {
    expect(() => openCalendar('Europe/Atlantis')).toThrow(RangeError)
  })
})
