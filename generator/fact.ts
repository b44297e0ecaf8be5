/** What the generator means, before any bytes: one fact per event, and what a record stands for once it is written. Shapes only. */
import type { LogAppend } from '#core/ports.ts'

/** Amounts in minor units, at most 10^12 each; absent parts of the JSON form are null. */
export type Fact = {
  readonly eventId: string
  readonly kind: 'sale' | 'refund'
  readonly orderId: string
  readonly orderLine: number
  readonly userId: string
  readonly productId: string
  readonly productName: string
  readonly category: string
  readonly brand: string | null
  readonly city: string
  readonly quantity: number
  readonly unitPriceMinor: number
  readonly discountMinor: number | null
  readonly taxMinor: number | null
  readonly shippingMinor: number | null
  readonly totalMinor: number
  readonly currency: string
  /** Digits after the point in this currency. */
  readonly exponent: number
  /** UTC ms. */
  readonly eventMs: number
  /** Wall time as the epoch ms it would have in UTC: what a CSV line says, also where that time does not exist. */
  readonly wallMs: number
  /** Local day, days since 1970-01-01. */
  readonly day: number
  readonly dayText: string
  readonly source: string | null
  readonly refundOf: string | null
  readonly saleDayText: string | null
}

/** Words of core's decoder for a refused record. */
export type RefusalWord =
  | 'unreadable'
  | 'missing-field'
  | 'mistyped-field'
  | 'forbidden-character'
  | 'too-long'
  | 'number-not-exact'
  | 'out-of-range'
  | 'total-mismatch'
  | 'unknown-currency'
  | 'bad-time'
  | 'future-event'
  | 'too-large'

/** What must become of one event of a record, or of a whole refused record. */
export type Meaning =
  | { readonly is: 'event'; readonly fact: Fact; readonly late: boolean }
  | { readonly is: 'copy' }
  | { readonly is: 'conflict' }
  | { readonly is: 'refused'; readonly reason: RefusalWord; /** The kind of rubbish, for messages. */ readonly rubbish: string }

export type GeneratedRecord = {
  readonly topic: 'transactions'
  readonly append: LogAppend
  /** One per event of the record, in order; `Truth.add` takes it once the record is in the log. */
  readonly means: readonly Meaning[]
}
