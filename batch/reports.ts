/**
 * Reports: the figures of a closed period, frozen from the published batch. A version is checked against the archive, row by row, and published in one
 * transaction; what a crash leaves before it is files that nobody knows. A period whose figures a later batch changed gets a next version with its
 * restatement.
 */
import { dayMs, formatDay, openCalendar, parseDay } from '#core/calendar.ts'
import { ConflictError, InvalidRequestError, OvertakenError } from '#core/errors.ts'
import type { Lake, ParquetCodec, QueryEngine } from '#core/ports.ts'
import type { ClosedPeriod } from '#core/period.ts'
import type { ReportKind } from '#core/report/periods.ts'
import { parseReportPeriod } from '#core/report/periods.ts'
import type { EventlessReason, Report, ReportLine, Restatement } from '#core/report/report.ts'
import { causesOf, openEventSums, restatedLines } from '#core/report/restate.ts'
import { readPointer } from '#store/batches.ts'
import type { Database } from '#store/database.ts'
import { inTransaction } from '#store/database.ts'
import { keepIncarnation } from '#store/incarnation.ts'
import { readDatabaseClock } from '#store/log-ends.ts'
import { listFiles } from '#store/register.ts'
import type { ReportBasis, ReportVersion } from '#store/reports.ts'
import { findReport, fingerprintOf, listReports, publishReport, readReport, readReportBasis, readReportFiles, rowVersions, wasAnyAccepted } from '#store/reports.ts'
import { attachArchive, checkAgainstArchive, explainingEvents } from './report-check.ts'
import { reportColumns, writeReportFiles } from './report-files.ts'
import { renderReportJson } from './report-json.ts'
import type { ComparedDays } from './report-lines.ts'
import { comparedPeriods, readLines } from './report-lines.ts'
import type { RestatingEvents } from './restating-events.ts'
import { openRestatingEvents } from './restating-events.ts'
import { underShareLock } from './share.ts'

export type ReportStep = 'read' | 'check' | 'write' | 'publish'

export type ReportOptions = {
  readonly database: Database
  readonly lake: Lake
  readonly codec: ParquetCodec
  readonly engine: QueryEngine
  /** As a receipt names it: `DuckDB`, `Trino`. */
  readonly engineName: string
  /** Of the sales. */
  readonly topic: string
  readonly zone: string
  readonly booksOpenOn: string
  readonly signal: AbortSignal
  readonly onStep?: (step: ReportStep, detail: string) => void
  /** Where tests may stop the making of a report. */
  readonly before?: (step: ReportStep) => Promise<void>
}

export type ReportRequest = { readonly kind: ReportKind; readonly period: string }

export type ReportOutcome = {
  /** `unchanged`: the newest version says what the published batch says. */
  readonly outcome: 'published' | 'unchanged'
  readonly version: number
}

/** Events that a document lists itself; the file `restatement` and the table have them all. */
const listedEventsMax = 200

/**
 * Publishes the next version of a report, unless the newest one says the same. Throws InvalidRequestError where the published batch cannot cover the
 * period, CorruptError where the archive and the batch disagree or a restatement does not add up, ConflictError where another was first.
 */
export async function freezeReport(options: ReportOptions, request: ReportRequest): Promise<ReportOutcome> {
  const { batch, ...made } = await freezeOnce(options, request)
  if (made.outcome === 'unchanged' || (await readPointer(options.database.pool)).batch === batch) return made
  // Another batch was published meanwhile, and what refreshed the reports after it did not know this version.
  try {
    const next = await freezeReport(options, request)
    return next.outcome === 'published' ? next : made
  } catch (thrown) {
    if (thrown instanceof ConflictError) return made
    throw thrown
  }
}

async function freezeOnce(options: ReportOptions, request: ReportRequest): Promise<ReportOutcome & { readonly batch: number | null }> {
  const { database, lake } = options
  await options.before?.('read')
  const { incarnation } = await keepIncarnation(database, lake)
  const read = await readAll(options, request)
  if ('unchanged' in read) return { outcome: 'unchanged', version: read.unchanged, batch: null }
  const { basis, days, newest } = read
  if (basis.incarnation !== incarnation) throw new OvertakenError('The store took a new incarnation while a report was made. Make the report again.')
  options.onStep?.('check', `${request.kind} ${request.period} on batch ${basis.batch}`)
  await options.before?.('check')
  const files = (await listFiles(database.pool, 0, basis.epoch)).filter((file) => file.topic === options.topic)
  await attachArchive(options.engine, files)
  const keysCompared = await checkAgainstArchive(database, options.engine, basis, days, options.signal)
  const explained = newest === null ? { restatement: null, events: openRestatingEvents() } : await restate(options, basis, days, newest, read.lines)
  const publishedAt = new Date(await readDatabaseClock(database.pool)).toISOString()
  const report = documentOf(options, request, read, explained.restatement, publishedAt, { files: files.filter((file) => file.rows > 0).length, rowsRead: files.reduce((sum, file) => sum + file.rows, 0), keysCompared })
  const document = renderReportJson(report)
  await options.before?.('write')
  const written = await writeReportFiles(lake, options.codec, report, document, explained.events.pages())
  await options.before?.('publish')
  const { fingerprint } = read
  const frozen = { report, document, files: written, basis: { days, batch: basis.batch, epoch: basis.epoch, seasonsVersion: basis.seasons.version, fingerprint, rowVersions: rowVersions(basis.parts, days) } }
  await publishReport(database, frozen, explained.events.all())
  options.onStep?.('publish', `${request.kind} ${request.period} version ${report.version}`)
  return { outcome: 'published', version: report.version, batch: basis.batch }
}

type ReadAll = {
  readonly basis: ReportBasis
  readonly days: ClosedPeriod
  readonly newest: ReportVersion | null
  readonly fingerprint: string
  readonly before: ComparedDays
  readonly yearBefore: ComparedDays
  readonly lines: readonly ReportLine[]
}

/** Everything that a report says, in one snapshot. */
async function readAll({ database, booksOpenOn, zone }: ReportOptions, { kind, period }: ReportRequest): Promise<ReadAll | { readonly unchanged: number }> {
  return inTransaction(database, { isolation: 'REPEATABLE READ' }, async (client) => {
    const basis = await readReportBasis(client)
    const days = parseReportPeriod(kind, period, basis.seasons)
    const newest = await findReport(client, kind, period)
    if (newest !== null && newest.epoch > basis.epoch) {
      throw new ConflictError(`Version ${newest.version} stands on batch ${newest.batch}, and an earlier one, batch ${basis.batch}, serves since a roll-back. "tidemark batch resume" and a new batch let reports go on.`, { kind, period })
    }
    if (basis.logicVersion !== basis.storeLogicVersion) {
      throw new ConflictError(`Batch ${basis.batch} was made with "${basis.logicVersion}", and the archive is decoded with "${basis.storeLogicVersion}" now, as after a roll-back. A new batch lets reports go on: "tidemark batch run", after a roll-back "tidemark batch resume" first.`, { kind, period })
    }
    if (basis.batch === 0) throw new InvalidRequestError('No batch has been published yet, and a report stands on one. Run "tidemark batch run" first.')
    const endsAt = endOf(days, zone)
    if (basis.cutAt < endsAt) {
      const what = basis.now < endsAt ? 'The period is not over' : `Batch ${basis.batch} was cut before the period was over`
      throw new InvalidRequestError(`${what}: ${period} ends at ${endsAt.toISOString()}. A report is frozen from a batch that was cut later${basis.now < endsAt ? '.' : '; "tidemark batch run" makes one.'}`, { kind, period })
    }
    if (newest !== null) {
      const sameDays = newest.days.fromDay === days.fromDay && newest.days.toDay === days.toDay
      if (sameDays && newest.rowVersions === rowVersions(basis.parts, days)) return { unchanged: newest.version }
    }
    const fingerprint = await fingerprintOf(client, basis.parts, days)
    if (newest?.fingerprint === fingerprint) return { unchanged: newest.version }
    const { before, yearBefore } = comparedPeriods(kind, period, basis.seasons, parseDay(booksOpenOn)!)
    const lines = await readLines(client, { parts: basis.parts, days, before, yearBefore, seasons: basis.seasons })
    return { basis, days, newest, fingerprint, before, yearBefore, lines }
  })
}

function endOf({ toDay }: ClosedPeriod, zone: string): Date {
  return new Date(openCalendar(zone).instantOf(toDay * dayMs))
}

async function restate(options: ReportOptions, basis: ReportBasis, days: ClosedPeriod, newest: ReportVersion, lines: readonly ReportLine[]): Promise<{ restatement: Restatement; events: RestatingEvents }> {
  const published = await readReport(options.database.pool, newest.kind, newest.period, newest.version)
  const events = openRestatingEvents()
  const sums = openEventSums()
  for await (const explaining of explainingEvents(options.engine, days, newest.epoch)) {
    options.signal.throwIfAborted()
    events.add(explaining.event)
    sums.add(explaining)
  }
  const restated = restatedLines(published.lines, lines)
  const rule = await changedRule(options.database, published, basis, newest, days)
  const restatement: Restatement = {
    ofVersion: newest.version,
    ofBatch: newest.batch,
    ofEpoch: newest.epoch,
    publishedAt: newest.publishedAt.toISOString(),
    causes: causesOf(restated, sums, rule),
    lines: restated,
    eventCount: events.count,
    events: events.first(listedEventsMax),
  }
  return { restatement, events }
}

/** Of several, the one that says most of what no event explains. */
async function changedRule({ pool }: Database, published: Report, basis: ReportBasis, newest: ReportVersion, days: ClosedPeriod): Promise<EventlessReason | null> {
  if (published.receipt.logicVersion !== basis.logicVersion) return 'logic'
  if (await wasAnyAccepted(pool, newest.batch, basis.batch)) return 'accepted batch'
  return newest.days.fromDay !== days.fromDay || newest.days.toDay !== days.toDay ? 'seasons' : null
}

function documentOf(options: ReportOptions, { kind, period }: ReportRequest, read: ReadAll, restatement: Restatement | null, publishedAt: string, archive: { files: number; rowsRead: number; keysCompared: number }): Report {
  const { basis, days, newest, lines } = read
  const compared = ({ period: name, from, to, hasBooks }: ComparedDays): Report['before'] => ({ period: name, from, to, hasBooks })
  return {
    kind,
    period,
    version: (newest?.version ?? 0) + 1,
    from: formatDay(days.fromDay),
    to: formatDay(days.toDay),
    zone: options.zone,
    booksOpenOn: options.booksOpenOn,
    seasonsVersion: basis.seasons.version,
    publishedAt,
    before: compared(read.before),
    yearBefore: compared(read.yearBefore),
    lines,
    receipt: {
      incarnation: basis.incarnation,
      batch: basis.batch,
      epoch: basis.epoch,
      batchPublishedAt: basis.batchPublishedAt.toISOString(),
      logicVersion: basis.logicVersion,
      horizon: basis.horizon,
      asOf: basis.asOfMs === null ? null : new Date(basis.asOfMs).toISOString(),
      crossCheck: basis.crossCheck,
      archiveCheck: { engine: options.engineName, ...archive },
      acceptedLosses: basis.acceptedLosses,
    },
    restatement,
  }
}

export type Refreshed = ReportRequest & ReportOutcome

/**
 * After a publication: a next version of every report whose period the batch changed, oldest first. Resolves to those that got one. One that cannot be made
 * does not hold up the others; it is thrown when all were tried.
 */
export async function refreshReports(options: ReportOptions): Promise<Refreshed[]> {
  const refreshed: Refreshed[] = []
  const { cutAt, seasons } = await readReportBasis(options.database.pool)
  const failures: unknown[] = []
  for (const { kind, period } of (await listReports(options.database.pool)).reverse()) {
    options.signal.throwIfAborted()
    // A season that the table knows no more, or that lasts longer in it than the batch's days, keeps the reports that it has.
    if (kind === 'seasonal' && (!seasons.starts.some(({ name }) => name === period.slice(5)) || cutAt < endOf(parseReportPeriod(kind, period, seasons), options.zone))) continue
    try {
      const outcome = await freezeReport(options, { kind, period })
      if (outcome.outcome === 'published') refreshed.push({ kind, period, ...outcome })
    } catch (thrown) {
      // Another made the version meanwhile.
      if (!(thrown instanceof ConflictError)) failures.push(thrown)
    }
  }
  if (failures.length > 0) throw failures[0]
  return refreshed
}

/** People who ask the query engine themselves find every version of every report under the name `reports`. Does nothing with an engine inside this process. */
export async function shareReports({ database, engine }: Pick<ReportOptions, 'database' | 'engine'>): Promise<void> {
  const share = engine.share?.bind(engine)
  if (share === undefined) return
  await underShareLock(database, async (owner) => {
    const paths = (await readReportFiles(owner)).filter((file) => file.format === 'parquet').map((file) => file.path)
    if (paths.length > 0) await share('reports', paths, reportColumns)
  })
}
