import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { openDecoder, recordBytesMax, sourceHeader } from '#core/decode.ts'
import { refusalReasons } from '#core/events.ts'
import type { Decoded, ShopEvent } from '#core/events.ts'
import { poisons } from '#test/lab/poison.ts'

const decoder = openDecoder({ zone: 'Europe/London', currency: 'GBP' })
const logTimeMs = Date.parse('2025-06-01T12:00:00Z')

function decode(value: string | Uint8Array, headers: Record<string, string> | null = null, at = logTimeMs): Decoded {
  return decoder.decode({ value: typeof value === 'string' ? Buffer.from(value) : value, logTimeMs: at, headers }, 'transactions')
}

function accepted(decoded: Decoded): readonly ShopEvent[] {
  if ('refusal' in decoded) throw new Error(`refused: ${decoded.refusal.reason}, ${decoded.refusal.detail}`)
  return decoded.events
}

function reasonOf(decoded: Decoded): string {
  return 'refusal' in decoded ? decoded.refusal.reason : 'accepted'
}

const line = '1,1001,2001,"Laptop","Electronics",2,1500.00,3000.00,2024-12-30 14:30:00,"London"'
const sale = {
  eventId: 'o-77-1',
  kind: 'sale',
  orderId: 'o-77',
  orderLine: 1,
  userId: '1001',
  productId: '2001',
  productName: 'Laptop',
  category: 'Electronics',
  brand: 'Acme',
  city: 'London',
  quantity: 2,
  unitPrice: '1500.00',
  discount: '0.00',
  tax: '600.00',
  shipping: '4.99',
  total: '3000.00',
  currency: 'GBP',
  occurredAt: '2024-12-30T14:30:00+00:00',
  source: 'web',
}

describe('the line', () => {
  test('of the specification is the event that it says', () => {
    expect(accepted(decode(line))).toEqual([
      {
        source: 'transactions',
        eventId: '1',
        kind: 'sale',
        orderId: '1',
        orderLine: 1,
        userId: '1001',
        productId: '2001',
        productName: 'Laptop',
        category: 'Electronics',
        brand: null,
        city: 'London',
        quantity: 2,
        unitPriceMinor: 150_000,
        discountMinor: 0,
        taxMinor: 0,
        shippingMinor: 0,
        totalMinor: 300_000,
        currency: 'GBP',
        eventTimeMs: Date.parse('2024-12-30T14:30:00Z'),
        localDay: 20_087,
        localHour: 14,
        refundOf: null,
        saleDay: null,
        late: true,
      },
    ])
  })

  test.each([
    ['quotes inside quotes', line.replace('Laptop', 'The ""best"", Laptop'), 'The "best", Laptop'],
    ['no quotes', line.replaceAll('"', ''), 'Laptop'],
    ['a line end', `${line}\r\n`, 'Laptop'],
    ['names in any script', line.replace('Laptop', 'حاسوب'), 'حاسوب'],
    ['decomposed letters, composed', line.replace('Laptop', 'Zu\u0308rich'), 'Zürich'],
  ])('may have %s', (_what, text, productName) => {
    expect(accepted(decode(text))[0]).toMatchObject({ productName, totalMinor: 300_000 })
  })

  test('takes the source of its ids from the record header', () => {
    expect(accepted(decode(line, { [sourceHeader]: 'import' }))[0]!.source).toBe('import')
    expect(reasonOf(decode(line, { [sourceHeader]: 'a\u0000' }))).toBe('forbidden-character')
  })
})

describe('JSON', () => {
  test('says what the line cannot', () => {
    expect(accepted(decode(JSON.stringify(sale)))[0]).toMatchObject({
      source: 'web',
      eventId: 'o-77-1',
      orderId: 'o-77',
      brand: 'Acme',
      taxMinor: 60_000,
      shippingMinor: 499,
      totalMinor: 300_000,
      localDay: 20_087,
      localHour: 14,
    })
  })

  test('may be a refund, which names its sale and its day', () => {
    const refund = { eventId: 'r-9', kind: 'refund', refundOf: 'o-77-1', saleDay: '2024-12-30', userId: '1', productId: '2', productName: 'L', category: 'E', city: 'London', quantity: 1, total: '1500.00', occurredAt: '2025-01-02T00:00:00Z' }
    expect(accepted(decode(JSON.stringify(refund)))[0]).toMatchObject({ kind: 'refund', refundOf: 'o-77-1', saleDay: 20_087, totalMinor: 150_000, unitPriceMinor: null })
    expect(reasonOf(decode(JSON.stringify({ ...refund, saleDay: undefined })))).toBe('missing-field')
    expect(reasonOf(decode(JSON.stringify({ ...refund, saleDay: '2024-02-30' })))).toBe('bad-time')
  })

  test('may be an order with its lines, all or none', () => {
    const { eventId: _eventId, orderLine: _orderLine, userId, city, currency, occurredAt, ...rest } = sale
    const order = { orderId: 'o-78', userId, city, currency, occurredAt, lines: [1, 2, 3].map((n) => ({ ...rest, orderId: undefined, eventId: `o-78-${n}` })) }
    const events = accepted(decode(JSON.stringify(order)))
    expect(events.map(({ eventId, orderId, orderLine, city: where }) => ({ eventId, orderId, orderLine, where }))).toEqual(
      [1, 2, 3].map((n) => ({ eventId: `o-78-${n}`, orderId: 'o-78', orderLine: n, where: 'London' })),
    )
    const broken = { ...order, lines: [...order.lines, { ...order.lines[0], quantity: 0 }] }
    expect(reasonOf(decode(JSON.stringify(broken)))).toBe('out-of-range')
  })

  test.each([
    ['3000.00', 300_000],
    ['3e3', 300_000],
    ['3000', 300_000],
    ['"3000"', 300_000],
    ['3000.0000000000000000000000000001', 'number-not-exact'],
    ['300000e-2', 300_000],
    ['-0', 'total-mismatch'],
  ])('reads the amount %s from its digits', (source, expected) => {
    const text = JSON.stringify(sale).replace('"total":"3000.00"', `"total":${source}`)
    const decoded = decode(text)
    expect('refusal' in decoded ? decoded.refusal.reason : decoded.events[0]!.totalMinor).toBe(expected)
  })

  test.each([
    ['2024-12-30T14:30:00Z', '2024-12-30T14:30:00.000Z'],
    ['2024-12-30T20:00:00+05:30', '2024-12-30T14:30:00.000Z'],
    ['2024-12-31T00:00:00.999+1200', '2024-12-30T12:00:00.999Z'],
    ['2024-12-30 14:30', '2024-12-30T14:30:00.000Z'],
    ['2024-07-30T14:30:00', '2024-07-30T13:30:00.000Z'],
    ['2024-12-30T14:30:00.123456789Z', '2024-12-30T14:30:00.123Z'],
    ['2024-02-29T23:59:59.999Z', '2024-02-29T23:59:59.999Z'],
  ])('reads the time %s', (occurredAt, expected) => {
    expect(new Date(accepted(decode(JSON.stringify({ ...sale, occurredAt })))[0]!.eventTimeMs).toISOString()).toBe(expected)
  })

  test.each(['2024-12-30', '2025-02-29T00:00:00Z', '2024-12-30T24:00:00Z', '2024-12-30T14:60:00Z', '14:30', '2024-12-30T14:30:00+19:00', '2024-12-30T14:30:00 Europe/London'])('refuses the time %s', (occurredAt) => {
    expect(reasonOf(decode(JSON.stringify({ ...sale, occurredAt })))).toBe('bad-time')
  })

  test.each([
    ['the month', '2025-03-31T23:30:00Z', '2025-04-01', 0],
    ['the leap day', '2024-02-29T23:59:59.999Z', '2024-02-29', 23],
    ['the season', '2024-11-30T23:59:59.999Z', '2024-11-30', 23],
    ['the year, from afar', '2024-12-31T18:29:59-05:30', '2024-12-31', 23],
    ['the hour that summer time skips', '2025-03-30T01:00:00Z', '2025-03-30', 2],
    ['the hour that comes twice', '2025-10-26T01:00:00Z', '2025-10-26', 1],
  ])('at the edge of %s, %s is %s hour %i', (_what, occurredAt, day, hour) => {
    const [event] = accepted(decode(JSON.stringify({ ...sale, occurredAt }), null, Date.parse('2026-01-01T00:00:00Z')))
    expect({ day: new Date(event!.localDay * 86_400_000).toISOString().slice(0, 10), hour: event!.localHour }).toEqual({ day, hour })
  })

  test('takes own fields only', () => {
    expect(reasonOf(decode('{"__proto__":{"eventId":"x"}}'))).toBe('missing-field')
    expect(accepted(decode(JSON.stringify(sale).replace('{', '{"__proto__":{"quantity":9},"constructor":null,')))[0]!.quantity).toBe(2)
  })

  test('with a local day before the year 1 has a bad time', () => {
    const newYork = openDecoder({ zone: 'America/New_York', currency: 'USD' })
    const value = Buffer.from(JSON.stringify({ ...sale, currency: 'USD', occurredAt: '0001-01-01T00:00:00Z' }))
    expect(reasonOf(newYork.decode({ value, logTimeMs, headers: null }, 't'))).toBe('bad-time')
    expect(accepted(decode(JSON.stringify({ ...sale, occurredAt: '0001-01-02T00:00:00Z' })))[0]!.localDay).toBe(-719_162)
  })
})

describe('late and future', () => {
  const at = (occurredAt: string, loggedAt: string): Decoded => decode(JSON.stringify({ ...sale, occurredAt }), null, Date.parse(loggedAt))

  test.each([
    ['2025-01-10T12:00:00Z', '2025-01-11T01:00:00.000Z', false],
    ['2025-01-10T12:00:00Z', '2025-01-11T01:00:00.001Z', true],
    ['2025-07-10T12:00:00Z', '2025-07-11T00:00:00.000Z', false],
    ['2025-07-10T12:00:00Z', '2025-07-11T00:00:00.001Z', true],
  ])('%s logged at %s: late is %s', (occurredAt, loggedAt, late) => {
    expect(accepted(at(occurredAt, loggedAt))[0]!.late).toBe(late)
  })

  test('24 hours ahead is a sale, a millisecond more is none', () => {
    expect(reasonOf(at('2025-01-11T12:00:00Z', '2025-01-10T12:00:00.000Z'))).toBe('accepted')
    expect(reasonOf(at('2025-01-11T12:00:00.001Z', '2025-01-10T12:00:00.000Z'))).toBe('future-event')
  })
})

describe('decoding is total', () => {
  test.each(poisons.map((poison) => [poison.name, poison] as const))('%s is refused, with its reason', (_name, { bytes, reason }) => {
    expect(reasonOf(decode(bytes))).toBe(reason)
  })

  test('every reason for refusal can be given', () => {
    expect([...new Set(poisons.map((poison) => poison.reason))].sort()).toEqual([...refusalReasons].sort())
  })

  const mutated = fc
    .tuple(fc.constantFrom(line, JSON.stringify(sale), JSON.stringify({ orderId: 'o', lines: [sale, sale] })), fc.array(fc.tuple(fc.nat(), fc.nat(2), fc.uint8Array({ maxLength: 4 })), { maxLength: 6 }))
    .map(([text, edits]) => {
      let bytes = Buffer.from(text)
      for (const [at, kind, put] of edits) {
        const from = at % (bytes.length + 1)
        bytes = Buffer.concat([bytes.subarray(0, from), kind === 0 ? Buffer.alloc(0) : put, bytes.subarray(kind === 1 ? from : from + put.length)])
      }
      return bytes
    })
  const jsonLike = fc.json({ maxDepth: 4 }).map((text) => Buffer.from(text))
  const swapped = fc.tuple(fc.constantFrom(...Object.keys(sale)), fc.jsonValue()).map(([name, value]) => Buffer.from(JSON.stringify({ ...sale, [name]: value })))
  const anything = fc.oneof(fc.uint8Array({ maxLength: 300 }), mutated, jsonLike, swapped)

  test('and never depends on neighbours: any bytes are accepted or refused with a named reason, the same each time', () => {
    fc.assert(
      fc.property(fc.array(anything, { minLength: 1, maxLength: 8 }), (records) => {
        const together = records.map((record) => decode(record))
        const backwards = [...records].reverse().map((record) => decode(record))
        expect(backwards.reverse()).toEqual(together)
        for (const decoded of together) {
          if ('refusal' in decoded) expect(refusalReasons).toContain(decoded.refusal.reason)
          else for (const event of decoded.events) expectInBounds(event)
        }
      }),
      { numRuns: 600 },
    )
  }, 60_000)

  function expectInBounds(event: ShopEvent): void {
    for (const amount of [event.totalMinor, event.discountMinor, event.taxMinor, event.shippingMinor, event.unitPriceMinor ?? 0]) {
      expect(Number.isSafeInteger(amount) && amount >= 0 && amount <= 1_000_000_000_000).toBe(true)
    }
    expect(event.quantity >= 1 && event.quantity <= 1_000_000).toBe(true)
    expect(event.eventTimeMs).toBeLessThanOrEqual(logTimeMs + 86_400_000)
    expect(event.localHour >= 0 && event.localHour <= 23).toBe(true)
    for (const text of [event.eventId, event.productId, event.city, event.category]) {
      expect(text).toBe(text.normalize('NFC'))
      expect(text.length).toBeGreaterThan(0)
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(256)
      // oxlint-disable-next-line no-control-regex -- PostgreSQL takes no NUL
      expect(text).not.toMatch(/[\u0000-\u001f]/)
    }
  }

  test('at the limit of a record', () => {
    const padded = Buffer.from(JSON.stringify({ ...sale, note: '' }).replace('"note":""', `"note":"${'x'.repeat(recordBytesMax - JSON.stringify({ ...sale, note: '' }).length)}"`))
    expect(padded.length).toBe(recordBytesMax)
    expect(reasonOf(decode(padded))).toBe('accepted')
    expect(reasonOf(decode(Buffer.concat([padded, Buffer.from(' ')])))).toBe('too-large')
  })
})
