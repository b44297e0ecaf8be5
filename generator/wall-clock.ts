/**
 * The shop's wall clock, by the generator's own means: a table of offsets sampled once from Intl, then plain arithmetic. It shares
 * nothing with core's calendar, so that an error in either shows as a difference between the figures and the truth.
 *
 * Days are numbers (days since 1970-01-01 of the local date). A wall time that happens twice is the first of the two; one that does
 * not exist moves forward by the length of the gap.
 */
import assert from 'node:assert'
import { ConfigError } from '#core/errors.ts'

export const SECOND_MS = 1000
export const HOUR_MS = 3_600_000
export const DAY_MS = 86_400_000
/** Sampling step: no zone has two changes within it that cancel. */
const SAMPLE_MS = DAY_MS / 2

export type ZoneChange = {
  /** First instant with the new offset. */
  readonly atMs: number
  readonly beforeMs: number
  readonly afterMs: number
}

export type CivilDay = { readonly year: number; readonly month: number; readonly dayOfMonth: number; /** Sunday is 0. */ readonly weekday: number }

const TWO_DIGITS: readonly string[] = Array.from({ length: 60 }, (_, n) => String(n).padStart(2, '0'))

function openOffsets(zone: string): (ms: number) => number {
  let format: Intl.DateTimeFormat
  try {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    })
  } catch (cause) {
    throw new ConfigError(`No time zone is called ${JSON.stringify(zone)}; give an IANA name such as Europe/London.`, { zone }, cause)
  }
  return (ms) => {
    const wholeSeconds = Math.floor(ms / SECOND_MS) * SECOND_MS
    const found: Record<string, number> = {}
    for (const part of format.formatToParts(wholeSeconds)) if (part.type !== 'literal') found[part.type] = Number(part.value)
    const { year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0 } = found
    return Date.UTC(year, month - 1, day, hour, minute, second) - wholeSeconds
  }
}

export class WallClock {
  readonly zone: string
  readonly #firstMs: number
  readonly #endMs: number
  readonly #starts: number[] = []
  readonly #offsets: number[] = []
  readonly #dayTexts = new Map<number, string>()
  readonly #dayStarts = new Map<number, number>()
  readonly #changes = new Map<number, ZoneChange>()
  #last = 0

  /** Knows the instants from `firstMs` inclusive to `endMs` exclusive. Throws ConfigError on an unknown zone. */
  constructor(zone: string, firstMs: number, endMs: number) {
    this.zone = zone
    this.#firstMs = firstMs
    this.#endMs = endMs
    const offsetOf = openOffsets(zone)
    let sampledMs = firstMs
    let offset = offsetOf(firstMs)
    this.#starts.push(firstMs)
    this.#offsets.push(offset)
    while (sampledMs < endMs) {
      const nextMs = Math.min(sampledMs + SAMPLE_MS, endMs)
      const following = offsetOf(nextMs)
      if (following !== offset) {
        let before = sampledMs
        let after = nextMs
        while (after - before > 1) {
          const middle = Math.floor((before + after) / 2)
          if (offsetOf(middle) === offset) before = middle
          else after = middle
        }
        this.#starts.push(after)
        this.#offsets.push(following)
        const change = { atMs: after, beforeMs: offset, afterMs: following }
        // At midnight the repeated hour belongs to the day before, the skipped one to the day after.
        this.#changes.set(Math.floor((after + offset) / DAY_MS), change)
        this.#changes.set(Math.floor((after + following) / DAY_MS), change)
        offset = following
      }
      sampledMs = nextMs
    }
  }

  /** Local time minus UTC, in ms. */
  offsetAt(ms: number): number {
    assert(ms >= this.#firstMs && ms < this.#endMs, 'instant outside the clock')
    const starts = this.#starts
    let at = this.#last
    while (at > 0 && (starts[at] ?? 0) > ms) at -= 1
    while (at + 1 < starts.length && (starts[at + 1] ?? Infinity) <= ms) at += 1
    this.#last = at
    return this.#offsets[at] ?? 0
  }

  dayOf(ms: number): number {
    return Math.floor((ms + this.offsetAt(ms)) / DAY_MS)
  }

  hourOf(ms: number): number {
    const localMs = ms + this.offsetAt(ms)
    return Math.floor((localMs - Math.floor(localMs / DAY_MS) * DAY_MS) / HOUR_MS)
  }

  /** The instant of a wall time, given as the epoch ms it would have in UTC. */
  resolve(localMs: number): number {
    const before = this.offsetAt(Math.max(localMs - DAY_MS, this.#firstMs))
    const after = this.offsetAt(Math.min(localMs + DAY_MS, this.#endMs - 1))
    const candidates = [localMs - before, localMs - after].filter((ms) => ms + this.offsetAt(ms) === localMs)
    return candidates.length === 0 ? localMs - before : Math.min(...candidates)
  }

  /** The first instant of a local day; the day before ends there. */
  startOf(day: number): number {
    let startMs = this.#dayStarts.get(day)
    if (startMs === undefined) {
      startMs = this.resolve(day * DAY_MS)
      this.#dayStarts.set(day, startMs)
    }
    return startMs
  }

  /** `YYYY-MM-DD`. */
  dayText(day: number): string {
    let text = this.#dayTexts.get(day)
    if (text === undefined) {
      text = new Date(day * DAY_MS).toISOString().slice(0, 10)
      this.#dayTexts.set(day, text)
    }
    return text
  }

  /** `YYYY-MM-DD HH:MM:SS` of a wall time, given as the epoch ms it would have in UTC. */
  wallText(localMs: number, separator = ' '): string {
    const day = Math.floor(localMs / DAY_MS)
    const seconds = Math.floor((localMs - day * DAY_MS) / SECOND_MS)
    const hour = Math.floor(seconds / 3600)
    const minute = Math.floor(seconds / 60) % 60
    return `${this.dayText(day)}${separator}${TWO_DIGITS[hour] ?? ''}:${TWO_DIGITS[minute] ?? ''}:${TWO_DIGITS[seconds % 60] ?? ''}`
  }

  /** The change of offset that repeats or skips a part of a local day, if any. */
  changeOn(day: number): ZoneChange | null {
    return this.#changes.get(day) ?? null
  }
}

export function civilOf(day: number): CivilDay {
  const date = new Date(day * DAY_MS)
  return { year: date.getUTCFullYear(), month: date.getUTCMonth() + 1, dayOfMonth: date.getUTCDate(), weekday: date.getUTCDay() }
}
