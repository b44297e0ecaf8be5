import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatDay, parseDay } from '#core/calendar.ts'
import { InvalidRequestError } from '#core/errors.ts'
import type { Period, Seasons } from '#core/period.ts'
import { parseDayPeriod, parseMonthPeriod, parseRange, parseSeasonPeriod, parseYearPeriod, seasonKey, seasonsFollowMonths } from '#core/period.ts'

const meteorological: Seasons = {
  version: 1,
  calendar: 'meteorological',
  starts: [
    { name: 'spring', firstMonth: 3, firstDay: 1 },
    { name: 'summer', firstMonth: 6, firstDay: 1 },
    { name: 'autumn', firstMonth: 9, firstDay: 1 },
    { name: 'winter', firstMonth: 12, firstDay: 1 },
  ],
}
/** Starts on days that some years do not have. */
const odd: Seasons = {
  version: 2,
  calendar: 'odd',
  starts: [
    { name: 'leap', firstMonth: 2, firstDay: 29 },
    { name: 'may', firstMonth: 4, firstDay: 31 },
    { name: 'xmas', firstMonth: 12, firstDay: 20 },
  ],
}

const shown = ({ fromDay, toDay }: Period): (string | null)[] => [fromDay === null ? null : formatDay(fromDay), toDay === null ? null : formatDay(toDay)]

describe('periods', () => {
  test('are half-open ranges of days', () => {
    expect(shown(parseDayPeriod('2024-02-29'))).toEqual(['2024-02-29', '2024-03-01'])
    expect(shown(parseMonthPeriod('2024-12'))).toEqual(['2024-12-01', '2025-01-01'])
    expect(shown(parseMonthPeriod('2023-02'))).toEqual(['2023-02-01', '2023-03-01'])
    expect(shown(parseYearPeriod('2024'))).toEqual(['2024-01-01', '2025-01-01'])
    expect(shown(parseRange('2024-12-01', '2025-01-01'))).toEqual(['2024-12-01', '2025-01-01'])
    expect(shown(parseRange(undefined, '2025-01-01'))).toEqual([null, '2025-01-01'])
    expect(shown(parseRange('2100-12-31', '2101-01-01'))).toEqual(['2100-12-31', '2101-01-01'])
  })

  test('a season belongs to the year it starts in and lasts until the next one', () => {
    expect(shown(parseSeasonPeriod('2024-winter', meteorological))).toEqual(['2024-12-01', '2025-03-01'])
    expect(shown(parseSeasonPeriod('2024-spring', meteorological))).toEqual(['2024-03-01', '2024-06-01'])
    expect(shown(parseSeasonPeriod('2023-leap', odd))).toEqual(['2023-03-01', '2023-05-01'])
    expect(shown(parseSeasonPeriod('2024-leap', odd))).toEqual(['2024-02-29', '2024-05-01'])
    expect(shown(parseSeasonPeriod('2023-xmas', odd))).toEqual(['2023-12-20', '2024-02-29'])
  })

  test('every day lies in the season that its key names', () => {
    fc.assert(
      fc.property(fc.integer({ min: parseDay('1971-01-01')!, max: parseDay('2099-12-31')! }), fc.constantFrom(meteorological, odd), (day, seasons) => {
        const { fromDay, toDay } = parseSeasonPeriod(seasonKey(day, seasons), seasons)
        return fromDay <= day && day < toDay
      }),
    )
  })

  test('whether seasons follow months is seen', () => {
    expect([seasonsFollowMonths(meteorological), seasonsFollowMonths(odd)]).toEqual([true, false])
  })

  test.each([
    () => parseDayPeriod('2023-02-29'),
    () => parseDayPeriod('1969-12-31'),
    () => parseDayPeriod('2101-01-01'),
    () => parseDayPeriod('2024-1-1'),
    () => parseDayPeriod(''),
    () => parseMonthPeriod('2024-13'),
    () => parseMonthPeriod('2024-00'),
    () => parseMonthPeriod('20241'),
    () => parseMonthPeriod('2024/12'),
    () => parseYearPeriod('1969'),
    () => parseYearPeriod('2101'),
    () => parseYearPeriod('+024'),
    () => parseRange('2024-12-02', '2024-12-01'),
    () => parseRange('2024-12-01', '2024-12-01'),
    () => parseRange('0001-01-01', undefined),
    () => parseRange(undefined, '9999-01-01'),
    () => parseSeasonPeriod('2024-monsoon', meteorological),
    () => parseSeasonPeriod('winter', meteorological),
    () => parseSeasonPeriod('1969-winter', meteorological),
  ])('absurd ones are refused with what to change (%#)', (parse) => {
    expect(parse).toThrow(InvalidRequestError)
  })

  test('any text is a period or an InvalidRequestError', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        for (const parse of [() => parseDayPeriod(a), () => parseMonthPeriod(a), () => parseYearPeriod(a), () => parseRange(a, b), () => parseSeasonPeriod(a, meteorological)]) {
          try {
            const { fromDay, toDay } = parse()
            if (fromDay === null || toDay === null || fromDay >= toDay) return false
          } catch (thrown) {
            if (!(thrown instanceof InvalidRequestError)) throw thrown
          }
        }
        return true
      }),
    )
  })
})
