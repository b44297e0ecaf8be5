/** The routes of frozen reports, their files, and their restatements. */
import type { FastifyInstance } from 'fastify'
import { InvalidRequestError, UnavailableError } from '#core/errors.ts'
import { currencyExponent, formatMinor } from '#core/money.ts'
import type { Lake } from '#core/ports.ts'
import type { ReportKind } from '#core/report/periods.ts'
import { parseReportKind } from '#core/report/periods.ts'
import type { ReportFigures } from '#core/report/report.ts'
import { restatedLines } from '#core/report/restate.ts'
import { pageOfReports, pageOfRestatements } from '#store/report-pages.ts'
import type { ReportFile, ReportFormat, ReportVersion } from '#store/reports.ts'
import { findReport, listRestatementEvents, readReport, readReportFiles, readReportText, reportFormats } from '#store/reports.ts'
import { Admission } from './admission.ts'
import type { Asked, HistoryOptions, HistoryRoute } from './history.ts'
import { NotFound, routeHistory } from './history.ts'
import { reportFilesInFlightMax } from './limits.ts'
import { hasTag, pageOf, readPage } from './paging.ts'
import { readTime, readWhole } from './parameters.ts'
import { contentTypes, dispositionOf, readReportFile, reportPolicy } from './report-file.ts'
import {
  diffAnswer,
  diffParameters,
  fileParameters,
  reportAnswer,
  reportsAnswer,
  reportsParameters,
  restatementEventsAnswer,
  restatementEventsParameters,
  restatementsAnswer,
  restatementsParameters,
  versionParameters,
} from './schemas-history.ts'

export type ReportsOptions = HistoryOptions & { readonly lake?: Lake | undefined }

type Named = { readonly kind: ReportKind; readonly period: string }

const versionMax = 2_147_483_647
const foreverSeconds = 31_536_000

export function routeReports(app: FastifyInstance, { database, admission, lake }: ReportsOptions): void {
  const { pool } = database
  const filesAdmission = new Admission(reportFilesInFlightMax)

  const versionOf = async ({ kind, period }: Named, version: number | undefined): Promise<ReportVersion> => {
    const found = await findReport(pool, kind, period, version)
    if (found !== null) return found
    const newest = version === undefined ? null : await findReport(pool, kind, period)
    if (newest !== null) throw new NotFound(`The ${kind} report of ${period} has no version ${version}: its newest is ${newest.version}.`, { newest: newest.version })
    throw new NotFound(`There is no ${kind} report of ${period}. /v1/reports?kind=${kind} lists those there are; a period gets one once it is closed, or by "tidemark report ${kind} ${period}".`, { kind })
  }

  const routes: readonly HistoryRoute[] = [
    {
      url: '/v1/reports',
      tag: 'reports',
      summary: 'Frozen reports, the latest periods first: totals beside the period before and the year before. The newest version of each, or all.',
      parameters: reportsParameters,
      answer: reportsAnswer,
      prepare: ({ given, request }) => {
        const { limit, after } = readPage(given, ['day', 'day', 'text', 'text', 'version'])
        if (given['versions'] !== undefined && given['versions'] !== 'all') throw new InvalidRequestError('versions takes "all" only; without it the newest version of each report is listed.', { parameter: 'versions' })
        const place = after === null ? null : { to: after[0], from: after[1], kind: after[2], period: after[3], version: after[4] }
        const filter = { ...readFilter(given), isEveryVersion: given['versions'] === 'all', after: place, limit: limit + 1 }
        return async () => {
          const { rows, next } = pageOf(request, await pageOfReports(pool, filter), limit, (row) => [row.to, row.from, row.kind, row.period, row.version])
          return {
            rows: rows.map(({ totals, ...row }) => ({
              ...row,
              totals: totals.map(({ currency, now, before, yearBefore }) => ({ currency, ...shown(now, currency), before: shownOrNull(before, currency), yearBefore: shownOrNull(yearBefore, currency) })),
              href: hrefOf(row, row.version),
            })),
            next,
          }
        }
      },
    },
    {
      url: '/v1/reports/:kind/:period',
      tag: 'reports',
      summary: 'A frozen report as it was published, and where its files are.',
      parameters: versionParameters,
      answer: reportAnswer,
      prepare: ({ given, params }) => {
        const named = readNamed(params)
        const asked = readVersion('version', given['version'])
        return async () => {
          const { version } = await versionOf(named, asked)
          const document = await readReportText(pool, named.kind, named.period, version)
          const files = await readReportFiles(pool, { ...named, version })
          const isRestated = version > 1
          const links = {
            self: hrefOf(named, version),
            versions: `/v1/reports?kind=${named.kind}&period=${encodeURIComponent(named.period)}&versions=all`,
            differences: isRestated ? `${pathOf(named)}/diff?from=${version - 1}&to=${version}` : null,
            events: isRestated ? eventsHref(named, version) : null,
          }
          // The document goes out byte for byte as it was frozen.
          return `{"report":${document.trimEnd()},"files":${JSON.stringify(files.map(linkOf))},"links":${JSON.stringify(links)}}`
        }
      },
    },
    {
      url: '/v1/reports/:kind/:period/diff',
      tag: 'reports',
      summary: 'The lines that differ between two versions of a report.',
      parameters: diffParameters,
      answer: diffAnswer,
      prepare: ({ given, params }) => {
        const named = readNamed(params)
        const askedFrom = readVersion('from', given['from'])
        const askedTo = readVersion('to', given['to'])
        return async () => {
          const to = (await versionOf(named, askedTo)).version
          const from = askedFrom ?? Math.max(1, to - 1)
          await versionOf(named, from)
          const lines = restatedLines((await readReport(pool, named.kind, named.period, from)).lines, (await readReport(pool, named.kind, named.period, to)).lines)
          const rows = lines.map(({ asPublished, asKnownNow, difference, ...key }) => ({
            ...key,
            asPublished: shown(asPublished, key.currency),
            asKnownNow: shown(asKnownNow, key.currency),
            difference: shown(difference, key.currency),
          }))
          return { ...named, from, to, rows }
        }
      },
    },
    {
      url: '/v1/reports/:kind/:period/files/:format',
      tag: 'reports',
      summary: 'A file of a report: html, csv, json, parquet, or restatement, which lists every event behind the difference to the version before.',
      parameters: fileParameters,
      prepare: (asked) => {
        const named = readNamed(asked.params)
        const format = readFormat(asked.params['format']!)
        const version = readVersion('version', asked.given['version'])
        const sha256 = asked.given['sha256']
        if (sha256 !== undefined && !/^[0-9a-f]{64}$/.test(sha256)) throw new InvalidRequestError('sha256 must be 64 hexadecimal digits, as the report says of its file.', { parameter: 'sha256' })
        return () => filesAdmission.admit(async () => sendFile(asked, await fileOf(await versionOf(named, version), format, sha256)))
      },
    },
    {
      url: '/v1/restatements',
      tag: 'reports',
      summary: 'Closed periods that moved, newest first: by how much, and why.',
      parameters: restatementsParameters,
      answer: restatementsAnswer,
      prepare: ({ given, request }) => {
        const { limit, after } = readPage(given, ['time', 'text', 'text', 'version'])
        const place = after === null ? null : { publishedAtMs: after[0], kind: after[1], period: after[2], version: after[3] }
        const filter = { ...readFilter(given), sinceMs: given['since'] === undefined ? null : readTime('since', given['since']), after: place, limit: limit + 1 }
        return async () => {
          const { rows, next } = pageOf(request, await pageOfRestatements(pool, filter), limit, (row) => [Date.parse(row.publishedAt), row.kind, row.period, row.version])
          return {
            rows: rows.map(({ causes, totals, ...row }) => ({
              ...row,
              causes: causes.map(({ difference, ...cause }) => ({ ...cause, difference: shown(difference, cause.currency) })),
              totals: totals.map(({ currency, asPublished, asKnownNow, difference }) => ({
                currency,
                asPublished: shown(asPublished, currency),
                asKnownNow: shown(asKnownNow, currency),
                difference: shown(difference, currency),
              })),
              report: hrefOf(row, row.version),
              events: eventsHref(row, row.version),
            })),
            next,
          }
        }
      },
    },
    {
      url: '/v1/restatements/:kind/:period/:version/events',
      tag: 'reports',
      summary: 'Every event behind a restatement, by its position in the log.',
      parameters: restatementEventsParameters,
      answer: restatementEventsAnswer,
      prepare: ({ given, params, request }) => {
        const named = readNamed(params)
        const version = readVersion('version', params['version'])!
        const { limit, after } = readPage(given, ['number'])
        return async () => {
          const { restatesEvents } = await versionOf(named, version)
          if (restatesEvents === null) throw new NotFound(`Version ${version} of the ${named.kind} report of ${named.period} restates nothing: it is the first.`, { version })
          const { rows, next } = pageOf(request, await listRestatementEvents(pool, { ...named, version }, after?.[0] ?? 0, limit + 1), limit, (row) => [row.entry])
          return { rows: rows.map((row) => ({ ...row, total: formatMinor(BigInt(row.totalMinor), currencyExponent(row.currency)!) })), next }
        }
      },
    },
  ]
  routeHistory(app, admission, routes)

  async function fileOf(report: ReportVersion, format: ReportFormat, sha256: string | undefined): Promise<ReportFile> {
    const files = await readReportFiles(pool, report)
    const file = files.find((one) => one.format === format)
    if (file === undefined) {
      throw new NotFound(`Version ${report.version} of the ${report.kind} report of ${report.period} has no ${format} file. It has ${files.map((one) => one.format).join(', ')}.`, { formats: files.map((one) => one.format) })
    }
    if (sha256 !== undefined && sha256 !== file.sha256) {
      throw new NotFound(`Version ${report.version} has another file than the one named: take its address from ${pathOf(report)}.`, { version: report.version })
    }
    return file
  }

  async function sendFile({ request, reply, given }: Asked, file: ReportFile): Promise<unknown> {
    if (lake === undefined) throw new UnavailableError('This server was started without a lake, where files of reports lie.')
    const tag = `"${file.sha256}"`
    const bytes = hasTag(request, tag) ? null : await readReportFile(lake, file)
    // Only an address that names the content may be kept for good: a store put back from a backup may freeze a version's number again.
    const isNamed = given['sha256'] !== undefined
    void reply.header('ETag', tag).header('Cache-Control', isNamed ? `private, max-age=${foreverSeconds}, immutable` : 'private, no-cache')
    if (bytes === null) return reply.code(304).send()
    void reply.header('Content-Disposition', dispositionOf(file)).header('Content-Security-Policy', reportPolicy)
    return reply.type(contentTypes[file.format]).send(bytes)
  }
}

/** A period by its form alone: a season may have had a name that the table of seasons knows no more. */
const periodPattern = /^[0-9]{4}(-[\p{L}\p{N}_ -]{1,60})?$/u
const prefixPattern = /^[0-9]{1,4}(-[\p{L}\p{N}_ -]{0,60})?$/u

function readNamed(params: Readonly<Record<string, string>>): Named {
  const kind = parseReportKind(params['kind']!)
  const period = params['period']!.normalize('NFC')
  if (!periodPattern.test(period)) throw new InvalidRequestError('period must be one such as 2025-03, 2025-Q1, 2025-spring or 2025.', { parameter: 'period' })
  return { kind, period }
}

function readFilter(given: Asked['given']): { readonly kind: ReportKind | null; readonly periodPrefix: string | null } {
  const periodPrefix = given['period']?.normalize('NFC') ?? null
  if (periodPrefix !== null && !prefixPattern.test(periodPrefix)) {
    throw new InvalidRequestError('period must be the beginning of one, such as 2025, 2025-03, 2025-Q1 or 2025-spring.', { parameter: 'period' })
  }
  return { kind: given['kind'] === undefined ? null : parseReportKind(given['kind']), periodPrefix }
}

function readVersion(parameter: string, text: string | undefined): number | undefined {
  return text === undefined ? undefined : readWhole(parameter, text, 1, versionMax)
}

function readFormat(text: string): ReportFormat {
  const format = reportFormats.find((one) => one === text)
  if (format === undefined) throw new InvalidRequestError(`A report has the files ${reportFormats.join(', ')}.`, { parameter: 'format' })
  return format
}

function pathOf({ kind, period }: Named): string {
  return `/v1/reports/${kind}/${encodeURIComponent(period)}`
}

function hrefOf(named: Named, version: number): string {
  return `${pathOf(named)}?version=${version}`
}

function eventsHref({ kind, period }: Named, version: number): string {
  return `/v1/restatements/${kind}/${encodeURIComponent(period)}/${version}/events`
}

function linkOf(file: ReportFile): object {
  const { format, version, bytes, sha256 } = file
  return { format, contentType: contentTypes[format], bytes, sha256, href: `${pathOf(file)}/files/${format}?version=${version}&sha256=${sha256}` }
}

/** With the decimal text beside the minor units. */
function shown(figures: ReportFigures, currency: string): object {
  const exponent = currencyExponent(currency)!
  const decimal = (minor: string): string => formatMinor(BigInt(minor), exponent)
  return { ...figures, gross: decimal(figures.grossMinor), refunds: decimal(figures.refundsMinor), net: decimal(figures.netMinor) }
}

function shownOrNull(figures: ReportFigures | null, currency: string): object | null {
  return figures === null ? null : shown(figures, currency)
}
