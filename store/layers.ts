/** Where the two layers meet, in SQL: which batch rows are published, and which rows lie above their horizon. All read in the answer's own snapshot. */
import type { View } from '#core/views/view.ts'

/** SQL dates, half-open: first days of months. */
export type MonthBounds = { readonly from: string; readonly to: string }

/** The published batch's parts of a view that hold these months; alias p. */
export function batchParts(view: View, months: MonthBounds): string {
  return `p.batch = (SELECT batch FROM publish_pointer) AND p.view = '${view.name}' AND p.month >= ${months.from} AND p.month < ${months.to}`
}

/** Live and correction rows that the published batch does not cover; alias c. */
export const aboveHorizon = 'c.epoch > (SELECT epoch FROM publish_pointer)'
