/** Metrics of the batch layer: its runs by kind, what the last batch found, the archive's files, and reports that are missing. Read at each scrape. */
import type { Registry } from 'prom-client'
import { Counter, Gauge } from 'prom-client'
import { dayMs, openCalendar, parseDay } from '#core/calendar.ts'
import { closedReportPeriods, reportKinds } from '#core/report/periods.ts'
import { readArchiveTotals } from '#store/archive-totals.ts'
import { readLastCheck, readMadePeriods } from '#store/batch-measures.ts'
import type { Database } from '#store/database.ts'
import { failed, readLatestRuns, running } from '#store/job-runs.ts'
import { readPublished } from '#store/log-ends.ts'
import { readSeasons } from '#store/seasons.ts'
import type { Clock, ServingSettings } from './settings.ts'

export type BatchMetricsOptions = { readonly database: Database; readonly clock: Clock; readonly settings: Pick<ServingSettings, 'zone' | 'booksOpenOn' | 'reportGraceMs'> }

const reportGraceMsDefault = 3_600_000

/** Resolves to whether the database answered; without it the metrics stay as they were. */
export function registerBatchMetrics(registry: Registry, { database, clock, settings }: BatchMetricsOptions): () => Promise<boolean> {
  const registers = [registry]
  const gauge = (name: string, help: string, labelNames: readonly string[] = []): Gauge => new Gauge({ name: `tidemark_${name}`, help, labelNames: [...labelNames], registers })
  const counter = (name: string, help: string): Counter => new Counter({ name: `tidemark_archive_${name}_total`, help, labelNames: ['kind'], registers })

  const lastSuccess = gauge('job_last_success_timestamp_seconds', 'When the newest run of the kind that ended well ended.', ['kind'])
  const lastDuration = gauge('job_last_duration_seconds', 'How long that run took.', ['kind'])
  const failing = gauge('job_failing', '1 where the newest run of the kind failed.', ['kind'])
  const attempts = gauge('job_attempts', 'Attempts of the newest run of the kind.', ['kind'])
  const isRunning = gauge('job_running', '1 while a run of the kind is claimed.', ['kind'])
  const lastPeriod = gauge('report_last_period_end_timestamp_seconds', 'End of the newest period that has a report: midnight of the local day as if it were UTC.', ['kind'])
  const missing = gauge('reports_missing', 'Closed periods whose grace is over and that have no report.', ['kind'])
  const eventsRead = gauge('batch_last_events_read', 'Rows of the archive that the newest cross-checked batch read.')
  const eventsCounted = gauge('batch_last_events_counted', 'Of those, events that count.')
  const duration = gauge('batch_last_duration_seconds', 'How long that batch took, or takes.')
  const differences = gauge('batch_last_cross_check_differences', 'Keys in which that batch and the live figures differed.')
  const corrections = gauge('batch_last_corrections', 'Corrections that stated rules explained.')
  const held = gauge('batch_last_held', '1 where that batch is held, and a person decides.')
  const archive = {
    runs: counter('runs', 'Runs of the archiver that registered files.'),
    files: counter('files', 'Files registered.'),
    rows: counter('rows', 'Rows of those files.'),
    bytes: counter('bytes', 'Bytes of those files.'),
  }
  const archiveLast = {
    files: gauge('archive_last_files', 'Files of the newest run.', ['kind']),
    rows: gauge('archive_last_rows', 'Rows of the newest run.', ['kind']),
    bytes: gauge('archive_last_bytes', 'Bytes of the newest run.', ['kind']),
  }
  const archiveDuration = gauge('archive_last_duration_seconds', 'How long the newest run took.', ['kind'])
  const archiveAt = gauge('archive_last_timestamp_seconds', 'When the newest run ended.', ['kind'])
  const calendar = openCalendar(settings.zone)

  async function fillRuns(): Promise<void> {
    const latest = await readLatestRuns(database.pool)
    for (const metric of [lastSuccess, lastDuration, failing, attempts, isRunning]) metric.reset()
    for (const [kind, { last, lastSuccess: success }] of latest) {
      failing.set({ kind }, last.outcome === failed ? 1 : 0)
      isRunning.set({ kind }, last.outcome === running ? 1 : 0)
      attempts.set({ kind }, last.attempts)
      if (success === null || success.finishedAt === null) continue
      lastSuccess.set({ kind }, success.finishedAt.getTime() / 1000)
      lastDuration.set({ kind }, (success.finishedAt.getTime() - success.startedAt.getTime()) / 1000)
    }
  }

  async function fillReports(): Promise<void> {
    const booksOpenDay = settings.booksOpenOn === null ? null : parseDay(settings.booksOpenOn)
    const [made, published, seasons] = await Promise.all([readMadePeriods(database.pool), readPublished(database.pool, '', booksOpenDay ?? 0), readSeasons(database.pool)])
    const endedMs = clock() - (settings.reportGraceMs ?? reportGraceMsDefault)
    const endedDay = Math.floor((endedMs + calendar.offsetMs(endedMs)) / dayMs)
    const known = new Set(made.map(({ kind, period }) => `${kind} ${period}`))
    const { firstDay } = published
    lastPeriod.reset()
    for (const kind of reportKinds) {
      const closed = firstDay === null || booksOpenDay === null ? [] : closedReportPeriods(kind, Math.max(booksOpenDay, firstDay), endedDay, seasons)
      missing.set({ kind }, closed.filter(({ period }) => !known.has(`${kind} ${period}`)).length)
      const ends = made.filter((one) => one.kind === kind).map(({ toDay }) => toDay)
      if (ends.length > 0) lastPeriod.set({ kind }, (Math.max(...ends) * dayMs) / 1000)
    }
  }

  async function fillBatch(): Promise<void> {
    const check = await readLastCheck(database.pool)
    if (check === null) return
    eventsRead.set(check.eventsRead)
    eventsCounted.set(check.eventsCounted)
    duration.set(check.durationSeconds)
    differences.set(check.keysDiffering)
    corrections.set(check.corrections)
    held.set(check.isHeld ? 1 : 0)
  }

  async function fillArchive(): Promise<void> {
    const totals = await readArchiveTotals(database.pool)
    for (const metric of Object.values(archive)) metric.reset()
    for (const { kind, runs, files, rows, bytes, last, lastAt } of totals) {
      archive.runs.inc({ kind }, runs)
      archive.files.inc({ kind }, files)
      archive.rows.inc({ kind }, rows)
      archive.bytes.inc({ kind }, bytes)
      archiveLast.files.set({ kind }, last.files)
      archiveLast.rows.set({ kind }, last.rows)
      archiveLast.bytes.set({ kind }, last.bytes)
      archiveDuration.set({ kind }, last.durationMs / 1000)
      archiveAt.set({ kind }, lastAt.getTime() / 1000)
    }
  }

  return async () => {
    const filled = await Promise.allSettled([fillRuns(), fillReports(), fillBatch(), fillArchive()])
    return filled.every(({ status }) => status === 'fulfilled')
  }
}
