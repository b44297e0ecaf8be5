/** The figures that a report compares, in the order in which they are read. */
import type { ReportFigures } from '#core/report/report.ts'
import { averageMinor, countText, moneyText, signedCountText, signedMoneyText } from '#core/report/words.ts'

export type Measure = {
  readonly label: string
  readonly isMoney: boolean
  /** Where more of it is worse: refunds. */
  readonly isCost?: true
  readonly of: (figures: ReportFigures) => bigint | null
}

export const net: Measure = { label: 'Net revenue', isMoney: true, of: ({ netMinor }) => BigInt(netMinor) }
export const units: Measure = { label: 'Units sold', isMoney: false, of: ({ unitsSold }) => BigInt(unitsSold) }

/** Of the page's head. */
export const mainMeasures: readonly Measure[] = [
  net,
  { label: 'Gross revenue', isMoney: true, of: ({ grossMinor }) => BigInt(grossMinor) },
  { label: 'Refunds', isMoney: true, isCost: true, of: ({ refundsMinor }) => BigInt(refundsMinor) },
  { label: 'Transactions', isMoney: false, of: ({ transactions }) => BigInt(transactions) },
  units,
  { label: 'Average per transaction', isMoney: true, of: averageMinor },
]

/** Of the table behind them. */
export const allMeasures: readonly Measure[] = [
  ...mainMeasures,
  { label: 'Orders', isMoney: false, of: ({ orders }) => BigInt(orders) },
  { label: 'Units refunded', isMoney: false, isCost: true, of: ({ unitsRefunded }) => BigInt(unitsRefunded) },
  { label: 'Refund events', isMoney: false, isCost: true, of: ({ refundEvents }) => BigInt(refundEvents) },
]

export function valueText({ isMoney }: Measure, value: bigint, currency: string): string {
  return isMoney ? moneyText(value, currency) : countText(value)
}

export function signedText({ isMoney }: Measure, value: bigint, currency: string): string {
  return isMoney ? signedMoneyText(value, currency) : signedCountText(value)
}

/** How a change reads at a glance; the sign beside it says the same without colour. */
export function toneOf({ isCost }: Measure, difference: bigint): 'up' | 'down' | 'same' {
  if (difference === 0n) return 'same'
  return difference > 0n === (isCost !== true) ? 'up' : 'down'
}

export function arrowOf(difference: bigint): string {
  return difference > 0n ? '▲' : difference < 0n ? '▼' : '='
}
