/**
 * Live traffic: the same shop, asked again and again "what has reached the log by now?". It holds no timer and no clock; the caller
 * brings the time. Records carry no log time, for the log gives its own.
 */
import { ConfigError } from '#core/errors.ts'
import { buildCatalogue } from './catalogue.ts'
import { exponentOf } from './currency.ts'
import { TimePicker } from './event-times.ts'
import type { GeneratedRecord } from './fact.ts'
import { checkIdPrefix, checkSeed, currenciesOf } from './history.ts'
import { ShareLot } from './lots.ts'
import type { ProfileName } from './profiles.ts'
import { profileNamed } from './profiles.ts'
import { Random } from './random.ts'
import { RubbishDeck } from './rubbish.ts'
import { Shop } from './shop.ts'
import type { TruthOrigin } from './truth.ts'
import { DAY_MS, WallClock } from './wall-clock.ts'

export type LiveOptions = {
  readonly profile: ProfileName
  readonly seed: number
  /** Events of all kinds, on average. */
  readonly ratePerSecond: number
  readonly zone: string
  readonly currency: string
  /** When traffic starts, UTC ms. Part of the default ids, so that a restart repeats none. */
  readonly startMs: number
  readonly idPrefix?: string
  readonly mixedCurrencies?: boolean
}

export const LIVE_RATE_MAX = 100_000
/** After a pause (a sleeping laptop, a log that was away) no more than so much is made up for. */
export const CATCH_UP_MS_MAX = 5000
/** Refunds, copies and conflicts of live sales follow within so long, which bounds what waits in memory. */
const DEFER_MS_MAX = 15 * 60_000
const CLOCK_BEHIND_MS = 200 * DAY_MS
const CLOCK_AHEAD_MS = 3660 * DAY_MS

export class LiveShop {
  /** What a truth of this stream begins with. */
  readonly origin: TruthOrigin
  readonly #shop: Shop
  readonly #arrivals: Random
  readonly #msPerSale: number
  #nextMs: number
  #lastMs: number

  /** Throws ConfigError on options that cannot be. */
  constructor(options: LiveOptions) {
    const { seed, startMs, ratePerSecond, zone, currency } = options
    const profile = profileNamed(options.profile)
    checkSeed(seed)
    if (!(ratePerSecond > 0 && ratePerSecond <= LIVE_RATE_MAX)) {
      throw new ConfigError(`The rate is ${ratePerSecond}; give events per second above 0, at most ${LIVE_RATE_MAX}.`, { ratePerSecond })
    }
    exponentOf(currency)
    const idPrefix = options.idPrefix ?? `live-${seed}-${startMs.toString(36)}-`
    checkIdPrefix(idPrefix)
    const clock = new WallClock(zone, startMs - CLOCK_BEHIND_MS, startMs + CLOCK_AHEAD_MS)
    const random = (purpose: string): Random => new Random(seed, `live ${startMs} ${purpose}`)
    this.origin = { seed, profile: profile.name, zone, currency, idPrefixes: [idPrefix] }
    this.#arrivals = random('arrivals')
    this.#nextMs = startMs
    this.#lastMs = startMs
    // Shares are of all events; lots are drawn once per sale.
    const perSale = 1 / (1 - profile.refundShare - profile.copyShare - profile.conflictShare - profile.rubbishShare)
    this.#msPerSale = (1000 * perSale) / ratePerSecond
    this.#shop = new Shop({
      profile,
      catalogue: buildCatalogue(profile),
      clock,
      random: random('orders'),
      lots: {
        refunds: new ShareLot(random('refunds'), profile.refundShare * perSale),
        copies: new ShareLot(random('copies'), (profile.copyShare * perSale) / (1 + profile.refundShare * perSale)),
        conflicts: new ShareLot(random('conflicts'), profile.conflictShare * perSale),
        rubbish: new ShareLot(random('rubbish'), profile.rubbishShare * perSale),
      },
      deck: new RubbishDeck(random('kinds of rubbish'), { portable: false, heavy: false }),
      times: new TimePicker(profile, clock, random('times'), startMs - CLOCK_BEHIND_MS + 2 * DAY_MS),
      idPrefix,
      currency,
      cityCurrencies: currenciesOf(options.mixedCurrencies),
      outage: null,
      endMs: Infinity,
      deferMsMax: DEFER_MS_MAX,
    })
  }

  /** When the next record is due, UTC ms. */
  get nextDueMs(): number {
    return Math.min(this.#nextMs, this.#shop.pending.nextDueMs)
  }

  /**
   * The records that have become due since the last call, in order; add them to the truth once they are appended. A clock that goes back
   * brings none. The same calls bring the same bytes.
   */
  recordsUntil(nowMs: number): readonly GeneratedRecord[] {
    const records: GeneratedRecord[] = []
    const { pending } = this.#shop
    const takeDue = (untilMs: number): void => {
      for (let due = pending.takeDue(untilMs); due !== null; due = pending.takeDue(untilMs)) records.push(Shop.finish(due.item, null))
    }
    if (nowMs - this.#lastMs > CATCH_UP_MS_MAX) this.#nextMs = Math.max(this.#nextMs, nowMs - CATCH_UP_MS_MAX)
    this.#lastMs = Math.max(this.#lastMs, nowMs)
    while (this.#nextMs <= nowMs) {
      const momentMs = Math.floor(this.#nextMs)
      takeDue(momentMs)
      const { drafts, sales } = this.#shop.sell(momentMs, Infinity)
      for (const draft of drafts) records.push(Shop.finish(draft, null))
      this.#nextMs += this.#arrivals.exponential() * sales * this.#msPerSale
    }
    takeDue(nowMs)
    return records
  }
}
