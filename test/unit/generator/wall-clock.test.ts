import { describe, expect, test } from 'vitest'
import { ConfigError } from '#core/errors.ts'
import { daysSinceBlackFriday } from '#generator/pace.ts'
import { Random } from '#generator/random.ts'
import { DAY_MS, WallClock } from '#generator/wall-clock.ts'

const FIRST_MS = Date.parse('2015-01-01T00:00:00Z')
const END_MS = Date.parse('2027-01-01T00:00:00Z')

test.each(['Europe/London', 'America/New_York', 'America/Sao_Paulo', 'Asia/Kolkata', 'Australia/Lord_Howe', 'Africa/Casablanca', 'Asia/Pyongyang', 'America/Caracas', 'UTC'])(
  '%s agrees with Intl at random instants and around every change',
  (zone) => {
    const clock = new WallClock(zone, FIRST_MS, END_MS)
    const format = new Intl.DateTimeFormat('sv-SE', { timeZone: zone, dateStyle: 'short', timeStyle: 'medium' })
    const check = (ms: number): void => expect(clock.wallText(ms + clock.offsetAt(ms))).toBe(format.format(ms))
    const random = new Random(1, zone)
    for (let i = 0; i < 2000; i += 1) check(FIRST_MS + Math.floor(random.unit() * (END_MS - FIRST_MS)))
    for (let day = Math.ceil(FIRST_MS / DAY_MS) + 1; day < END_MS / DAY_MS - 2; day += 1) {
      const change = clock.changeOn(day)
      if (change === null) continue
      check(change.atMs)
      check(change.atMs - 1)
      expect(clock.offsetAt(change.atMs)).toBe(change.afterMs)
      expect(clock.offsetAt(change.atMs - 1)).toBe(change.beforeMs)
    }
  },
)

describe('wall times that are skipped or repeated', () => {
  const clock = new WallClock('Europe/London', FIRST_MS, END_MS)
  const asUtc = (text: string): number => Date.parse(`${text}Z`)

  test.each([
    ['2024-07-01T12:00:00', '2024-07-01T11:00:00Z', 'plain'],
    ['2024-03-31T01:30:00', '2024-03-31T01:30:00Z', 'skipped: moves forward to 02:30'],
    ['2024-10-27T01:30:00', '2024-10-27T00:30:00Z', 'repeated: the first'],
    ['2024-10-27T02:00:00', '2024-10-27T02:00:00Z', 'just after the repeated hour'],
  ])('%s is %s (%s)', (wall, instant) => {
    expect(clock.resolve(asUtc(wall))).toBe(Date.parse(instant))
  })

  test('a day whose midnight is skipped begins an hour later', () => {
    const beirut = new WallClock('Asia/Beirut', FIRST_MS, END_MS)
    const day = Date.parse('2024-03-31T00:00:00Z') / DAY_MS
    expect(new Date(beirut.startOf(day)).toISOString()).toBe('2024-03-30T22:00:00.000Z')
    expect(beirut.hourOf(beirut.startOf(day))).toBe(1)
    expect(beirut.dayOf(beirut.startOf(day) - 1)).toBe(day - 1)
  })

  test('an unknown zone is named', () => {
    expect(() => new WallClock('Mars/Olympus', FIRST_MS, END_MS)).toThrow(ConfigError)
  })
})

test('Black Friday is the day after the fourth Thursday of November', () => {
  const fridays = ['2018-11-23', '2019-11-29', '2024-11-29', '2025-11-28', '2026-11-27']
  expect(fridays.map((day) => daysSinceBlackFriday(Date.parse(day) / DAY_MS))).toEqual([0, 0, 0, 0, 0])
  expect(daysSinceBlackFriday(Date.parse('2024-12-02') / DAY_MS)).toBe(3)
  expect(daysSinceBlackFriday(Date.parse('2024-11-22') / DAY_MS)).toBeNull()
  expect(daysSinceBlackFriday(Date.parse('2024-12-03') / DAY_MS)).toBeNull()
})
