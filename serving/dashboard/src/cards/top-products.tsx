import type { Piece, ProductRow } from '../api.ts'
import { formatCount, formatMoney, isolateName } from '../format.ts'
import { Bars } from './bars.tsx'
import { Card } from './card.tsx'
import { measureColumns } from './measure-columns.ts'

export type TopPeriod = 'day' | 'month' | 'season'

const titles: Readonly<Record<TopPeriod, string>> = { day: 'Top 5 today', month: 'Top 5 this month', season: 'Top 5 this season' }
const periods: Readonly<Record<TopPeriod, string>> = { day: 'today', month: 'this month', season: 'this season' }

/** Ranked by units sold, in the API's order: it knows how ties are broken. */
export function TopProducts({ period, piece }: { readonly period: TopPeriod; readonly piece: Piece<ProductRow> }) {
  return (
    <Card
      id={`top-${period}`}
      title={titles[period]}
      piece={piece}
      empty={`No sales yet ${periods[period]}.`}
      takeaway={(rows) => describeFirst(rows, period)}
      twin={(rows) => ({
        caption: `Products sold most ${periods[period]}, by units`,
        columns: [
          { title: 'Rank', kind: 'number', cell: (row) => String(row.rank) },
          { title: 'Product', kind: 'name', cell: (row) => row.productName },
          { title: 'Product id', kind: 'name', cell: (row) => row.productId },
          ...measureColumns,
        ],
        rows,
      })}
    >
      {(rows) => (
        <Bars
          ranked
          bars={rows.map((row) => ({
            key: row.productId,
            label: row.productName,
            value: `${formatCount(row.unitsSold)} ${row.unitsSold === 1 ? 'unit' : 'units'}`,
            detail: formatMoney(row.net, row.currency),
            share: row.unitsSold / Math.max(1, ...rows.map((each) => each.unitsSold)),
          }))}
        />
      )}
    </Card>
  )
}

function describeFirst(rows: readonly ProductRow[], period: TopPeriod): string {
  const [first] = rows
  if (first === undefined) return ''
  return `${isolateName(first.productName)} sold most ${periods[period]}: ${formatCount(first.unitsSold)} ${first.unitsSold === 1 ? 'unit' : 'units'} for ${formatMoney(first.net, first.currency)} net.`
}
