/** Days, hours, months and seasons as PostgreSQL itself reckons them (FAULTS.md D5, law 8). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { daysFromCivil, formatDay, monthStart, openCalendar } from '#core/calendar.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { seededRandom } from '#test/lab/random.ts'
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
  await lab.database.pool.query(`INSERT INTO seasons VALUES (2, 'sale', 1, 15), (2, 'plain', 2, 29); UPDATE lake_state SET season_version = 2`)
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
