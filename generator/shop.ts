/**
 * The order process. People buy; some give things back; tills and networks deliver late, early, twice, in other bytes, and now and then
 * nonsense. `sell` answers with what reaches the log at once and puts the rest on `pending`, each with the moment it is due.
 *
 * The same process serves history and live traffic; they differ in who is drawn (lots) and in how far ahead anything may be due.
 */
import type { Catalogue, Product } from './catalogue.ts'
import { exponentOf } from './currency.ts'
import { drawCopyDelay, drawRefundDelay } from './delays.ts'
import type { TimeOfEvent, TimePicker } from './event-times.ts'
import type { Fact, GeneratedRecord, Meaning } from './fact.ts'
import type { Style } from './forms.ts'
import { PLAIN_STYLE, csvLine, drawStyle, jsonEvent, jsonOrder, toBytes } from './forms.ts'
import type { Lot } from './lots.ts'
import type { Outage } from './pace.ts'
import { daysSinceBlackFriday } from './pace.ts'
import { Pending } from './pending.ts'
import type { Profile } from './profiles.ts'
import type { Random } from './random.ts'
import type { RubbishDeck } from './rubbish.ts'
import type { WallClock } from './wall-clock.ts'
import { HOUR_MS, civilOf } from './wall-clock.ts'
import { Zipf } from './zipf.ts'

/** A record before its log time is known to the log. */
export type Draft = { readonly key: string; readonly value: Uint8Array; readonly means: readonly Meaning[] }

export type Lots = { readonly refunds: Lot; readonly copies: Lot; readonly conflicts: Lot; readonly rubbish: Lot }

export type ShopParts = {
  readonly profile: Profile
  readonly catalogue: Catalogue
  readonly clock: WallClock
  readonly random: Random
  readonly lots: Lots
  readonly deck: RubbishDeck
  readonly times: TimePicker
  readonly idPrefix: string
  /** Of the CSV lines. */
  readonly currency: string
  /** Cities that sell in another currency. */
  readonly cityCurrencies: ReadonlyMap<string, string>
  readonly outage: Outage | null
  /** Nothing may be due at or after this moment. */
  readonly endMs: number
  /** Nothing may be due later than so long after its cause. */
  readonly deferMsMax: number
}

export type Sold = { readonly drafts: readonly Draft[]; readonly sales: number }

const LATE_AFTER_MS = HOUR_MS
const ORDER_LINES_WEIGHTS = [50, 25, 15, 10]
const QUANTITY_WEIGHTS = [700, 170, 70, 30, 12, 8, 4, 2, 2, 2]
const SEASON_TENTHS_MAX = 26
const SEASON_TRIES = 6
const BULK_SHARE = 0.001
const FREE_SHARE = 0.001
const BURST_SHARE = 0.01
const BURST_COPIES_MAX = 48
const STYLED_SHARE = 0.3
const SHIPPING_MINOR = 499

type Form = 'csv' | 'json'

export class Shop {
  readonly pending = new Pending<Draft>()
  readonly #parts: ShopParts
  readonly #productZipf: Zipf
  readonly #cityZipf: Zipf
  readonly #exponent: number
  #orders = 0
  #spoiled = 0

  constructor(parts: ShopParts) {
    this.#parts = parts
    this.#productZipf = new Zipf(parts.catalogue.products.length, parts.profile.productTenths)
    this.#cityZipf = new Zipf(parts.catalogue.cities.length, parts.profile.cityTenths)
    this.#exponent = exponentOf(parts.currency)
  }

  /** One order that reaches the log at `momentMs`, of at most `salesMax` sale events. */
  sell(momentMs: number, salesMax: number): Sold {
    const { profile, random, lots, times } = this.#parts
    const csv = profile.csvShare >= 1 || random.chance(profile.csvShare)
    const time = times.draw(momentMs, csv)
    const city = this.#drawCity(time.day)
    const currency = this.#parts.cityCurrencies.get(city) ?? this.#parts.currency
    const form: Form = csv && currency === this.#parts.currency ? 'csv' : 'json'
    const sales = form === 'csv' ? 1 : Math.min(salesMax, 1 + this.#drawWeighted(ORDER_LINES_WEIGHTS))
    const orderId = this.#parts.idPrefix + String((this.#orders += 1))
    const facts = this.#drawFacts(orderId, form, sales, time, city, currency, momentMs)

    const drafts: Draft[] = []
    const together = form === 'json' && sales > 1 && random.chance(profile.jsonOrderShare)
    if (together) drafts.push(this.#draft(facts, form, momentMs, null))
    else for (const fact of facts) drafts.push(this.#draft([fact], form, momentMs, null))
    this.#scheduleCopies(facts, form, momentMs, together ? null : drafts)
    for (const fact of facts) {
      if (lots.refunds.take()) this.#scheduleRefunds(fact, momentMs)
      if (lots.conflicts.take()) this.#scheduleConflict(fact, form, momentMs)
      if (lots.rubbish.take()) drafts.push(this.#spoil(fact, momentMs))
    }
    return { drafts, sales }
  }

  /** The record for the log, `logTimeMs` null where the log is to give its own. */
  static finish(draft: Draft, logTimeMs: number | null): GeneratedRecord {
    const { key, value, means } = draft
    return { topic: 'transactions', append: logTimeMs === null ? { key, value } : { key, value, logTimeMs }, means }
  }

  #drawWeighted(weights: readonly number[]): number {
    let left = this.#parts.random.below(weights.reduce((sum, weight) => sum + weight, 0))
    for (let i = 0; i < weights.length; i += 1) {
      left -= weights[i] ?? 0
      if (left < 0) return i
    }
    return 0
  }

  #drawCity(day: number): string {
    const { catalogue, outage, random } = this.#parts
    for (;;) {
      const city = catalogue.cities[this.#cityZipf.draw(random)] ?? ''
      if (outage === null || city !== outage.city || day !== outage.day) return city
    }
  }

  #drawProduct(momentMs: number): Product {
    const { catalogue, clock, profile, random } = this.#parts
    const month = profile.story ? civilOf(clock.dayOf(momentMs)).month : 0
    for (let attempt = 1; ; attempt += 1) {
      const product = catalogue.products[this.#productZipf.draw(random)]
      if (product === undefined) continue
      if (month === 0 || attempt === SEASON_TRIES || random.below(SEASON_TENTHS_MAX) < (product.seasonTenths[month - 1] ?? 0)) return product
    }
  }

  #drawQuantity(): number {
    const { random } = this.#parts
    if (random.chance(BULK_SHARE)) return random.between(50, 1000)
    return 1 + this.#drawWeighted(QUANTITY_WEIGHTS)
  }

  #drawFacts(orderId: string, form: Form, sales: number, time: TimeOfEvent, city: string, currency: string, momentMs: number): Fact[] {
    const { clock, profile, random } = this.#parts
    const userId = `U-${1 + random.below(profile.customers)}`
    const exponent = currency === this.#parts.currency ? this.#exponent : exponentOf(currency)
    const json = form === 'json'
    const source = json && random.chance(0.5) ? 'web' : null
    const discountShare = !json ? 0 : daysSinceBlackFriday(time.day) === null ? 0.15 : 0.6
    const facts: Fact[] = []
    for (let line = 1; line <= sales; line += 1) {
      const product = this.#drawProduct(momentMs)
      const quantity = this.#drawQuantity()
      const unitPriceMinor = random.chance(FREE_SHARE) ? 0 : product.priceMinor
      const fullMinor = quantity * unitPriceMinor
      let discountMinor: number | null = null
      if (json && random.chance(discountShare)) discountMinor = Math.floor((fullMinor * random.pick([0, 5, 10, 20, 30])) / 100)
      const totalMinor = fullMinor - (discountMinor ?? 0)
      facts.push({
        eventId: json ? `${orderId}-${line}` : orderId,
        kind: 'sale',
        orderId,
        orderLine: line,
        userId,
        productId: product.productId,
        productName: product.productName,
        category: product.category,
        brand: json ? product.brand : null,
        city,
        quantity,
        unitPriceMinor,
        discountMinor,
        taxMinor: json && random.chance(0.6) ? Math.floor(totalMinor / 5) : null,
        shippingMinor: json && line === 1 && random.chance(0.4) ? SHIPPING_MINOR : null,
        totalMinor,
        currency,
        exponent,
        eventMs: time.eventMs,
        wallMs: time.wallMs,
        day: time.day,
        dayText: clock.dayText(time.day),
        source,
        refundOf: null,
        saleDayText: null,
      })
    }
    return facts
  }

  #encode(facts: readonly Fact[], form: Form, style: Style): Uint8Array {
    const { clock } = this.#parts
    const [first] = facts
    if (facts.length !== 1 || first === undefined) return toBytes(jsonOrder(facts, clock, style))
    return toBytes(form === 'csv' ? csvLine(first, clock, style) : jsonEvent(first, clock, style))
  }

  /** `instead` null: the facts themselves count. */
  #draft(facts: readonly Fact[], form: Form, logMs: number, instead: Meaning | null): Draft {
    const { clock, profile, random } = this.#parts
    const style = profile.copiesVary && random.chance(STYLED_SHARE) ? drawStyle(random) : PLAIN_STYLE
    const means = facts.map((fact): Meaning => instead ?? { is: 'event', fact, late: logMs - clock.startOf(fact.day + 1) > LATE_AFTER_MS })
    return { key: facts[0]?.orderId ?? '', value: this.#encode(facts, form, style), means }
  }

  /** When something that would come so long after `momentMs` may come: a delay beyond the end is drawn again within it. */
  #dueAt(momentMs: number, delayMs: number): number {
    const { endMs, deferMsMax, random } = this.#parts
    const roomMs = Math.min(deferMsMax, endMs - momentMs)
    return momentMs + (delayMs < roomMs ? delayMs : random.below(roomMs))
  }

  /** Copies of whole records and of single lines; `firsts` are the records of the single facts, null where they share one. */
  #scheduleCopies(facts: readonly Fact[], form: Form, momentMs: number, firsts: readonly Draft[] | null): void {
    const { lots, profile, random } = this.#parts
    const drawn = facts.map(() => lots.copies.take())
    const count = drawn.filter(Boolean).length
    if (count === 0) return
    if (firsts === null && random.chance(0.5) && lots.copies.takeExtra(facts.length - count)) {
      this.#scheduleCopy(facts, form, momentMs, null)
      return
    }
    facts.forEach((fact, i) => {
      if (drawn[i] !== true) return
      const dueMs = this.#scheduleCopy([fact], form, momentMs, firsts?.[i] ?? null)
      if (!profile.copiesVary || !random.chance(BURST_SHARE)) return
      const more = random.between(1, BURST_COPIES_MAX)
      if (!lots.copies.takeExtra(more)) return
      for (let again = 0; again < more; again += 1) this.#addCopy([fact], form, this.#dueAt(dueMs, random.below(1000)), firsts?.[i] ?? null)
    })
  }

  #scheduleCopy(facts: readonly Fact[], form: Form, momentMs: number, first: Draft | null): number {
    const dueMs = this.#dueAt(momentMs, drawCopyDelay(this.#parts.random))
    this.#addCopy(facts, form, dueMs, first)
    return dueMs
  }

  #addCopy(facts: readonly Fact[], form: Form, dueMs: number, first: Draft | null): void {
    const { profile, random } = this.#parts
    const same = first !== null && (!profile.copiesVary || random.chance(0.33))
    this.pending.add(dueMs, same ? { ...first, means: [{ is: 'copy' }] } : this.#draft(facts, form, dueMs, { is: 'copy' }))
  }

  /** Another fact under the same id, later in the log and under the same key: the first counts. */
  #scheduleConflict(fact: Fact, form: Form, momentMs: number): void {
    const { catalogue, random } = this.#parts
    const other: Fact = random.chance(0.5)
      ? { ...fact, quantity: fact.quantity + 1, totalMinor: fact.totalMinor + fact.unitPriceMinor }
      : { ...fact, city: catalogue.cities.find((city) => city !== fact.city) ?? `${fact.city} II` }
    const dueMs = this.#dueAt(momentMs, drawCopyDelay(random))
    this.pending.add(dueMs, this.#draft([other], form, dueMs, { is: 'conflict' }))
  }

  /** The whole, or a part and sometimes another part later; never more than was sold. */
  #scheduleRefunds(sale: Fact, momentMs: number): void {
    const { lots, random } = this.#parts
    const whole = sale.quantity === 1 || random.chance(0.6)
    const quantity = whole ? sale.quantity : random.between(1, sale.quantity - 1)
    const dueMs = this.#refund(sale, 1, quantity, momentMs)
    const left = sale.quantity - quantity
    if (left > 0 && random.chance(0.3) && lots.refunds.takeExtra(1)) this.#refund(sale, 2, random.between(1, left), dueMs)
  }

  #refund(sale: Fact, nth: number, quantity: number, momentMs: number): number {
    const { clock, random, times } = this.#parts
    const dueMs = this.#dueAt(momentMs, drawRefundDelay(random))
    let time = times.draw(dueMs, false)
    // Nobody gives back what was not bought yet.
    if (time.eventMs < sale.eventMs) time = times.at(dueMs)
    const discountMinor = sale.discountMinor === null ? null : Math.floor((sale.discountMinor * quantity) / sale.quantity)
    const refund: Fact = {
      ...sale,
      eventId: `${sale.eventId}-r${nth}`,
      kind: 'refund',
      quantity,
      discountMinor,
      taxMinor: null,
      shippingMinor: null,
      totalMinor: quantity * sale.unitPriceMinor - (discountMinor ?? 0),
      eventMs: time.eventMs,
      wallMs: time.wallMs,
      day: time.day,
      dayText: clock.dayText(time.day),
      refundOf: sale.eventId,
      saleDayText: sale.dayText,
    }
    const first = this.#draft([refund], 'json', dueMs, null)
    this.pending.add(dueMs, first)
    this.#scheduleCopies([refund], 'json', dueMs, [first])
    return dueMs
  }

  #spoil(like: Fact, momentMs: number): Draft {
    const { clock, deck, idPrefix, random, times } = this.#parts
    const dealt = deck.next()
    const eventId = `${idPrefix}x${(this.#spoiled += 1)}`
    const time = times.at(momentMs)
    const fact: Fact = {
      ...like,
      eventId,
      orderId: eventId,
      currency: this.#parts.currency,
      exponent: this.#exponent,
      discountMinor: null,
      totalMinor: like.quantity * like.unitPriceMinor,
      orderLine: 1,
      eventMs: time.eventMs,
      wallMs: time.wallMs,
      day: time.day,
      dayText: clock.dayText(time.day),
    }
    const value = dealt.spoil({ fact, logTimeMs: momentMs, clock, random })
    return { key: eventId, value, means: [{ is: 'refused', reason: dealt.reason, rubbish: dealt.name }] }
  }
}
