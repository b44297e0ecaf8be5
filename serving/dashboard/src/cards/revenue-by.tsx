import type { Piece, RevenueRow } from '../api.ts'
import { formatCount, formatMinorMoney, formatMoney, formatShare, isolateName } from '../format.ts'
import { Bars, sharesOf, type Bar } from './bars.tsx'
import { Card } from './card.tsx'
import { measureColumns } from './measure-columns.ts'

/** Bars shown; the rest is one bar, and every row stands in the table. */
const barsMax = 8

type Dimension = 'city' | 'category'
const plurals: Readonly<Record<Dimension, string>> = { city: 'cities', category: 'categories' }
const titles: Readonly<Record<Dimension, string>> = { city: 'City', category: 'Category' }

export function RevenueBy({ by, piece }: { readonly by: Dimension; readonly piece: Piece<RevenueRow> }) {
  return (
    <Card
      id={plurals[by]}
      title={`Revenue today by ${by}`}
      piece={piece}
      empty="No sales yet today."
      takeaway={(rows) => describeLeader(rows, by)}
      twin={(rows) => ({
        caption: `Revenue today by ${by}`,
        columns: [{ title: titles[by], kind: 'name', cell: (row) => row[by] ?? '' }, ...measureColumns],
        rows: sortByNet(rows),
      })}
    >
      {(rows) => <Bars bars={makeBars(sortByNet(rows), by)} />}
    </Card>
  )
}

export function sortByNet(rows: readonly RevenueRow[]): RevenueRow[] {
  return rows.toSorted((a, b) => Number(BigInt(b.netMinor) > BigInt(a.netMinor)) - Number(BigInt(b.netMinor) < BigInt(a.netMinor)))
}

export function sumNet(rows: readonly RevenueRow[]): bigint {
  return rows.reduce((sum, row) => sum + BigInt(row.netMinor), 0n)
}

function describeLeader(rows: readonly RevenueRow[], by: Dimension): string {
  const [leader] = sortByNet(rows)
  if (leader === undefined) return ''
  const share = formatShare(BigInt(leader.netMinor), sumNet(rows))
  const count = rows.length === 1 ? `the only ${by} so far` : `the first of ${formatCount(rows.length)} ${plurals[by]}`
  return `${isolateName(leader[by] ?? '')} made ${formatMoney(leader.net, leader.currency)}${share === '' ? '' : `, ${share} of today’s net revenue`}: ${count}.`
}

function makeBars(sorted: readonly RevenueRow[], by: Dimension): Bar[] {
  // One row too many needs no bar for "others": that would take the same place.
  const shown = sorted.length <= barsMax + 1 ? sorted : sorted.slice(0, barsMax)
  const others = sorted.slice(shown.length)
  const othersNet = sumNet(others)
  const shares = sharesOf([...shown.map((row) => BigInt(row.netMinor)), ...(others.length === 0 ? [] : [othersNet])])
  const bars: Bar[] = shown.map((row, index) => ({ key: row[by] ?? '', label: row[by] ?? '', value: formatMoney(row.net, row.currency), share: shares[index] ?? 0 }))
  const currency = shown[0]?.currency
  if (others.length > 0 && currency !== undefined) {
    bars.push({ key: '\0others', label: `${others.length} other ${plurals[by]}`, value: formatMinorMoney(othersNet, currency), share: shares.at(-1) ?? 0, faint: true })
  }
  return bars
}
