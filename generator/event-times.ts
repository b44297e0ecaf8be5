/**
 * When an event happened, given the moment it reaches the log: seconds ago as a rule; days or months ago (late); a little ahead (a wrong
 * clock); on the edge of a day; or in the hour that a change of clocks skips or repeats. Ahead stays below the 24 hours that are refused.
 */
import type { Profile } from './profiles.ts'
import type { Random } from './random.ts'
import type { WallClock, ZoneChange } from './wall-clock.ts'
import { DAY_MS, HOUR_MS, SECOND_MS } from './wall-clock.ts'

export type TimeOfEvent = {
  readonly eventMs: number
  /** Wall time as the epoch ms it would have in UTC; a time that does not exist where the line is to say one. */
  readonly wallMs: number
  readonly day: number
}

const TRANSPORT_MS_MAX = 4000
const LATE_MS_MAX = 3 * DAY_MS
/** An event is late when its day ended more than an hour ago; a second more keeps whole seconds clear of the bound. */
const LATE_AFTER_MS = HOUR_MS + SECOND_MS
const CHANGE_NIGHT_SHARE = 0.05

export class TimePicker {
  readonly #profile: Profile
  readonly #clock: WallClock
  readonly #random: Random
  readonly #firstMs: number

  /** No event happens before `firstMs`. */
  constructor(profile: Profile, clock: WallClock, random: Random, firstMs: number) {
    this.#profile = profile
    this.#clock = clock
    this.#random = random
    this.#firstMs = firstMs
  }

  /** `wholeSeconds`: as a CSV line can say it. */
  draw(momentMs: number, wholeSeconds: boolean): TimeOfEvent {
    const profile = this.#profile
    const random = this.#random
    if (profile.edgeShare > 0) {
      const change = this.#clock.changeOn(this.#clock.dayOf(momentMs))
      if (change !== null && random.chance(CHANGE_NIGHT_SHARE)) return this.#atChange(change, wholeSeconds)
    }
    const lot = random.unit()
    let share = profile.lateShare
    if (lot < share) return this.#tell(this.#lateBefore(momentMs), wholeSeconds)
    if (lot < (share += profile.monthsLateShare)) return this.#tell(momentMs - random.between(30, 150) * DAY_MS, wholeSeconds)
    if (lot < (share += profile.aheadShare)) {
      return this.#tell(momentMs + (random.chance(0.8) ? random.below(5 * 60 * SECOND_MS) : random.below(20 * HOUR_MS)), wholeSeconds)
    }
    if (lot < share + profile.edgeShare) {
      const midnightMs = this.#clock.startOf(this.#clock.dayOf(momentMs))
      return this.#tell(random.chance(0.5) ? midnightMs : midnightMs - 1, wholeSeconds)
    }
    return this.#tell(momentMs - random.below(TRANSPORT_MS_MAX), wholeSeconds)
  }

  /** A plain instant. */
  at(momentMs: number): TimeOfEvent {
    return this.#tell(momentMs, true)
  }

  /** Up to three days ago, on a day that is over for more than an hour. Now, where there is no such day since `firstMs`. */
  #lateBefore(momentMs: number): number {
    const clock = this.#clock
    const earliestMs = Math.max(momentMs - LATE_MS_MAX, this.#firstMs)
    const endMs = clock.startOf(clock.dayOf(Math.max(momentMs - LATE_AFTER_MS, earliestMs)))
    return endMs > earliestMs ? earliestMs + this.#random.below(endMs - earliestMs) : momentMs
  }

  /** Around the change: before and after it, and in a line also at times that the clocks skip. */
  #atChange(change: ZoneChange, wholeSeconds: boolean): TimeOfEvent {
    const spanMs = Math.abs(change.afterMs - change.beforeMs)
    if (wholeSeconds && change.afterMs > change.beforeMs) {
      return this.#tellWall(change.atMs + change.beforeMs + this.#random.below(spanMs))
    }
    return this.#tell(change.atMs - spanMs + this.#random.below(2 * spanMs), wholeSeconds)
  }

  #tell(ms: number, wholeSeconds: boolean): TimeOfEvent {
    const clock = this.#clock
    const eventMs = Math.max(ms, this.#firstMs)
    const wallMs = eventMs + clock.offsetAt(eventMs)
    const day = Math.floor(wallMs / DAY_MS)
    if (!wholeSeconds) return { eventMs, wallMs, day }
    if (clock.changeOn(day) !== null) return this.#tellWall(wallMs)
    const fractionMs = wallMs - Math.floor(wallMs / SECOND_MS) * SECOND_MS
    return { eventMs: eventMs - fractionMs, wallMs: wallMs - fractionMs, day }
  }

  /** A wall time as it is read back: skipped times move forward, repeated ones are the first. */
  #tellWall(anyWallMs: number): TimeOfEvent {
    const clock = this.#clock
    const wallMs = Math.floor(anyWallMs / SECOND_MS) * SECOND_MS
    const eventMs = clock.resolve(wallMs)
    return { eventMs, wallMs, day: clock.dayOf(eventMs) }
  }
}
