/**
 * When the shop sells: quiet nights and busy evenings, weekends, seasons, and the peak of Black Friday to Cyber Monday. Weights are small
 * tables; moments come from their cumulative sum, so they rise by themselves and need no sorting.
 */
import assert from 'node:assert'
import { Random, hashText } from './random.ts'
import type { WallClock } from './wall-clock.ts'
import { HOUR_MS, civilOf } from './wall-clock.ts'

const HOUR_WEIGHTS = [8, 5, 3, 2, 2, 4, 9, 18, 30, 40, 46, 52, 60, 56, 50, 48, 52, 64, 82, 98, 100, 84, 52, 22]
/** Weekends wake up later and shop all day. */
const WEEKEND_HOUR_WEIGHTS = [12, 8, 5, 3, 2, 3, 5, 12, 26, 48, 72, 88, 92, 90, 86, 84, 84, 86, 88, 90, 88, 72, 46, 24]
const WEEKDAY_WEIGHTS = [116, 88, 86, 90, 98, 112, 124]
const MONTH_WEIGHTS = [86, 82, 90, 94, 98, 96, 94, 92, 98, 102, 120, 138]
const BLACK_FRIDAY_WEIGHTS: Readonly<Record<number, number>> = { 0: 4.2, 1: 2.6, 2: 2.4, 3: 3.1 }

/** Days since Black Friday, the day after the fourth Thursday of November; 0 on the day, null when further than three days. */
export function daysSinceBlackFriday(day: number): number | null {
  for (let since = 0; since <= 3; since += 1) {
    const { month, dayOfMonth, weekday } = civilOf(day - since)
    if (month === 11 && weekday === 5 && dayOfMonth >= 23 && dayOfMonth <= 29) return since
  }
  return null
}

function dayWeight(day: number, seed: number): number {
  const { month, dayOfMonth, weekday } = civilOf(day)
  const peak = BLACK_FRIDAY_WEIGHTS[daysSinceBlackFriday(day) ?? -1] ?? 1
  const christmas = month === 12 && dayOfMonth >= 24 ? 0.45 : 1
  const weather = 0.88 + new Random(seed, `weather of day ${day}`).unit() * 0.24
  return (WEEKDAY_WEIGHTS[weekday] ?? 0) * (MONTH_WEIGHTS[month - 1] ?? 0) * peak * christmas * weather
}

export class Pace {
  readonly #fromMs: number
  readonly #toMs: number
  /** Weight up to the end of each hour from `fromMs` on. */
  readonly #cumulative: Float64Array
  #hour = 0

  constructor(clock: WallClock, seed: number, fromMs: number, toMs: number, story: boolean) {
    this.#fromMs = fromMs
    this.#toMs = toMs
    this.#cumulative = new Float64Array(Math.ceil((toMs - fromMs) / HOUR_MS))
    const days = new Map<number, number>()
    let sum = 0
    for (let i = 0; i < this.#cumulative.length; i += 1) {
      const startMs = fromMs + i * HOUR_MS
      const lengthMs = Math.min(HOUR_MS, toMs - startMs)
      let weight = 1
      if (story) {
        const day = clock.dayOf(startMs)
        let ofDay = days.get(day)
        if (ofDay === undefined) {
          ofDay = dayWeight(day, seed)
          days.set(day, ofDay)
        }
        const { weekday } = civilOf(day)
        const hours = weekday === 0 || weekday === 6 ? WEEKEND_HOUR_WEIGHTS : HOUR_WEIGHTS
        weight = ofDay * (hours[clock.hourOf(startMs)] ?? 0)
      }
      sum += (weight * lengthMs) / HOUR_MS
      this.#cumulative[i] = sum
    }
  }

  /** The moment by which so much of the whole is sold, whole ms. `share` is 0 to below 1 and never falls from call to call. */
  momentAt(share: number): number {
    const cumulative = this.#cumulative
    const wanted = share * (cumulative[cumulative.length - 1] ?? 0)
    while (this.#hour < cumulative.length - 1 && (cumulative[this.#hour] ?? 0) <= wanted) this.#hour += 1
    const before = this.#hour === 0 ? 0 : (cumulative[this.#hour - 1] ?? 0)
    const within = (cumulative[this.#hour] ?? 0) - before
    assert(within > 0)
    const startMs = this.#fromMs + this.#hour * HOUR_MS
    const lengthMs = Math.min(HOUR_MS, this.#toMs - startMs)
    return Math.min(this.#toMs - 1, startMs + Math.floor(((wanted - before) / within) * lengthMs))
  }
}

const DAYS_BEFORE_OUTAGE_MIN = 7

export type Outage = { readonly city: string; readonly day: number }

/** The story's bad day: one city sells nothing, three to six weeks before the end. Null where the range is too short. */
export function planOutage(cities: readonly string[], clock: WallClock, seed: number, fromMs: number, toMs: number): Outage | null {
  const day = clock.dayOf(toMs - 1) - 21 - (hashText(`outage ${seed}`) % 22)
  const city = cities[2]
  return city === undefined || day < clock.dayOf(fromMs) + DAYS_BEFORE_OUTAGE_MIN ? null : { city, day }
}
