/** Rows D1 to D8 and D11 of the fault catalogue: copies, conflicts, order, lateness, time, rubbish and size. */
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { formatMinor } from '#core/money.ts'
import { answerRevenue } from '#store/answer-revenue.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { checkExact, readMerged } from '#test/lab/merged.ts'
import { poisons } from '#test/lab/poison.ts'
import { seededRandom } from '#test/lab/random.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import type { Fact } from '#test/oracle.ts'
import { count, countCopiesOnce, countFirstOfConflict, meaning, plainJson } from './data-steps.ts'
import type { JsonSale } from './data-steps.ts'
import { LoopWorker, expectE0, isWhole, logTimeMs, plainSales, refund, refused, runBatchWith, sale } from './setup.ts'

const allPartitions = [0, 1, 2]
const terms = { ledgerIdsMax: 100_000 }
const seed = Number(process.env['FAULTS_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
let lab: Lab

beforeAll(async () => {
  process.stdout.write(`data rows: FAULTS_SEED=${seed}\n`)
  lab = await openLab()
})
afterAll(async () => lab[Symbol.asyncDispose]())
beforeEach(async () => lab.clear())

describe('D1 copies', () => {
  test('D1 up to 50 copies in other bytes and other partitions, across restarts and horizons, count once at every moment', async () => {
    await countCopiesOnce(lab)
  })

  test('D1 a copy beyond the window counts until the next batch, which removes it, names it and books the correction', async () => {
    const originals = plainSales(lab, 30, 'a')
    await lab.append(originals)
    await count(lab, 8)
    await checkExact(lab)
    await runBatchWith(lab)
    // The window holds eight ids; the first two left it long ago.
    const copies = originals.slice(0, 2)
    await lab.append(copies)
    await count(lab, 8)
    const before = await readMerged(lab)
    const exact = lab.oracle.expect(before.n)
    const total = (views: typeof before.views): bigint => [...views.get('revenue')!.values()].reduce((sum, cell) => sum + cell.gross, 0n)
    const extra = copies.reduce((sum, copy) => sum + copy.meant![0]!.totalMinor, 0n)
    expect(total(before.views)).toBe(total(exact.views) + extra)
    const { crossCheck, batch } = await runBatchWith(lab)
    expect(crossCheck.summary).toMatchObject({ result: 'corrected', corrections: 2, correctionsByReason: { copy: 2 } })
    await checkExact(lab)
    const { rows } = await lab.database.pool.query('SELECT event_id, sign, reason FROM correction_events WHERE batch = $1 ORDER BY event_id', [batch.batch])
    expect(rows).toEqual(copies.map((copy) => ({ event_id: copy.meant![0]!.id, sign: -1, reason: 'copy' })))
    // And the equation holds for the batch after it.
    await lab.append(plainSales(lab, 9, 'b'))
    await count(lab)
    expect((await runBatchWith(lab)).crossCheck.summary.result).toBe('exact')
    expect((await runBatchWith(lab, { full: true })).crossCheck.summary.result).toBe('exact')
    await checkExact(lab)
  })
})

describe('D2 the same id with other fields', () => {
  test.each([
    ['the same partition', 0, 0],
    ['a later partition', 0, 2],
  ])('D2 in %s: the first counts, the other is a dead letter with both positions', async (_where, first, second) => {
    await countFirstOfConflict(lab, first, second)
  })

  test('D2 the smaller position comes second within one epoch: the batch counts it, and the dead letter explains the difference', async () => {
    await lab.append([sale({ id: 'x', partition: 2, unitMinor: 1000 })])
    await count(lab)
    await lab.append([sale({ id: 'x', partition: 0, day: '2025-04-01', unitMinor: 1 })])
    await count(lab)
    const live = await readMerged(lab)
    expect([...live.views.get('revenue')!.values()].map((sums) => sums.gross)).toEqual([1000n])
    expect(live.letters).toEqual([{ partition: 0, offset: 0, index: 0, reason: 'conflict' }])
    const { crossCheck } = await runBatchWith(lab)
    expect(crossCheck.summary).toMatchObject({ result: 'corrected', correctionsByReason: { conflict: 2 } })
    // Now as the oracle has it: partition 0 before partition 2, and the other one is the dead letter.
    const merged = await checkExact(lab)
    expect([...merged.views.get('revenue')!.values()].map((sums) => sums.gross)).toEqual([1n])
    expect(merged.letters).toEqual([{ partition: 2, offset: 0, index: 0, reason: 'conflict' }])
  })

  test('D2 the smaller position comes after the horizon: the winner below it stays', async () => {
    await lab.append([sale({ id: 'x', partition: 2, unitMinor: 1000 })])
    await count(lab)
    await runBatchWith(lab)
    await lab.append([sale({ id: 'x', partition: 0, unitMinor: 1 })])
    await count(lab)
    for (const full of [false, true]) {
      const merged = await readMerged(lab)
      expect([...merged.views.get('revenue')!.values()].map((sums) => sums.gross)).toEqual([1000n])
      expect(merged.letters).toEqual([{ partition: 0, offset: 0, index: 0, reason: 'conflict' }])
      expect((await runBatchWith(lab, { full })).crossCheck.summary.result).toBe('exact')
    }
  })
})

test('D3 any order and any partition of the same events gives the same figures, live and recomputed', async () => {
  const events = [...plainSales(lab, 40, 'a'), refund({ id: 'r-1', refundOf: 'a-1', totalMinor: 5, day: '2025-04-12' }), refund({ id: 'r-2', refundOf: 'a-2', totalMinor: 3 })]
  let figures: unknown = null
  const random = seededRandom(seed)
  for (let round = 0; round < (isWhole ? 20 : 4); round++) {
    await lab.clear()
    const shuffled = [...events]
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = random.below(i + 1)
      ;[shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!]
    }
    for (let from = 0; from < shuffled.length; ) {
      const run = shuffled.slice(from, from + 1 + random.below(12))
      from += run.length
      await lab.append(run.map((event) => ({ ...event, partition: random.below(3) })))
      await count(lab)
      if (random.chance(0.3)) await runBatchWith(lab)
    }
    const { views, top } = await checkExact(lab)
    const now = Object.fromEntries([...views].map(([view, cells]) => [view, [...cells].sort(([a], [b]) => (a < b ? -1 : 1))]))
    figures ??= { now, top }
    expect({ now, top }).toEqual(figures)
    await runBatchWith(lab)
    await checkExact(lab)
  }
})

test('D4 an hour, 40 days or 14 months late: in its own month at the next flush, in its month’s version at the next batch, in its season', async () => {
  await lab.append([
    sale({ id: 'old', day: '2024-11-03', unitMinor: 5000 }),
    sale({ id: 'middle', day: '2025-12-06', unitMinor: 7000 }),
    sale({ id: 'new', day: '2026-01-15', unitMinor: 9000 }),
  ])
  await count(lab)
  await runBatchWith(lab)
  const versions = async (): Promise<Map<string, bigint>> => {
    const { rows } = await lab.database.pool.query<{ month: string; version: bigint }>(
      `SELECT p.month::text AS month, p.version FROM batch_parts p JOIN publish_pointer x ON x.batch = p.batch WHERE p.view = 'revenue' ORDER BY 1`,
    )
    return new Map(rows.map((row) => [row.month, row.version]))
  }
  const season = async (name: string): Promise<bigint> => {
    const { rows } = await answerRevenue(lab.database.pool, { by: ['season'], period: { season: name } }, terms)
    return rows.reduce((sum, row) => sum + BigInt(row.grossMinor), 0n)
  }
  const first = await versions()
  expect([await season('2024-autumn'), await season('2025-winter')]).toEqual([5000n, 16_000n])
  await lab.append([
    sale({ id: 'hour', day: '2026-01-15', time: '11:00:00', unitMinor: 11 }),
    sale({ id: 'forty', day: '2025-12-06', unitMinor: 13 }),
    sale({ id: 'fourteen', day: '2024-11-03', unitMinor: 17 }),
  ])
  await count(lab)
  await checkExact(lab)
  expect([await season('2024-autumn'), await season('2025-winter')]).toEqual([5017n, 16_024n])
  const { rows } = await lab.database.pool.query<{ late: bigint }>('SELECT sum(late)::bigint AS late FROM committed_offsets')
  // Of the six, those whose day had ended: 40 days and 14 months, in both rounds.
  expect(rows[0]!.late).toBe(4n)
  await runBatchWith(lab)
  await checkExact(lab)
  expect([await season('2024-autumn'), await season('2025-winter')]).toEqual([5017n, 16_024n])
  const second = await versions()
  expect([...second.keys()]).toEqual([...first.keys()])
  expect([...second].filter(([month, version]) => first.get(month) === version)).toEqual([])
  // A month that nothing touched keeps its version.
  await lab.append([sale({ id: 'only', day: '2025-12-07' })])
  await count(lab)
  await runBatchWith(lab)
  const third = await versions()
  expect([...third].filter(([month, version]) => second.get(month) !== version).map(([month]) => month)).toEqual(['2025-12-01'])
})

test('D5 dated ahead: up to a day is accepted, beyond it refused, by the log’s time, and nothing else moves', async () => {
  const iso = (ms: number): string => new Date(ms).toISOString()
  const dayMs = 86_400_000
  const json = (id: string, occurredAt: string): string => JSON.stringify({ eventId: id, ...plainJson, occurredAt })
  const accepted: [string, number][] = [
    ['minute', 60_000],
    ['day', dayMs],
  ]
  const ahead: [string, string][] = [
    ['more', iso(logTimeMs + dayMs + 1000)],
    ['thirty hours', iso(logTimeMs + 30 * 3_600_000)],
    ['a year', iso(logTimeMs + 365 * dayMs)],
    ['9999', '9999-12-31T23:59:59Z'],
    ['275760', '+275760-09-13T00:00:00Z'],
  ]
  await lab.append([
    ...accepted.map(([id, ms]) => meaning(0, json(id, iso(logTimeMs + ms)), { id, day: iso(logTimeMs + ms).slice(0, 10), hour: 12 })),
    ...ahead.map(([id, at]) => refused(Buffer.from(json(id, at)))),
  ])
  const check = async (): Promise<void> => {
    const merged = await checkExact(lab)
    expect(merged.letters.map((letter) => letter.reason)).toEqual(['future-event', 'future-event', 'future-event', 'future-event', 'bad-time'])
    const { receipt } = await answerRevenue(lab.database.pool, { by: ['day'], period: { fromDay: null, toDay: null } }, terms)
    // "As of" is the log's time, not an event's.
    expect(receipt.asOf).toBe(iso(logTimeMs))
  }
  await count(lab)
  await check()
  await runBatchWith(lab)
  await check()
  // Ten months later, the archive read again decides alike.
  await runBatchWith(lab, { full: true })
  await check()
})

describe('D6 edges of days', () => {
  /** Written time → London's day and hour, by hand. */
  const edges: readonly (readonly [string, string, number])[] = [
    ['2025-01-31T23:59:59.999Z', '2025-01-31', 23],
    ['2025-02-01T00:00:00.000Z', '2025-02-01', 0],
    // Summer time: an hour ahead of UTC.
    ['2025-05-31T22:59:59.999Z', '2025-05-31', 23],
    ['2025-05-31T23:00:00.000Z', '2025-06-01', 0],
    ['2025-08-31T23:30:00Z', '2025-09-01', 0],
    ['2024-02-29T00:00:00Z', '2024-02-29', 0],
    ['2024-02-29T23:59:59.999Z', '2024-02-29', 23],
    ['2024-03-01T00:00:00Z', '2024-03-01', 0],
    ['2024-12-31T23:59:59.999Z', '2024-12-31', 23],
    ['2025-01-01T00:00:00Z', '2025-01-01', 0],
    // The spring night: 00:59:59 is followed by 02:00:00.
    ['2025-03-30T00:59:59Z', '2025-03-30', 0],
    ['2025-03-30T01:00:00Z', '2025-03-30', 2],
    ['2025-03-30T01:30:00', '2025-03-30', 2],
    // The autumn night: 01:xx comes twice; without a zone the first is meant.
    ['2025-10-26T00:30:00Z', '2025-10-26', 1],
    ['2025-10-26T01:30:00Z', '2025-10-26', 1],
    ['2025-10-26T01:30:00', '2025-10-26', 1],
    ['2025-10-25T23:30:00Z', '2025-10-26', 0],
    // Offsets, and none.
    ['2025-03-02T04:29:59+05:30', '2025-03-01', 22],
    ['2025-03-02T05:29:59+05:30', '2025-03-01', 23],
    ['2025-03-02T05:30:00+05:30', '2025-03-02', 0],
    ['2025-02-28T16:00:00-08:00', '2025-03-01', 0],
    ['2025-07-01T00:00:00', '2025-07-01', 0],
    ['1970-01-01T00:00:00Z', '1970-01-01', 1],
  ]

  test('D6 each edge falls on the day that the zone’s rule says, and batch and speed agree cell by cell', async () => {
    await lab.append(
      edges.map(([written, day, hour], n) => meaning(n % 3, JSON.stringify({ eventId: `e-${n}`, ...plainJson, occurredAt: written }), { id: `e-${n}`, day, hour, fields: written })),
    )
    await count(lab)
    await checkExact(lab)
    const { crossCheck } = await runBatchWith(lab)
    expect(crossCheck.summary.result).toBe('exact')
    const merged = await checkExact(lab)
    const { rows } = await lab.database.pool.query('SELECT FROM live_revenue l JOIN publish_pointer x ON l.epoch > x.epoch')
    expect(rows).toEqual([])
    expect(merged.batch).toBe(1)
  })

  test('D6 months and seasons begin at their first midnight', async () => {
    await lab.append([
      sale({ id: 'nov', day: '2024-11-30', time: '23:59:59', unitMinor: 1 }),
      sale({ id: 'dec', day: '2024-12-01', time: '00:00:00', unitMinor: 10 }),
      sale({ id: 'feb', day: '2025-02-28', time: '23:59:59', unitMinor: 100 }),
      sale({ id: 'mar', day: '2025-03-01', time: '00:00:00', unitMinor: 1000 }),
    ])
    await count(lab)
    for (const batch of [false, true]) {
      if (batch) await runBatchWith(lab)
      const by = async (key: 'season' | 'month'): Promise<Record<string, string>> => {
        const { rows } = await answerRevenue(lab.database.pool, { by: [key], period: { fromDay: null, toDay: null } }, terms)
        return Object.fromEntries(rows.map((row) => [row[key]!, row.grossMinor]))
      }
      expect(await by('season')).toEqual({ '2024-autumn': '1', '2024-winter': '110', '2025-spring': '1000' })
      expect(await by('month')).toEqual({ '2024-11': '1', '2024-12': '10', '2025-02': '100', '2025-03': '1000' })
    }
  })
})

describe('D7 poison', () => {
  test('D7 every poison is refused with its reason and its bytes, its neighbours in the batch are counted, and the worker goes on', async () => {
    const records = poisons.flatMap((poison, n) => [
      sale({ id: `before-${n}`, partition: n % 3, unitMinor: n + 1 }),
      refused(poison.bytes, n % 3),
      sale({ id: `after-${n}`, partition: n % 3, unitMinor: 2 * n + 1 }),
    ])
    await using worker = new LoopWorker(lab, { flushRecordsMax: 10_000 })
    for (let from = 0; from < records.length; from += 45) await lab.append(records.slice(from, from + 45))
    await expectE0(lab)
    expect(worker.warnings).toEqual([])
    for (const [at, poison] of poisons.entries()) {
      const partition = at % 3
      const offset = Math.floor(at / 3) * 3 + 1
      const { rows } = await lab.database.pool.query<{ reason: string; same: boolean; detail: string }>(
        'SELECT reason, detail, bytes = $3 AS same FROM dead_letters WHERE partition = $1 AND log_offset = $2',
        [partition, offset, Buffer.from(poison.bytes)],
      )
      expect({ poison: poison.name, reason: rows[0]?.reason, same: rows[0]?.same }).toEqual({ poison: poison.name, reason: poison.reason, same: true })
      expect(rows[0]!.detail).not.toBe('')
    }
    const { crossCheck } = await runBatchWith(lab)
    expect(crossCheck.summary.result).toBe('exact')
    await checkExact(lab)
  })

  test('D7 what looks odd and is no poison is counted: extra fields, `constructor` keys, decimal text, −0, right-to-left, decomposed and zero-width text', async () => {
    const odd: readonly [string, JsonSale, Partial<Fact>][] = [
      ['extra', { campaign: { deep: [1, { deeper: null }] } }, {}],
      ['constructor', { constructor: 'x', toString: 1, hasOwnProperty: { a: 1 } }, {}],
      ['decimal text', { unitPrice: '12.34', total: '12.34' }, { totalMinor: 1234n }],
      ['number', { unitPrice: 12.34, total: 12.34 }, { totalMinor: 1234n }],
      ['zeros beyond the pence', { unitPrice: '12.3400', total: 12.34 }, { totalMinor: 1234n }],
      ['minus zero', { unitPrice: '-0', total: -0.0 }, { totalMinor: 0n }],
      ['right to left', { city: 'القاهرة' }, { city: 'القاهرة' }],
      ['composed', { city: 'Zürich' }, { city: 'Zürich' }],
      ['decomposed', { city: 'Zu\u0308rich' }, { city: 'Zürich' }],
      ['zero width', { city: 'Lon\u200bdon' }, { city: 'Lon\u200bdon' }],
      ['emoji', { productName: '🛋️ sofa' }, {}],
      ['15e0', { unitPrice: 1.5e1, total: '15.00' }, { totalMinor: 1500n }],
    ]
    await lab.append(
      odd.map(([id, change, fact], n) => meaning(n % 3, JSON.stringify({ eventId: id, ...plainJson, ...change, occurredAt: '2025-03-01T10:00:00Z' }), { id, ...fact })),
    )
    await lab.append([meaning(0, `{"__proto__":{"city":"Leeds"},${JSON.stringify({ eventId: 'proto', ...plainJson, occurredAt: '2025-03-01T10:00:00Z' }).slice(1)}`, { id: 'proto' })])
    await count(lab)
    const merged = await checkExact(lab)
    expect(merged.letters).toEqual([])
    expect((await runBatchWith(lab)).crossCheck.summary.result).toBe('exact')
    await checkExact(lab)
  })

  test('D7 a record of ten megabytes is refused and its neighbours are counted', async () => {
    const text = JSON.stringify({ eventId: 'big', ...plainJson, occurredAt: '2025-03-01T10:00:00Z', note: 'x'.repeat(10 * 1024 * 1024) })
    await lab.append([sale({ id: 'a' }), refused(Buffer.from(text)), sale({ id: 'b' })])
    await count(lab)
    const merged = await checkExact(lab)
    expect(merged.letters.map((letter) => letter.reason)).toEqual(['too-large'])
    await runBatchWith(lab)
    await checkExact(lab)
  })

  test('D7 the cost of a batch with 10 % poison beside a clean one, reported', async () => {
    const size = 5_000
    const usual = poisons.filter((poison) => poison.bytes.length < 50_000)
    const flushMs = async (poisoned: boolean, round: number): Promise<number> => {
      const records = Array.from({ length: size }, (_, n) =>
        poisoned && n % 10 === 5 ? refused(usual[n % usual.length]!.bytes, n % 3) : sale({ id: `${round}-${String(poisoned)}-${n}`, partition: n % 3, unitMinor: n + 1, product: `P${n % 50}` }),
      )
      await lab.append(records)
      const worker = await StepWorker.open(lab, allPartitions)
      const startedAt = performance.now()
      await worker.readAll()
      await worker.flush()
      return performance.now() - startedAt
    }
    const ratios: number[] = []
    for (let round = 0; round < 5; round++) {
      const clean = await flushMs(false, round)
      ratios.push((await flushMs(true, round)) / clean)
    }
    await checkExact(lab)
    ratios.sort((a, b) => a - b)
    process.stdout.write(`D7: a batch of ${size} records with 10 % poison costs ${ratios[2]!.toFixed(2)} of a clean one (median of ${ratios.length} pairs)\n`)
    expect(ratios).toHaveLength(5)
  })
})

test('D8 a cell beyond 2^53 pence is exact to the penny, live, recomputed and in the answer’s text', async () => {
  const events = 9_100
  // The largest amount there is, less a penny here and there, so that a rounded sum would show.
  const largest = 1_000_000_000_000
  let sum = 0n
  for (let from = 0; from < events; from += 1_300) {
    const records = Array.from({ length: Math.min(1_300, events - from) }, (_, n) => sale({ id: `${from + n}`, partition: n % 3, unitMinor: largest - ((from + n) % 3) }))
    for (const record of records) sum += record.meant![0]!.totalMinor
    await lab.append(records)
    await count(lab)
  }
  expect(sum > 2n ** 53n).toBe(true)
  expect(BigInt(Number(sum)) === sum && BigInt(Number(sum - 1n)) === sum - 1n).toBe(false)
  for (const batch of [false, true]) {
    if (batch) expect((await runBatchWith(lab, { fileOffsetsMax: 2_000 })).crossCheck.summary.result).toBe('exact')
    await checkExact(lab)
    const { rows } = await answerRevenue(lab.database.pool, { by: ['city'], period: { fromDay: null, toDay: null } }, terms)
    expect(rows).toEqual([expect.objectContaining({ city: 'London', grossMinor: String(sum), netMinor: String(sum), gross: formatMinor(sum, 2), transactions: events })])
  }
})

test('D11 any share of poison in any order: produced = accepted + copies + conflicts + refused, always', async () => {
  const usual = poisons.filter((poison) => poison.bytes.length < 50_000)
  let run = 0
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 100 }),
      fc.array(fc.tuple(fc.nat(99), fc.nat(1_000_000), fc.nat(2)), { minLength: 1, maxLength: 60 }),
      fc.integer({ min: 1, max: 30 }),
      async (share, draws, flushEvery) => {
        await lab.clear()
        run++
        const records = draws.map(([dice, pick, partition]) => (dice < share ? refused(usual[pick % usual.length]!.bytes, partition) : sale({ id: `${pick % 40}`, partition: (pick % 40) % 3, unitMinor: 1 + (pick % 3) })))
        for (let from = 0; from < records.length; from += flushEvery) {
          await lab.append(records.slice(from, from + flushEvery))
          await count(lab)
          // Ids repeat within a partition only, and first by offset within it.
          const merged = await checkExact(lab)
          for (const [partition, account] of merged.accounts) {
            expect(account.records).toBe(lab.oracle.ends().get(partition) ?? 0)
            expect(account.accepted + account.copies + account.conflicts + account.refused).toBe(account.records)
          }
        }
        if (run % 5 === 0) {
          await runBatchWith(lab)
          await checkExact(lab)
        }
      },
    ),
    { seed, numRuns: isWhole ? 200 : 15 },
  )
})
