/**
 * The measures of every view: additive integers, the same everywhere. Averages and nets are derived at the answer and never stored, since
 * they do not add up.
 */
import type { ShopEvent } from '../events.ts'

export const measures = ['transactions', 'orders', 'refund_events', 'units_sold', 'units_refunded', 'gross_minor', 'refunds_minor'] as const
export type Measure = (typeof measures)[number]

/** Sums of measures: counts fit a number, money may not. */
export type Measured = {
  transactions: number
  orders: number
  refundEvents: number
  unitsSold: number
  unitsRefunded: number
  grossMinor: bigint
  refundsMinor: bigint
}

/** What one event adds. A refund is a positive figure of its own and never lowers gross. */
export function measure(event: ShopEvent): Measured {
  const sale = event.kind === 'sale'
  return {
    transactions: sale ? 1 : 0,
    orders: sale && event.orderLine === 1 ? 1 : 0,
    refundEvents: sale ? 0 : 1,
    unitsSold: sale ? event.quantity : 0,
    unitsRefunded: sale ? 0 : event.quantity,
    grossMinor: sale ? BigInt(event.totalMinor) : 0n,
    refundsMinor: sale ? 0n : BigInt(event.totalMinor),
  }
}
