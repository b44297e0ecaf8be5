import { describe, expect, test } from 'vitest'
import { ConfigError } from '#core/errors.ts'
import type { GeneratedRecord, Meaning } from '#generator/fact.ts'
import type { LiveOptions } from '#generator/live.ts'
import { CATCH_UP_MS_MAX, LiveShop } from '#generator/live.ts'
import { Truth } from '#generator/truth.ts'
import { recount } from './recount.ts'

const START_MS = Date.parse('2025-06-01T12:00:00Z')
const LIVE: LiveOptions = { profile: 'shop', seed: 8, ratePerSecond: 50, zone: 'Europe/London', currency: 'GBP', startMs: START_MS }

function run(options: LiveOptions, stepMs: number, lengthMs: number): GeneratedRecord[] {
  const shop = new LiveShop(options)
  const records: GeneratedRecord[] = []
  for (let nowMs = options.startMs; nowMs <= options.startMs + lengthMs; nowMs += stepMs) records.push(...shop.recordsUntil(nowMs))
  return records
}

function bytesOf(records: readonly GeneratedRecord[]): string[] {
  return records.map(({ append }) => Buffer.from(append.value).toString('latin1'))
}

describe('live traffic', () => {
  const records = run(LIVE, 250, 40 * 60_000)

  test('keeps its rate, has copies, refunds, late events and rubbish, and leaves the log time to the log', () => {
    const shop = new LiveShop(LIVE)
    // What follows a sale does so within 15 minutes, so the shares hold from then on.
    for (let nowMs = START_MS; nowMs < START_MS + 16 * 60_000; nowMs += 1000) shop.recordsUntil(nowMs)
    const meanings: Meaning[] = []
    for (let nowMs = START_MS + 16 * 60_000; nowMs < START_MS + 56 * 60_000; nowMs += 1000) meanings.push(...shop.recordsUntil(nowMs).flatMap(({ means }) => means))
    expect(meanings.length / (40 * 60)).toBeGreaterThan(47)
    expect(meanings.length / (40 * 60)).toBeLessThan(53)
    expect(meanings.filter(({ is }) => is === 'copy').length / meanings.length).toBeCloseTo(0.02, 2)
    expect(meanings.filter(({ is }) => is === 'refused').length).toBeGreaterThan(40)
    expect(meanings.filter(({ is }) => is === 'conflict').length).toBeGreaterThan(10)
    expect(meanings.filter((one) => one.is === 'event' && one.fact.kind === 'refund').length / meanings.length).toBeCloseTo(0.04, 2)
    expect(meanings.filter((one) => one.is === 'event' && one.late).length / meanings.length).toBeCloseTo(0.02, 2)
    expect(records.every(({ append }) => append.logTimeMs === undefined)).toBe(true)
  })

  test('the truth of what was taken equals an independent count', () => {
    const truth = new Truth(new LiveShop(LIVE).origin)
    for (const record of records) truth.add(record)
    const counted = recount(records.filter(({ means }) => means[0]?.is !== 'refused').map(({ append }) => append.value), LIVE.zone, LIVE.currency)
    const file = truth.toFile()
    expect([file.events, file.copies, file.conflicts]).toEqual([counted.events, counted.copies, counted.conflicts])
    expect(new Map(file.revenue.map((row) => [`${row.day}|${row.city}|${row.category}|${row.currency}`, [row.transactions, row.orders, row.refundEvents, row.unitsSold, row.unitsRefunded, row.grossMinor, row.refundsMinor].join(' ')]))).toEqual(counted.revenue)
  })

  test('the rhythm of the calls does not change what is sent', () => {
    expect(bytesOf(run(LIVE, 1000, 60_000))).toEqual(bytesOf(run(LIVE, 20, 60_000)))
  })

  test('a restart repeats no id', () => {
    const idsOf = (some: readonly GeneratedRecord[]): string[] => some.flatMap(({ means }) => means.flatMap((one) => (one.is === 'event' ? [one.fact.eventId] : [])))
    const before = new Set(idsOf(run(LIVE, 1000, 60_000)))
    expect(idsOf(run({ ...LIVE, startMs: START_MS + 1 }, 1000, 60_000)).filter((id) => before.has(id))).toEqual([])
  })

  test('a long pause is not made up for, and a clock that goes back brings nothing', () => {
    const shop = new LiveShop(LIVE)
    shop.recordsUntil(START_MS + 1000)
    expect(shop.recordsUntil(START_MS)).toEqual([])
    const after = shop.recordsUntil(START_MS + 10 * 3_600_000)
    expect(after.length).toBeGreaterThan(0)
    expect(after.flatMap(({ means }) => means).length).toBeLessThan((CATCH_UP_MS_MAX / 1000) * LIVE.ratePerSecond * 1.5)
    expect(shop.nextDueMs).toBeGreaterThan(START_MS + 10 * 3_600_000)
  })

  test.each([0, -1, Number.NaN, 1e9])('a rate of %d is refused', (ratePerSecond) => {
    expect(() => new LiveShop({ ...LIVE, ratePerSecond })).toThrow(ConfigError)
  })
})
