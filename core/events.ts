/** What an event is, where it stands, and why one is refused. Shapes only. */

export type EventKind = 'sale' | 'refund'

/**
 * An immutable business fact: one order line sold, or one refund line. Amounts are integers in minor units of `currency`, at most 10^12,
 * so a plain number holds each exactly; sums of them do not fit a number and are bigint everywhere.
 */
export type ShopEvent = {
  /** The id's name space: the topic, unless the event or an import names another. */
  readonly source: string
  readonly eventId: string
  readonly kind: EventKind
  readonly orderId: string
  /** 1 is the line that counts the order. */
  readonly orderLine: number
  readonly userId: string
  readonly productId: string
  readonly productName: string
  readonly category: string
  readonly brand: string | null
  readonly city: string
  readonly quantity: number
  /** null for a refund that names no price. */
  readonly unitPriceMinor: number | null
  readonly discountMinor: number
  readonly taxMinor: number
  readonly shippingMinor: number
  /** Sale: quantity × price − discount. Refund: what was paid back, positive. */
  readonly totalMinor: number
  readonly currency: string
  /** UTC epoch milliseconds. */
  readonly eventTimeMs: number
  /** The shop's local day, in days since 1970-01-01 (may be negative). */
  readonly localDay: number
  /** 0 to 23, in the shop's zone. */
  readonly localHour: number
  readonly refundOf: string | null
  /** Local day of the refunded sale, in days since 1970-01-01. */
  readonly saleDay: number | null
  /** Its local day had ended more than an hour before its log time. */
  readonly late: boolean
}

/** Named reasons for refusal; each is a place in the dead-letter table. */
export const refusalReasons = [
  'unreadable', // neither a CSV line nor JSON in valid UTF-8, or keys given twice, or nested too deep
  'missing-field',
  'mistyped-field',
  'forbidden-character', // control, bidirectional override, lone surrogate
  'too-long', // a text field above its bound
  'number-not-exact', // not finite, or more digits than the currency has
  'out-of-range', // quantity or amount outside its bounds
  'total-mismatch', // total ≠ quantity × price − discount
  'unknown-currency',
  'bad-time',
  'future-event', // dated more than 24 hours after its log time
  'too-large', // a record above 1 MiB
] as const
export type RefusalReason = (typeof refusalReasons)[number]

/** Why a record or an event is a dead letter. A conflict is decided by the ledger, not by decoding. */
export type DeadLetterReason = RefusalReason | 'conflict'

export type Refusal = { readonly reason: RefusalReason; readonly detail: string }

/** All events of a record, or the reason why none of them counts. */
export type Decoded = { readonly events: readonly ShopEvent[] } | { readonly refusal: Refusal }

/** What decoding depends on besides bytes and log time. Part of the logic version. */
export type ShopSettings = {
  /** IANA zone of the shop's local days, for example `Europe/London`. */
  readonly zone: string
  /** ISO 4217; the currency of the CSV line, and of JSON events that name none. */
  readonly currency: string
}

/** Where an event stands. First = smallest by (epoch, partition, offset, index). */
export type Position = {
  readonly epoch: number
  readonly partition: number
  readonly offset: number
  /** Position in its record, from 0. */
  readonly index: number
}

/** Negative, zero or positive as `a` stands before, at or after `b`. */
export function comparePositions(a: Position, b: Position): number {
  return a.epoch - b.epoch || a.partition - b.partition || a.offset - b.offset || a.index - b.index
}
