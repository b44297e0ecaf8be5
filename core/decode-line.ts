/**
 * The first input format, one CSV line (RFC 4180 quoting):
 * transaction id, user id, product id, product name, category, quantity, unit price, total, local time, city.
 * It has no zone and no currency: both come from the shop's settings. Its event id is its transaction id.
 */
import { dayMs, digitsAt, firstLocalDay, parseDay } from './calendar.ts'
import type { DecodeContext } from './decode-context.ts'
import { futureToleranceMs, lateAfterMs, quantityMax, refuse } from './decode-context.ts'
import type { Decoded, ShopEvent } from './events.ts'
import { parseAmount } from './money.ts'
import { dimensionBytesMax, labelBytesMax, normaliseId, textFault } from './text.ts'

const fieldNames = ['transaction id', 'user id', 'product id', 'product name', 'category', 'quantity', 'unit price', 'total', 'time', 'city'] as const
const fieldCount = fieldNames.length
let lastGoodSource = ''
const isText = [true, true, true, true, true, false, false, false, false, true]

/** `plain`: the line is printable ASCII throughout, so no field needs a look at its characters. */
export function decodeLine(line: string, plain: boolean, source: string, logTimeMs: number, context: DecodeContext): Decoded {
  const text = withoutLineEnd(line)
  const fields = splitFields(text)
  if (typeof fields === 'string') return refuse('unreadable', fields)
  if (fields.length !== fieldCount) {
    const few = fields.length < fieldCount && fields.length > 1
    return refuse(few ? 'missing-field' : 'unreadable', `${fields.length} fields; a line has ${fieldCount}`)
  }
  // The source comes from a header, so it is checked like a field; nearly always it is the one before.
  if (source !== lastGoodSource) {
    const sourceFault = source.trim() === '' ? 'missing-field' : textFault(source, dimensionBytesMax)
    if (sourceFault !== null) return refuse(sourceFault, 'source')
    lastGoodSource = source
  }
  for (let i = 0; i < fieldCount; i++) {
    const field = fields[i]!
    if (field.length === 0) return refuse('missing-field', fieldNames[i]!)
    if (!isText[i]) continue
    if (!plain || field.length > dimensionBytesMax) {
      const normal = field.normalize('NFC')
      const fault = textFault(normal, i === 3 ? labelBytesMax : dimensionBytesMax)
      if (fault !== null) return refuse(fault, fieldNames[i]!)
      fields[i] = normal
    }
    if (field.charCodeAt(0) === 32 && field.trim() === '') return refuse('missing-field', fieldNames[i]!)
  }

  const quantity = parseAmount(fields[5]!, 0)
  if (typeof quantity === 'string') return refuse(quantity, 'quantity')
  if (quantity < 1 || quantity > quantityMax) return refuse('out-of-range', `quantity; 1 to ${quantityMax}`)
  const unitPriceMinor = parseAmount(fields[6]!, context.currencyExponent)
  if (typeof unitPriceMinor === 'string') return refuse(unitPriceMinor, 'unit price')
  const totalMinor = parseAmount(fields[7]!, context.currencyExponent)
  if (typeof totalMinor === 'string') return refuse(totalMinor, 'total')
  // Above 2^53 the product is only near, and then far above any total, so the comparison is exact where it can hold.
  if (quantity * unitPriceMinor !== totalMinor) return refuse('total-mismatch', 'total is not quantity × unit price')

  const localMs = parseLocalTime(fields[8]!)
  if (localMs === null) return refuse('bad-time', 'time; YYYY-MM-DD HH:MM:SS expected')
  const { calendar } = context
  const eventTimeMs = calendar.instantOf(localMs)
  if (eventTimeMs > logTimeMs + futureToleranceMs) return refuse('future-event', 'more than 24 hours after its log time')
  // Differs from the written time only where that does not exist.
  const existingLocalMs = eventTimeMs + calendar.offsetMs(eventTimeMs)
  const localDay = Math.floor(existingLocalMs / dayMs)
  if (localDay < firstLocalDay) return refuse('bad-time', 'its local day lies before the year 1')

  const eventId = normaliseId(fields[0]!)
  const event: ShopEvent = {
    source,
    eventId,
    kind: 'sale',
    orderId: eventId,
    orderLine: 1,
    userId: fields[1]!,
    productId: fields[2]!,
    productName: fields[3]!,
    category: fields[4]!,
    brand: null,
    city: fields[9]!,
    quantity,
    unitPriceMinor,
    discountMinor: 0,
    taxMinor: 0,
    shippingMinor: 0,
    totalMinor,
    currency: context.currency,
    eventTimeMs,
    localDay,
    localHour: Math.floor((existingLocalMs - localDay * dayMs) / 3_600_000),
    refundOf: null,
    saleDay: null,
    late: calendar.dayEndMs(localDay) + lateAfterMs < logTimeMs,
  }
  return { events: [event] }
}

function withoutLineEnd(line: string): string {
  let end = line.length
  if (end > 0 && line.charCodeAt(end - 1) === 10) end--
  if (end > 0 && line.charCodeAt(end - 1) === 13) end--
  return end === line.length ? line : line.slice(0, end)
}

/** The fields, or what is wrong with the quoting. */
function splitFields(text: string): string[] | string {
  const fields: string[] = []
  let at = 0
  for (;;) {
    if (text.charCodeAt(at) === 34) {
      let value = ''
      let from = at + 1
      for (;;) {
        const quote = text.indexOf('"', from)
        if (quote < 0) return 'a quoted field is not closed'
        value = value === '' ? text.slice(from, quote) : value + text.slice(from, quote)
        if (text.charCodeAt(quote + 1) !== 34) {
          at = quote + 1
          break
        }
        value += '"'
        from = quote + 2
      }
      fields.push(value)
      if (at === text.length) return fields
      if (text.charCodeAt(at) !== 44) return 'text after a closing quote'
      at++
    } else {
      const comma = text.indexOf(',', at)
      const field = comma < 0 ? text.slice(at) : text.slice(at, comma)
      if (field.includes('"')) return 'a quote inside an unquoted field'
      fields.push(field)
      if (comma < 0) return fields
      at = comma + 1
    }
    if (fields.length > fieldCount) return fields
  }
}

/** `2024-12-30 14:30:00` (or with `T`) as if it were UTC milliseconds. */
function parseLocalTime(text: string): number | null {
  if (text.length !== 19 || text.charCodeAt(13) !== 58 || text.charCodeAt(16) !== 58) return null
  const separator = text.charCodeAt(10)
  if (separator !== 32 && separator !== 84) return null
  const day = parseDay(text.slice(0, 10))
  const hour = digitsAt(text, 11, 2)
  const minute = digitsAt(text, 14, 2)
  const second = digitsAt(text, 17, 2)
  if (day === null || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return null
  return day * dayMs + ((hour * 60 + minute) * 60 + second) * 1000
}
