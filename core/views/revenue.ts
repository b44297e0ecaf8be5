import { localDay, city, category, currency } from './dimensions.ts'
import type { View } from './view.ts'

/** Revenue by (local day, city, category, currency). */
export const revenue: View = { name: 'revenue', grain: [localDay, city, category, currency] }
