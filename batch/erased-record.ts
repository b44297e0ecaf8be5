/** Records without a person, and a record whose bytes were erased as its columns say it: for readers that know records by their bytes alone. */
import { formatDay } from '#core/calendar.ts'
import { currencyExponent, formatMinor } from '#core/money.ts'
import { usersNamed } from '#core/names-user.ts'
import type { LogRecord } from '#core/ports.ts'
import { hashOfUser } from '#store/erasures.ts'
import type { ArchiveRow } from './archive-columns.ts'
import { columnAt } from './archive-columns.ts'
import type { RecordRows } from './file-rows.ts'

const at = {
  reason: columnAt('reason'),
  kind: columnAt('kind'),
  eventId: columnAt('event_id'),
  city: columnAt('city'),
  userId: columnAt('user_id'),
  headers: columnAt('headers'),
  bytes: columnAt('bytes'),
} as const

/** The record without its bytes and without these persons. Its other events keep their own users. */
export function blankRecord(rows: readonly ArchiveRow[], isErased: (userId: string) => boolean): ArchiveRow[] {
  return rows.map((row) => {
    const bare = row.with(at.headers, null).with(at.bytes, null)
    const userId = row[at.userId]
    if (typeof userId !== 'string' || !isErased(userId)) return bare
    // A record of the topic of users is the person: their id is its event's.
    return row[at.kind] === 'user' ? bare.with(at.userId, null).with(at.eventId, 'erased').with(at.city, null) : bare.with(at.userId, null)
  })
}

/** What the log says again of a record, without whoever was erased, by the hashes of their ids. */
export function withoutErased(rows: readonly ArchiveRow[], hashes: ReadonlySet<string>): readonly ArchiveRow[] {
  if (hashes.size === 0) return rows
  const isErased = (userId: string): boolean => hashes.has(hashOfUser(userId))
  const users = rows.flatMap((row) => (row[at.reason] === null ? [row[at.userId] as string | null] : [...usersNamed(row[at.bytes] as Uint8Array)]))
  return users.some((userId) => userId !== null && isErased(userId)) ? blankRecord(rows, isErased) : rows
}

/** An erased record as the log could have had it: the events of its columns, of a user who is not named. One that was refused stays so, being empty. */
export function standInFor(rows: RecordRows): LogRecord {
  const [first] = rows
  const kind = first[columnAt('kind')]
  const value = kind === 'sale' || kind === 'refund' ? Buffer.from(JSON.stringify({ lines: rows.map(eventOfErased) })) : new Uint8Array(0)
  return { offset: first[columnAt('log_offset')] as number, logTimeMs: first[columnAt('log_time')] as number, value, headers: null }
}

function eventOfErased(row: ArchiveRow): Record<string, unknown> {
  const value = (name: string): ArchiveRow[number] => row[columnAt(name)] ?? null
  const exponent = currencyExponent(value('currency') as string) ?? 0
  const amount = (name: string): string | null => (value(name) === null ? null : formatMinor(BigInt(value(name) as number), exponent))
  const saleDay = value('sale_day')
  return {
    eventId: value('event_id'),
    source: value('source'),
    kind: value('kind'),
    orderId: value('order_id'),
    orderLine: value('order_line'),
    userId: value('user_id') ?? 'erased',
    productId: value('product_id'),
    productName: value('product_name'),
    category: value('category'),
    brand: value('brand'),
    city: value('city'),
    quantity: value('quantity'),
    unitPrice: amount('unit_price_minor'),
    discount: amount('discount_minor'),
    tax: amount('tax_minor'),
    shipping: amount('shipping_minor'),
    total: amount('total_minor'),
    currency: value('currency'),
    occurredAt: new Date(value('event_time') as number).toISOString(),
    refundOf: value('refund_of'),
    saleDay: saleDay === null ? null : formatDay(saleDay as number),
  }
}
