/** Merged answers against figures worked out by hand, and against a plain sum over random facts. */
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { parseDayPeriod, parseMonthPeriod, parseRange, parseYearPeriod } from '#core/period.ts'
import type { RevenueKey, RevenueRow } from '#core/receipt.ts'
import { answerMinutes } from '#store/answer-minutes.ts'
import { answerPace } from '#store/answer-pace.ts'
import { answerTopProducts } from '#store/answer-products.ts'
import { answerRevenue } from '#store/answer-revenue.ts'
import type { Fact, FilledStore } from './filled-store.ts'
import { openFilledStore, wholeFact } from './filled-store.ts'

const terms = { ledgerIdsMax: 1000 }
const december = parseMonthPeriod('2024-12')
const everything = parseRange(undefined, undefined)
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000_007)

let store: FilledStore
beforeAll(async () => {
  store = await openFilledStore('answers')
})
afterAll(async () => {
  await store[Symbol.asyncDispose]()
})
beforeEach(async () => {
  for (const view of ['revenue', 'product_sales', 'product_city_sales', 'pace']) await store.sql(`TRUNCATE live_${view}, batch_${view}, correction_${view}`)
  await store.point(0)
  await store.sql('DELETE FROM batch_parts')
  await store.sql('DELETE FROM batches WHERE batch > 0')
  await store.sql('TRUNCATE committed_offsets, cut_offsets, stopped_partitions, product_names, live_minutes')
  await store.sql('UPDATE lake_state SET season_version = 1')
})

const revenue = async (by: RevenueKey[], period = everything) => answerRevenue(store.database.pool, { by, period }, terms)
const nets = (rows: readonly RevenueRow[]): Record<string, string> =>
  Object.fromEntries(rows.map((row) => [[row.day, row.month, row.season, row.year, row.city, row.category, row.currency].filter(Boolean).join(' '), row.net]))

describe('revenue', () => {
  test('an empty store answers with no rows and says so', async () => {
    const answer = await revenue(['city'])
    expect(answer.rows).toEqual([])
    expect(answer.receipt).toMatchObject({
      batch: { id: 0, publishedAt: null },
      horizon: {},
      position: {},
      asOf: null,
      fromBatch: { events: 0, netMinorByCurrency: {} },
      crossCheck: { batch: 0, result: 'none yet', corrections: 0, checkedAt: null },
      complete: true,
      missing: [],
    })
  })

  test('adds the published batch and the live rows above its epoch, and says what each gave', async () => {
    await store.batch(1, 5, [
      { day: '2024-12-30', gross: '10000', unitsSold: 2 },
      { day: '2024-12-31', gross: '500', city: 'Paris' },
    ])
    await store.live(5, [{ day: '2024-12-30', gross: '77777' }])
    await store.live(6, [{ day: '2024-12-30', gross: '2000' }])
    await store.live(7, [{ day: '2024-12-30', transactions: 0, orders: 0, unitsSold: 0, refundEvents: 1, unitsRefunded: 1, refunds: '1500' }])
    await store.position(0, 130, Date.parse('2025-01-01T10:00:00Z'))
    await store.position(1, 7, Date.parse('2025-01-01T09:00:00Z'))
    await store.sql(`INSERT INTO cuts VALUES (5, now(), 'x') ON CONFLICT DO NOTHING`)
    await store.sql(`INSERT INTO cut_offsets VALUES (5, 'transactions', 0, 123, 0)`)
    await store.point(1)
    const { rows, receipt } = await revenue(['city', 'category'], december)
    expect(rows).toEqual([
      {
        city: 'London',
        category: 'Electronics',
        currency: 'GBP',
        transactions: 2,
        orders: 2,
        refundEvents: 1,
        unitsSold: 3,
        unitsRefunded: 1,
        grossMinor: '12000',
        refundsMinor: '1500',
        netMinor: '10500',
        gross: '120.00',
        refunds: '15.00',
        net: '105.00',
      },
      {
        city: 'Paris',
        category: 'Electronics',
        currency: 'GBP',
        transactions: 1,
        orders: 1,
        refundEvents: 0,
        unitsSold: 1,
        unitsRefunded: 0,
        grossMinor: '500',
        refundsMinor: '0',
        netMinor: '500',
        gross: '5.00',
        refunds: '0.00',
        net: '5.00',
      },
    ])
    expect(receipt).toMatchObject({
      batch: { id: 1, publishedAt: '2025-01-02T03:04:05.000Z' },
      horizon: { transactions: { 0: 123 } },
      position: { transactions: { 0: 130, 1: 7 } },
      asOf: '2025-01-01T10:00:00.000Z',
      fromBatch: { events: 2, netMinorByCurrency: { GBP: '10500' } },
      fromSpeed: { events: 2, netMinorByCurrency: { GBP: '500' } },
      deduplication: { windowIds: 1000 },
      crossCheck: { batch: 1, result: 'corrected', corrections: 2, checkedAt: '2025-01-02T03:04:00.000Z' },
    })
  })

  test('corrections above the epoch count to the speed layer; a roll-back brings back what the batch before lacks', async () => {
    await store.batch(1, 1, [{ day: '2024-12-30', gross: '100' }])
    await store.batch(2, 2, [{ day: '2024-12-30', gross: '300', transactions: 2, orders: 2, unitsSold: 2 }])
    await store.live(2, [{ day: '2024-12-30', gross: '400', transactions: 3, orders: 3, unitsSold: 3 }])
    await store.correct(2, 2, [{ day: '2024-12-30', gross: '-200', transactions: -2, orders: -2, unitsSold: -2 }])
    await store.live(3, [{ day: '2024-12-30', gross: '1' }])
    await store.point(2)
    const published = await revenue([])
    await store.point(1)
    const rolledBack = await revenue([])
    expect(published.rows).toEqual(rolledBack.rows)
    expect(published.rows[0]).toMatchObject({ transactions: 3, grossMinor: '301' })
    expect(published.receipt.fromSpeed).toEqual({ events: 1, netMinorByCurrency: { GBP: '1' } })
    expect(rolledBack.receipt.fromSpeed).toEqual({ events: 2, netMinorByCurrency: { GBP: '201' } })
    expect(rolledBack.moves).toBeGreaterThan(published.moves)
  })

  test('a key of which a correction leaves nothing is no row', async () => {
    await store.batch(1, 1, [{ day: '2024-12-30', gross: '100' }])
    await store.live(2, [{ day: '2024-12-30', gross: '50', city: 'Ghost' }])
    await store.correct(2, 1, [{ day: '2024-12-30', gross: '-50', city: 'Ghost', transactions: -1, orders: -1, unitsSold: -1 }])
    await store.point(1)
    expect(nets((await revenue(['city'])).rows)).toEqual({ 'London GBP': '1.00' })
  })

  test('sums are exact beyond 2^53, and each currency has its own digits and its own sum', async () => {
    const many = '4503599627370497'
    await store.batch(1, 1, [
      { day: '2024-12-30', gross: many, city: 'a' },
      { day: '2024-12-30', gross: many, city: 'b' },
      { day: '2024-12-30', gross: '7', currency: 'JPY' },
      { day: '2024-12-30', gross: '12', refunds: '3500', currency: 'KWD' },
    ])
    await store.live(2, [{ day: '2024-12-31', gross: many }])
    await store.point(1)
    const { rows, receipt } = await revenue([])
    expect(rows.map((row) => [row.currency, row.grossMinor, row.gross, row.net])).toEqual([
      ['GBP', '13510798882111491', '135107988821114.91', '135107988821114.91'],
      ['JPY', '7', '7', '7'],
      ['KWD', '12', '0.012', '-3.488'],
    ])
    expect(receipt.fromBatch.netMinorByCurrency).toEqual({ GBP: '9007199254740994', JPY: '7', KWD: '-3488' })
    expect(receipt.fromSpeed.netMinorByCurrency).toEqual({ GBP: many, JPY: '0', KWD: '0' })
  })

  test('a second currency that comes after many answers in one is never added to the first', async () => {
    await store.live(1, [{ day: '2024-12-30', gross: '100' }])
    expect(nets((await revenue(['city'])).rows)).toEqual({ 'London GBP': '1.00' })
    await store.live(2, [{ day: '2024-12-30', gross: '9', currency: 'JPY' }])
    expect(nets((await revenue(['city'])).rows)).toEqual({ 'London GBP': '1.00', 'London JPY': '9' })
    expect(nets((await revenue(['city'], parseDayPeriod('2024-12-31'))).rows)).toEqual({})
    expect(nets((await revenue(['city'])).rows)).toEqual({ 'London GBP': '1.00', 'London JPY': '9' })
  })

  test('days, months, years and seasons that run over the end of a year', async () => {
    await store.batch(1, 1, [
      { day: '2024-02-29', gross: '1' },
      { day: '2024-11-30', gross: '20' },
      { day: '2024-12-01', gross: '300' },
      { day: '2025-02-28', gross: '4000' },
      { day: '2025-03-01', gross: '50000' },
    ])
    await store.live(2, [{ day: '2025-01-15', gross: '600000' }])
    await store.point(1)
    expect(nets((await revenue(['season'])).rows)).toEqual({
      '2023-winter GBP': '0.01',
      '2024-autumn GBP': '0.20',
      '2024-winter GBP': '6043.00',
      '2025-spring GBP': '500.00',
    })
    expect(nets((await revenue(['year'])).rows)).toEqual({ '2024 GBP': '3.21', '2025 GBP': '6540.00' })
    expect(nets((await revenue(['month', 'season'], parseYearPeriod('2025'))).rows)).toEqual({
      '2025-01 2024-winter GBP': '6000.00',
      '2025-02 2024-winter GBP': '40.00',
      '2025-03 2025-spring GBP': '500.00',
    })
    expect(nets((await revenue(['day', 'year'], parseRange('2024-12-01', '2025-01-16'))).rows)).toEqual({ '2024-12-01 2024 GBP': '3.00', '2025-01-15 2025 GBP': '6000.00' })
    expect(nets((await revenue(['day', 'month', 'season'], parseDayPeriod('2025-02-28'))).rows)).toEqual({ '2025-02-28 2025-02 2024-winter GBP': '40.00' })
    const winter = await answerRevenue(store.database.pool, { by: [], period: { season: '2024-winter' } }, terms)
    expect(winter.rows[0]!.net).toBe('6043.00')
  })

  test('seasons that start within months are taken from the table, in the version in use', async () => {
    await store.sql(`INSERT INTO season_versions VALUES (9, 'high and low') ON CONFLICT DO NOTHING`)
    await store.sql(`INSERT INTO seasons VALUES (9, 'low', 1, 15, 11, 19), (9, 'high', 11, 20, 1, 14) ON CONFLICT DO NOTHING`)
    await store.sql('UPDATE lake_state SET season_version = 9')
    await store.batch(1, 1, [
      { day: '2024-11-19', gross: '1' },
      { day: '2024-11-20', gross: '10' },
      { day: '2025-01-14', gross: '100' },
      { day: '2025-01-15', gross: '1000' },
    ])
    await store.point(1)
    const expected = { '2024-high GBP': '1.10', '2024-low GBP': '0.01', '2025-low GBP': '10.00' }
    expect(nets((await revenue(['season'])).rows)).toEqual(expected)
    expect(nets((await revenue(['season', 'month'])).rows)).toEqual({
      '2024-11 2024-high GBP': '0.10',
      '2024-11 2024-low GBP': '0.01',
      '2025-01 2024-high GBP': '1.00',
      '2025-01 2025-low GBP': '10.00',
    })
    const named = await store.sql(`SELECT DISTINCT season_of(d::date) AS season FROM generate_series(DATE '2024-11-19', DATE '2025-01-15', interval '1 day') d ORDER BY 1`)
    expect((await revenue(['season'])).rows.map((row) => row.season)).toEqual(named.map((row) => row['season']))
    const high = await answerRevenue(store.database.pool, { by: [], period: { season: '2024-high' } }, terms)
    expect(high.rows[0]!.net).toBe('1.10')
  })

  test('rows stand bytewise, as the database orders them', async () => {
    const cities = ['b', 'a', 'Z', 'é', 'z', '\uffee', '\u{1f6d2}', 'ab']
    await store.live(1, cities.map((city) => ({ day: '2024-12-30', city, gross: '1' })))
    const expected = (await store.sql('SELECT city FROM live_revenue ORDER BY city')).map((row) => row['city'])
    expect((await revenue(['city'])).rows.map((row) => row.city)).toEqual(expected)
  })

  test('a range by day beyond the limit is refused', async () => {
    await expect(revenue(['day'], parseRange('1970-01-01', '2000-01-01'))).rejects.toMatchObject({ code: 'invalid-request' })
    await expect(revenue(['month'], parseRange('1970-01-01', '2000-01-01'))).resolves.toMatchObject({ rows: [] })
  })

  test('an answer of too many rows is refused with advice', async () => {
    await store.sql(
      `INSERT INTO live_revenue SELECT 1, DATE '2024-12-30', 'c' || i, 'x', 'GBP', 1, 1, 0, 1, 0, 1, 0 FROM generate_series(1, 50001) i`,
    )
    await expect(revenue(['city'])).rejects.toMatchObject({ code: 'invalid-request', details: { rowsMax: 50_000 } })
    expect((await revenue(['category'])).rows[0]).toMatchObject({ transactions: 50_001 })
  })
})

describe('V2: a batch view that is not whole is never answered from', () => {
  beforeEach(async () => {
    await store.batch(1, 1, [
      { day: '2024-11-30', gross: '1' },
      { day: '2024-12-30', gross: '2' },
    ])
    await store.live(2, [{ day: '2024-12-30', gross: '4' }])
    await store.point(1)
  })

  test.each([
    ['rows of a month are gone', `DELETE FROM batch_revenue WHERE local_day = '2024-12-30'`],
    ['a part is gone', `DELETE FROM batch_parts WHERE view = 'revenue' AND month = '2024-12-01'`],
    ['all parts of the view are gone', `DELETE FROM batch_parts WHERE view = 'revenue'`],
    ['the batch was pruned', `UPDATE batches SET status = 'pruned' WHERE batch = 1`],
    ['the batch was never published', `UPDATE batches SET status = 'held' WHERE batch = 1`],
  ])('%s', async (_name, damage) => {
    expect((await revenue([])).rows[0]!.grossMinor).toBe('7')
    await store.sql(damage)
    await expect(revenue([])).rejects.toMatchObject({ code: 'corrupt' })
    await expect(revenue(['city'], parseDayPeriod('2024-12-30'))).rejects.toMatchObject({ code: 'corrupt' })
  })

  test('a stopped partition is named, and the answer is not called complete', async () => {
    await store.sql(`INSERT INTO stopped_partitions VALUES ('transactions', 3, 10, 20, 'The log begins later.')`)
    expect((await revenue([])).receipt).toMatchObject({
      complete: false,
      missing: [{ topic: 'transactions', partition: 3, from: 10, to: 20, reason: 'The log begins later.' }],
    })
  })
})

describe('top products', () => {
  const top = async (extra: object, period: object = december) =>
    (await answerTopProducts(store.database.pool, { n: 5, by: 'units', period, ...extra } as never, terms)).rows.map((row) => [row.rank, row.productId, row.unitsSold])

  test('V3: a product that is sixth in both layers can be first', async () => {
    const sold = (prefix: string) => Array.from({ length: 5 }, (_, i) => ({ day: '2024-12-10', product: `${prefix}${i}`, unitsSold: 20 + i }))
    await store.batch(1, 1, [...sold('b'), { day: '2024-12-10', product: 'sixth', unitsSold: 19 }])
    await store.live(2, [...sold('s'), { day: '2024-12-11', product: 'sixth', unitsSold: 18 }])
    await store.point(1)
    expect(await top({})).toEqual([
      [1, 'sixth', 37],
      [2, 'b4', 24],
      [3, 's4', 24],
      [4, 'b3', 23],
      [5, 's3', 23],
    ])
  })

  test('V3: ties stand by net, then by product id bytewise; refunds can make net negative', async () => {
    await store.batch(1, 1, [
      { day: '2024-12-10', product: 'b', unitsSold: 5, gross: '100' },
      { day: '2024-12-10', product: 'a', unitsSold: 5, gross: '100' },
      { day: '2024-12-10', product: 'B', unitsSold: 5, gross: '100' },
      { day: '2024-12-10', product: 'rich', unitsSold: 5, gross: '101' },
    ])
    await store.live(2, [{ day: '2024-12-10', product: 'back', transactions: 1, unitsSold: 5, unitsRefunded: 5, refundEvents: 1, gross: '100', refunds: '900' }])
    await store.point(1)
    expect((await top({})).map((row) => row[1])).toEqual(['rich', 'B', 'a', 'b', 'back'])
    const { rows, receipt } = await answerTopProducts(store.database.pool, { n: 1, by: 'net', period: december, city: 'London' }, terms)
    expect(rows[0]).toMatchObject({ rank: 1, productId: 'rich', productName: 'rich', net: '1.01' })
    expect(receipt.fromBatch).toEqual({ events: 1, netMinorByCurrency: { GBP: '101' } })
    const last = await answerTopProducts(store.database.pool, { n: 5, by: 'units', period: december }, terms)
    expect(last.rows[4]).toMatchObject({ productId: 'back', netMinor: '-800', net: '-8.00' })
  })

  test('sums a product over categories, lists each currency by itself, and labels it with its newest name', async () => {
    await store.sql(`INSERT INTO product_names VALUES ('p', 'Laptop', 1, 0, 0, 0)`)
    await store.live(1, [
      { day: '2024-12-10', product: 'p', category: 'x', unitsSold: 2 },
      { day: '2024-12-11', product: 'p', category: 'y', unitsSold: 2 },
      { day: '2024-12-10', product: 'q', category: 'x', unitsSold: 3 },
      { day: '2024-12-10', product: 'p', unitsSold: 1, currency: 'EUR' },
    ])
    const { rows } = await answerTopProducts(store.database.pool, { n: 1, by: 'units', period: december }, terms)
    expect(rows.map((row) => [row.currency, row.rank, row.productName, row.unitsSold])).toEqual([
      ['EUR', 1, 'Laptop', 1],
      ['GBP', 1, 'Laptop', 4],
    ])
    expect(await top({ category: 'x' }, parseDayPeriod('2024-12-10'))).toEqual([
      [1, 'q', 3],
      [2, 'p', 2],
    ])
  })

  test('by city only over whole months, and not with a category', async () => {
    await store.batch(1, 1, [{ day: '2024-12-10', product: 'p', unitsSold: 2, city: 'Paris' }])
    await store.point(1)
    expect(await top({ city: 'Paris' })).toEqual([[1, 'p', 2]])
    expect(await top({ city: 'Paris' }, { season: '2024-winter' })).toEqual([[1, 'p', 2]])
    await expect(top({ city: 'Paris' }, parseDayPeriod('2024-12-01'))).rejects.toMatchObject({ code: 'invalid-request' })
    await expect(top({ city: 'Paris', category: 'x' })).rejects.toMatchObject({ code: 'invalid-request' })
    await expect(top({ n: 101 })).rejects.toMatchObject({ code: 'invalid-request' })
  })
})

test('pace adds both layers by weekday and hour', async () => {
  await store.batch(1, 1, [
    { day: '2024-12-30', hour: 9, gross: '1' },
    { day: '2024-12-23', hour: 9, gross: '2' },
    { day: '2024-12-29', hour: 0, gross: '4' },
  ])
  await store.live(2, [{ day: '2024-12-30', hour: 9, gross: '8' }])
  await store.point(1)
  const { rows, receipt } = await answerPace(store.database.pool, { period: everything }, terms)
  expect(rows.map((row) => [row.weekday, row.hour, row.transactions, row.netMinor])).toEqual([
    [1, 9, 3, '11'],
    [7, 0, 1, '4'],
  ])
  expect(receipt.fromSpeed).toEqual({ events: 1, netMinorByCurrency: { GBP: '8' } })
})

test('minutes come from the speed layer, the last three hours of them', async () => {
  const newest = Date.parse('2025-01-01T12:00:00Z')
  await store.position(0, 1, newest)
  for (const [ago, partition, gross] of [[0, 0, 5], [0, 1, 50], [179, 0, 6], [180, 0, 7]] as const) {
    await store.sql(
      `INSERT INTO live_minutes (minute_ms, currency, partition, transactions, gross_minor, refunds_minor) VALUES ($1, 'GBP', $2, 1, $3, 0)`,
      [newest - ago * 60_000, partition, gross],
    )
  }
  const { rows, layer } = await answerMinutes(store.database.pool, terms)
  expect(layer).toBe('speed')
  expect(rows.map((row) => [row.minute, row.transactions, row.grossMinor, row.gross])).toEqual([
    ['2025-01-01T09:01:00Z', 1, '6', '0.06'],
    ['2025-01-01T12:00:00Z', 2, '55', '0.55'],
  ])
})

test(`any split between the layers gives the plain sum (seed ${seed})`, async () => {
  const days = ['2023-12-31', '2024-01-01', '2024-02-29', '2024-11-30', '2024-12-01', '2024-12-30', '2025-01-01']
  const fact: fc.Arbitrary<Fact> = fc.record({
    day: fc.constantFrom(...days),
    city: fc.constantFrom('London', 'Paris', 'İzmir'),
    category: fc.constantFrom('a', 'b'),
    currency: fc.constantFrom('GBP', 'GBP', 'GBP', 'JPY'),
    transactions: fc.constant(1),
    gross: fc.bigInt(0n, 10n ** 15n).map(String),
    refunds: fc.bigInt(0n, 10n ** 15n).map(String),
  })
  const keys: RevenueKey[] = ['day', 'month', 'year', 'city', 'category']
  const run = fc.record({
    batch: fc.array(fact, { maxLength: 8 }),
    live: fc.array(fact, { maxLength: 8 }),
    by: fc.subarray(keys),
    from: fc.option(fc.constantFrom(...days), { nil: undefined }),
    to: fc.option(fc.constantFrom('2024-12-02', '2025-01-02', '2024-01-01'), { nil: undefined }),
    city: fc.option(fc.constantFrom('London', 'Nowhere'), { nil: undefined }),
    currency: fc.option(fc.constantFrom('GBP', 'JPY'), { nil: undefined }),
  })
  let epoch = 10
  await fc.assert(
    fc.asyncProperty(run, async ({ batch, live, by, from, to, city, currency }) => {
      fc.pre(from === undefined || to === undefined || from < to)
      epoch += 2
      await store.batch(epoch, epoch, batch)
      await store.live(epoch + 1, live)
      await store.point(epoch)
      const { rows } = await answerRevenue(
        store.database.pool,
        { by, period: parseRange(from, to), ...(city !== undefined && { city }), ...(currency !== undefined && { currency }) },
        terms,
      )
      await store.sql('TRUNCATE live_revenue, live_product_sales, live_product_city_sales, live_pace')
      const expected = new Map<string, bigint>()
      for (const one of [...batch, ...live].map(wholeFact)) {
        if ((from !== undefined && one.day < from) || (to !== undefined && one.day >= to)) continue
        if ((city !== undefined && one.city !== city) || (currency !== undefined && one.currency !== currency)) continue
        const all: Record<RevenueKey, string> = { day: one.day, month: one.day.slice(0, 7), season: '', year: one.day.slice(0, 4), city: one.city, category: one.category }
        const key = [...by.map((name) => all[name]), one.currency].join('|')
        expected.set(key, (expected.get(key) ?? 0n) + BigInt(one.gross) - BigInt(one.refunds))
      }
      const found = rows.map((row) => [[...by.map((name) => row[name]), row.currency].join('|'), BigInt(row.netMinor)] as const)
      expect(new Map(found)).toEqual(expected)
      expect(found.length).toBe(expected.size)
    }),
    { seed, numRuns: 60 },
  )
})

test('a pointer that moves while others read: nobody sees half a swap, and figures never go back', async () => {
  const before: Fact[] = [{ day: '2024-12-30', gross: '100' }, { day: '2024-11-30', gross: '10' }]
  const later: Fact[] = [{ day: '2024-12-30', gross: '7', city: 'Paris' }]
  await store.batch(1, 1, before)
  await store.batch(2, 2, [...before, ...later])
  await store.live(2, later)
  await store.point(1)
  let stopped = false
  let added = 0
  let confirmed = 0
  const writer = (async () => {
    for (let moves = 0; moves < 120; moves++) {
      await store.point((moves % 2) + 1)
      added++
      await store.live(3 + moves, [{ day: '2024-12-30', gross: '1000' }])
      confirmed = added
    }
    stopped = true
  })()
  const reader = async (): Promise<number> => {
    let reads = 0
    let last = 0
    while (!stopped) {
      const least = confirmed
      const { rows } = await revenue([])
      const most = added
      const gross = Number(rows[0]!.grossMinor)
      expect(gross % 1000).toBe(117)
      const seen = (gross - 117) / 1000
      expect(seen).toBeGreaterThanOrEqual(Math.max(least, last))
      expect(seen).toBeLessThanOrEqual(most)
      last = seen
      reads++
    }
    return reads
  }
  const reads = await Promise.all([reader(), reader(), reader()])
  await writer
  expect(Math.min(...reads)).toBeGreaterThan(10)
})

test('a day answered before is read from the version that is published now, by every way of asking', async () => {
  const day = parseDayPeriod('2024-12-30')
  const ask = async () => [nets((await revenue(['city'], day)).rows), nets((await revenue(['category'], day)).rows), nets((await revenue([], day)).rows)]
  await store.batch(1, 1, [{ day: '2024-12-30', gross: '100' }])
  await store.batch(2, 2, [{ day: '2024-12-30', gross: '700', city: 'Paris' }])
  const first = [{ 'London GBP': '1.00' }, { 'Electronics GBP': '1.00' }, { GBP: '1.00' }]
  const second = [{ 'Paris GBP': '7.00' }, { 'Electronics GBP': '7.00' }, { GBP: '7.00' }]
  for (let round = 0; round < 3; round++) {
    await store.point(1)
    for (let again = 0; again < 3; again++) expect(await ask()).toEqual(first)
    await store.point(2)
    for (let again = 0; again < 3; again++) expect(await ask()).toEqual(second)
  }
  await store.live(3, [{ day: '2024-12-30', gross: '1', city: 'Paris' }])
  expect((await ask())[0]).toEqual({ 'Paris GBP': '7.01' })
  expect((await revenue(['city'], day)).receipt.fromBatch).toEqual({ events: 1, netMinorByCurrency: { GBP: '700' } })
  await store.point(0)
  expect((await ask())[0]).toEqual({ 'Paris GBP': '0.01' })
})

test('a restored store whose version numbers come again for other rows is not answered from what was kept', async () => {
  const day = parseDayPeriod('2024-12-30')
  await store.batch(1, 1, [{ day: '2024-12-30', gross: '100' }])
  await store.point(1)
  for (let again = 0; again < 2; again++) expect(nets((await revenue(['city'], day)).rows)).toEqual({ 'London GBP': '1.00' })
  await store.sql('UPDATE batch_revenue SET gross_minor = 900')
  await store.sql('UPDATE lake_state SET incarnation = gen_random_uuid()')
  for (let again = 0; again < 2; again++) expect(nets((await revenue(['city'], day)).rows)).toEqual({ 'London GBP': '9.00' })
})
