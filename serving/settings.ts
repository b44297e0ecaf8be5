/** What the serving layer is told by the command that starts it. */
import { dayMs, openCalendar } from '#core/calendar.ts'

export type ServingSettings = {
  /** IANA zone of the shop's days. */
  readonly zone: string
  readonly currency: string
  /** `YYYY-MM-DD`, or null where no report is due before any day. */
  readonly booksOpenOn: string | null
  /** How long after its end a period has no report yet; an hour by default. */
  readonly reportGraceMs?: number
  /** Of the program. */
  readonly version: string
  readonly ledgerIdsMax: number
  /** Requests a minute of one address; without it, only the bound on answers in flight holds. */
  readonly requestsPerMinuteMax?: number
}

/** UTC milliseconds. */
export type Clock = () => number

/** The shop's local day now, in days since 1970-01-01. Only for which day a page shows: no clock decides about an event. */
export function openToday(zone: string, clock: Clock): () => number {
  const calendar = openCalendar(zone)
  return () => {
    const nowMs = clock()
    return Math.floor((nowMs + calendar.offsetMs(nowMs)) / dayMs)
  }
}
