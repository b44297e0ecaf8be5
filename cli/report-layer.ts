/** Reports on an environment: their options, and what a person is told of one. */
import { createHash } from 'node:crypto'
import type { ReportOptions } from '#batch/reports.ts'
import { CorruptError, InvalidRequestError } from '#core/errors.ts'
import type { ReportKind } from '#core/report/periods.ts'
import { currencyExponent, formatMinor } from '#core/money.ts'
import type { Report } from '#core/report/report.ts'
import { parquetCodec } from '#engines/parquet.ts'
import type { ReportFile, ReportFormat } from '#store/reports.ts'
import { findReport, readReportFiles, reportFormats } from '#store/reports.ts'
import type { Environment } from './environment.ts'
import { transactionsTopic } from './environment.ts'

export async function reportOptions(environment: Environment, signal: AbortSignal): Promise<ReportOptions> {
  const { settings, database } = environment
  return {
    database,
    lake: await environment.lake(),
    codec: parquetCodec,
    engine: await environment.queryEngine(),
    engineName: settings.queryUrl.startsWith('trino') ? 'Trino' : 'DuckDB',
    topic: transactionsTopic,
    zone: settings.zone,
    booksOpenOn: settings.booksOpenOn,
    signal,
  }
}

/**
 * Closed periods, as `monthly 2025-03`, that the published batch does not hold whole, and why: the log went on behind it before they were over. What no worker
 * has recorded the log's end of is not among them.
 */
export async function periodsCutShort(environment: Environment): Promise<ReadonlyMap<string, string>> {
  const [{ readPlan }, { askTerms, scheduledWork }] = await Promise.all([import('#batch/ask.ts'), import('./schedule-layer.ts')])
  const { plan } = await readPlan(askTerms(environment), scheduledWork)
  return new Map(plan.periods.filter(({ state, needs }) => state === 'waiting' && needs !== null).map(({ kind, period, reason }) => [`${kind} ${period}`, reason]))
}

export function parseFormat(text: string): ReportFormat {
  const format = reportFormats.find((one) => one === text)
  if (format === undefined) throw new InvalidRequestError(`--format must be one of ${reportFormats.join(', ')}.`)
  return format
}

export type ExportedFile = { readonly file: ReportFile; readonly bytes: Buffer }

/** A file of a version, as it was published. Throws CorruptError where the lake holds other bytes. */
export async function readPublishedFile(environment: Environment, kind: ReportKind, period: string, version: number | undefined, format: ReportFormat): Promise<ExportedFile> {
  const found = await findReport(environment.database.pool, kind, period, version)
  if (found === null) throw new InvalidRequestError(`There is no such version of the ${kind} report of ${period}. "tidemark report list --all" shows those there are; "tidemark report ${kind} ${period}" makes the next.`)
  const file = (await readReportFiles(environment.database.pool, found)).find((one) => one.format === format)
  if (file === undefined) {
    const why = format === 'restatement' ? 'It is a first version, which restates nothing.' : 'It holds no line, and a Parquet file holds at least one.'
    throw new InvalidRequestError(`Version ${found.version} of the ${kind} report of ${period} has no file ${format}. ${why}`)
  }
  const stored = await (await environment.lake()).get(file.path)
  const bytes = Buffer.from(await stored.read(0, stored.bytes))
  if (bytes.length !== file.bytes || createHash('sha256').update(bytes).digest('hex') !== file.sha256) {
    throw new CorruptError(`${file.path} holds other bytes than were published. Put it back from a backup; the report itself stands in the database: "tidemark report show ${kind} ${period} --json".`, { path: file.path })
  }
  return { file, bytes }
}

/** Minor units with the decimal point of the currency. */
export function money(minor: string, currency: string): string {
  return `${formatMinor(BigInt(minor), currencyExponent(currency) ?? 2)} ${currency}`
}

/** Of each currency what a person wants to know first. */
export function headlines(report: Report): string[] {
  const totals = report.lines.filter((line) => line.section === 'total')
  if (totals.length === 0) return ['  nothing was sold']
  return totals.map(({ currency, now, before, yearBefore }) => {
    const than = (figures: typeof before, period: string): string => {
      if (figures === null) return ''
      const more = BigInt(now.netMinor) - BigInt(figures.netMinor)
      return `; ${money(String(more < 0n ? -more : more), currency)} ${more < 0n ? 'less' : 'more'} than ${period}`
    }
    return `  net ${money(now.netMinor, currency)} (gross ${money(now.grossMinor, currency)}, refunds ${money(now.refundsMinor, currency)}), ${now.transactions} transactions${than(before, report.before.period)}${than(yearBefore, report.yearBefore.period)}`
  })
}
