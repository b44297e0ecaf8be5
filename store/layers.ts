/** Where the two layers meet, in SQL: which batch rows an answer reads, and which rows lie above their horizon. All read in the answer's own snapshot. */
import type { View } from '#core/views/view.ts'
import type { AsOf } from './as-of.ts'
import { movedBy, timeText } from './as-of.ts'

/** SQL dates, half-open: first days of months. */
export type MonthBounds = { readonly from: string; readonly to: string }

/** The batch that an answer reads, as SQL; `asOf` where that is one of the past, and what lies above its horizon is not added. */
export type Basis = { readonly batch: string; readonly asOf: AsOf | null }

export const publishedBasis: Basis = { batch: '(SELECT batch FROM publish_pointer)', asOf: null }

/** `add` binds a value of the answer's statement. */
export function basisOf(asOf: AsOf | undefined, add: (value: unknown, type: string) => string): Basis {
  if (asOf === undefined) return publishedBasis
  if ('batch' in asOf) return { batch: add(asOf.batch, 'bigint'), asOf }
  const time = add(timeText(asOf.timeMs), 'timestamptz')
  return { batch: `(SELECT batch FROM pointer_moves WHERE ${movedBy(time)} AND ${time} <= clock_timestamp() ORDER BY moves DESC LIMIT 1)`, asOf }
}

/** The batch's parts of a view that hold these months; alias p. */
export function batchParts(view: View, months: MonthBounds, basis: Basis): string {
  return `p.batch = ${basis.batch} AND p.view = '${view.name}' AND p.month >= ${months.from} AND p.month < ${months.to}`
}

/** Live and correction rows that the published batch does not cover; alias c. */
export const aboveHorizon = 'c.epoch > (SELECT epoch FROM publish_pointer)'
