/** The dimensions that grains are made of. */
import { monthStart } from '../calendar.ts'
import type { Dimension } from './view.ts'

const monthStarts = new Map<number, number>()

/** First day of the day's month; remembered, since a shop's events name few days. */
function monthOf(day: number): number {
  let start = monthStarts.get(day)
  if (start === undefined) {
    if (monthStarts.size > 100_000) monthStarts.clear()
    start = monthStart(day)
    monthStarts.set(day, start)
  }
  return start
}

export const localDay: Dimension = { name: 'local_day', kind: 'day', slot: 0, of: (event) => event.localDay }
export const localMonth: Dimension = { name: 'local_month', kind: 'day', slot: 1, of: (event) => monthOf(event.localDay) }
export const localHour: Dimension = { name: 'local_hour', kind: 'hour', slot: 2, of: (event) => event.localHour }
export const city: Dimension = { name: 'city', kind: 'text', slot: 3, of: (event) => event.city }
export const category: Dimension = { name: 'category', kind: 'text', slot: 4, of: (event) => event.category }
export const currency: Dimension = { name: 'currency', kind: 'text', slot: 5, of: (event) => event.currency }
export const productId: Dimension = { name: 'product_id', kind: 'text', slot: 6, of: (event) => event.productId }

/** By slot. */
export const dimensions: readonly Dimension[] = [localDay, localMonth, localHour, city, category, currency, productId]
