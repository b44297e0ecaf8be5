/** Days, hours, months and seasons as PostgreSQL itself reckons them (FAULTS.md D5, law 8). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { daysFromCivil, firstLocalDay, formatDay, monthStart, openCalendar, parseDay } from '#core/calendar.ts'
import { seasonKey } from '#core/period.ts'
import { parseSeasonTable, sameSeasonTable, seasonsCsvExample, seasonsExample } from '#core/season-table.ts'
import type { RevenueKey } from '#core/receipt.ts'
import { answerRevenue } from '#store/answer-revenue.ts'
import type { PeriodRequest } from '#store/answers.ts'
import { readAnswerVersion } from '#store/answers.ts'
import { listSeasonVersions, readSeasonVersion, readSeasons, setSeasons } from '#store/seasons.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { seededRandom } from '#test/lab/random.ts'
import { tableOfCuts } from '#test/lab/season-tables.ts'
import { lawSeeds } from './seeds.ts'

let lab: Lab

beforeAll(async () => {
  lab = await openLab()
})
afterAll(() => lab[Symbol.asyncDispose]())

/** Zones whose rules for 1972 to 2037 are the same in every time-zone database of these years. */
const zones = ['Europe/London', 'America/New_York', 'Asia/Kolkata', 'Asia/Kathmandu', 'Australia/Lord_Howe', 'Pacific/Apia', 'America/St_Johns', 'UTC']
const fromMs = Date.UTC(1972, 0, 1)
const toMs = Date.UTC(2038, 0, 1)

describe.each(lawSeeds)('100,000 random instants, seed %i', (seed) => {
  test.each(zones)('have the day, hour and month of PostgreSQL in %s', async (zone) => {
    const random = seededRandom(seed)
    const calendar = openCalendar(zone)
    // Half of them close to a midnight, a month's end or a change of clocks: round hours are where those lie.
    const instants = Array.from({ length: 100_000 / zones.length }, () => {
      const at = fromMs + random.below(2 ** 31) * 1000 + random.below(1000)
      return random.chance(0.5) ? Math.min(at, toMs) : Math.round(at / 1_800_000) * 1_800_000 - random.below(2)
    })
    const { rows } = await lab.database.pool.query<{ at: bigint; day: string; hour: number; month: string }>(
      `SELECT at, t::date::text AS day, extract(hour FROM t)::int AS hour, date_trunc('month', t)::date::text AS month
       FROM (SELECT at, timestamptz 'epoch' AT TIME ZONE 'UTC' AT TIME ZONE 'UTC' + at * interval '1 millisecond' AS u FROM unnest($1::bigint[]) at) i,
       LATERAL (SELECT u AT TIME ZONE $2 AS t) l`,
      [instants, zone],
    )
    expect(rows).toHaveLength(instants.length)
    const wrong = rows.filter(({ at, day, hour, month }) => {
      const local = Number(at) + calendar.offsetMs(Number(at))
      const localDay = Math.floor(local / 86_400_000)
      return formatDay(localDay) !== day || Math.floor((local - localDay * 86_400_000) / 3_600_000) !== hour || formatDay(monthStart(localDay)) !== month
    })
    expect(wrong.slice(0, 5)).toEqual([])
  })
})

test('every day lies in exactly one season, which belongs to the year it starts in', async () => {
  const { rows } = await lab.database.pool.query<{ day: string; season: string }>(
    `SELECT d::date::text AS day, season_of(d::date) AS season FROM generate_series(date '1969-01-01', date '2040-12-31', interval '1 day') d`,
  )
  expect(rows).toHaveLength(daysFromCivil(2041, 1, 1) - daysFromCivil(1969, 1, 1))
  const names = ['winter', 'winter', 'spring', 'spring', 'spring', 'summer', 'summer', 'summer', 'autumn', 'autumn', 'autumn', 'winter']
  const wrong = rows.filter(({ day, season }) => {
    const [year, month] = [Number(day.slice(0, 4)), Number(day.slice(5, 7))]
    return season !== `${month <= 2 ? year - 1 : year}-${names[month - 1]}`
  })
  expect(wrong).toEqual([])
  // Each season is one run of days.
  const runs = rows.filter(({ season }, i) => i === 0 || rows[i - 1]!.season !== season)
  expect(new Set(runs.map(({ season }) => season)).size).toBe(runs.length)
})

test('a table of seasons of one\'s own divides the year as well', async () => {
  await lab.clear()
  await lab.database.pool.query(
    /* sql */ `INSERT INTO season_versions VALUES (2, 'sales'); INSERT INTO seasons VALUES (2, 'sale', 1, 15, 2, 28), (2, 'plain', 2, 29, 1, 14); UPDATE lake_state SET season_version = 2`,
  )
  const { rows } = await lab.database.pool.query(
    `SELECT d::text AS day, season_of(d) AS season FROM unnest(ARRAY['2025-01-01', '2025-01-14', '2025-01-15', '2025-02-28', '2025-03-01', '2024-02-29', '2024-12-31']::date[]) d`,
  )
  expect(rows).toEqual([
    { day: '2025-01-01', season: '2024-plain' },
    { day: '2025-01-14', season: '2024-plain' },
    { day: '2025-01-15', season: '2025-sale' },
    { day: '2025-02-28', season: '2025-sale' },
    { day: '2025-03-01', season: '2025-plain' },
    { day: '2024-02-29', season: '2024-plain' },
    { day: '2024-12-31', season: '2024-plain' },
  ])
  await lab.clear()
})

test.each(lawSeeds)('random days of random tables of seasons have the season of the core, and lie in exactly one, seed %i', async (seed) => {
  const random = seededRandom(seed)
  const tables = 6
  for (let n = 0; n < tables; n++) {
    const table = tableOfCuts([...new Set(Array.from({ length: 1 + random.below(12) }, () => random.below(366)))])
    if (table === null) continue
    const { version } = await setSeasons(lab.database, table)
    const seasons = await readSeasons(lab.database.pool)
    expect(seasons.version).toBe(version.version)
    // All days that an event may have.
    const days = Array.from({ length: 2000 }, () => firstLocalDay + random.below(3_652_059)).concat(['0001-01-01', '9999-12-31', '2024-02-29'].map((day) => parseDay(day)!))
    const { rows } = await lab.database.pool.query<{ day: number; season: string; holders: bigint }>(
      `SELECT n AS day, season_of(d) AS season, (
         SELECT count(*) FROM seasons s, LATERAL (SELECT (s.first_month, s.first_day) AS first, (s.last_month, s.last_day) AS last, (extract(month FROM d)::int, extract(day FROM d)::int) AS at) x
         WHERE s.version = $2 AND CASE WHEN first <= last THEN first <= at AND at <= last ELSE first <= at OR at <= last END) AS holders
       FROM unnest($1::int[]) n, LATERAL (SELECT date '1970-01-01' + n AS d) day`,
      [days, version.version],
    )
    expect(rows).toHaveLength(days.length)
    expect(rows.filter(({ day, season, holders }) => holders !== 1n || season !== seasonKey(day, seasons)).slice(0, 3)).toEqual([])
  }
  await lab.clear()
})

test('seasons are kept by version: the same again changes nothing, and old versions stay as they were', async () => {
  const { pool } = lab.database
  const first = await readSeasonVersion(pool)
  expect(first).toMatchObject({ version: 1, calendar: 'meteorological, northern hemisphere', isCurrent: true })
  expect(sameSeasonTable(first, parseSeasonTable(seasonsExample))).toBe(true)
  expect(await setSeasons(lab.database, parseSeasonTable(seasonsExample))).toMatchObject({ isNew: false, version: { version: 1 } })
  const own = parseSeasonTable(seasonsCsvExample)
  const answered = await readAnswerVersion(pool, { ledgerIdsMax: 1 })
  expect(await readAnswerVersion(pool, { ledgerIdsMax: 1 })).toEqual(answered)
  expect(await setSeasons(lab.database, own)).toMatchObject({ isNew: true, version: { version: 2, calendar: 'high and low', isCurrent: true } })
  // What readers keep of answers is no answer any more.
  expect((await readAnswerVersion(pool, { ledgerIdsMax: 1 })).version).not.toBe(answered.version)
  expect(await setSeasons(lab.database, own)).toMatchObject({ isNew: false, version: { version: 2 } })
  expect(await setSeasons(lab.database, parseSeasonTable(seasonsExample))).toMatchObject({ isNew: true, version: { version: 3 } })
  expect((await listSeasonVersions(pool)).map(({ version, isCurrent }) => [version, isCurrent])).toEqual([[3, true], [2, false], [1, false]])
  expect(seasonKey(parseDay('2025-02-01')!, await readSeasons(pool, 2))).toBe('2025-low')
  expect(await readSeasons(pool, 1)).toEqual({ ...(await readSeasons(pool)), version: 1 })
  await expect(readSeasons(pool, 9)).rejects.toThrow(/There is no version 9 of the seasons/)
  const both = await Promise.all([setSeasons(lab.database, own), setSeasons(lab.database, own)])
  expect(both.filter(({ isNew }) => isNew)).toHaveLength(1)
  expect(await listSeasonVersions(pool)).toHaveLength(4)
  await lab.clear()
})

test.each(lawSeeds)('figures by season are the sums of their days, whatever the table, seed %i', async (seed) => {
  const random = seededRandom(seed)
  const days = [...new Set(Array.from({ length: 120 }, () => daysFromCivil(2023, 1, 1) + random.below(1100)))]
  await lab.database.pool.query(
    `INSERT INTO live_revenue (epoch, local_day, city, category, currency, transactions, orders, refund_events, units_sold, units_refunded, gross_minor, refunds_minor)
     SELECT 1, d::date, 'London', 'Home', 'GBP', 1, 1, 0, 1, 0, m, 0 FROM unnest($1::text[], $2::bigint[]) AS sold (d, m)`,
    [days.map(formatDay), days.map((_, n) => n * 7 + 1)],
  )
  const ask = async (by: readonly RevenueKey[], period: PeriodRequest = { fromDay: null, toDay: null }) => (await answerRevenue(lab.database.pool, { by, period }, { ledgerIdsMax: 1 })).rows
  const minorOf = ({ gross }: { readonly gross: string }): number => Math.round(Number(gross) * 100)
  for (let n = 0; n < 4; n++) {
    const table = tableOfCuts([...new Set(Array.from({ length: 1 + random.below(8) }, () => random.below(366)))])
    if (table === null) continue
    await setSeasons(lab.database, table)
    const seasons = await readSeasons(lab.database.pool)
    const expected = new Map<string, number>()
    for (const [at, day] of days.entries()) expected.set(seasonKey(day, seasons), (expected.get(seasonKey(day, seasons)) ?? 0) + at * 7 + 1)
    expect(new Map((await ask(['season'])).map((row) => [row.season!, minorOf(row)]))).toEqual(expected)
    const [one] = random.pick([...expected])
    expect((await ask([], { season: one })).map(minorOf)).toEqual([expected.get(one)])
  }
  await lab.clear()
})
