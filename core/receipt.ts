/** The shapes of answers: rows of figures as they go out, and the receipt that comes with each. Types only. */

/** Digits as text: sums do not fit a number. The decimal text stands beside the minor units. */
export type Figures = {
  readonly currency: string
  readonly transactions: number
  readonly orders: number
  readonly refundEvents: number
  readonly unitsSold: number
  readonly unitsRefunded: number
  readonly grossMinor: string
  readonly refundsMinor: string
  /** Gross − refunds; may be negative. */
  readonly netMinor: string
  readonly gross: string
  readonly refunds: string
  readonly net: string
}

export const revenueKeys = ['day', 'month', 'season', 'year', 'city', 'category'] as const
export type RevenueKey = (typeof revenueKeys)[number]
export type RevenueRow = { readonly [key in RevenueKey]?: string } & Figures

export type ProductRow = { readonly rank: number; readonly productId: string; readonly productName: string } & Figures

/** Weekday 1 is Monday; hour 0 to 23, in the shop's zone. */
export type PaceRow = { readonly weekday: number; readonly hour: number } & Figures

export type MinuteRow = {
  readonly minute: string
  readonly currency: string
  readonly transactions: number
  readonly grossMinor: string
  readonly refundsMinor: string
  readonly gross: string
  readonly refunds: string
}

/** Topic → partition → next offset (exclusive). */
export type OffsetsByTopic = Readonly<Record<string, Readonly<Record<string, number>>>>

/** How much of this answer's rows came from one layer; events are transactions and refund events. */
export type LayerShare = { readonly events: number; readonly netMinorByCurrency: Readonly<Record<string, string>> }

export type MissingRange = { readonly topic: string; readonly partition: number; readonly from: number; readonly to: number | null; readonly reason: string }

/** A range of the log that is gone and that a person gave up. */
export type AcceptedLoss = {
  readonly topic: string
  readonly partition: number
  readonly from: number
  readonly to: number
  readonly what: 'gap' | 'rebuilt' | 'damaged'
  /** How many of its events the speed layer had counted: the next batch takes them out of the figures. */
  readonly eventsCounted: number
  readonly acceptedAt: string
  /** By currency what was taken out, once it was, in digits; money in minor units. Losses that one batch took out carry their sum. */
  readonly takenOut: Readonly<Record<string, Readonly<Record<string, string>>>> | null
}

export type Receipt = {
  readonly incarnation: string
  readonly batch: { readonly id: number; readonly publishedAt: string | null }
  /** What the batch view covers. */
  readonly horizon: OffsetsByTopic
  /** What the answer covers. */
  readonly position: OffsetsByTopic
  /** Newest log time covered. */
  readonly asOf: string | null
  readonly fromBatch: LayerShare
  readonly fromSpeed: LayerShare
  readonly deduplication: { readonly windowIds: number; readonly scope: string }
  /** Of the whole store since its beginning up to the position, not of this answer's rows. Null as of a batch of which that is not known. */
  readonly lateEvents: number | null
  readonly refusedEvents: number | null
  readonly copies: number | null
  readonly conflicts: number | null
  readonly crossCheck: { readonly batch: number; readonly result: string; readonly corrections: number; readonly checkedAt: string | null }
  readonly complete: boolean
  readonly missing: readonly MissingRange[]
  readonly acceptedLosses: readonly AcceptedLoss[]
  /** The batch alone whose rows these are, as they were published; absent from answers of both layers. The position is its horizon. */
  readonly asOfBatch?: number
}

export type Answer<Row> = {
  readonly rows: readonly Row[]
  readonly receipt: Receipt
  /** Changes whenever anything in the answer may have changed; equal versions of one request are equal answers. */
  readonly version: string
  /** How often the publish pointer has moved: it rises with every publication and roll-back. */
  readonly moves: number
}
