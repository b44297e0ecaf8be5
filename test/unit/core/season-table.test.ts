import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatDay, parseDay } from '#core/calendar.ts'
import { InvalidRequestError } from '#core/errors.ts'
import { parseSeasonPeriod, seasonKey } from '#core/period.ts'
import { parseSeasonTable, plain, sameSeasonTable, seasonsCsvExample, seasonsExample, seasonsOf } from '#core/season-table.ts'
import { tableOfCuts } from '#test/lab/season-tables.ts'

const json = (seasons: readonly (readonly [string, string, string])[], calendar = 'own'): string =>
  JSON.stringify({ calendar, seasons: seasons.map(([name, from, to]) => ({ name, from, to })) })

describe('a table of seasons', () => {
  test('is read from JSON and from CSV, and is the same table', () => {
    expect(plain(parseSeasonTable(seasonsExample)).seasons).toContainEqual({ name: 'winter', from: '12-01', to: '02-29' })
    const asJson = parseSeasonTable(json([['low', '02-01', '10-31'], ['high', '11-01', '01-31']], 'high and low'))
    expect(sameSeasonTable(parseSeasonTable(seasonsCsvExample), asJson)).toBe(true)
    expect(sameSeasonTable(parseSeasonTable(`\uFEFF calendar , name,to,from\r\n"high and low",high,01-31,11-01\r\nhigh and low,low,"10-31",02-01\r\n`), asJson)).toBe(true)
    const rows = [...plain(asJson).seasons].reverse().map((season) => ({ ...season, calendar: 'high and low' }))
    expect(sameSeasonTable(parseSeasonTable(JSON.stringify(rows)), asJson)).toBe(true)
    expect(sameSeasonTable(parseSeasonTable(seasonsExample), asJson)).toBe(false)
  })

  test('may be the whole year', () => {
    expect(plain(parseSeasonTable(json([['year', '01-01', '12-31']]))).seasons).toEqual([{ name: 'year', from: '01-01', to: '12-31' }])
    expect(plain(parseSeasonTable(json([['fiscal', '03-01', '02-28']]))).seasons).toEqual([{ name: 'fiscal', from: '03-01', to: '02-29' }])
  })

  test('ends with the last of February, unless another season starts on the 29th', () => {
    const of = (to: string, from: string) => plain(parseSeasonTable(json([['cold', '12-01', to], ['warm', from, '11-30']]))).seasons.map((season) => `${season.from} ${season.to}`)
    expect(of('02-28', '03-01')).toEqual(['03-01 11-30', '12-01 02-29'])
    expect(of('02-29', '03-01')).toEqual(['03-01 11-30', '12-01 02-29'])
    expect(of('02-28', '02-29')).toEqual(['02-29 11-30', '12-01 02-28'])
    const split = seasonsOf({ version: 1, ...parseSeasonTable(json([['cold', '12-01', '02-28'], ['warm', '02-29', '11-30']])) })
    expect(['2024-02-28', '2024-02-29', '2025-02-28', '2025-03-01'].map((day) => seasonKey(parseDay(day)!, split))).toEqual(['2023-cold', '2024-warm', '2024-cold', '2025-warm'])
  })

  test.each([
    [[['a', '01-01', '06-29'], ['b', '07-01', '12-31']], /06-30 lies in no season/],
    [[['a', '01-01', '05-31'], ['b', '07-01', '12-31']], /06-01 to 06-30 lie in no season/],
    [[['a', '01-01', '07-02'], ['b', '07-01', '12-31']], /07-01 to 07-02 lie in a and b/],
    [[['a', '02-01', '10-31'], ['b', '11-03', '01-20']], /01-21 to 01-31 lie in no season[^]*11-01 to 11-02 lie in no season/],
    [[['a', '02-01', '11-30']], /12-01 to 01-31 lie in no season/],
    [[['a', '11-01', '02-10'], ['b', '02-01', '11-10']], /02-01 to 02-10 lie in b and a[^]*11-01 to 11-10 lie in b and a/],
    [[['a', '01-01', '12-31'], ['b', '02-29', '02-29']], /02-29 lies in a and b[^]*b would have no day in most years/],
    [[['a', '03-01', '02-28'], ['b', '02-29', '02-29']], /b would have no day in most years/],
    [[['a', '01-01', '04-31']], /to of a must be a day of the year[^]*04-31/],
    [[['a', '1-1', '12-31']], /from of a must be a day of the year/],
    [[['a', '01-01', '06-30'], ['a', '07-01', '12-31']], /the name a stands there more than once/],
    [[['Spring', '01-01', '12-31']], /"Spring" cannot be a name/],
    [[['a-b', '01-01', '12-31']], /"a-b" cannot be a name/],
    [[['1st', '01-01', '12-31']], /"1st" cannot be a name/],
    [[], /there is no season in it/],
    [Array.from({ length: 13 }, (_, n) => [`s${n}`, '01-01', '12-31'] as const), /it has 13 seasons, and 12 are the most/],
  ] as const)('with gaps, overlaps and wrong names is refused with the days (%#)', (seasons, fault) => {
    expect(() => parseSeasonTable(json(seasons))).toThrow(InvalidRequestError)
    expect(() => parseSeasonTable(json(seasons))).toThrow(fault)
  })

  test.each([
    ['{"seasons": 3}', /"seasons" must be a list/],
    ['[{"name": "a", "from": "01-01"}]', /season 1 needs to, calendar as text/],
    ['{"calendar"', /it is no JSON/],
    ['', /must name the columns/],
    ['name,from,to\na,01-01,12-31', /must name the columns name,from,to,calendar/],
    ['name,from,to,calendar\na,01-01,12-31', /line 2 has 3 fields/],
    ['name,from,to,calendar\na,01-01,12-31,"x', /cannot be read/],
    ['name,from,to,calendar\na,01-01,06-30,x\nb,07-01,12-31,y', /more than one calendar: "x", "y"/],
    [json([['a', '01-01', '12-31']], ''), /calendar must be 1 to 60/],
    [json([['a', '01-01', '12-31']], 'left\u202Eright'), /calendar must be 1 to 60/],
  ])('that cannot be read is refused with what to change (%#)', (text, fault) => {
    expect(() => parseSeasonTable(text)).toThrow(InvalidRequestError)
    expect(() => parseSeasonTable(text)).toThrow(fault)
  })

  test('any text is a table or an InvalidRequestError', () => {
    const field = fc.constantFrom('name', 'from', 'to', 'calendar', '02-28', '02-29', '03-01', 'a', '"', ',', '\n', '{', '[', ' ')
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.array(field).map((parts) => parts.join(''))), (text) => {
        try {
          return parseSeasonTable(text).seasons.length > 0
        } catch (thrown) {
          if (!(thrown instanceof InvalidRequestError)) throw thrown
          return true
        }
      }),
    )
  })
})

test('each day lies in exactly one season of any table, from its first day to its last', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 365 }), { minLength: 1, maxLength: 12 }), fc.integer({ min: parseDay('1971-01-01')!, max: parseDay('2099-12-31')! }), (cuts, day) => {
      const table = tableOfCuts(cuts)
      if (table === null) return true
      const seasons = seasonsOf({ version: 1, ...table })
      const key = seasonKey(day, seasons)
      const { fromDay, toDay } = parseSeasonPeriod(key, seasons)
      const { from, to } = table.seasons.find(({ name }) => name === key.slice(5))!
      const text = formatDay(day).slice(5)
      const [first, last] = [from, to].map(({ month, day: dayOfMonth }) => `${String(month).padStart(2, '0')}-${String(dayOfMonth).padStart(2, '0')}`) as [string, string]
      const within = first <= last ? first <= text && text <= last : first <= text || text <= last
      return fromDay <= day && day < toDay && within && seasonKey(toDay, seasons) !== key
    }),
    { numRuns: 2000 },
  )
})
