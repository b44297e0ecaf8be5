/**
 * A year of the schedule with its clock passed in: each night and each report once, at its local time, over both clock changes, three outages of the
 * scheduler, firings that come twice, two workers, a log that lags for hours at a month's end, and one event of 1970.
 */
import { getNextMillis } from 'bullmq'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { doWhatIsDue, lookAhead } from '#batch/ask.ts'
import { batchSchedules } from '#batch/schedule.ts'
import type { Database } from '#store/database.ts'
import { openDatabase } from '#store/database.ts'
import { migrateStore } from '#store/migrate.ts'
import { readSeasons } from '#store/seasons.ts'
import type { TestPostgres } from '#test/postgres.ts'
import { freshSchema, openTestPostgres } from '#test/postgres.ts'
import { SimulatedShop } from './simulated-shop.ts'

const zone = 'Europe/London'
const minute = 60_000
const hour = 60 * minute
const begins = Date.parse('2025-01-01T00:00:00Z')
/** Never together with a firing. */
const firstLook = begins + 30_000
const ends = Date.parse('2026-01-01T12:00:00Z')

/** No worker runs; the second is over two month ends, the third over a night. */
const outages = [
  ['2025-02-10T01:00:00Z', '2025-02-13T14:20:00Z'],
  ['2025-04-29T12:00:00Z', '2025-06-02T09:10:00Z'],
  ['2025-11-08T01:30:00Z', '2025-11-08T07:40:00Z'],
].map(([from, to]) => ({ fromMs: Date.parse(from!), toMs: Date.parse(to!) }))
/** The speed layer stands still. */
const lag = { fromMs: Date.parse('2025-07-31T20:00:00Z'), toMs: Date.parse('2025-08-01T09:30:00Z') }

let postgres: TestPostgres
let database: Database

beforeAll(async () => {
  postgres = await openTestPostgres()
  database = openDatabase({ url: postgres.url, schema: await freshSchema(postgres.url, 'year'), connectionsMax: 20 })
  await migrateStore(database)
})

afterAll(async () => {
  await database[Symbol.asyncDispose]()
  await postgres[Symbol.asyncDispose]()
})

const localText = new Intl.DateTimeFormat('en-CA', { timeZone: zone, year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })
/** `2025-04-01 03:00` of the shop's wall clock, by the platform. */
function local(instantMs: number): string {
  return localText.format(instantMs).replace(', ', ' ')
}

function nextLook(afterMs: number): number {
  for (let atMs = afterMs + 10 * minute; ; atMs += 10 * minute) {
    const time = local(atMs)
    const isDense = /-01 (0\d|10)/.test(time) || (time.startsWith('2025-06-02') && time < '2025-06-02 11')
    if (isDense || (atMs - firstLook) % (8 * hour) === 0) return atMs
  }
}

/** Every firing of BullMQ's own computation, and the looks between them: each ten minutes after a month's end, thrice a day elsewhere. */
async function* moments(): AsyncGenerator<{ readonly atMs: number; readonly fired: boolean }> {
  const patterns = batchSchedules('03:00', await readSeasons(database.pool)).map(({ pattern }) => pattern)
  const next = (pattern: string, afterMs: number): number => getNextMillis(afterMs, { pattern, tz: zone })!
  const fires = patterns.map((pattern) => next(pattern, begins))
  let looksAt = firstLook
  for (;;) {
    const atMs = Math.min(...fires, looksAt)
    if (atMs >= ends) return
    if (atMs === looksAt) {
      looksAt = nextLook(atMs)
      yield { atMs, fired: false }
    }
    for (const [i, pattern] of patterns.entries()) {
      if (fires[i] !== atMs) continue
      fires[i] = next(pattern, atMs)
      yield { atMs, fired: true }
    }
  }
}

test('each night and each report of a year is made once, at its local time', { timeout: 180_000 }, async () => {
  const shop = new SimulatedShop(database, { zone, booksOpenOn: '2025-01-01', nightlyAt: '03:00', graceMs: hour, beginsAtMs: begins - 30 * 24 * hour, firstMonths: ['1970-01-01', '2024-12-01', '2025-01-01'] })
  const workers = [shop.worker(), shop.worker()]
  const { signal } = new AbortController()
  shop.failing.set('monthly 2025-10', 3)
  let turn = 0
  let failures = 0
  const ask = (worker: number): Promise<void> =>
    doWhatIsDue(workers[worker % 2]!, signal).catch(() => {
      failures++
    })
  for await (const { atMs, fired } of moments()) {
    shop.nowMs = atMs
    shop.lagsSinceMs = lag.fromMs <= atMs && atMs < lag.toMs ? lag.fromMs : null
    if (local(atMs) === '2025-12-05 03:00') shop.failing.set('batch', 1)
    await shop.count()
    if (outages.some(({ fromMs, toMs }) => fromMs <= atMs && atMs < toMs)) continue
    turn++
    if (!fired) {
      if (await lookAhead(workers[turn % 2]!)) await ask(turn)
    } else if (turn % 5 === 0) {
      // Both workers, and one of them twice.
      await Promise.all([ask(0), ask(1), ask(0)])
    } else await ask(turn)
  }

  // Reports: each period of the books that has closed, once.
  const expected = [
    ...Array.from({ length: 12 }, (_, i) => `monthly 2025-${String(i + 1).padStart(2, '0')}`),
    ...[1, 2, 3, 4].map((quarter) => `quarterly 2025-Q${quarter}`),
    ...['2024-winter', '2025-spring', '2025-summer', '2025-autumn'].map((season) => `seasonal ${season}`),
    'yearly 2025',
  ]
  expect(shop.frozen.map(({ kind, period }) => `${kind} ${period}`).sort()).toEqual(expected.sort())

  const madeAt = new Map(shop.frozen.map(({ kind, period, atMs }) => [`${kind} ${period}`, local(atMs)]))
  const apart = {
    // Back from two month ends: the batch of 2 June falls short of the log's end by a second, the one ten minutes later does not.
    'monthly 2025-04': '2025-06-02 10:20',
    'monthly 2025-05': '2025-06-02 10:20',
    'seasonal 2025-spring': '2025-06-02 10:20',
    // A lag over the end of July: the night's batch did not make it whole, the first after the lag did.
    'monthly 2025-07': '2025-08-01 10:30',
    // Three failures in passing, tried again at the looks ten minutes apart.
    'monthly 2025-10': '2025-11-01 03:30',
  }
  expect(Object.fromEntries(Object.keys(apart).map((report) => [report, madeAt.get(report)]))).toEqual(apart)
  const onTime = expected.filter((report) => !(report in apart))
  const nights = new Map(['03-01', '04-01', '07-01', '09-01', '10-01', '12-01'].map((day) => [`2025-${day}`, `2025-${day} 03:00`]))
  for (const report of onTime) expect([...nights.values(), '2025-02-01 03:00', '2026-01-01 03:00'], report).toContain(madeAt.get(report))
  expect(madeAt.get('monthly 2025-03')).toBe('2025-04-01 03:00')
  expect(madeAt.get('yearly 2025')).toBe('2026-01-01 03:00')
  expect([...madeAt.values()]).toEqual([...madeAt.values()].sort())

  // No half report: each covers the log as it stood an hour after the period's end.
  const closes: Readonly<Record<string, string>> = { 'monthly 2025-07': '2025-07-31T23:00:00Z', 'monthly 2025-03': '2025-03-31T23:00:00Z', 'monthly 2025-10': '2025-11-01T00:00:00Z', 'yearly 2025': '2026-01-01T00:00:00Z' }
  for (const { kind, period, horizon } of shop.frozen) {
    const closedAt = closes[`${kind} ${period}`]
    if (closedAt === undefined) continue
    const whole = shop.endsAt(Date.parse(closedAt) + hour)
    expect(horizon.every((next, partition) => next >= whole[partition]!), `${period}: ${horizon.join(' ')} of ${whole.join(' ')}`).toBe(true)
  }

  // Nights: 365 less those of the outages, each at 03:00 but where the worker came back by day or the engine was away.
  const { rows } = await database.pool.query<{ kind: string; period: string; started_at: Date; attempts: number; outcome: string }>(
    `SELECT kind, period, started_at, attempts, outcome FROM job_runs WHERE kind IN ('nightly', 'catch-up') ORDER BY started_at`,
  )
  expect(rows.filter(({ outcome }) => outcome !== 'passed')).toEqual([])
  const missed = ['2025-02-10', '2025-02-11', '2025-02-12', ...Array.from({ length: 33 }, (_, i) => new Date(Date.UTC(2025, 3, 30 + i)).toISOString().slice(0, 10))]
  const everyNight = Array.from({ length: 367 }, (_, i) => new Date(Date.UTC(2024, 11, 31 + i)).toISOString().slice(0, 10))
  expect(rows.filter(({ kind }) => kind === 'nightly').map(({ period }) => period)).toEqual(everyNight.filter((night) => !missed.includes(night)))
  const odd = rows.filter(({ kind, period, started_at: startedAt }) => kind === 'nightly' && local(startedAt.getTime()) !== `${period} 03:00`)
  expect(odd.map(({ period, started_at: startedAt }) => `${period} at ${local(startedAt.getTime())}`)).toEqual([
    '2024-12-31 at 2025-01-01 00:00',
    '2025-02-13 at 2025-02-13 16:00',
    '2025-06-02 at 2025-06-02 10:10',
    '2025-11-08 at 2025-11-08 08:00',
    '2025-12-05 at 2025-12-05 08:00',
  ])
  expect(rows.filter(({ kind }) => kind === 'catch-up').map(({ period, started_at: startedAt }) => `${period} at ${local(startedAt.getTime())}`)).toEqual([
    '2025-06-01 at 2025-06-02 10:20',
    '2025-08-01 at 2025-08-01 10:30',
  ])
  expect(failures).toBe(4)
  expect(rows.map(({ attempts }) => attempts).reduce((sum, attempts) => sum + attempts, 0)).toBe(rows.length + 1)
  expect(shop.batches).toBe(rows.length)
})
