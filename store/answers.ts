/**
 * Merged answers (DESIGN.md sections 1, 2 and 7). Every answer is one SQL statement, so one snapshot: the published batch's rows through
 * the map of parts, live and correction rows of the epochs above the pointer's, and the receipt. Nobody sees half a swap.
 */
import { createHash } from 'node:crypto'
import type { QueryArrayConfig } from 'pg'
import { currencyExponent, formatMinor } from '#core/money.ts'
import { InvalidRequestError, StaleHorizonError } from '#core/errors.ts'
import { formatDay, monthStart } from '#core/calendar.ts'
import type { ClosedPeriod, Period, Seasons } from '#core/period.ts'
import { parseSeasonPeriod } from '#core/period.ts'
import type { Figures, LayerShare } from '#core/receipt.ts'
import { measures } from '#core/views/measures.ts'
import type { AsOf } from './as-of.ts'
import { refuseAsOf } from './as-of.ts'
import type { Queryable } from './database.ts'
import { translateError } from './database.ts'
import type { AnswerTerms, ReceiptParts, TaggedRow } from './receipt.ts'
import type { Basis, MonthBounds } from './layers.ts'
import { publishedBasis } from './layers.ts'
import { isReadable, readReceipt, stateSql, tags } from './receipt.ts'
import { readSeasons } from './seasons.ts'

export type { AnswerTerms } from './receipt.ts'

/** Rows of one answer; a request for more is refused with advice. */
export const rowsMax = 50_000
export const productsMax = 100
/** An answer by day covers at most so many days. */
export const daysMax = 20 * 366
/** Shapes of statements that are kept prepared; each connection holds its plans. Rarer shapes are planned when asked. */
const preparedShapesMax = 64
/** The table of seasons may change between its reading and the answer's statement; then both are read again. */
const seasonTriesMax = 3

export type Filters = { readonly city?: string; readonly category?: string; readonly currency?: string }
/** Without a batch or a time, of both layers as they are now. */
export type AsOfRequest = { readonly asOf?: AsOf }
export type PeriodRequest = Period | { readonly season: string }

/** The values of a statement, in the order in which its text names them. */
export class Values {
  readonly list: unknown[] = []

  add(value: unknown, type: string): string {
    this.list.push(value)
    return `$${this.list.length}::${type}`
  }
}

const preparedNames = new Map<string, string>()

function preparedName(text: string): string | undefined {
  let name = preparedNames.get(text)
  if (name === undefined && preparedNames.size < preparedShapesMax) {
    name = `tidemark_${createHash('sha256').update(text).digest('hex').slice(0, 32)}`
    preparedNames.set(text, name)
  }
  return name
}

/**
 * Runs one answer's statement: the receipt's rows and the figures' rows, in one snapshot. Throws InvalidRequestError where the batch asked for cannot be
 * read.
 */
export async function askStatement(queryable: Queryable, figuresSql: readonly string[], values: readonly unknown[], terms: AnswerTerms, basis: Basis = publishedBasis): Promise<Asked> {
  const text = [stateSql(basis), ...figuresSql].join('\nUNION ALL ')
  // What is asked rarely must not take the place of what is asked all day.
  const name = basis.asOf === null ? preparedName(text) : undefined
  try {
    const statement: QueryArrayConfig = { ...(name !== undefined && { name }), text, values: [...values], rowMode: 'array' }
    const rows = (await queryable.query(statement)).rows as unknown as TaggedRow[]
    if (basis.asOf !== null && !isReadable(rows)) return await refuseAsOf(queryable, basis.asOf)
    return { rows, parts: readReceipt(rows, terms, basis) }
  } catch (thrown) {
    throw translateError(thrown)
  }
}
export type Asked = { readonly rows: readonly TaggedRow[]; readonly parts: ReceiptParts }

/** The version that an answer given now would have: a 304 may be said where it equals the client's. */
export async function readAnswerVersion(queryable: Queryable, terms: AnswerTerms): Promise<{ readonly version: string; readonly asOf: string | null }> {
  const { parts } = await askStatement(queryable, [], [], terms)
  return { version: parts.version, asOf: parts.receipt({ fromBatch: noShare, fromSpeed: noShare }).asOf }
}

const noShare: LayerShare = { events: 0, netMinorByCurrency: {} }

/** Reads the seasons where the answer needs them, and asks again where they changed before its snapshot. */
export async function withSeasons<T>(queryable: Queryable, needed: boolean, ask: (seasons: Seasons | null) => Promise<{ readonly seasonVersion: number; readonly answer: T }>): Promise<T> {
  if (!needed) return (await ask(null)).answer
  for (let tries = 1; tries <= seasonTriesMax; tries++) {
    const seasons = await readSeasons(queryable)
    const { seasonVersion, answer } = await ask(seasons)
    if (seasonVersion === seasons.version) return answer
  }
  throw new StaleHorizonError('The table of seasons changes faster than an answer can be read. Ask again.')
}

export function resolvePeriod(period: PeriodRequest, seasons: Seasons | null): Period {
  return 'season' in period ? parseSeasonPeriod(period.season, seasons!) : period
}

const openStart = '-infinity'
const openEnd = 'infinity'

function addDate(values: Values, day: number | null, open: string): string {
  return values.add(day === null ? open : formatDay(day), 'date')
}

/** The condition that a column of days lies in the period. A single day is an equality, which keeps the order of an index behind it. */
export function addDays(values: Values, period: Period): (column: string) => string {
  const from = addDate(values, period.fromDay, openStart)
  // Behind a SELECT the day is unknown to the planner, so that a plan for any day is as good, and planning (0.5 ms) is done once a connection.
  if (isOneDay(period)) return (column) => `${column} = (SELECT ${from})`
  const to = addDate(values, period.toDay, openEnd)
  return (column) => `${column} >= ${from} AND ${column} < ${to}`
}

/** The months that the period touches, half-open, as SQL dates. */
export function addMonths(values: Values, { fromDay, toDay }: Period): MonthBounds {
  return {
    from: addDate(values, fromDay === null ? null : monthStart(fromDay), openStart),
    to: addDate(values, toDay === null ? null : monthStart(monthStart(toDay - 1) + 31), openEnd),
  }
}

export function isOneDay(period: Period): period is ClosedPeriod {
  return period.fromDay !== null && period.toDay === period.fromDay + 1
}

/** One key's sums, and how much of them the batch layer gave. */
export type Sums = {
  /** In the order of `measures`. */
  readonly totals: bigint[]
  batchEvents: bigint
  batchNet: bigint
}

export function emptySums(): Sums {
  return { totals: measures.map(() => 0n), batchEvents: 0n, batchNet: 0n }
}

/** Adds one layer's sums of a key; corrections count to the speed layer, whose figures they correct. */
export function addLayer(sums: Sums, tag: number, added: readonly bigint[]): void {
  for (let at = 0; at < sums.totals.length; at++) sums.totals[at]! += added[at]!
  if (tag !== tags.batch) return
  sums.batchEvents += added[0]! + added[2]!
  sums.batchNet += added[5]! - added[6]!
}

export function figuresOf({ totals }: Sums, currency: string): Figures {
  const [transactions, orders, refundEvents, unitsSold, unitsRefunded, gross, refunds] = totals as [bigint, bigint, bigint, bigint, bigint, bigint, bigint]
  const exponent = currencyExponent(currency)!
  const net = gross - refunds
  return {
    currency,
    transactions: Number(transactions),
    orders: Number(orders),
    refundEvents: Number(refundEvents),
    unitsSold: Number(unitsSold),
    unitsRefunded: Number(unitsRefunded),
    grossMinor: gross.toString(),
    refundsMinor: refunds.toString(),
    netMinor: net.toString(),
    gross: formatMinor(gross, exponent),
    refunds: formatMinor(refunds, exponent),
    net: formatMinor(net, exponent),
  }
}

/** Whether a key has nothing left: corrections can take a cell's only event away. */
export function isEmpty(sums: Sums): boolean {
  return sums.totals.every((total) => total === 0n)
}

/** How much of the rows given came from each layer. */
export function sharesOf(rows: Iterable<readonly [currency: string, sums: Sums]>): { fromBatch: LayerShare; fromSpeed: LayerShare } {
  let batchEvents = 0n
  let speedEvents = 0n
  const batchNet = new Map<string, bigint>()
  const speedNet = new Map<string, bigint>()
  for (const [currency, sums] of rows) {
    batchEvents += sums.batchEvents
    speedEvents += sums.totals[0]! + sums.totals[2]! - sums.batchEvents
    batchNet.set(currency, (batchNet.get(currency) ?? 0n) + sums.batchNet)
    speedNet.set(currency, (speedNet.get(currency) ?? 0n) + sums.totals[5]! - sums.totals[6]! - sums.batchNet)
  }
  return { fromBatch: shareOf(batchEvents, batchNet), fromSpeed: shareOf(speedEvents, speedNet) }
}

function shareOf(events: bigint, net: ReadonlyMap<string, bigint>): LayerShare {
  const currencies = [...net.keys()].sort()
  return { events: Number(events), netMinorByCurrency: Object.fromEntries(currencies.map((currency) => [currency, net.get(currency)!.toString()])) }
}

export function refuseTooManyRows(): never {
  throw new InvalidRequestError(`The answer would have more than ${rowsMax} rows. Ask for a shorter range, fewer keys in by, or one city or category.`, { rowsMax })
}

/** Bytewise in UTF-8, as the database orders text under collation "C". UTF-16 differs from it only in putting surrogates below U+E000 to U+FFFF. */
export function compareBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let at = 0; at < length; at++) {
    const left = a.charCodeAt(at)
    const right = b.charCodeAt(at)
    if (left !== right) return byteRank(left) - byteRank(right)
  }
  return a.length - b.length
}

function byteRank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit
}
