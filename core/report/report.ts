/**
 * What a report is: the frozen figures of one closed period, each beside the period before and the same period a year before, with a receipt. Types only.
 * A version never changes once it is published; what is known later is the next version, with its restatement.
 */
import type { AcceptedLoss, OffsetsByTopic } from '../receipt.ts'
import type { ReportKind } from './periods.ts'

/** Counts as numbers; money in minor units of the currency, as digits with a sign. Averages are derived where they are shown. */
export type ReportFigures = {
  readonly transactions: number
  readonly orders: number
  readonly refundEvents: number
  readonly unitsSold: number
  readonly unitsRefunded: number
  readonly grossMinor: string
  readonly refundsMinor: string
  readonly netMinor: string
}

/**
 * `product_units` and `product_net` are the ten products with most units sold and with most net revenue; `season` the ten with most units of each season that
 * the period touches, from the season's first day to the earlier of its last day and the period's.
 */
export const reportSections = ['total', 'city', 'category', 'city_category', 'day', 'product_units', 'product_net', 'season'] as const
export type ReportSection = (typeof reportSections)[number]

/** What a line is about; what its section does not name is null. */
export type ReportLineKey = {
  readonly section: ReportSection
  readonly currency: string
  /** `YYYY-MM-DD` */
  readonly day: string | null
  readonly city: string | null
  /** Of a product line a label: the reference's, else the one it sold most in. */
  readonly category: string | null
  /** `2025-spring` */
  readonly season: string | null
  readonly productId: string | null
}

export type ReportLine = ReportLineKey & {
  readonly productName: string | null
  /** From 1, within the section, its season and currency; null where the section has no order of its own. */
  readonly rank: number | null
  readonly now: ReportFigures
  /** The same key in the period before; null where the report has no such period, or the section no comparison (`day`). Zeros where nothing was sold. */
  readonly before: ReportFigures | null
  /** The same key in the same period a year before. */
  readonly yearBefore: ReportFigures | null
}

/** Half-open local days. `hasBooks` is false where the books opened only after it: nothing is compared with it. */
export type ComparedPeriod = { readonly period: string; readonly from: string; readonly to: string; readonly hasBooks: boolean }

export type ReportReceipt = {
  readonly incarnation: string
  readonly batch: number
  readonly epoch: number
  readonly batchPublishedAt: string
  readonly logicVersion: string
  /** What the figures cover: next offsets, exclusive. */
  readonly horizon: OffsetsByTopic
  /** Newest log time covered. */
  readonly asOf: string | null
  /** The batch against the live figures, key by key. */
  readonly crossCheck: { readonly result: string; readonly corrections: number; readonly checkedAt: string | null }
  /** The report against the archive: the period's rows computed once more from the original files by the query engine, compared row by row. */
  readonly archiveCheck: { readonly engine: string; readonly files: number; readonly rowsRead: number; readonly keysCompared: number }
  readonly acceptedLosses: readonly AcceptedLoss[]
}

/**
 * Why a figure is another than was published. Of the last three no event tells: other rules of counting, a batch that a person accepted although nothing
 * explained it, other days of a season.
 */
export const restatementReasons = ['late sale', 'late refund', 'sale', 'refund', 'logic', 'accepted batch', 'seasons'] as const
export type RestatementReason = (typeof restatementReasons)[number]
/** What may lie between two versions that no event explains. */
export type EventlessReason = Extract<RestatementReason, 'logic' | 'accepted batch' | 'seasons'>

export type RestatementCause = {
  readonly reason: RestatementReason
  readonly currency: string
  readonly events: number
  readonly difference: ReportFigures
}

/** A line of `total`, `city`, `category`, `city_category` or `day` that changed. */
export type RestatedLine = ReportLineKey & { readonly asPublished: ReportFigures; readonly asKnownNow: ReportFigures; readonly difference: ReportFigures }

export type RestatementEvent = {
  readonly reason: RestatementReason
  readonly source: string
  readonly eventId: string
  readonly kind: 'sale' | 'refund'
  /** Of the shop's zone. */
  readonly localDay: string
  readonly logTime: string
  readonly partition: number
  readonly offset: number
  readonly index: number
  readonly city: string
  readonly category: string
  readonly productId: string
  readonly quantity: number
  readonly totalMinor: string
  readonly currency: string
}

/** The differences of each section add up to the difference of its total, and the causes to the same, to the minor unit. */
export type Restatement = {
  readonly ofVersion: number
  readonly ofBatch: number
  readonly ofEpoch: number
  readonly publishedAt: string
  readonly causes: readonly RestatementCause[]
  readonly lines: readonly RestatedLine[]
  readonly eventCount: number
  /** The first of them, by position; all stand in the file `restatement` of the version. */
  readonly events: readonly RestatementEvent[]
}

export type Report = {
  readonly kind: ReportKind
  readonly period: string
  readonly version: number
  /** Local days, half-open, `YYYY-MM-DD`. */
  readonly from: string
  readonly to: string
  readonly zone: string
  readonly booksOpenOn: string
  /** Of the table of seasons that the report used, and its calendar's name. */
  readonly seasonsVersion: number
  readonly publishedAt: string
  readonly before: ComparedPeriod
  readonly yearBefore: ComparedPeriod
  readonly lines: readonly ReportLine[]
  readonly receipt: ReportReceipt
  readonly restatement: Restatement | null
}
