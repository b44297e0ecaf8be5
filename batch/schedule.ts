/**
 * The nightly schedule on BullMQ. A firing only asks: the run ledger in PostgreSQL says whether the night that is due has had its batch, so a missed,
 * doubled or late firing is harmless.
 */
import type { Job } from 'bullmq'
import { createPostgresBackend, withBackend } from 'bullmq'
import pg from 'pg'
import { dayMs, formatDay } from '#core/calendar.ts'
import type { ZoneCalendar } from '#core/calendar.ts'

const queueName = 'tidemark-batch'
const schedulerId = 'nightly'
const askJob = 'ask'
/** BullMQ's answer when several instances register one scheduler at once (its PostgreSQL backend): the scheduler is there all the same. */
const schedulerRaceCode = -10
const registerLock = 'tidemark batch schedule'

export type ScheduleOptions = {
  readonly connectionString: string
  readonly schema: string
  /** `HH:MM` in the shop's zone. */
  readonly nightlyAt: string
  readonly zone: string
  /** Does what is due, if anything; runs at most once at a time in this process. */
  readonly ask: () => Promise<void>
  readonly onError: (thrown: unknown) => void
}

/** The local day whose nightly batch is due at an instant: the day before until `nightlyAt`, then this one. */
export function dueNight(calendar: ZoneCalendar, nightlyAt: string, nowMs: number): string {
  const [hour = 0, minute = 0] = nightlyAt.split(':').map(Number)
  const today = Math.floor((nowMs + calendar.offsetMs(nowMs)) / dayMs)
  const due = calendar.instantOf(today * dayMs + (hour * 60 + minute) * 60_000)
  return formatDay(nowMs >= due ? today : today - 1)
}

/** Registers the schedule, asks once at the start (a night may have been missed), and works until disposed. */
export async function openSchedule(options: ScheduleOptions): Promise<AsyncDisposable> {
  const { Queue, Worker } = withBackend(createPostgresBackend)
  const connection = { connectionString: options.connectionString, schema: options.schema, migrate: true }
  await using opening = new AsyncDisposableStack()
  const queue = opening.adopt(new Queue(queueName, { connection }), (opened) => opened.close())
  queue.on('error', options.onError)
  await registerOnce(options, async () => {
    const [hour, minute] = options.nightlyAt.split(':').map(Number)
    try {
      await queue.upsertJobScheduler(schedulerId, { pattern: `0 ${minute} ${hour} * * *`, tz: options.zone }, { name: askJob, opts: { removeOnComplete: 100, removeOnFail: 100 } })
    } catch (thrown) {
      if ((thrown as { code?: unknown }).code !== schedulerRaceCode || (await queue.getJobScheduler(schedulerId)) === undefined) throw thrown
    }
  })
  const worker = opening.adopt(
    new Worker(queueName, async (_job: Job) => options.ask(), { connection, concurrency: 1 }),
    (opened) => opened.close(),
  )
  worker.on('error', options.onError)
  worker.on('failed', (_job, error) => options.onError(error))
  await queue.add(askJob, {}, { removeOnComplete: 100, removeOnFail: 100 })
  return opening.move()
}

/** One instance registers at a time. */
async function registerOnce(options: ScheduleOptions, register: () => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: options.connectionString, application_name: 'tidemark schedule' })
  await client.connect()
  try {
    await client.query('SELECT pg_advisory_lock(hashtext($1))', [`${registerLock} ${options.schema}`])
    await register()
  } finally {
    await client.end()
  }
}
