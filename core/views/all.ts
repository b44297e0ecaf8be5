/** Every view. */
import { pace } from './pace.ts'
import { productCitySales } from './product-city-sales.ts'
import { productSales } from './product-sales.ts'
import { revenue } from './revenue.ts'
import type { View } from './view.ts'

export const views: readonly View[] = [revenue, productSales, productCitySales, pace]
