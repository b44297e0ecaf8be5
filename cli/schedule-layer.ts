/** The schedules on an environment: what the batch layer does when it is asked, and the queues that ask it. */
import type { AskOptions, AskTerms, Work } from '#batch/ask.ts'
import { doWhatIsDue, lookAhead } from '#batch/ask.ts'
import type { Abilities } from '#batch/due.ts'
import { archiveCommitted } from '#batch/archive.ts'
import { compactArchive } from '#batch/compact.ts'
import { openJobs } from '#batch/jobs.ts'
import { freezeReport, refreshReports, shareReports } from '#batch/reports.ts'
import type { Schedule } from '#batch/schedule.ts'
import { archiveId, archivePattern, batchSchedules, runSchedule } from '#batch/schedule.ts'
import { openCalendar, parseDay } from '#core/calendar.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { readArchiveBacklog } from '#store/register.ts'
import { readSeasons } from '#store/seasons.ts'
import { runBatchAndTidy } from './batch-layer.ts'
import type { Environment } from './environment.ts'
import { transactionsTopic } from './environment.ts'
import { jobsOptions } from './job-queues.ts'
import type { Logger } from './logger.ts'
import { deliverNew, isAnythingToDeliver } from './report-delivery.ts'
import { sleep } from './process-control.ts'
import { reportOptions } from './report-layer.ts'

export function askTerms({ settings, database }: Pick<Environment, 'settings' | 'database'>): AskTerms {
  return {
    database,
    topic: transactionsTopic,
    calendar: openCalendar(settings.zone),
    nightlyAt: settings.nightlyAt,
    graceMs: settings.reportGraceMinutes * 60_000,
    booksOpenDay: parseDay(settings.booksOpenOn)!,
  }
}

/** Closed while a batch archives, or another call of ours: two archivers of one process would write the same files, and only one of each would be kept. */
type ArchiveGate = { isClosed: boolean; isArchiving?: boolean }

/** All that can be done about what is due. */
export function batchWork(environment: Environment, say: AskOptions['say'], gate: ArchiveGate = { isClosed: false }): Work {
  // Whether people who ask the query engine themselves find the newest versions. A worker of before may have ended between publishing one and telling.
  let isShared = false
  return {
    logEnds: async () => (await (await environment.log()).bounds(transactionsTopic)).end,
    async runBatch(signal) {
      gate.isClosed = true
      const before = async (step: string): Promise<void> => {
        if (step === 'recompute') gate.isClosed = false
      }
      const { outcome, pruned, orphans } = await runBatchAndTidy(environment, signal, { onStep: (step, detail) => say({ step }, detail), before }).finally(() => (gate.isClosed = false))
      say({ batch: outcome.batch.batch, pruned: pruned.batches, orphans: orphans.length }, 'batch published')
      return { batch: outcome.batch.batch, outcome: outcome.crossCheck.summary.result }
    },
    async freezeReport(kind, period, signal) {
      const made = await freezeReport(await reportOptions(environment, signal), { kind, period })
      if (made.outcome === 'published') isShared = false
      return made
    },
    async restateReports(signal) {
      const restated = await refreshReports(await reportOptions(environment, signal))
      if (restated.length > 0) isShared = false
      for (const { kind, period, version } of restated) say({ kind, period, version }, 'report restated')
    },
    async compact(signal) {
      const { database, settings } = environment
      const { merged, waitsFor } = await compactArchive({ database, lake: await environment.lake(), engine: await environment.queryEngine(), codec: parquetCodec, fileOffsetsMax: settings.fileOffsetsMax, signal })
      if (waitsFor !== null) return { outcome: `left to batch ${waitsFor}` }
      return { outcome: merged.length === 0 ? 'nothing to merge' : `${merged.reduce((files, { from }) => files + from.length, 0)} files into ${merged.length}` }
    },
    async deliver(signal) {
      // First: a query engine that is away must not hold up the mail.
      await deliverNew(environment, signal, say)
      if (!isShared) await shareReports({ database: environment.database, engine: await environment.queryEngine() })
      isShared = true
    },
  }
}

/** What of the above can be due, for those who only ask. */
export const scheduledWork: Abilities = { reports: true, restates: true, compacts: true }

const backlogIntervalMs = 5_000

/** Files what is counted, in a queue of its own beside the batches; without the query engine, which belongs to them. */
async function archive(environment: Environment, gate: ArchiveGate, signal: AbortSignal): Promise<void> {
  if (gate.isClosed || gate.isArchiving === true) return
  const { database, decoder, settings } = environment
  gate.isArchiving = true
  try {
    await archiveCommitted({ database, log: await environment.log(), lake: await environment.lake(), codec: parquetCodec, decoder, fileOffsetsMax: settings.fileOffsetsMax, signal })
  } finally {
    gate.isArchiving = false
  }
}

/** A file's worth that is counted and not archived does not wait for the clock. */
async function archiveBySize(environment: Environment, gate: ArchiveGate, signal: AbortSignal, onError: (thrown: unknown) => void): Promise<void> {
  while (!signal.aborted) {
    await sleep(backlogIntervalMs, signal)
    try {
      if ((await readArchiveBacklog(environment.database.pool)) >= environment.settings.fileOffsetsMax) await archive(environment, gate, signal)
    } catch (thrown) {
      if (!signal.aborted) onError(thrown)
    }
  }
}

/** Registers the schedules and does what is due, until aborted. */
export async function workOnSchedules(environment: Environment, signal: AbortSignal, logger: Logger): Promise<void> {
  const { settings, database, databaseUrl } = environment
  const say = (fields: object, text: string): void => logger.info(fields, text)
  const onError = (thrown: unknown): void => logger.error({ err: thrown }, 'what is due will be asked for again')
  const gate: ArchiveGate = { isClosed: false }
  const asking: AskOptions = { terms: askTerms(environment), work: batchWork(environment, say, gate), say }
  const onArchiveError = (thrown: unknown): void => logger.error({ err: thrown }, 'what is counted will be archived a little later')
  const archiving: Schedule = { id: archiveId, pattern: archivePattern(settings.archiveEverySeconds) }
  const { zone } = settings
  await using jobs = openJobs(jobsOptions(settings, databaseUrl), onError)
  await using archiveJobs = openJobs(jobsOptions(settings, databaseUrl, 'tidemark-archive'), onArchiveError)
  await Promise.all([
    runSchedule({ jobs, zone, schedules: async () => batchSchedules(settings.nightlyAt, await readSeasons(database.pool)), ask: () => doWhatIsDue(asking, signal), isDue: async () => (await lookAhead(asking)) || isAnythingToDeliver(environment), onError }, signal),
    runSchedule({ jobs: archiveJobs, zone, schedules: async () => [archiving], ask: () => archive(environment, gate, signal), onError: onArchiveError }, signal),
    archiveBySize(environment, gate, signal, onArchiveError),
  ])
}
