/** What the lists of frozen reports and of restatements have in common: a line for each version of a closed period, in each currency. */
import type { ComponentChildren } from 'preact'
import { Problem, type Piece } from '../api.ts'
import { formatReportPeriod } from '../format.ts'
import type { Column } from './table-twin.tsx'

export type PeriodLine = {
  readonly currency: string
  readonly kind: string
  readonly period: string
  readonly version: number
  readonly publishedAt: string
}

/** Which version of what a line is of, as each table and CSV begins. */
export const periodColumns: readonly Column<PeriodLine>[] = [
  { title: 'Period', kind: 'name', cell: (row) => row.period, show: (row) => formatReportPeriod(row.period) },
  { title: 'Kind', kind: 'name', cell: (row) => row.kind },
  { title: 'Version', kind: 'number', cell: (row) => String(row.version) },
]

export function linesOfPiece<Row, Line>(piece: Piece<Row> | null, linesOf: (row: Row) => readonly Line[]): Piece<Line> | null {
  return piece === null || piece instanceof Problem ? piece : piece.flatMap(linesOf)
}

/** The line's name and its one value; the name leads to the page of the report's version. */
export function PeriodHead({ line, value, children }: { readonly line: PeriodLine; readonly value: string; readonly children?: ComponentChildren }) {
  return (
    <>
      <span class="period-name">
        <a href={pageOf(line)}>
          <bdi>{formatReportPeriod(line.period)}</bdi>
          {children}
        </a>
      </span>
      <span class="bar-value">{value}</span>
    </>
  )
}

function pageOf({ kind, period, version }: PeriodLine): string {
  return `/v1/reports/${kind}/${encodeURIComponent(period)}/files/html?version=${version}`
}
