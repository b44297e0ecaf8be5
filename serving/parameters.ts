/** Reads query parameters into requests. Everything unknown, doubled or absurd is an InvalidRequestError that says what to change. */
import { parseDay } from '#core/calendar.ts'
import { InvalidRequestError } from '#core/errors.ts'
import { currencyExponent } from '#core/money.ts'
import { checkSeasonKey, parseDayPeriod, parseMonthPeriod, parseRange, parseYearPeriod, yearMax, yearMin } from '#core/period.ts'
import type { RevenueKey } from '#core/receipt.ts'
import { revenueKeys } from '#core/receipt.ts'
import { dimensionBytesMax, textFault } from '#core/text.ts'
import { productsMax } from '#store/answers.ts'
import type { AsOfRequest, Filters, PeriodRequest } from '#store/answers.ts'
import type { PaceRequest } from '#store/answer-pace.ts'
import type { ProductOrder, TopProductsRequest } from '#store/answer-products.ts'
import { productOrders } from '#store/answer-products.ts'
import type { RevenueRequest } from '#store/answer-revenue.ts'
import type { Parameters } from './schemas.ts'
import { noParameters, paceParameters, productsParameters, revenueParameters } from './schemas.ts'

export type Given = Readonly<Record<string, string | undefined>>

const productsDefault = 5

export function readRevenueRequest(query: unknown): RevenueRequest {
  const given = readGiven(query, revenueParameters)
  return { by: readKeys(given['by'] ?? ''), period: parseRange(given['from'], given['to']), ...readFilters(given), ...readAsOf(given) }
}

export function readProductsRequest(query: unknown): TopProductsRequest {
  const given = readGiven(query, productsParameters)
  return { n: readCount(given['n']), by: readOrder(given['by'] ?? 'units'), period: readPeriod(given), ...readFilters(given), ...readAsOf(given) }
}

export function readPaceRequest(query: unknown): PaceRequest {
  const given = readGiven(query, paceParameters)
  return { period: parseRange(given['from'], given['to']), ...readFilters(given), ...readAsOf(given) }
}

export function refuseParameters(query: unknown): void {
  readGiven(query, noParameters)
}

export function readGiven(query: unknown, schema: Parameters): Given {
  const known = Object.keys(schema.properties)
  for (const [name, value] of Object.entries(query as Record<string, unknown>)) {
    if (!known.includes(name)) {
      throw new InvalidRequestError(
        known.length === 0 ? 'This address takes no parameters.' : `There is no such parameter. Known are ${known.join(', ')}.`,
        { parameter: name.slice(0, 40) },
      )
    }
    if (typeof value !== 'string') throw new InvalidRequestError(`${name} was given more than once: give it once.`, { parameter: name })
  }
  return query as Given
}

function readKeys(text: string): RevenueKey[] {
  const keys = text === '' ? [] : text.split(',')
  for (const key of keys) {
    if (!(revenueKeys as readonly string[]).includes(key)) {
      throw new InvalidRequestError(`by takes any of ${revenueKeys.join(', ')}, with commas between them.`, { parameter: 'by', given: key.slice(0, 40) })
    }
  }
  if (new Set(keys).size < keys.length) throw new InvalidRequestError('by names a key twice: name each once.', { parameter: 'by' })
  return keys as RevenueKey[]
}

function readOrder(text: string): ProductOrder {
  if (!(productOrders as readonly string[]).includes(text)) {
    throw new InvalidRequestError(`by must be one of ${productOrders.join(', ')}.`, { parameter: 'by', given: text.slice(0, 40) })
  }
  return text as ProductOrder
}

function readCount(text: string | undefined): number {
  if (text === undefined) return productsDefault
  return readWhole('n', text, 1, productsMax)
}

function readPeriod(given: Given): PeriodRequest {
  const { day, month, season, year, from, to } = given
  const kinds = [day, month, season, year, from ?? to].filter((value) => value !== undefined)
  if (kinds.length > 1) throw new InvalidRequestError('Give one period only: day, month, season, year, or from and to.', { parameter: 'day' })
  if (day !== undefined) return parseDayPeriod(day)
  if (month !== undefined) return parseMonthPeriod(month)
  if (year !== undefined) return parseYearPeriod(year)
  if (season === undefined) return parseRange(from, to)
  checkSeasonKey(season)
  return { season }
}

function readFilters(given: Given): Filters {
  const { city, category, currency } = given
  return {
    ...(city !== undefined && { city: readText('city', city) }),
    ...(category !== undefined && { category: readText('category', category) }),
    ...(currency !== undefined && { currency: readCurrency(currency) }),
  }
}

function readAsOf({ asOfBatch, asOf }: Given): AsOfRequest {
  if (asOfBatch !== undefined && asOf !== undefined) throw new InvalidRequestError('Give asOfBatch or asOf, not both: a number or a time.', { parameter: 'asOf' })
  if (asOfBatch !== undefined) return { asOf: { batch: readWhole('asOfBatch', asOfBatch, 0) } }
  return asOf === undefined ? {} : { asOf: { timeMs: readTime('asOf', asOf) } }
}

/** Of ISO 8601 with its zone. The `+` of an offset that was sent unescaped arrives as a space, and can be nothing else. */
export function readTime(parameter: string, text: string): number {
  const [, day, , sign, offset] = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(?:Z|([+ -])(\d\d:\d\d))$/.exec(text) ?? []
  const year = Number(day?.slice(0, 4))
  const timeMs = day === undefined || parseDay(day) === null || year < yearMin || year > yearMax ? Number.NaN : Date.parse(sign === ' ' ? `${text.slice(0, -6)}+${offset}` : text)
  if (Number.isNaN(timeMs)) {
    throw new InvalidRequestError(`${parameter} must be a time with its zone such as 2025-01-02T03:04:05Z or 2025-01-02T03:04:05+01:00 (write the + as %2B), of the years ${yearMin} to ${yearMax}.`, {
      parameter,
      given: text.slice(0, 40),
    })
  }
  return timeMs
}

/** A whole number of at most fifteen digits. */
export function readWhole(parameter: string, text: string, min: number, max = 999_999_999_999_999): number {
  const value = /^[0-9]{1,15}$/.test(text) ? Number(text) : -1
  if (value < min || value > max) throw new InvalidRequestError(`${parameter} must be a whole number from ${min} to ${max}.`, { parameter, given: text.slice(0, 40) })
  return value
}

/** As events are read: NFC, no control characters, bounded. What no event can hold is a mistake, not an empty answer. */
function readText(parameter: string, text: string): string {
  const normal = text.normalize('NFC')
  const fault = textFault(normal, dimensionBytesMax)
  if (fault === 'too-long') throw new InvalidRequestError(`${parameter} is longer than ${dimensionBytesMax} bytes: no event has such a one.`, { parameter })
  if (fault !== null) throw new InvalidRequestError(`${parameter} holds a control character: no event has such a one.`, { parameter })
  return normal
}

function readCurrency(text: string): string {
  if (currencyExponent(text) === undefined) {
    throw new InvalidRequestError('currency must be a code of ISO 4217 in capitals, such as GBP.', { parameter: 'currency', given: text.slice(0, 40) })
  }
  return text
}
