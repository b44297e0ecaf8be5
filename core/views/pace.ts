import { localDay, localHour, category, currency } from './dimensions.ts'
import type { View } from './view.ts'

/** The shop's pace by (local day, local hour, category, currency), for the heat map of peak hours. */
export const pace: View = { name: 'pace', grain: [localDay, localHour, category, currency] }
