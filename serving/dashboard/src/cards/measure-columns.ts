import type { Measures } from '../api.ts'
import { formatCount, formatMoney } from '../format.ts'
import type { Column } from './table-twin.tsx'

/** Every measure of a row, as each table and CSV ends. */
export const measureColumns: readonly Column<Measures>[] = [
  { title: 'Net', kind: 'number', cell: (row) => row.net, show: (row) => formatMoney(row.net, row.currency) },
  { title: 'Gross', kind: 'number', cell: (row) => row.gross, show: (row) => formatMoney(row.gross, row.currency) },
  { title: 'Refunds', kind: 'number', cell: (row) => row.refunds, show: (row) => formatMoney(row.refunds, row.currency) },
  { title: 'Currency', kind: 'name', cell: (row) => row.currency },
  { title: 'Transactions', kind: 'number', cell: (row) => String(row.transactions), show: (row) => formatCount(row.transactions) },
  { title: 'Orders', kind: 'number', cell: (row) => String(row.orders), show: (row) => formatCount(row.orders) },
  { title: 'Refund events', kind: 'number', cell: (row) => String(row.refundEvents), show: (row) => formatCount(row.refundEvents) },
  { title: 'Units sold', kind: 'number', cell: (row) => String(row.unitsSold), show: (row) => formatCount(row.unitsSold) },
  { title: 'Units refunded', kind: 'number', cell: (row) => String(row.unitsRefunded), show: (row) => formatCount(row.unitsRefunded) },
]
