/** Reports and restatements as CSV: one tidy table, the lines of the Parquet file beside it, amounts as decimals. */
import { numberCell, textCell, writeCsv, writeRows } from '#core/csv.ts'
import type { Report, ReportFigures, ReportLine, RestatementEvent } from '#core/report/report.ts'
import { averageMinor, changeDecimal, decimalText } from '#core/report/words.ts'

type Measure = { readonly name: string; readonly isMoney: boolean; readonly of: (figures: ReportFigures) => bigint | null }

const measures: readonly Measure[] = [
  { name: 'transactions', isMoney: false, of: (figures) => BigInt(figures.transactions) },
  { name: 'orders', isMoney: false, of: (figures) => BigInt(figures.orders) },
  { name: 'refund_events', isMoney: false, of: (figures) => BigInt(figures.refundEvents) },
  { name: 'units_sold', isMoney: false, of: (figures) => BigInt(figures.unitsSold) },
  { name: 'units_refunded', isMoney: false, of: (figures) => BigInt(figures.unitsRefunded) },
  { name: 'gross', isMoney: true, of: (figures) => BigInt(figures.grossMinor) },
  { name: 'refunds', isMoney: true, of: (figures) => BigInt(figures.refundsMinor) },
  { name: 'net', isMoney: true, of: (figures) => BigInt(figures.netMinor) },
  { name: 'average', isMoney: true, of: averageMinor },
]
/** What is compared: the figures that the page compares. */
const compared = measures.filter(({ name }) => ['transactions', 'units_sold', 'gross', 'refunds', 'net', 'average'].includes(name))

const reportHeader = [
  ...'kind period version section currency day city category season product_id product_name rank'.split(' '),
  ...measures.map(({ name }) => name),
  ...['before', 'year_before'].flatMap((prefix) => measures.map(({ name }) => `${prefix}_${name}`)),
  ...['change', 'year_change'].flatMap((prefix) => compared.flatMap(({ name }) => [`${prefix}_${name}`, `${prefix}_${name}_percent`])),
]

/** Empty where there is nothing to compare with; a per cent of nothing is empty too. */
export function renderReportCsv(report: Report): string {
  return writeCsv(reportHeader, report.lines.map((line) => reportRow(report, line)))
}

function reportRow({ kind, period, version }: Report, line: ReportLine): string[] {
  return [
    ...[kind, period].map(textCell),
    numberCell(version),
    ...[line.section, line.currency, line.day, line.city, line.category, line.season, line.productId, line.productName].map(textCell),
    numberCell(line.rank),
    ...[line.now, line.before, line.yearBefore].flatMap((figures) => figureCells(figures, line.currency)),
    ...[line.before, line.yearBefore].flatMap((before) => changeCells(line.now, before, line.currency)),
  ]
}

function figureCells(figures: ReportFigures | null, currency: string): string[] {
  return measures.map(({ isMoney, of }) => valueCell(figures === null ? null : of(figures), isMoney, currency))
}

function changeCells(now: ReportFigures, before: ReportFigures | null, currency: string): string[] {
  return compared.flatMap(({ isMoney, of }) => {
    const [value, base] = [of(now), before === null ? null : of(before)]
    return value === null || base === null ? ['', ''] : [valueCell(value - base, isMoney, currency), numberCell(changeDecimal(value, base))]
  })
}

function valueCell(value: bigint | null, isMoney: boolean, currency: string): string {
  return numberCell(value === null || !isMoney ? value : decimalText(value, currency))
}

const restatementHeader =
  'kind period version of_version reason source event_id event_kind day log_time partition offset record_index city category product_id quantity currency total'.split(' ')

/** Every event that explains the difference to the version before, by position; in pieces, since they may be millions. */
export function* renderRestatementCsv(report: Report, pages: Iterable<readonly RestatementEvent[]>): Generator<string> {
  yield writeCsv(restatementHeader, [])
  for (const events of pages) yield writeRows(events.map((event) => restatementRow(report, event)))
}

function restatementRow({ kind, period, version, restatement }: Report, event: RestatementEvent): string[] {
  return [
    ...[kind, period].map(textCell),
    ...[version, restatement?.ofVersion ?? null].map(numberCell),
    ...[event.reason, event.source, event.eventId, event.kind, event.localDay, event.logTime].map(textCell),
    ...[event.partition, event.offset, event.index].map(numberCell),
    ...[event.city, event.category, event.productId].map(textCell),
    numberCell(event.quantity),
    textCell(event.currency),
    numberCell(decimalText(event.totalMinor, event.currency)),
  ]
}
