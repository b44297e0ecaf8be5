import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ShopEvent } from '#core/events.ts'
import { fieldsChecksum, idHash, writeIdKey } from '#core/id-key.ts'

function keyOf(source: string, id: string): string {
  const key = new Uint32Array(5)
  writeIdKey(source, id, key, 1)
  return key.slice(1).join()
}

const ids = fc.oneof(fc.nat().map(String), fc.uuid(), fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }), fc.stringMatching(/^0{0,3}\d{1,16}$/))
const sources = fc.constantFrom('transactions', 'import', 'transactions2')

const event: ShopEvent = {
  source: 'transactions',
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
  unitPriceMinor: 100,
  discountMinor: 0,
  taxMinor: 0,
  shippingMinor: 0,
  totalMinor: 100,
  currency: 'GBP',
  eventTimeMs: 1_700_000_000_000,
  localDay: 19_675,
  localHour: 22,
  refundOf: null,
  saleDay: null,
  late: false,
}

describe('the id key', () => {
  test('is the same for the same source and id, and another for any other', () => {
    fc.assert(
      fc.property(sources, ids, sources, ids, (sourceA, idA, sourceB, idB) => {
        expect(keyOf(sourceA, idA) === keyOf(sourceB, idB)).toBe(sourceA === sourceB && idA === idB)
      }),
      { numRuns: 3_000 },
    )
  })

  test('tells fifty thousand whole numbers, and as many near ones as text, apart', () => {
    const seen = new Set<string>()
    for (let n = 0; n < 50_000; n++) {
      seen.add(keyOf('transactions', String(n)))
      seen.add(keyOf('transactions', `0${n}`))
    }
    expect(seen.size).toBe(100_000)
  })

  test.each([
    ['1', '01'],
    ['999999999999999', '9999999999999999'],
    ['4294967296', '0'],
    ['ab', 'a\u0000b'],
    ['a', 'a\u0000'],
    ['123e4567-e89b-42d3-a456-426614174000', '123e4567-e89b-42d3-a456-426614174001'],
  ])('of %j is not that of %j', (a, b) => {
    expect(keyOf('s', a)).not.toBe(keyOf('s', b))
  })

  test('begins with the hash of the cross-check', () => {
    fc.assert(
      fc.property(sources, ids, (source, id) => {
        const { hi, lo } = idHash(source, id)
        expect(keyOf(source, id).split(',').slice(0, 2)).toEqual([String(hi), String(lo)])
      }),
    )
  })
})

describe('the checksum of the fields', () => {
  const others: readonly (readonly [keyof ShopEvent, unknown])[] = [
    ['kind', 'refund'],
    ['orderId', 'o2'],
    ['orderLine', 2],
    ['userId', 'v'],
    ['productId', 'q'],
    ['productName', 'Lamp!'],
    ['category', 'd'],
    ['brand', 'Acme'],
    ['city', 'Leeds'],
    ['quantity', 2],
    ['unitPriceMinor', null],
    ['discountMinor', 1],
    ['taxMinor', 1],
    ['shippingMinor', 1],
    ['totalMinor', 101],
    ['totalMinor', 100 + 2 ** 32],
    ['currency', 'JPY'],
    ['eventTimeMs', 1_700_000_000_001],
    ['refundOf', 'x'],
    ['saleDay', 0],
  ]
  test.each(others)('changes with %s', (name, value) => {
    expect(fieldsChecksum({ ...event, [name]: value })).not.toBe(fieldsChecksum(event))
  })

  test.each([
    ['eventId', '2'],
    ['source', 'import'],
    ['late', true],
  ] as const)('does not change with %s', (name, value) => {
    expect(fieldsChecksum({ ...event, [name]: value })).toBe(fieldsChecksum(event))
  })

  test('does not take one field for its neighbour', () => {
    expect(fieldsChecksum({ ...event, userId: 'ab', productId: 'c' })).not.toBe(fieldsChecksum({ ...event, userId: 'a', productId: 'bc' }))
    expect(fieldsChecksum({ ...event, taxMinor: 5 })).not.toBe(fieldsChecksum({ ...event, shippingMinor: 5 }))
  })
})
