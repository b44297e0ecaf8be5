/** Sums of report figures. Pure; counts are safe integers, money is exact. */
import type { ReportFigures } from './report.ts'

export const noFigures: ReportFigures = { transactions: 0, orders: 0, refundEvents: 0, unitsSold: 0, unitsRefunded: 0, grossMinor: '0', refundsMinor: '0', netMinor: '0' }

export function addFigures(a: ReportFigures, b: ReportFigures): ReportFigures {
  return combine(a, b, 1)
}

/** What `a` has more than `b`; may be negative. */
export function subtractFigures(a: ReportFigures, b: ReportFigures): ReportFigures {
  return combine(a, b, -1)
}

export function isNothing(figures: ReportFigures): boolean {
  return Object.values(figures).every((value) => Number(value) === 0)
}

export function isSameFigures(a: ReportFigures, b: ReportFigures): boolean {
  return isNothing(subtractFigures(a, b))
}

/** Of one event: a refund is a positive figure of its own and never lowers gross. */
export function figuresOfEvent(event: { readonly kind: 'sale' | 'refund'; readonly firstLine: boolean; readonly quantity: number; readonly totalMinor: string }): ReportFigures {
  const sale = event.kind === 'sale'
  return {
    transactions: sale ? 1 : 0,
    orders: sale && event.firstLine ? 1 : 0,
    refundEvents: sale ? 0 : 1,
    unitsSold: sale ? event.quantity : 0,
    unitsRefunded: sale ? 0 : event.quantity,
    grossMinor: sale ? event.totalMinor : '0',
    refundsMinor: sale ? '0' : event.totalMinor,
    netMinor: sale ? event.totalMinor : String(-BigInt(event.totalMinor)),
  }
}

function combine(a: ReportFigures, b: ReportFigures, sign: 1 | -1): ReportFigures {
  const money = (x: string, y: string): string => String(BigInt(x) + BigInt(sign) * BigInt(y))
  return {
    transactions: a.transactions + sign * b.transactions,
    orders: a.orders + sign * b.orders,
    refundEvents: a.refundEvents + sign * b.refundEvents,
    unitsSold: a.unitsSold + sign * b.unitsSold,
    unitsRefunded: a.unitsRefunded + sign * b.unitsRefunded,
    grossMinor: money(a.grossMinor, b.grossMinor),
    refundsMinor: money(a.refundsMinor, b.refundsMinor),
    netMinor: money(a.netMinor, b.netMinor),
  }
}
