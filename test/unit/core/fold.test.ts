import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ShopEvent } from '#core/events.ts'
import type { FoldedView } from '#core/fold.ts'
import { Fold } from '#core/fold.ts'
import { views } from '#core/views/all.ts'
import type { View } from '#core/views/view.ts'

const base: ShopEvent = {
  source: 's',
  eventId: '1',
  kind: 'sale',
  orderId: 'o',
  orderLine: 1,
  userId: 'u',
  productId: 'p',
  productName: 'Lamp',
  category: 'c',
  brand: null,
  city: 'London',
  quantity: 1,
  unitPriceMinor: null,
  discountMinor: 0,
  taxMinor: 0,
  shippingMinor: 0,
  totalMinor: 0,
  currency: 'GBP',
  eventTimeMs: 0,
  localDay: 0,
  localHour: 0,
  refundOf: null,
  saleDay: null,
  late: false,
}

const events: fc.Arbitrary<ShopEvent> = fc
  .record({
    kind: fc.constantFrom('sale' as const, 'refund' as const),
    orderLine: fc.integer({ min: 1, max: 3 }),
    productId: fc.constantFrom('p', 'q', '\\N'),
    category: fc.constantFrom('c', 'd'),
    city: fc.constantFrom('London', '東京', ''),
    currency: fc.constantFrom('GBP', 'JPY'),
    quantity: fc.integer({ min: 1, max: 1_000_000 }),
    totalMinor: fc.oneof(fc.integer({ min: 0, max: 1_000_000_000_000 }), fc.constantFrom(0, 1_000_000_000_000)),
    localDay: fc.constantFrom(-719_162, -1, 0, 20_000, 20_031, 2_932_896),
    localHour: fc.integer({ min: 0, max: 23 }),
  })
  .map((fields) => ({ ...base, ...fields }))

type Table = Map<string, bigint[]>

/** Seven sums by key, in Maps. */
function plainSums(view: View, all: readonly ShopEvent[]): Table {
  const table: Table = new Map()
  for (const event of all) {
    const key = JSON.stringify(view.grain.map((dimension) => dimension.of(event)))
    const sums = table.get(key) ?? [0n, 0n, 0n, 0n, 0n, 0n, 0n]
    const sale = event.kind === 'sale'
    const added = [sale, sale && event.orderLine === 1, !sale, sale && event.quantity, !sale && event.quantity, sale && event.totalMinor, !sale && event.totalMinor]
    table.set(key, sums.map((sum, i) => sum + BigInt(Number(added[i]))))
  }
  return table
}

function tableOf({ dimensions, measured }: FoldedView): Table {
  return new Map(
    measured.map((m, row) => [
      JSON.stringify(dimensions.map((column) => column[row])),
      [m.transactions, m.orders, m.refundEvents, m.unitsSold, m.unitsRefunded, m.grossMinor, m.refundsMinor].map(BigInt),
    ]),
  )
}

function foldAll(all: readonly ShopEvent[]): FoldedView[] {
  const fold = new Fold(views)
  for (const event of all) fold.add(event)
  return fold.views()
}

function fold(view: View, all: readonly ShopEvent[]): Table {
  return tableOf(foldAll(all).find((folded) => folded.view === view)!)
}

/** The monoid of tables: the sum by key. */
function plus(a: Table, b: Table): Table {
  const sum: Table = new Map([...a].map(([key, sums]) => [key, [...sums]]))
  for (const [key, sums] of b) sum.set(key, (sum.get(key) ?? [0n, 0n, 0n, 0n, 0n, 0n, 0n]).map((value, i) => value + sums[i]!))
  return sum
}

describe.each(views.map((view) => [view.name, view] as const))('the fold of %s', (_name, view) => {
  test('is sums by key, with any number of events in any order', () => {
    fc.assert(
      fc.property(fc.array(events, { maxLength: 200, size: 'max' }), (all) => {
        expect(fold(view, all)).toEqual(plainSums(view, all))
        const other = [...all].reverse()
        expect(fold(view, other)).toEqual(fold(view, all))
      }),
      { numRuns: 60 },
    )
  })

  test('of a list is that of its parts added up, whatever the grouping: with none, a monoid', () => {
    fc.assert(
      fc.property(fc.array(events), fc.array(events), fc.array(events), (a, b, c) => {
        const [x, y, z] = [fold(view, a), fold(view, b), fold(view, c)]
        expect(plus(plus(x, y), z)).toEqual(plus(x, plus(y, z)))
        expect(plus(x, y)).toEqual(plus(y, x))
        expect(plus(x, fold(view, []))).toEqual(x)
        expect(plus(plus(x, y), z)).toEqual(fold(view, [...a, ...b, ...c]))
      }),
      { numRuns: 60 },
    )
  })
})

test('money is exact far beyond 2^53 in one cell', () => {
  const all = Array.from({ length: 20_000 }, (_, n) => ({ ...base, totalMinor: 1_000_000_000_000 - (n % 3) }))
  for (const { measured } of foldAll(all)) {
    expect(measured).toHaveLength(1)
    expect(measured[0]!.grossMinor).toBe(20_000n * 10n ** 12n - 6_666n * 3n - 1n)
  }
})

test('tables of cells grow without losing one', () => {
  const all = Array.from({ length: 30_000 }, (_, n) => ({ ...base, localDay: n % 10_000, city: `City ${n % 10_000}`, totalMinor: n }))
  const { dimensions, measured } = foldAll(all).find(({ view }) => view.name === 'revenue')!
  expect(measured).toHaveLength(10_000)
  for (const [row, { grossMinor, transactions }] of measured.entries()) {
    const day = dimensions[0]![row] as number
    expect(dimensions[1]![row]).toBe(`City ${day}`)
    expect([grossMinor, transactions]).toEqual([BigInt(3 * day + 30_000), 3])
  }
})
