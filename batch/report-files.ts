/** A report's files in the lake: written under a name of their own, verified, and known to the store only once the version is published. */
import { randomUUID } from 'node:crypto'
import { parseDay } from '#core/calendar.ts'
import type { Lake, ParquetCodec, ParquetColumn, ParquetValues } from '#core/ports.ts'
import type { Report, ReportFigures, ReportLine, RestatementEvent } from '#core/report/report.ts'
import type { ReportFile, ReportFormat } from '#store/reports.ts'
import { putVerified } from './file-digest.ts'
import { renderReportCsv, renderRestatementCsv } from './report-csv.ts'
import { renderReportHtml } from './report-html.ts'

export const reportFolder = 'reports/'

/** `parquet` is read by query engines and has the others' content; a report without a line has none, since no file has zero rows. */
const extensions: Readonly<Record<ReportFormat, string>> = { html: 'html', csv: 'csv', json: 'json', parquet: 'parquet', restatement: 'restatement.csv' }

const figureColumns = ['transactions', 'orders', 'refund_events', 'units_sold', 'units_refunded', 'gross_minor', 'refunds_minor', 'net_minor'] as const

/** One row per line of a report, for people who read reports with a query engine; amounts in minor units. */
export const reportColumns: readonly ParquetColumn[] = [
  ...['kind', 'period'].map((name) => ({ name, type: 'text', nullable: false }) as const),
  { name: 'version', type: 'int32', nullable: false },
  { name: 'batch', type: 'int64', nullable: false },
  { name: 'published_at', type: 'timestamp', nullable: false },
  ...['section', 'currency'].map((name) => ({ name, type: 'text', nullable: false }) as const),
  { name: 'local_day', type: 'date', nullable: true },
  ...['city', 'category', 'season', 'product_id', 'product_name'].map((name) => ({ name, type: 'text', nullable: true }) as const),
  { name: 'rank', type: 'int32', nullable: true },
  ...figureColumns.map((name) => ({ name, type: 'int64', nullable: false }) as const),
  ...figureColumns.map((name) => ({ name: `before_${name}`, type: 'int64', nullable: true }) as const),
  ...figureColumns.map((name) => ({ name: `year_before_${name}`, type: 'int64', nullable: true }) as const),
]

/** Writes every file of a version, under names that no other attempt has; `events` by pages. */
export async function writeReportFiles(lake: Lake, codec: ParquetCodec, report: Report, document: string, events: Iterable<readonly RestatementEvent[]>): Promise<Pick<ReportFile, 'format' | 'path' | 'bytes' | 'sha256'>[]> {
  const attempt = `${report.receipt.incarnation}.${randomUUID()}`
  const folder = `${reportFolder}${report.kind}/${report.period}/v${report.version}/`
  const contents: [ReportFormat, AsyncIterable<Uint8Array>][] = [
    ['json', chunks([document])],
    ['csv', chunks([renderReportCsv(report)])],
    ['html', chunks([renderReportHtml(report)])],
  ]
  if (report.lines.length > 0) contents.push(['parquet', codec.encode(reportColumns, [columnsOf(report)])])
  if (report.restatement !== null) contents.push(['restatement', chunks(renderRestatementCsv(report, events))])
  const files: Pick<ReportFile, 'format' | 'path' | 'bytes' | 'sha256'>[] = []
  for (const [format, body] of contents) files.push({ format, ...(await putVerified(lake, `${folder}${attempt}.${extensions[format]}`, body)) })
  return files
}

async function* chunks(texts: Iterable<string>): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text)
}

function columnsOf(report: Report): ParquetValues[] {
  const { kind, period, version, lines } = report
  const column = (of: (line: ReportLine) => number | bigint | string | null): ParquetValues => lines.map(of)
  const day = (line: ReportLine): number | null => (line.day === null ? null : parseDay(line.day))
  const figures = (of: (line: ReportLine) => ReportFigures | null): ParquetValues[] =>
    (['transactions', 'orders', 'refundEvents', 'unitsSold', 'unitsRefunded', 'grossMinor', 'refundsMinor', 'netMinor'] as const).map((name) =>
      column((line) => {
        const value = of(line)?.[name]
        return value === undefined ? null : BigInt(value)
      }),
    )
  return [
    column(() => kind),
    column(() => period),
    column(() => version),
    column(() => report.receipt.batch),
    column(() => Date.parse(report.publishedAt)),
    column((line) => line.section),
    column((line) => line.currency),
    column(day),
    column((line) => line.city),
    column((line) => line.category),
    column((line) => line.season),
    column((line) => line.productId),
    column((line) => line.productName),
    column((line) => line.rank),
    ...figures((line) => line.now),
    ...figures((line) => line.before),
    ...figures((line) => line.yearBefore),
  ]
}
