import type { Piece, RevenueRow } from '../api.ts'
import { formatMoney, formatMonth } from '../format.ts'
import { usePage } from '../page-context.ts'
import { Bars, sharesOf } from './bars.tsx'
import { Card } from './card.tsx'
import { measureColumns } from './measure-columns.ts'
import { sortByNet } from './revenue-by.tsx'

const monthChoices = ['3', '6', '13'] as const
export const monthsDefault = '13'

/** A number of months that the picker offers; anything else in the address is the default. */
export function readMonths(text: string): number {
  return Number(monthChoices.find((choice) => choice === text) ?? monthsDefault)
}

type Props = { readonly piece: Piece<RevenueRow> | null; readonly months: number; readonly onMonths: (months: string) => void }

export function RevenueByMonth({ piece, months, onMonths }: Props) {
  const { today } = usePage()
  const thisMonth = today.slice(0, 7)
  return (
    <Card
      id="months-revenue"
      title="Revenue by month"
      piece={piece}
      empty="No sales in these months."
      takeaway={(rows) => describeBest(rows, thisMonth)}
      twin={(rows) => ({ caption: `Revenue of the last ${months} months`, columns: [{ title: 'Month', kind: 'name', cell: (row) => row.month ?? '', show: (row) => formatMonth(row.month ?? '') }, ...measureColumns], rows })}
      controls={
        <label class="picker">
          <span class="visually-hidden">Months shown</span>
          <select value={String(months)} onChange={(event) => onMonths(event.currentTarget.value)}>
            {monthChoices.map((choice) => (
              <option key={choice} value={choice}>
                {choice} months
              </option>
            ))}
          </select>
        </label>
      }
    >
      {(rows) => {
        const shares = sharesOf(rows.map((row) => BigInt(row.netMinor)))
        return (
          <Bars
            bars={rows.map((row, index) => ({
              key: row.month ?? '',
              label: row.month === thisMonth ? `${formatMonth(row.month)}, so far` : formatMonth(row.month ?? ''),
              value: formatMoney(row.net, row.currency),
              share: shares[index] ?? 0,
              faint: row.month === thisMonth,
            }))}
          />
        )
      }}
    </Card>
  )
}

function describeBest(rows: readonly RevenueRow[], thisMonth: string): string {
  const [best] = sortByNet(rows)
  if (best?.month === undefined) return ''
  const sofar = best.month === thisMonth ? ', though it is not over' : ''
  return `${formatMonth(best.month)} was the strongest month${sofar}: ${formatMoney(best.net, best.currency)} net.`
}
