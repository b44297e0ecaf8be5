import type { Piece, RestatementRow } from '../api.ts'
import { decimalOf, formatChange, formatCount, formatDateTime, formatMoney, formatReportPeriod } from '../format.ts'
import { usePage } from '../page-context.ts'
import { Card } from './card.tsx'
import { PeriodHead, linesOfPiece, periodColumns, type PeriodLine } from './period-lines.tsx'

export const restatementsPath = '/v1/restatements?limit=10'

type Line = PeriodLine & {
  readonly published: string
  readonly known: string
  readonly changeMinor: string
  readonly causes: string
}

/** Closed periods whose published figures moved: by how much, and why. */
export function Restatements({ piece }: { readonly piece: Piece<RestatementRow> | null }) {
  const { zone } = usePage()
  return (
    <Card
      id="moved"
      title="Closed periods that moved"
      wide
      piece={linesOfPiece(piece, linesOf)}
      empty="No closed period has moved since its report was published."
      takeaway={(rows) => describeLast(rows, zone)}
      twin={(rows) => ({
        caption: 'Restatements, newest first',
        columns: [
          ...periodColumns,
          { title: 'Net as published', kind: 'number', cell: (row) => row.published, show: (row) => formatMoney(row.published, row.currency) },
          { title: 'Net as known now', kind: 'number', cell: (row) => row.known, show: (row) => formatMoney(row.known, row.currency) },
          { title: 'Difference', kind: 'number', cell: (row) => decimalOf(row.changeMinor, row.currency), show: (row) => formatChange(row.changeMinor, row.currency) },
          { title: 'Currency', kind: 'name', cell: (row) => row.currency },
          { title: 'Why', kind: 'name', cell: (row) => row.causes },
          { title: 'Published', kind: 'name', cell: (row) => row.publishedAt, show: (row) => formatDateTime(Date.parse(row.publishedAt), zone) },
        ],
        rows,
      })}
    >
      {(rows) => (
        <ol class="periods periods-moved">
          {rows.map((row) => (
            <li key={`${row.kind} ${row.period} ${row.version}`}>
              <PeriodHead line={row} value={formatChange(row.changeMinor, row.currency)}>
                , version {row.version}
              </PeriodHead>
              <small>
                {formatMoney(row.published, row.currency)} became {formatMoney(row.known, row.currency)}: {row.causes}.
              </small>
            </li>
          ))}
        </ol>
      )}
    </Card>
  )
}

function linesOf({ kind, period, version, publishedAt, totals, causes }: RestatementRow): Line[] {
  return totals.map(({ currency, asPublished, asKnownNow, difference }) => ({
    currency,
    kind,
    period,
    version,
    publishedAt,
    published: asPublished.net,
    known: asKnownNow.net,
    changeMinor: difference.netMinor,
    causes: causes
      .filter((cause) => cause.currency === currency)
      .map((cause) => `${describeCause(cause.reason, cause.events)} ${formatChange(cause.difference.netMinor, currency)}`)
      .join(', '),
  }))
}

/** Of these no event tells. */
const eventless: Readonly<Record<string, string>> = { logic: 'other rules of counting', 'accepted batch': 'a batch accepted unexplained', seasons: 'other seasons' }

/** `late sale, 3` → `3 late sales`. */
function describeCause(reason: string, events: number): string {
  return eventless[reason] ?? `${formatCount(events)} ${reason}${events === 1 ? '' : 's'}`
}

function describeLast(rows: readonly Line[], zone: string): string {
  const [row] = rows
  if (row === undefined) return ''
  return `The last to move was ${formatReportPeriod(row.period)}, by ${formatChange(row.changeMinor, row.currency)} on ${formatDateTime(Date.parse(row.publishedAt), zone)}. What was published stays as it was, as the version before.`
}
