/**
 * The schedules on BullMQ. A firing only asks: the run ledger in PostgreSQL says what is due, so a missed, doubled or late firing is harmless. A queue that
 * lost its schedules (Redis was emptied, or came back without its file) gets them again within a minute; and each minute what is due is asked for, whoever
 * fired or failed.
 */
import { setTimeout as wait } from 'node:timers/promises'
import type { Seasons } from '#core/period.ts'
import type { Jobs } from './jobs.ts'

export const nightlyId = 'nightly'
export const archiveId = 'archive'
const askJob = 'ask'
const watchIntervalMsDefault = 60_000

/** `pattern` is cron with seconds, in the shop's zone. */
export type Schedule = { readonly id: string; readonly pattern: string }

export type ScheduleOptions = {
  readonly jobs: Jobs
  /** Read at each look: the table of seasons may change. */
  readonly schedules: () => Promise<readonly Schedule[]>
  readonly zone: string
  /** Does what is due, if anything; runs at most once at a time in this process. */
  readonly ask: () => Promise<void>
  /** Whether anything is due; at each look, also while the queue is away. */
  readonly isDue?: () => Promise<boolean>
  readonly onError: (thrown: unknown) => void
  readonly watchIntervalMs?: number
}

/** Every day at `HH:MM`. */
export function nightlyPattern(nightlyAt: string): string {
  return at(nightlyAt, '* * *')
}

/** When each kind of work is asked for. A report's day is that of the night after its period's end; a table of seasons may ask on a few days too many. */
export function batchSchedules(nightlyAt: string, seasons: Seasons): Schedule[] {
  const distinct = (numbers: readonly number[]): string => [...new Set(numbers)].sort((a, b) => a - b).join(',')
  const seasonDays = distinct(seasons.starts.map(({ firstDay }) => firstDay))
  const seasonMonths = distinct(seasons.starts.map(({ firstMonth }) => firstMonth))
  return [
    { id: nightlyId, pattern: nightlyPattern(nightlyAt) },
    { id: 'monthly', pattern: at(nightlyAt, '1 * *') },
    { id: 'quarterly', pattern: at(nightlyAt, '1 1,4,7,10 *') },
    { id: 'seasonal', pattern: at(nightlyAt, `${seasonDays} ${seasonMonths} *`) },
    { id: 'yearly', pattern: at(nightlyAt, '1 1 *') },
  ]
}

/** Cron has no steps across minutes or hours: longer intervals are whole minutes, then whole hours, rounded up to what divides the hour or the day. */
export function archivePattern(everySeconds: number): string {
  if (everySeconds <= 30) return `*/${stepOf(everySeconds, 60)} * * * * *`
  if (everySeconds <= 1_800) return `0 */${stepOf(Math.ceil(everySeconds / 60), 60)} * * * *`
  return `0 0 */${stepOf(Math.ceil(everySeconds / 3_600), 24)} * * *`
}

function stepOf(wanted: number, whole: number): number {
  for (let step = Math.max(1, wanted); step < whole; step++) if (whole % step === 0) return step
  return whole
}

function at(nightlyAt: string, days: string): string {
  const [hour, minute] = nightlyAt.split(':').map(Number)
  return `0 ${minute} ${hour} ${days}`
}

/**
 * Keeps the schedules registered, asks once at the start (a night may have been missed), each time that the schedules were lost, and while anything is due;
 * and works, until aborted. The queue may be away at any time: what is due is then asked for when it is back.
 */
export async function runSchedule(options: ScheduleOptions, signal: AbortSignal): Promise<void> {
  const { jobs, zone, ask, onError } = options
  jobs.work(ask)
  let isAsked = false
  while (!signal.aborted) {
    try {
      // Before the queue is spoken to: the look records what a period's end asks for, whether the queue is there or not.
      const isDue = (await options.isDue?.()) === true
      const wereThere = await jobs.ensureSchedulers(await options.schedules(), zone)
      if (!wereThere) isAsked = false
      if (isDue || !isAsked) await jobs.askOnce(askJob)
      isAsked = true
    } catch (thrown) {
      if (!signal.aborted) onError(thrown)
    }
    await wait(options.watchIntervalMs ?? watchIntervalMsDefault, undefined, { signal }).catch(() => undefined)
  }
}
