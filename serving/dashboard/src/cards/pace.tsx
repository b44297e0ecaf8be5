import type { PaceRow, Piece } from '../api.ts'
import { formatCount, formatMoney } from '../format.ts'
import { usePage } from '../page-context.ts'
import { Card } from './card.tsx'

export const paceWeeks = 4
const weekdays = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'] as const
const hours = Array.from({ length: 24 }, (_, hour) => hour)
/** Of the drawing's height and width, in percent: it is stretched to its card. */
const rowHeight = 100 / weekdays.length
const cellHeight = rowHeight * 0.88
const cellWidth = (100 / hours.length) * 0.86
/** Steps of colour; the height of the bar in the cell says the same without it. */
const steps = 5

export function Pace({ piece }: { readonly piece: Piece<PaceRow> | null }) {
  return (
    <Card
      id="pace"
      title="Peak hours"
      piece={piece}
      empty={`No sales in the last ${paceWeeks} weeks.`}
      takeaway={describePeak}
      twin={(rows) => ({
        caption: `Transactions by weekday and hour, last ${paceWeeks} weeks`,
        columns: [
          { title: 'Weekday', kind: 'name', cell: (row) => nameWeekday(row) },
          { title: 'Hour', kind: 'name', cell: (row) => nameHour(row.hour) },
          { title: 'Transactions', kind: 'number', cell: (row) => String(row.transactions), show: (row) => formatCount(row.transactions) },
          { title: 'Net', kind: 'number', cell: (row) => row.net, show: (row) => formatMoney(row.net, row.currency) },
          { title: 'Currency', kind: 'name', cell: (row) => row.currency },
        ],
        rows: rows.toSorted((a, b) => a.weekday - b.weekday || a.hour - b.hour),
      })}
    >
      {(rows) => <HeatMap rows={rows} />}
    </Card>
  )
}

function HeatMap({ rows }: { readonly rows: readonly PaceRow[] }) {
  const { zone } = usePage()
  const counts = new Map(rows.map((row) => [`${row.weekday} ${row.hour}`, row.transactions]))
  const most = Math.max(1, ...counts.values())
  return (
    <>
      <div class="heat" aria-hidden="true">
        <div class="heat-days">
          {weekdays.map((weekday) => (
            <span key={weekday}>{weekday.slice(0, 3)}</span>
          ))}
        </div>
        <svg class="heat-cells" focusable="false">
          {weekdays.map((weekday, day) =>
            hours.map((hour) => {
              const count = counts.get(`${day + 1} ${hour}`) ?? 0
              const height = (count / most) * cellHeight
              const x = percent((hour / hours.length) * 100)
              return (
                <g key={`${weekday} ${hour}`}>
                  <title>{`${weekday} ${nameHour(hour)}: ${formatCount(count)}`}</title>
                  <rect class="heat-rail" x={x} y={percent(day * rowHeight)} width={percent(cellWidth)} height={percent(cellHeight)} rx="2" />
                  <rect class={`heat-fill heat-${Math.ceil((count / most) * steps)}`} x={x} y={percent(day * rowHeight + cellHeight - height)} width={percent(cellWidth)} height={percent(height)} rx="2" />
                </g>
              )
            }),
          )}
        </svg>
        <div class="heat-hours">
          {[0, 6, 12, 18].map((hour) => (
            <span key={hour}>{nameHour(hour)}</span>
          ))}
        </div>
      </div>
      <figcaption>
        Transactions of the last {paceWeeks} whole weeks, each cell filled to its share of the busiest hour. Hours of {zone}.
      </figcaption>
    </>
  )
}

function percent(part: number): string {
  return `${part.toFixed(3)}%`
}

function nameWeekday(row: PaceRow): string {
  return weekdays[row.weekday - 1] ?? String(row.weekday)
}

function nameHour(hour: number): string {
  return `${String(hour).padStart(2, '0')}:00`
}

function describePeak(rows: readonly PaceRow[]): string {
  const peak = rows.reduce((best, row) => (row.transactions > best.transactions ? row : best))
  return `${nameWeekday(peak)}s from ${nameHour(peak.hour)} to ${nameHour((peak.hour + 1) % 24)} are busiest: ${formatCount(peak.transactions)} transactions in ${paceWeeks} weeks.`
}
