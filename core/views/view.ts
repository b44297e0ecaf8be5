/**
 * A view is declared once: its name, its grain, and the measures, which all views share. The speed layer's fold, the live, batch and
 * correction tables and the SQL that merges them follow from the declaration; the batch layer's SELECT is one file, `batch/sql/<name>.sql`,
 * held to the same declaration by a law test.
 */
import type { ShopEvent } from '../events.ts'

export type TextDimension = 'city' | 'category' | 'currency' | 'product_id'
export type NumberDimension = 'local_day' | 'local_month' | 'local_hour'
export type DimensionName = TextDimension | NumberDimension

/** `slot` is the dimension's place among the codes that the fold makes of an event, once for all views. */
export type Dimension =
  | { readonly name: TextDimension; readonly kind: 'text'; readonly slot: number; of(event: ShopEvent): string }
  /** Days are days since 1970-01-01; a month is its first day; an hour is 0 to 23. */
  | { readonly name: NumberDimension; readonly kind: 'day' | 'hour'; readonly slot: number; of(event: ShopEvent): number }

export type View = {
  /** Also the name of its tables: `live_<name>`, `batch_<name>`, `correction_<name>`. */
  readonly name: 'revenue' | 'product_sales' | 'product_city_sales' | 'pace'
  /** One row per combination of these four. The first is the period, by whose month the batch layer versions rows. */
  readonly grain: readonly [Dimension, Dimension, Dimension, Dimension]
}
