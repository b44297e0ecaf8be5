/**
 * The nightly schedule on BullMQ. A firing only asks: the run ledger in PostgreSQL says whether the night that is due has had its batch, so a missed,
 * doubled or late firing is harmless. A queue that lost its schedules (Redis was emptied, or came back without its file) gets them again within a minute.
 */
import { setTimeout as wait } from 'node:timers/promises'
import { dayMs, formatDay } from '#core/calendar.ts'
import type { ZoneCalendar } from '#core/calendar.ts'
import type { Jobs } from './jobs.ts'

export const schedulerId = 'nightly'
const askJob = 'ask'
const watchIntervalMsDefault = 60_000

export type ScheduleOptions = {
  readonly jobs: Jobs
  /** Cron with seconds, in the shop's zone. */
  readonly pattern: string
  readonly zone: string
  /** Does what is due, if anything; runs at most once at a time in this process. */
  readonly ask: () => Promise<void>
  readonly onError: (thrown: unknown) => void
  readonly watchIntervalMs?: number
}

/** The local day whose nightly batch is due at an instant: the day before until `nightlyAt`, then this one. */
export function dueNight(calendar: ZoneCalendar, nightlyAt: string, nowMs: number): string {
  const [hour = 0, minute = 0] = nightlyAt.split(':').map(Number)
  const today = Math.floor((nowMs + calendar.offsetMs(nowMs)) / dayMs)
  const due = calendar.instantOf(today * dayMs + (hour * 60 + minute) * 60_000)
  return formatDay(nowMs >= due ? today : today - 1)
}

/** Every day at `HH:MM`. */
export function nightlyPattern(nightlyAt: string): string {
  const [hour, minute] = nightlyAt.split(':').map(Number)
  return `0 ${minute} ${hour} * * *`
}

/**
 * Keeps the schedule registered, asks once at the start (a night may have been missed) and each time that the schedule was lost, and works, until aborted.
 * The queue may be away at any time: what is due is then asked for when it is back.
 */
export async function runSchedule(options: ScheduleOptions, signal: AbortSignal): Promise<void> {
  const { jobs, pattern, zone, ask, onError } = options
  jobs.work(ask)
  let isAsked = false
  while (!signal.aborted) {
    try {
      if ((await jobs.nextRunMs(schedulerId)) === null) isAsked = false
      await jobs.ensureScheduler(schedulerId, pattern, zone, askJob)
      if (!isAsked) await jobs.add(askJob)
      isAsked = true
    } catch (thrown) {
      if (!signal.aborted) onError(thrown)
    }
    await wait(options.watchIntervalMs ?? watchIntervalMsDefault, undefined, { signal }).catch(() => undefined)
  }
}
