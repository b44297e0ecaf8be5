/** The schedules on an environment: what the batch layer does when it is asked, and the queues that ask it. */
import type { AskOptions, AskTerms, Work } from '#batch/ask.ts'
import { doWhatIsDue, lookAhead } from '#batch/ask.ts'
import type { JobsOptions, QueueName } from '#batch/jobs.ts'
import { openJobs, queueNames } from '#batch/jobs.ts'
import { batchSchedules, runSchedule } from '#batch/schedule.ts'
import { openCalendar, parseDay } from '#core/calendar.ts'
import { readSeasons } from '#store/seasons.ts'
import { runBatchAndTidy } from './batch-layer.ts'
import type { Environment } from './environment.ts'
import { transactionsTopic } from './environment.ts'
import type { Logger } from './logger.ts'
import type { Settings } from './settings.ts'

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

export function jobsOptions(settings: Settings, databaseUrl: string, queue: QueueName = queueNames[0]): JobsOptions {
  return { url: settings.jobsUrl === '' ? databaseUrl : settings.jobsUrl, namespace: `${settings.schema}_jobs`, queue }
}

/** All that can be done about what is due. */
export function batchWork(environment: Environment, say: AskOptions['say']): Work {
  return {
    logEnds: async () => (await (await environment.log()).bounds(transactionsTopic)).end,
    async runBatch(signal) {
      const { outcome, pruned, orphans } = await runBatchAndTidy(environment, signal, { onStep: (step, detail) => say({ step }, detail) })
      say({ batch: outcome.batch.batch, pruned: pruned.batches, orphans: orphans.length }, 'batch published')
      return { batch: outcome.batch.batch, outcome: outcome.crossCheck.summary.result }
    },
  }
}

/** Registers the schedules and does what is due, until aborted. */
export async function workOnSchedules(environment: Environment, signal: AbortSignal, logger: Logger): Promise<void> {
  const { settings, database, databaseUrl } = environment
  const say = (fields: object, text: string): void => logger.info(fields, text)
  const onError = (thrown: unknown): void => logger.error({ err: thrown }, 'what is due will be asked for again')
  const asking: AskOptions = { terms: askTerms(environment), work: batchWork(environment, say), say }
  await using jobs = openJobs(jobsOptions(settings, databaseUrl), onError)
  await runSchedule(
    {
      jobs,
      schedules: async () => batchSchedules(settings.nightlyAt, await readSeasons(database.pool)),
      zone: settings.zone,
      ask: () => doWhatIsDue(asking, signal),
      isDue: () => lookAhead(asking),
      onError,
    },
    signal,
  )
}
