import { localDay, productId, category, currency } from './dimensions.ts'
import type { View } from './view.ts'

/** What each product sold by (local day, product, category, currency); every top list without a city comes from its full sums. */
export const productSales: View = { name: 'product_sales', grain: [localDay, productId, category, currency] }
