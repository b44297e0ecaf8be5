/**
 * The JSON forms: one event, or an order with `lines`, each of which takes the order's fields where it has none of its own. Unknown fields
 * are accepted (they stay in the kept bytes). Money is decimal text or a JSON number, read from its digits as they were written.
 */
import type { DecodeContext } from './decode-context.ts'
import { futureToleranceMs, lateAfterMs, quantityMax, refuse } from './decode-context.ts'
import { dayMs, digitsAt, firstLocalDay, parseDay } from './calendar.ts'
import type { Decoded, EventKind, Refusal, RefusalReason, ShopEvent } from './events.ts'
import { currencyExponent, parseAmount, plainDecimal } from './money.ts'
import { dimensionBytesMax, isPlainAscii, labelBytesMax, normaliseId, textFault } from './text.ts'

/** Deeper nesting is no shop event, and counting its keys would exhaust the stack. */
const depthMax = 32
/** An order of more lines is refused: one record must fit one flush. */
const linesMax = 1000

export type Fields = Readonly<Record<string, unknown>>

export function decodeJson(text: string, source: string, logTimeMs: number, context: DecodeContext): Decoded {
  const parsed = parseObject(text)
  if ('refusal' in parsed) return parsed
  const { fields } = parsed

  const reader = new FieldReader(text, source, logTimeMs, context)
  const { lines } = fields
  if (lines === undefined) {
    const event = reader.readEvent(fields, null, 0)
    return event === null ? { refusal: reader.refusal() } : { events: [event] }
  }
  if (!Array.isArray(lines)) return refuse('mistyped-field', 'lines')
  if (lines.length === 0) return refuse('missing-field', 'lines')
  if (lines.length > linesMax) return refuse('out-of-range', `lines; at most ${linesMax}`)
  const events: ShopEvent[] = []
  for (let index = 0; index < lines.length; index++) {
    const line: unknown = lines[index]
    if (!isFields(line)) return refuse('mistyped-field', `lines[${index}]`)
    const event = reader.readEvent(line, fields, index)
    if (event === null) return { refusal: reader.refusal() }
    events.push(event)
  }
  return { events }
}

/** The fields of one JSON object: not nested too deep, no key twice. */
export function parseObject(text: string): { readonly fields: Fields } | { readonly refusal: Refusal } {
  const shape = scanShape(text)
  if (shape.depth > depthMax) return refusal('unreadable', `nested deeper than ${depthMax}`)
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return refusal('unreadable', 'not valid JSON')
  }
  if (!isFields(parsed)) return refusal('unreadable', 'a JSON object is expected')
  if (countKeys(parsed) !== shape.keys) return refusal('unreadable', 'a key is given twice')
  return { fields: parsed }
}

function refusal(reason: RefusalReason, detail: string): { readonly refusal: Refusal } {
  return { refusal: { reason, detail } }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Keys of the text (each has one colon outside strings) and the deepest nesting, before any parser sees it. */
function scanShape(text: string): { keys: number; depth: number } {
  let keys = 0
  let depth = 0
  let deepest = 0
  const length = text.length
  for (let at = 0; at < length; at++) {
    const code = text.charCodeAt(at)
    if (code === 34) {
      for (at++; at < length; at++) {
        const inside = text.charCodeAt(at)
        if (inside === 92) at++
        else if (inside === 34) break
      }
    } else if (code === 58) keys++
    else if (code === 123 || code === 91) {
      if (++depth > deepest) deepest = depth
    } else if (code === 125 || code === 93) depth--
  }
  return { keys, depth: deepest }
}

function countKeys(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  let keys = 0
  if (Array.isArray(value)) {
    for (const item of value) keys += countKeys(item)
    return keys
  }
  for (const key of Object.keys(value)) keys += 1 + countKeys((value as Record<string, unknown>)[key])
  return keys
}

/** Reads one record's fields; the first fault stands and every later read returns an empty value. */
class FieldReader {
  readonly #text: string
  readonly #source: string
  readonly #logTimeMs: number
  readonly #context: DecodeContext
  #fault: Refusal | null = null
  #sources: Fields | null = null

  constructor(text: string, source: string, logTimeMs: number, context: DecodeContext) {
    this.#text = text
    this.#source = source
    this.#logTimeMs = logTimeMs
    this.#context = context
  }

  refusal(): Refusal {
    return this.#fault ?? { reason: 'unreadable', detail: 'not readable' }
  }

  /** `order` holds the fields that a line may leave to its order. */
  readEvent(own: Fields, order: Fields | null, index: number): ShopEvent | null {
    const source = this.#text256(own, order, 'source', this.#source)
    const kind = this.#kind(own, order)
    const eventId = normaliseId(this.#text256(own, null, 'eventId', undefined))
    const orderId = this.#text256(own, order, 'orderId', eventId)
    const orderLine = this.#whole(own, 'orderLine', order === null ? 1 : index + 1)
    const userId = this.#text256(own, order, 'userId', undefined)
    const productId = this.#text256(own, null, 'productId', undefined)
    const productName = this.#checkedText(own, null, 'productName', undefined, labelBytesMax)
    const category = this.#text256(own, null, 'category', undefined)
    const brand = this.#text256(own, null, 'brand', '')
    const city = this.#text256(own, order, 'city', undefined)
    const currency = this.#text256(own, order, 'currency', this.#context.currency)
    const exponent = currencyExponent(currency)
    if (exponent === undefined) {
      this.#refuse('unknown-currency', `currency ${currency.slice(0, 8)}`)
      return null
    }
    const quantity = this.#whole(own, 'quantity', null)
    const isRefund = kind === 'refund'
    const unitPriceMinor = this.#amount(own, 'unitPrice', exponent, isRefund ? null : undefined, index, order)
    const discountMinor = this.#amount(own, 'discount', exponent, 0, index, order)
    const taxMinor = this.#amount(own, 'tax', exponent, 0, index, order)
    const shippingMinor = this.#amount(own, 'shipping', exponent, 0, index, order)
    const totalMinor = this.#amount(own, 'total', exponent, undefined, index, order)
    const eventTimeMs = this.#instant(own, order)
    const refundOf = isRefund ? normaliseId(this.#text256(own, null, 'refundOf', undefined)) : null
    const saleDay = isRefund ? this.#saleDay(own) : null
    if (this.#fault !== null || discountMinor === null || taxMinor === null || shippingMinor === null || totalMinor === null) return null

    if (quantity < 1 || quantity > quantityMax) this.#refuse('out-of-range', `quantity; 1 to ${quantityMax}`)
    if (unitPriceMinor !== null && quantity * unitPriceMinor - discountMinor !== totalMinor) {
      this.#refuse('total-mismatch', 'total is not quantity × unit price − discount')
    }
    if (eventTimeMs > this.#logTimeMs + futureToleranceMs) this.#refuse('future-event', 'more than 24 hours after its log time')
    if (this.#fault !== null) return null

    const { calendar } = this.#context
    const localMs = eventTimeMs + calendar.offsetMs(eventTimeMs)
    const localDay = Math.floor(localMs / dayMs)
    if (localDay < firstLocalDay) {
      this.#refuse('bad-time', 'its local day lies before the year 1')
      return null
    }
    return {
      source,
      eventId,
      kind,
      orderId,
      orderLine,
      userId,
      productId,
      productName,
      category,
      brand: brand === '' ? null : brand,
      city,
      quantity,
      unitPriceMinor,
      discountMinor,
      taxMinor,
      shippingMinor,
      totalMinor,
      currency,
      eventTimeMs,
      localDay,
      localHour: Math.floor((localMs - localDay * dayMs) / 3_600_000),
      refundOf,
      saleDay,
      late: calendar.dayEndMs(localDay) + lateAfterMs < this.#logTimeMs,
    }
  }

  #refuse(reason: RefusalReason, detail: string): void {
    this.#fault ??= { reason, detail }
  }

  #value(own: Fields, order: Fields | null, name: string): unknown {
    // Own properties only: `constructor` and `__proto__` of the prototype are no fields.
    if (Object.hasOwn(own, name) && own[name] !== null) return own[name]
    return order !== null && Object.hasOwn(order, name) && order[name] !== null ? order[name] : undefined
  }

  #text256(own: Fields, order: Fields | null, name: string, absent: string | undefined): string {
    return this.#checkedText(own, order, name, absent, dimensionBytesMax)
  }

  /** Text, or a whole number as ids often are. Absent is a fault unless a value for it is given. */
  #checkedText(own: Fields, order: Fields | null, name: string, absent: string | undefined, bytesMax: number): string {
    let value = this.#value(own, order, name)
    if (value === undefined || (typeof value === 'string' && value.trim() === '')) {
      if (absent === undefined) this.#refuse('missing-field', name)
      value = absent ?? ''
    }
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) value = String(value)
    if (typeof value !== 'string') {
      this.#refuse('mistyped-field', name)
      return ''
    }
    const normal = isPlainAscii(value) ? value : value.normalize('NFC')
    const fault = textFault(normal, bytesMax)
    if (fault !== null) this.#refuse(fault, name)
    return normal
  }

  #kind(own: Fields, order: Fields | null): EventKind {
    const value = this.#value(own, order, 'kind') ?? 'sale'
    if (value === 'sale' || value === 'refund') return value
    this.#refuse('mistyped-field', 'kind; sale or refund')
    return 'sale'
  }

  /** `absent` null makes the field required. */
  #whole(own: Fields, name: string, absent: number | null): number {
    const value = this.#value(own, null, name)
    if (value === undefined) {
      if (absent === null) this.#refuse('missing-field', name)
      return absent ?? 1
    }
    if (typeof value === 'number') {
      if (!Number.isFinite(value)) this.#refuse('number-not-exact', name)
      else if (!Number.isInteger(value)) this.#refuse('number-not-exact', name)
      else if (value < 1 || value > quantityMax) this.#refuse('out-of-range', `${name}; 1 to ${quantityMax}`)
      return value
    }
    const parsed = typeof value === 'string' ? parseAmount(value, 0) : 'mistyped-field'
    if (typeof parsed === 'string') {
      this.#refuse(nonFinite(value) ? 'number-not-exact' : parsed, name)
      return 1
    }
    if (parsed < 1 || parsed > quantityMax) this.#refuse('out-of-range', `${name}; 1 to ${quantityMax}`)
    return parsed
  }

  /** Minor units. `absent` undefined makes the field required. */
  #amount(own: Fields, name: string, exponent: number, absent: number | null | undefined, index: number, order: Fields | null): number | null {
    const value = this.#value(own, null, name)
    if (value === undefined) {
      if (absent === undefined) this.#refuse('missing-field', name)
      return absent ?? null
    }
    const text = typeof value === 'number' ? this.#numberText(name, index, order) : value
    if (text === null || nonFinite(text)) {
      this.#refuse('number-not-exact', name)
      return null
    }
    const amount = typeof text === 'string' ? parseAmount(text, exponent) : 'mistyped-field'
    if (typeof amount !== 'string') return amount
    this.#refuse(amount, name)
    return null
  }

  /** The digits of a JSON number as they were written: the parsed number may have lost some. */
  #numberText(name: string, index: number, order: Fields | null): string | null {
    this.#sources ??= numberSources(this.#text)
    const holder = order === null ? this.#sources : (this.#sources['lines'] as readonly Fields[])[index]!
    return plainDecimal((holder[name] as NumberSource).source)
  }

  #instant(own: Fields, order: Fields | null): number {
    const value = this.#value(own, order, 'occurredAt')
    if (value === undefined) {
      this.#refuse('missing-field', 'occurredAt')
      return 0
    }
    const instant = typeof value === 'string' ? parseInstant(value, this.#context) : null
    if (instant === null) this.#refuse(typeof value === 'string' ? 'bad-time' : 'mistyped-field', 'occurredAt; ISO 8601 expected')
    return instant ?? 0
  }

  #saleDay(own: Fields): number | null {
    const value = this.#value(own, null, 'saleDay')
    if (value === undefined) {
      this.#refuse('missing-field', 'saleDay')
      return null
    }
    const day = typeof value === 'string' ? parseDay(value) : null
    if (day === null) this.#refuse(typeof value === 'string' ? 'bad-time' : 'mistyped-field', 'saleDay; YYYY-MM-DD expected')
    return day
  }
}

function nonFinite(value: unknown): boolean {
  return typeof value === 'string' && /^[+-]?(nan|inf|infinity)$/i.test(value)
}

type NumberSource = { readonly source: string }

/** The same document with every number replaced by its source text (ECMAScript "JSON.parse source text access"). */
function numberSources(text: string): Fields {
  const keepSource = (_key: string, value: unknown, context: { source?: string }): unknown =>
    typeof value === 'number' ? ({ source: context.source ?? String(value) } satisfies NumberSource) : value
  return JSON.parse(text, keepSource as (key: string, value: unknown) => unknown) as Fields
}

const instantPattern = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(Z|z|[+-]\d{2}(?::?\d{2})?)?$/

/** ISO 8601 with seconds or not, with an offset or, without one, in the shop's zone. UTC milliseconds, fractions cut off. */
function parseInstant(text: string, context: DecodeContext): number | null {
  const match = instantPattern.exec(text)
  if (match === null) return null
  const [, dayText = '', hourText = '', minuteText = '', secondText = '00', fraction = '', zone] = match
  const day = parseDay(dayText)
  const hour = Number(hourText)
  const minute = Number(minuteText)
  const second = Number(secondText)
  if (day === null || hour > 23 || minute > 59 || second > 59) return null
  const localMs = day * dayMs + ((hour * 60 + minute) * 60 + second) * 1000 + Number(fraction.slice(0, 3).padEnd(3, '0'))
  if (zone === undefined) return context.calendar.instantOf(localMs)
  if (zone === 'Z' || zone === 'z') return localMs
  const offsetHours = digitsAt(zone, 1, 2)
  const offsetMinutes = zone.length > 3 ? digitsAt(zone, zone.length - 2, 2) : 0
  if (offsetHours > 18 || offsetMinutes > 59) return null
  const offsetMs = (offsetHours * 60 + offsetMinutes) * 60_000
  return zone.charCodeAt(0) === 43 ? localMs - offsetMs : localMs + offsetMs
}
