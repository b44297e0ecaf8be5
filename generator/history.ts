/** History: a stretch of the shop's past as records in the order of their log times, the same bytes for the same options everywhere. */
import { ConfigError } from '#core/errors.ts'
import type { Catalogue } from './catalogue.ts'
import { buildCatalogue } from './catalogue.ts'
import { exponentOf } from './currency.ts'
import { TimePicker } from './event-times.ts'
import type { GeneratedRecord } from './fact.ts'
import { ExactLot } from './lots.ts'
import type { Outage } from './pace.ts'
import { Pace, planOutage } from './pace.ts'
import type { Profile, ProfileName } from './profiles.ts'
import { profileNamed } from './profiles.ts'
import { Random, hashText } from './random.ts'
import { RubbishDeck } from './rubbish.ts'
import { Shop } from './shop.ts'
import type { TruthOrigin } from './truth.ts'
import { DAY_MS, WallClock } from './wall-clock.ts'

export type HistoryOptions = {
  readonly profile: ProfileName
  /** 0 to 2^53 − 1. */
  readonly seed: number
  /** Events of the whole stream: sales, refunds, copies, conflicts, and one per rubbish record. The profile's own number if absent. */
  readonly events?: number
  /** Log times, UTC ms, `fromMs` inclusive to `toMs` exclusive. No event happens before `fromMs`. */
  readonly fromMs: number
  readonly toMs: number
  /** IANA zone and ISO 4217 currency of the shop. */
  readonly zone: string
  readonly currency: string
  /** By default made of the seed and a hash of the other options. Streams of different prefixes share no ids. */
  readonly idPrefix?: string
  /** Only what means the same when written to a file of lines and appended at another log time. */
  readonly portable?: boolean
  /** Some cities sell in their own currency. */
  readonly mixedCurrencies?: boolean
}

export type HistoryPlan = {
  readonly sales: number
  readonly refunds: number
  readonly copies: number
  readonly conflicts: number
  readonly rubbish: number
  /** The story's bad day, where it has one. */
  readonly outage: { readonly city: string; readonly day: string } | null
  /** What a truth of this stream begins with. */
  readonly origin: TruthOrigin
}

export const EVENTS_MAX = 50_000_000
const RANGE_DAYS_MAX = 3660
/** Rubbish is dated up to so far ahead. */
const CLOCK_AHEAD_MS = 45 * DAY_MS
const CLOCK_BEHIND_MS = 5 * DAY_MS
/** Too few events for chance to bring one of each. */
const SOME_OF_EACH_EVENTS = 1000

const CITY_CURRENCIES: ReadonlyMap<string, string> = new Map([['Paris', 'EUR'], ['Zürich', 'CHF'], ['東京', 'JPY']])

export function checkSeed(seed: number): void {
  if (!Number.isSafeInteger(seed) || seed < 0) throw new ConfigError(`The seed is ${seed}; give a whole number from 0 to 2^53 − 1.`, { seed })
}

export function checkIdPrefix(idPrefix: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(idPrefix)) {
    throw new ConfigError(`The id prefix ${JSON.stringify(idPrefix)} must be 1 to 64 letters, digits, dots, dashes or underscores.`, { idPrefix })
  }
}

export function currenciesOf(mixed: boolean | undefined): ReadonlyMap<string, string> {
  return mixed === true ? CITY_CURRENCIES : new Map()
}

type Setting = {
  readonly profile: Profile
  readonly catalogue: Catalogue
  readonly clock: WallClock
  readonly plan: HistoryPlan
  readonly outage: Outage | null
  readonly idPrefix: string
}

function prepare(options: HistoryOptions): Setting {
  const { seed, fromMs, toMs, zone, currency } = options
  const profile = profileNamed(options.profile)
  checkSeed(seed)
  const events = options.events ?? profile.defaultEvents
  if (!Number.isSafeInteger(events) || events < 1 || events > EVENTS_MAX) {
    throw new ConfigError(`${events} events are asked for; 1 to ${EVENTS_MAX} can be had.`, { events })
  }
  if (!Number.isSafeInteger(fromMs) || !Number.isSafeInteger(toMs) || fromMs >= toMs || toMs - fromMs > RANGE_DAYS_MAX * DAY_MS) {
    throw new ConfigError(`The range must begin before it ends and span at most ${RANGE_DAYS_MAX} days.`, { fromMs, toMs })
  }
  exponentOf(currency)
  const clock = new WallClock(zone, fromMs - CLOCK_BEHIND_MS, toMs + CLOCK_AHEAD_MS)
  const choices = [profile.name, events, fromMs, toMs, zone, currency, options.portable === true, options.mixedCurrencies === true]
  const tag = hashText(JSON.stringify(choices)).toString(36)
  const idPrefix = options.idPrefix ?? `gen-${seed}-${tag}-`
  checkIdPrefix(idPrefix)

  const partOf = (share: number): number => Math.max(Math.round(events * share), share > 0 && events >= SOME_OF_EACH_EVENTS ? 1 : 0)
  const refunds = partOf(profile.refundShare)
  const copies = partOf(profile.copyShare)
  const conflicts = partOf(profile.conflictShare)
  const rubbish = partOf(profile.rubbishShare)
  const catalogue = buildCatalogue(profile)
  const outage = profile.story ? planOutage(catalogue.cities, clock, seed, fromMs, toMs) : null
  const plan: HistoryPlan = {
    sales: events - refunds - copies - conflicts - rubbish,
    refunds,
    copies,
    conflicts,
    rubbish,
    outage: outage === null ? null : { city: outage.city, day: clock.dayText(outage.day) },
    origin: { seed, profile: profile.name, zone, currency, idPrefixes: [idPrefix] },
  }
  return { profile, catalogue, clock, plan, outage, idPrefix }
}

/** What `generateEvents` will write, before it does. Throws ConfigError like it. */
export function planHistory(options: HistoryOptions): HistoryPlan {
  return prepare(options).plan
}

/**
 * Exactly `events` events, records in the order of their log times; same options, same bytes. A reader that takes only the first records
 * has the truth of those. Throws ConfigError on options that cannot be, at the call and not at the first record.
 */
export function generateEvents(options: HistoryOptions): Iterable<GeneratedRecord> {
  const setting = prepare(options)
  return { [Symbol.iterator]: () => writeHistory(options, setting) }
}

function* writeHistory(options: HistoryOptions, setting: Setting): Generator<GeneratedRecord, void, undefined> {
  const { seed, fromMs, toMs } = options
  const { profile, catalogue, clock, plan, outage, idPrefix } = setting
  const random = (purpose: string): Random => new Random(seed, purpose)
  const shop = new Shop({
    profile,
    catalogue,
    clock,
    random: random('orders'),
    lots: {
      refunds: new ExactLot(random('refunds'), plan.sales, plan.refunds),
      copies: new ExactLot(random('copies'), plan.sales + plan.refunds, plan.copies),
      conflicts: new ExactLot(random('conflicts'), plan.sales, plan.conflicts),
      rubbish: new ExactLot(random('rubbish'), plan.sales, plan.rubbish),
    },
    deck: new RubbishDeck(random('kinds of rubbish'), { portable: options.portable === true, heavy: profile.heavyRubbish }),
    times: new TimePicker(profile, clock, random('times'), fromMs),
    idPrefix,
    currency: options.currency,
    cityCurrencies: currenciesOf(options.mixedCurrencies),
    outage,
    endMs: toMs,
    deferMsMax: Infinity,
  })
  const pace = new Pace(clock, seed, fromMs, toMs, profile.story)
  const arrivals = random('arrivals')
  let sold = 0
  while (sold < plan.sales) {
    const momentMs = pace.momentAt((sold + arrivals.unit()) / plan.sales)
    for (let due = shop.pending.takeDue(momentMs); due !== null; due = shop.pending.takeDue(momentMs)) yield Shop.finish(due.item, due.dueMs)
    const { drafts, sales } = shop.sell(momentMs, plan.sales - sold)
    for (const draft of drafts) yield Shop.finish(draft, momentMs)
    sold += sales
  }
  for (let due = shop.pending.takeDue(Infinity); due !== null; due = shop.pending.takeDue(Infinity)) yield Shop.finish(due.item, due.dueMs)
}
