/**
 * Facts as bytes: the CSV line of DESIGN.md section 3, the JSON event, the JSON order. A style changes the bytes and never the fields,
 * so that a copy may look different from its first.
 */
import type { Fact } from './fact.ts'
import type { Random } from './random.ts'
import type { WallClock } from './wall-clock.ts'
import { DAY_MS } from './wall-clock.ts'

export type Style = {
  /** CSV: quotes only where needed. JSON: fields in reverse order. */
  readonly turned: boolean
  /** CSV: no trailing zeros. JSON: spaces between the tokens. */
  readonly spaced: boolean
  /** JSON: money as numbers in place of text. */
  readonly numbers: boolean
  /** JSON: time in UTC (`Z`) in place of the shop's offset. */
  readonly zulu: boolean
  /** Names in decomposed form (NFD); the fields are their composed form. */
  readonly decomposed: boolean
  /** JSON: fields that nobody knows. */
  readonly extra: string | null
}

export const PLAIN_STYLE: Style = { turned: false, spaced: false, numbers: false, zulu: false, decomposed: false, extra: null }

/** Unknown fields are accepted, also those that shadow a prototype. */
const EXTRAS: readonly string[] = [
  '"retry":1',
  '"note":"left at the door"',
  '"constructor":"x"',
  '"__proto__":{"quantity":9}',
  '"tags":["a",{"b":[1,2]}]',
]

export function drawStyle(random: Random): Style {
  return {
    turned: random.chance(0.3),
    spaced: random.chance(0.3),
    numbers: random.chance(0.3),
    zulu: random.chance(0.3),
    decomposed: random.chance(0.1),
    extra: random.chance(0.1) ? random.pick(EXTRAS) : null,
  }
}

export type JsonField = readonly [name: string, valueText: string]

export function toBytes(text: string): Uint8Array {
  return Buffer.from(text, 'utf8')
}

/** `150000, 2` → `1500.00`. */
export function decimalText(minor: number, exponent: number): string {
  if (exponent === 0) return String(minor)
  const digits = String(Math.abs(minor)).padStart(exponent + 1, '0')
  return `${minor < 0 ? '-' : ''}${digits.slice(0, -exponent)}.${digits.slice(-exponent)}`
}

function shortDecimalText(minor: number, exponent: number): string {
  const text = decimalText(minor, exponent)
  return exponent === 0 ? text : text.replace(/\.?0+$/, '')
}

function quoteCsv(text: string, onlyWhereNeeded: boolean): string {
  if (!text.includes('"')) return onlyWhereNeeded && !text.includes(',') ? text : `"${text}"`
  return `"${text.replaceAll('"', '""')}"`
}

function written(text: string, style: Style): string {
  return style.decomposed ? text.normalize('NFD') : text
}

/** The ten fields of a line as they are written, for rubbish to spoil. */
export function csvFields(fact: Fact, clock: WallClock, style: Style): string[] {
  const money = style.spaced ? shortDecimalText : decimalText
  return [
    fact.eventId,
    fact.userId,
    fact.productId,
    quoteCsv(written(fact.productName, style), style.turned),
    quoteCsv(written(fact.category, style), style.turned),
    String(fact.quantity),
    money(fact.unitPriceMinor, fact.exponent),
    money(fact.totalMinor, fact.exponent),
    clock.wallText(fact.wallMs),
    quoteCsv(written(fact.city, style), style.turned),
  ]
}

export function csvLine(fact: Fact, clock: WallClock, style: Style): string {
  if (style !== PLAIN_STYLE) return csvFields(fact, clock, style).join(',')
  const price = decimalText(fact.unitPriceMinor, fact.exponent)
  const total = decimalText(fact.totalMinor, fact.exponent)
  const name = quoteCsv(fact.productName, false)
  const time = clock.wallText(fact.wallMs)
  return `${fact.eventId},${fact.userId},${fact.productId},${name},"${fact.category}",${fact.quantity},${price},${total},${time},"${fact.city}"`
}

/** ISO 8601 with an offset; milliseconds only where there are any. */
function instantText(fact: Fact, clock: WallClock, zulu: boolean): string {
  const offsetMs = zulu ? 0 : clock.offsetAt(fact.eventMs)
  const offsetMinutes = offsetMs / 60_000
  if (!Number.isInteger(offsetMinutes)) return instantText(fact, clock, true)
  const localMs = fact.eventMs + offsetMs
  const millis = localMs - Math.floor(localMs / 1000) * 1000
  const wall = clock.wallText(localMs, 'T') + (millis === 0 ? '' : `.${String(millis).padStart(3, '0')}`)
  if (zulu) return `${wall}Z`
  const minutes = Math.abs(offsetMinutes)
  return `${wall}${offsetMinutes < 0 ? '-' : '+'}${twoDigits(Math.floor(minutes / 60))}:${twoDigits(minutes % 60)}`
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0')
}

function orderFields(fact: Fact, clock: WallClock, style: Style): JsonField[] {
  return [
    ['orderId', JSON.stringify(fact.orderId)],
    ['userId', JSON.stringify(fact.userId)],
    ['city', JSON.stringify(written(fact.city, style))],
    ['currency', JSON.stringify(fact.currency)],
    ['occurredAt', JSON.stringify(instantText(fact, clock, style.zulu))],
  ]
}

function lineFields(fact: Fact, style: Style): JsonField[] {
  const money = (minor: number): string => {
    const text = decimalText(minor, fact.exponent)
    return style.numbers ? text : `"${text}"`
  }
  const fields: JsonField[] = [
    ['eventId', JSON.stringify(fact.eventId)],
    ['kind', `"${fact.kind}"`],
    ['orderLine', String(fact.orderLine)],
    ['productId', JSON.stringify(fact.productId)],
    ['productName', JSON.stringify(written(fact.productName, style))],
    ['category', JSON.stringify(written(fact.category, style))],
  ]
  if (fact.brand !== null) fields.push(['brand', JSON.stringify(written(fact.brand, style))])
  fields.push(['quantity', String(fact.quantity)], ['unitPrice', money(fact.unitPriceMinor)])
  if (fact.discountMinor !== null) fields.push(['discount', money(fact.discountMinor)])
  if (fact.taxMinor !== null) fields.push(['tax', money(fact.taxMinor)])
  if (fact.shippingMinor !== null) fields.push(['shipping', money(fact.shippingMinor)])
  fields.push(['total', money(fact.totalMinor)])
  if (fact.source !== null) fields.push(['source', JSON.stringify(fact.source)])
  if (fact.refundOf !== null) fields.push(['refundOf', JSON.stringify(fact.refundOf)])
  if (fact.saleDayText !== null) fields.push(['saleDay', `"${fact.saleDayText}"`])
  return fields
}

/** The fields of a single event, for rubbish to spoil. */
export function jsonFields(fact: Fact, clock: WallClock, style: Style): JsonField[] {
  return [...lineFields(fact, style), ...orderFields(fact, clock, style)]
}

export function joinJson(fields: readonly JsonField[], style: Style): string {
  const colon = style.spaced ? ' : ' : ':'
  const comma = style.spaced ? ', ' : ','
  const texts = fields.map(([name, value]) => `"${name}"${colon}${value}`)
  if (style.turned) texts.reverse()
  if (style.extra !== null) texts.push(style.extra)
  return `{${texts.join(comma)}}`
}

export function jsonEvent(fact: Fact, clock: WallClock, style: Style): string {
  return joinJson(jsonFields(fact, clock, style), style)
}

/** One record of several lines; all share the first one's order, person, city, currency and time. */
export function jsonOrder(facts: readonly Fact[], clock: WallClock, style: Style): string {
  const first = facts[0]
  if (first === undefined) return '{"lines":[]}'
  const lineStyle = { ...style, extra: null }
  const lines = facts.map((fact) => joinJson(lineFields(fact, style), lineStyle))
  return joinJson([...orderFields(first, clock, style), ['lines', `[${lines.join(style.spaced ? ', ' : ',')}]`]], style)
}

/** The same fact at another instant. */
export function atInstant(fact: Fact, eventMs: number, clock: WallClock): Fact {
  const wallMs = eventMs + clock.offsetAt(eventMs)
  const day = Math.floor(wallMs / DAY_MS)
  return { ...fact, eventMs, wallMs, day, dayText: clock.dayText(day) }
}
