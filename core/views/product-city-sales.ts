import { localMonth, productId, city, currency } from './dimensions.ts'
import type { View } from './view.ts'

/** What each product sold by (local month, product, city, currency): by the day it would hold as many rows as there are events. */
export const productCitySales: View = { name: 'product_city_sales', grain: [localMonth, productId, city, currency] }
