import type { Piece, ReportRow } from '../api.ts'
import { decimalOf, formatChange, formatMinorMoney, formatMoney, formatPercentChange, formatReportPeriod } from '../format.ts'
import { usePage } from '../page-context.ts'
import { Card } from './card.tsx'
import { PeriodHead, linesOfPiece, periodColumns, type PeriodLine } from './period-lines.tsx'

/** How many of each kind are shown, and what they are called. */
const kinds = [
  { kind: 'monthly', title: 'Months', shown: 6, before: 'month' },
  { kind: 'quarterly', title: 'Quarters', shown: 3, before: 'quarter' },
  { kind: 'seasonal', title: 'Seasons', shown: 3, before: 'season' },
  { kind: 'yearly', title: 'Years', shown: 3, before: 'year' },
] as const
export const reportsPath = '/v1/reports?limit=40'

type Line = PeriodLine & {
  readonly net: string
  /** Null where there is nothing to compare with. */
  readonly changeMinor: string | null
  readonly beforeMinor: string | null
  readonly yearChangeMinor: string | null
}

/** The newest frozen reports of each kind: what each period came to, how that moved, and the report itself. */
export function Reports({ piece }: { readonly piece: Piece<ReportRow> | null }) {
  const { currency } = usePage()
  return (
    <Card
      id="reports"
      title="Frozen reports"
      wide
      piece={linesOfPiece(piece, (report) => linesOf(report, currency))}
      empty="No report yet: a month, quarter, season or year gets one once it is closed."
      takeaway={describeNewest}
      twin={(rows) => ({
        caption: 'Frozen reports, in their newest version',
        columns: [
          ...periodColumns,
          { title: 'Net', kind: 'number', cell: (row) => row.net, show: (row) => formatMoney(row.net, row.currency) },
          { title: 'On the period before', kind: 'number', cell: (row) => plain(row.changeMinor, row.currency), show: (row) => change(row.changeMinor, row.currency) },
          { title: 'On the year before', kind: 'number', cell: (row) => plain(row.yearChangeMinor, row.currency), show: (row) => change(row.yearChangeMinor, row.currency) },
          { title: 'Currency', kind: 'name', cell: (row) => row.currency },
        ],
        rows,
      })}
    >
      {(rows) => (
        <div class="report-kinds">
          {kinds.map(({ kind, title, shown, before }) => {
            const some = rows.filter((row) => row.kind === kind).slice(0, shown)
            return some.length === 0 ? null : (
              <div key={kind}>
                <h3>{title}</h3>
                <ol class="periods">
                  {some.map((row) => (
                    <li key={row.period}>
                      <PeriodHead line={row} value={formatMoney(row.net, row.currency)} />
                      <small>
                        {row.version > 1 && <span class="restated">restated</span>}
                        {describeChange(row, before)}
                      </small>
                    </li>
                  ))}
                </ol>
              </div>
            )
          })}
        </div>
      )}
    </Card>
  )
}

/** One per currency; a period in which nothing was sold has one, of zero, in the page's. */
function linesOf({ kind, period, version, publishedAt, totals }: ReportRow, pageCurrency: string): Line[] {
  const line = { kind, period, version, publishedAt }
  if (totals.length === 0) return [{ ...line, currency: pageCurrency, net: decimalOf(0n, pageCurrency), changeMinor: null, beforeMinor: null, yearChangeMinor: null }]
  return totals.map(({ currency, net, netMinor, before, yearBefore }) => ({
    ...line,
    currency,
    net,
    changeMinor: before === null ? null : String(BigInt(netMinor) - BigInt(before.netMinor)),
    beforeMinor: before?.netMinor ?? null,
    yearChangeMinor: yearBefore === null ? null : String(BigInt(netMinor) - BigInt(yearBefore.netMinor)),
  }))
}

function describeNewest(rows: readonly Line[]): string {
  const row = rows.find(({ kind }) => kind === 'monthly') ?? rows[0]
  if (row === undefined) return ''
  const before = kinds.find(({ kind }) => kind === row.kind)?.before ?? 'period'
  const moved = describeChange(row, before)
  return `${formatReportPeriod(row.period)} closed at ${formatMoney(row.net, row.currency)} net${moved === '' ? '' : `, ${moved}`}. Each opens as a page that can be printed.`
}

function describeChange({ changeMinor, beforeMinor, currency }: Line, before: string): string {
  if (changeMinor === null || beforeMinor === null) return ''
  const percent = formatPercentChange(BigInt(changeMinor), BigInt(beforeMinor))
  return `${percent === '' ? formatChange(changeMinor, currency) : percent} on the ${before} before`
}

function plain(minor: string | null, currency: string): string {
  return minor === null ? '' : decimalOf(minor, currency)
}

function change(minor: string | null, currency: string): string {
  return minor === null ? '' : minor === '0' ? formatMinorMoney(minor, currency) : formatChange(minor, currency)
}
