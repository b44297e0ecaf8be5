/**
 * What no decoder may count: records with exactly one fault each, so that the reason for refusal is beyond doubt (FAULTS.md D7). Every
 * kind is a good event, spoiled in one place.
 */
import assert from 'node:assert'
import type { Fact, RefusalWord } from './fact.ts'
import type { JsonField, Style } from './forms.ts'
import { PLAIN_STYLE, atInstant, csvFields, decimalText, joinJson, jsonFields, jsonOrder, toBytes } from './forms.ts'
import type { Random } from './random.ts'
import type { WallClock } from './wall-clock.ts'
import { DAY_MS, HOUR_MS } from './wall-clock.ts'

export type RubbishKind = {
  readonly name: string
  readonly reason: RefusalWord
  /** Survives being written to a file of lines and read back at another log time. */
  readonly portable: boolean
  /** 200 KB and more. */
  readonly heavy: boolean
  readonly spoil: (base: RubbishBase) => Uint8Array
}

export type RubbishBase = { readonly fact: Fact; readonly logTimeMs: number; readonly clock: WallClock; readonly random: Random }

const RECORD_BYTES_MAX = 1_048_576
const FUTURE_TOLERANCE_MS = DAY_MS
/** Room for a slow append: the event is still too far ahead of the log time that the log gives it. */
const FUTURE_MARGIN_MS = 2 * HOUR_MS
const NESTING = 100_000
const TOO_MUCH_MINOR = 1_000_000_000_001
const NON_DATES = ['2025-02-30', '2025-13-01', '2023-02-29', '2025-00-10', '2025-04-31']

type CsvSpoiler = (fields: string[], base: RubbishBase) => void
type JsonSpoiler = (fields: JsonField[], base: RubbishBase) => void

const NAME = 3
const CATEGORY = 4
const QUANTITY = 5
const PRICE = 6
const TOTAL = 7
const TIME = 8
const CITY = 9

function spoilCsv(spoiler: CsvSpoiler): RubbishKind['spoil'] {
  return (base) => {
    const fields = csvFields(base.fact, base.clock, PLAIN_STYLE)
    spoiler(fields, base)
    return toBytes(fields.join(','))
  }
}

function spoilJson(spoiler: JsonSpoiler, style: Style = PLAIN_STYLE): RubbishKind['spoil'] {
  return (base) => {
    const fields = jsonFields(base.fact, base.clock, style)
    spoiler(fields, base)
    return toBytes(joinJson(fields, style))
  }
}

function setField(fields: JsonField[], name: string, valueText: string): void {
  const at = fields.findIndex(([known]) => known === name)
  assert(at >= 0, name)
  fields[at] = [name, valueText]
}

function dropField(fields: JsonField[], name: string): void {
  const at = fields.findIndex(([known]) => known === name)
  assert(at >= 0, name)
  fields.splice(at, 1)
}

/** Price and total in step, for one piece without a discount. */
function setAmount(fields: JsonField[], valueText: string): void {
  setField(fields, 'quantity', '1')
  setField(fields, 'unitPrice', valueText)
  setField(fields, 'total', valueText)
}

function setLineAmount(fields: string[], valueText: string): void {
  fields[QUANTITY] = '1'
  fields[PRICE] = valueText
  fields[TOTAL] = valueText
}

function setLine(fields: string[], quantity: number, priceMinor: number, exponent: number): void {
  fields[QUANTITY] = String(quantity)
  fields[PRICE] = decimalText(priceMinor, exponent)
  fields[TOTAL] = decimalText(quantity * priceMinor, exponent)
}

/** One digit more than the currency has, and not a zero. */
function tooFine(exponent: number): string {
  return `12.${'3'.repeat(exponent)}5`
}

function spoilRefund(spoiler: JsonSpoiler): RubbishKind['spoil'] {
  const spoil = spoilJson(spoiler)
  return (base) => {
    const { fact } = base
    const refund: Fact = { ...fact, kind: 'refund', refundOf: `${fact.eventId}-1`, saleDayText: fact.dayText }
    return spoil({ ...base, fact: refund })
  }
}

function withByte(bytes: Uint8Array, spoiled: string, byte: number): Uint8Array {
  const at = Buffer.from(bytes).indexOf(spoiled)
  assert(at >= 0)
  const copy = Uint8Array.from(bytes)
  copy[at] = byte
  return copy
}

function truncated(bytes: Uint8Array, random: Random): Uint8Array {
  return bytes.subarray(0, random.between(2, bytes.length - 1))
}

function futureFact(base: RubbishBase): Fact {
  const aheadMs = FUTURE_TOLERANCE_MS + FUTURE_MARGIN_MS + base.random.below(40 * DAY_MS)
  return atInstant(base.fact, Math.floor((base.logTimeMs + aheadMs) / 1000) * 1000, base.clock)
}

function kind(name: string, reason: RefusalWord, spoil: RubbishKind['spoil'], traits: { fixed?: true; heavy?: true } = {}): RubbishKind {
  return { name, reason, spoil, portable: traits.fixed !== true, heavy: traits.heavy === true }
}

export const RUBBISH_KINDS: readonly RubbishKind[] = [
  kind('tombstone', 'unreadable', () => new Uint8Array(0), { fixed: true }),
  kind('words', 'unreadable', () => toBytes('the quick brown fox')),
  kind('csv with a bad byte', 'unreadable', (base) => withByte(spoilCsv((fields) => (fields[CITY] = '"Lon~don"'))(base), '~', 0xff)),
  kind('json with a bad byte', 'unreadable', (base) => withByte(spoilJson((fields) => setField(fields, 'city', '"Lon~don"'))(base), '~', 0xc0)),
  kind('csv, quote never closed', 'unreadable', spoilCsv((fields) => (fields[CITY] = '"Lond'))),
  kind('json, cut off', 'unreadable', (base) => truncated(spoilJson(() => {})(base), base.random)),
  kind('json, NaN as a literal', 'unreadable', spoilJson((fields) => setField(fields, 'total', 'NaN'))),
  kind('json, a key twice', 'unreadable', spoilJson((fields) => fields.push(['city', '"Elsewhere"']))),
  kind('json, nested too deep', 'unreadable', spoilJson((fields) => fields.push(['note', '['.repeat(NESTING) + ']'.repeat(NESTING)])), { heavy: true }),
  kind('json without product', 'missing-field', spoilJson((fields) => dropField(fields, 'productId'))),
  kind('json without city', 'missing-field', spoilJson((fields) => dropField(fields, 'city'))),
  kind('json without time', 'missing-field', spoilJson((fields) => dropField(fields, 'occurredAt'))),
  kind('json without total', 'missing-field', spoilJson((fields) => dropField(fields, 'total'))),
  kind('json without id', 'missing-field', spoilJson((fields) => dropField(fields, 'eventId'))),
  kind('refund of nothing', 'missing-field', spoilRefund((fields) => dropField(fields, 'refundOf'))),
  kind('refund without a sale day', 'missing-field', spoilRefund((fields) => dropField(fields, 'saleDay'))),
  kind('quantity true', 'mistyped-field', spoilJson((fields) => setField(fields, 'quantity', 'true'))),
  kind('city a list', 'mistyped-field', spoilJson((fields) => setField(fields, 'city', '["London"]'))),
  kind('price an object', 'mistyped-field', spoilJson((fields) => setField(fields, 'unitPrice', '{"amount":1}'))),
  kind('name with NUL', 'forbidden-character', spoilJson((fields) => setField(fields, 'productName', '"Lap\\u0000top"'))),
  kind('city with an override', 'forbidden-character', spoilJson((fields) => setField(fields, 'city', '"Lon\u202edon"'))),
  kind('line with an override', 'forbidden-character', spoilCsv((fields) => (fields[CITY] = '"Lon\u202edon"'))),
  kind('line with a bell', 'forbidden-character', spoilCsv((fields) => (fields[NAME] = '"Lap\u0007top"'))),
  kind('city of 3 KB', 'too-long', spoilJson((fields) => setField(fields, 'city', `"${'x'.repeat(3000)}"`))),
  kind('category of 300 bytes', 'too-long', spoilCsv((fields) => (fields[CATEGORY] = `"${'東'.repeat(100)}"`))),
  kind('line finer than the currency', 'number-not-exact', spoilCsv((fields, { fact }) => setLineAmount(fields, tooFine(fact.exponent)))),
  kind('price finer than the currency', 'number-not-exact', spoilJson((fields, { fact }) => setAmount(fields, `"${tooFine(fact.exponent)}"`))),
  kind('number finer than the currency', 'number-not-exact', spoilJson((fields, { fact }) => setAmount(fields, tooFine(fact.exponent)))),
  kind('number beyond all bounds', 'number-not-exact', spoilJson((fields) => setField(fields, 'total', '1e400'))),
  kind('no number as text', 'number-not-exact', spoilJson((fields) => setField(fields, 'total', '"NaN"'))),
  kind('line of none', 'out-of-range', spoilCsv((fields, { fact }) => setLine(fields, 0, fact.unitPriceMinor, fact.exponent))),
  kind('line of a million and one', 'out-of-range', spoilCsv((fields, { fact }) => setLine(fields, 1_000_001, 1, fact.exponent))),
  kind('line below zero', 'out-of-range', spoilCsv((fields, { fact }) => setLineAmount(fields, decimalText(-500, fact.exponent)))),
  kind('price below zero', 'out-of-range', spoilJson((fields, { fact }) => setAmount(fields, `"${decimalText(-500, fact.exponent)}"`))),
  kind('price beyond the limit', 'out-of-range', spoilJson((fields, { fact }) => setAmount(fields, `"${decimalText(TOO_MUCH_MINOR, fact.exponent)}"`))),
  kind('line that does not add up', 'total-mismatch', spoilCsv((fields, { fact }) => (fields[TOTAL] = decimalText(fact.totalMinor + 1, fact.exponent)))),
  kind('event that does not add up', 'total-mismatch', spoilJson((fields, { fact }) => setField(fields, 'total', `"${decimalText(fact.totalMinor + 1, fact.exponent)}"`))),
  kind('order with a bad line', 'total-mismatch', ({ fact, clock }) => {
    const bad: Fact = { ...fact, eventId: `${fact.eventId}-2`, orderLine: 2, totalMinor: fact.totalMinor + 1 }
    return toBytes(jsonOrder([fact, bad], clock, PLAIN_STYLE))
  }),
  kind('no such currency', 'unknown-currency', spoilJson((fields) => setField(fields, 'currency', '"ZZZ"'))),
  kind('line on no day', 'bad-time', spoilCsv((fields, { random }) => (fields[TIME] = `${random.pick(NON_DATES)} 10:00:00`))),
  kind('line at 25 o’clock', 'bad-time', spoilCsv((fields, { fact }) => (fields[TIME] = `${fact.dayText} 25:00:00`))),
  kind('event on no day', 'bad-time', spoilJson((fields, { random }) => setField(fields, 'occurredAt', `"${random.pick(NON_DATES)}T10:00:00Z"`))),
  kind('event yesterday', 'bad-time', spoilJson((fields) => setField(fields, 'occurredAt', '"yesterday"'))),
  kind('refund of a sale on no day', 'bad-time', spoilRefund((fields, { random }) => setField(fields, 'saleDay', `"${random.pick(NON_DATES)}"`))),
  kind('line of another century', 'future-event', spoilCsv((fields, { random }) => (fields[TIME] = `${random.between(2525, 9998)}-06-15 12:00:00`))),
  kind('event of another century', 'future-event', spoilJson((fields, { random }) => setField(fields, 'occurredAt', `"${random.between(2525, 9998)}-06-15T12:00:00Z"`))),
  kind('line of next week', 'future-event', (base) => spoilCsv(() => {})({ ...base, fact: futureFact(base) }), { fixed: true }),
  kind('event of next week', 'future-event', (base) => spoilJson(() => {})({ ...base, fact: futureFact(base) }), { fixed: true }),
  // A reader of files may bound its lines, so this one is for logs.
  kind('record above 1 MiB', 'too-large', spoilJson((fields) => fields.push(['note', `"${'z'.repeat(RECORD_BYTES_MAX)}"`])), { fixed: true, heavy: true }),
]
assert(new Set(RUBBISH_KINDS.map(({ name }) => name)).size === RUBBISH_KINDS.length)

const HEAVY_ROUNDS = 2

/** Deals the kinds in shuffled rounds, so that every kind comes before any comes twice; heavy ones in the first two rounds only. */
export class RubbishDeck {
  readonly #random: Random
  readonly #kinds: readonly RubbishKind[]
  #round: RubbishKind[] = []
  #rounds = 0

  constructor(random: Random, choice: { readonly portable: boolean; readonly heavy: boolean }) {
    this.#random = random
    this.#kinds = RUBBISH_KINDS.filter((one) => (one.portable || !choice.portable) && (choice.heavy || !one.heavy))
  }

  next(): RubbishKind {
    if (this.#round.length === 0) {
      this.#round = this.#kinds.filter((one) => !one.heavy || this.#rounds < HEAVY_ROUNDS)
      this.#rounds += 1
      for (let i = this.#round.length - 1; i > 0; i -= 1) {
        const j = this.#random.below(i + 1)
        const [a, b] = [this.#round[i], this.#round[j]]
        if (a !== undefined && b !== undefined) [this.#round[i], this.#round[j]] = [b, a]
      }
    }
    const dealt = this.#round.pop()
    assert(dealt !== undefined)
    return dealt
  }
}
