/** Records that must be refused, each with its neighbours counted (FAULTS.md D7), and the reason that each must be given. */
import type { RefusalReason } from '#core/events.ts'

export type Poison = { readonly name: string; readonly bytes: Uint8Array; readonly reason: RefusalReason }

const good = {
  eventId: 'poison-1',
  userId: '7',
  productId: 'P1',
  productName: 'Lamp',
  category: 'Home',
  city: 'London',
  quantity: 2,
  unitPrice: '10.00',
  total: '20.00',
  currency: 'GBP',
  occurredAt: '2025-03-01T10:00:00Z',
}

function text(name: string, reason: RefusalReason, value: string): Poison {
  return { name, reason, bytes: Buffer.from(value) }
}

function bytes(name: string, reason: RefusalReason, value: Uint8Array): Poison {
  return { name, reason, bytes: value }
}

function json(name: string, reason: RefusalReason, change: Readonly<Record<string, unknown>>): Poison {
  return text(name, reason, JSON.stringify({ ...good, ...change }))
}

/** The good event with one field's JSON source as it stands, for numbers that JSON.stringify would not write. */
function raw(name: string, reason: RefusalReason, field: keyof typeof good, source: string): Poison {
  const rest = Object.entries(good).filter(([key]) => key !== field)
  return text(name, reason, `{${rest.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')},"${field}":${source}}`)
}

const invalidInside = Buffer.concat([Buffer.from('{"eventId":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')])

export const poisons: readonly Poison[] = [
  text('an empty body', 'unreadable', ''),
  text('words', 'unreadable', 'hello'),
  text('a number', 'unreadable', '42'),
  text('JSON null', 'unreadable', ' null'),
  text('a JSON array', 'unreadable', ' [1,2,3]'),
  text('truncated JSON', 'unreadable', JSON.stringify(good).slice(0, -5)),
  text('an unclosed quote', 'unreadable', '1,2,3,"Lamp,Home,2,10.00,20.00,2025-03-01 10:00:00,London'),
  text('nine fields', 'missing-field', '1,2,3,Lamp,Home,2,10.00,20.00,2025-03-01 10:00:00'),
  text('an empty field', 'missing-field', '1,2,3,Lamp,Home,2,10.00,20.00,2025-03-01 10:00:00,'),
  text('a key given twice', 'unreadable', `${JSON.stringify(good).slice(0, -1)},"city":"Leeds"}`),
  text('100,000 levels of nesting', 'unreadable', `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`),
  text('a byte-order mark', 'unreadable', `\ufeff${JSON.stringify(good)}`),
  bytes('invalid UTF-8', 'unreadable', invalidInside),
  bytes('a single 0xFF', 'unreadable', Uint8Array.of(0xff)),
  bytes('a record of 2 MiB', 'too-large', Buffer.alloc(2 * 1024 * 1024, 32)),
  json('no id', 'missing-field', { eventId: undefined }),
  json('no time', 'missing-field', { occurredAt: undefined }),
  json('no quantity', 'missing-field', { quantity: undefined }),
  json('a kind nobody knows', 'mistyped-field', { kind: 'gift' }),
  json('a city that is a list', 'mistyped-field', { city: ['London'] }),
  json('a negative price', 'out-of-range', { unitPrice: '-10.00', total: '-20.00' }),
  json('quantity 0', 'out-of-range', { quantity: 0, total: '0.00' }),
  json('quantity −1', 'out-of-range', { quantity: -1 }),
  json('quantity 10⁹', 'out-of-range', { quantity: 1_000_000_000 }),
  json('half a unit', 'number-not-exact', { quantity: 1.5 }),
  json('NaN as text', 'number-not-exact', { total: 'NaN' }),
  json('Infinity as text', 'number-not-exact', { total: '-Infinity' }),
  raw('NaN as a literal', 'unreadable', 'total', 'NaN'),
  raw('1e400', 'number-not-exact', 'total', '1e400'),
  raw('−0.01', 'out-of-range', 'total', '-0.01'),
  raw('a third digit of pence', 'number-not-exact', 'total', '20.001'),
  raw('2^53 + 1 pounds', 'out-of-range', 'total', '9007199254740993'),
  json('a total that is another', 'total-mismatch', { total: '19.99' }),
  json('an amount above the limit', 'out-of-range', { quantity: 1, unitPrice: '10000000000.01', total: '10000000000.01' }),
  json('a currency nobody knows', 'unknown-currency', { currency: 'XYZ' }),
  json('NUL in a name', 'forbidden-character', { productName: 'La\u0000mp' }),
  json('a bidirectional override', 'forbidden-character', { city: 'London\u202e' }),
  json('a lone surrogate', 'forbidden-character', { city: 'Lon\ud800don' }),
  json('a city of 3 KB', 'too-long', { city: 'x'.repeat(3_000) }),
  json('a category of 33 KB', 'too-long', { category: 'é'.repeat(33_000) }),
  json('the 30th of February', 'bad-time', { occurredAt: '2025-02-30T10:00:00Z' }),
  json('a time in words', 'bad-time', { occurredAt: 'yesterday' }),
  json('the year 275760', 'bad-time', { occurredAt: '+275760-09-13T00:00:00Z' }),
  json('the year 9999', 'future-event', { occurredAt: '9999-12-31T23:59:59Z' }),
  text('a prototype for fields', 'missing-field', '{"__proto__":{"eventId":"x"},"constructor":{"total":"1"}}'),
  text('an order without lines', 'missing-field', '{"orderId":"o","lines":[]}'),
  text('an order with one bad line', 'missing-field', JSON.stringify({ ...good, eventId: undefined, lines: [{ ...good, eventId: 'l-1' }, { eventId: 'l-2' }] })),
]
