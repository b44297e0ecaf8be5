/**
 * "How much was sold, by …?" from the view `revenue`. Cells are summed in the database by layer and added up here, so that the receipt can say
 * what each layer gave.
 *
 * What costs in this statement is the sending and the grouping of rows, not the reading (measured, one day of 600 cells: reading and summing
 * 170 µs, 50 groups sent as rows +170 µs). So each layer's groups come as one row: texts joined by U+0001, which no dimension may hold, and
 * sums as an array; and a shop of one currency, the usual one, is first asked without the currency among the grouping keys.
 */
import { daysFromCivil, formatDay } from '#core/calendar.ts'
import type { Period, Seasons } from '#core/period.ts'
import { monthKey, seasonKey, seasonsFollowMonths, yearKey, yearText } from '#core/period.ts'
import { InvalidRequestError } from '#core/errors.ts'
import type { Answer, RevenueKey, RevenueRow } from '#core/receipt.ts'
import { measures } from '#core/views/measures.ts'
import { revenue } from '#core/views/revenue.ts'
import type { AnswerTerms, AsOfRequest, Filters, PeriodRequest, Sums } from './answers.ts'
import { Values, addDays, addLayer, addMonths, askStatement, compareBytes, daysMax, emptySums, figuresOf, isEmpty, isOneDay, refuseTooManyRows, resolvePeriod, rowsMax, sharesOf, withSeasons } from './answers.ts'
import type { Queryable } from './database.ts'
import type { Basis } from './layers.ts'
import { aboveHorizon, basisOf, batchParts } from './layers.ts'
import type { KeptCell } from './kept-days.ts'
import { KeptDays } from './kept-days.ts'
import type { ReceiptParts, TaggedRow } from './receipt.ts'
import { partsSql, taggedSelect, tags } from './receipt.ts'

export type RevenueRequest = { readonly by: readonly RevenueKey[]; readonly period: PeriodRequest } & Filters & AsOfRequest

/** Separates the texts of a layer's groups: decoding refuses control characters in every dimension. */
const separator = '\u0001'

/** The one period key that the database groups by; the keys asked for are read from it. */
type PeriodKind = 'none' | 'day' | 'month' | 'season' | 'year'

type Plan = {
  readonly period: Period
  readonly kind: PeriodKind
  readonly seasons: Seasons | null
  readonly city: boolean
  readonly category: boolean
  /** Where all cells are of this currency it is no grouping key; null groups by it. */
  readonly currency: string | null
}

/** The currency of the store's figures as last seen whole, per connection or pool: only a guess, checked by every statement. */
const guesses = new WeakMap<Queryable, string | null>()

/**
 * Rows in the order of the keys asked for, then currency; text bytewise. A key that nothing is left of is no row. Throws InvalidRequestError
 * beyond the limits, CorruptError where the batch view is not whole.
 */
export async function answerRevenue(queryable: Queryable, request: RevenueRequest, terms: AnswerTerms): Promise<Answer<RevenueRow>> {
  const seasonal = request.by.includes('season') || 'season' in request.period
  return withSeasons(queryable, seasonal, async (seasons) => {
    const period = resolvePeriod(request.period, seasons)
    checkRange(request, period)
    const plan = {
      period,
      kind: periodKind(request.by, period, seasons),
      seasons,
      city: request.by.includes('city'),
      category: request.by.includes('category'),
    }
    const guess = request.currency ?? guesses.get(queryable) ?? null
    const asked = (await ask(queryable, request, { ...plan, currency: guess }, terms)) ?? (await ask(queryable, request, { ...plan, currency: null }, terms))!
    if (request.currency === undefined && request.asOf === undefined && asked.groups.length > 0) guesses.set(queryable, onlyCurrency(asked.groups))
    const groups = asked.groups.filter((group) => !isEmpty(group.sums))
    if (groups.length > rowsMax) refuseTooManyRows()
    const rows = groups.map((group) => ({ ...group.keys, ...figuresOf(group.sums, group.currency) }))
    rows.sort(byKeys(request.by))
    const receipt = asked.parts.receipt(sharesOf(groups.map((group) => [group.currency, group.sums])))
    return { seasonVersion: asked.parts.state.seasonVersion, answer: { rows, receipt, version: asked.parts.version, moves: asked.parts.state.moves } }
  })
}

type Group = { readonly keys: { readonly [key in RevenueKey]?: string }; readonly currency: string; readonly sums: Sums }

type Cell = KeptCell<Group['keys']>

const keptDays = new KeptDays<Group['keys']>()
/** No row version has it. */
const noVersion = '-1'

/** Null where the guess at the currency was wrong. */
async function ask(queryable: Queryable, request: RevenueRequest, plan: Plan, terms: AnswerTerms): Promise<{ parts: ReceiptParts; groups: Group[] } | null> {
  const question = request.asOf === undefined && isOneDay(plan.period) ? questionOf(request, plan, plan.period.fromDay) : null
  const kept = question === null ? null : keptDays.find(question)
  const values = new Values()
  const basis = basisOf(request.asOf, (value, type) => values.add(value, type))
  const sql = figuresSql(request, plan, kept?.version ?? noVersion, basis, values)
  const { rows, parts } = await askStatement(queryable, sql, values.list, terms, basis)
  if (question !== null && kept !== null && kept.publication !== parts.state.publication) {
    keptDays.drop(question)
    return ask(queryable, request, plan, terms)
  }
  const groups = new Map<string, Group>()
  let batchCells: readonly Cell[] = []
  for (const row of rows) {
    if (row[0] < tags.batch) continue
    if (row[5] === 'true') return null
    const cells = readCells(row, request.by, plan)
    if (row[0] === tags.batch) batchCells = cells
    else addCells(groups, row[0], cells)
  }
  if (question !== null && parts.partVersion !== null) {
    if (kept?.version === parts.partVersion) batchCells = kept.cells
    else keptDays.keep(question, { publication: parts.state.publication, version: parts.partVersion, cells: batchCells })
  }
  addCells(groups, tags.batch, batchCells)
  return { parts, groups: [...groups.values()] }
}

/** All that a day's cells depend on besides the row version. */
function questionOf(request: RevenueRequest, plan: Plan, day: number): string {
  const { by, city, category, currency } = request
  return JSON.stringify([day, by, city ?? null, category ?? null, currency ?? null, plan.currency, plan.seasons?.version ?? null])
}

function addCells(groups: Map<string, Group>, tag: number, cells: readonly Cell[]): void {
  for (const { keys, currency, added } of cells) {
    const id = `${keys.day ?? ''}${keys.month ?? ''}${keys.season ?? ''}${keys.year ?? ''}${separator}${keys.city ?? ''}${separator}${keys.category ?? ''}${separator}${currency}`
    let group = groups.get(id)
    if (group === undefined) groups.set(id, (group = { keys, currency, sums: emptySums() }))
    addLayer(group.sums, tag, added)
  }
}

function figuresSql(request: RevenueRequest, plan: Plan, keptVersion: string, basis: Basis, values: Values): string[] {
  const inPeriod = addDays(values, plan.period)('c.local_day')
  const months = addMonths(values, plan.period)
  const currency = plan.currency === null ? null : values.add(plan.currency, 'text')
  const filters = [
    ...(request.city === undefined ? [] : [`c.city = ${values.add(request.city, 'text')}`]),
    ...(request.category === undefined ? [] : [`c.category = ${values.add(request.category, 'text')}`]),
    ...(request.currency === undefined ? [] : [`c.currency = ${currency}`]),
  ]
  const seasonStarts =
    plan.kind === 'season' ? values.add(plan.seasons!.starts.map((start) => start.firstMonth * 100 + start.firstDay), 'int[]') : ''
  const wholeMonths = plan.kind === 'month' || plan.kind === 'year' || (plan.kind === 'season' && seasonsFollowMonths(plan.seasons!))
  const layer = (tag: number, source: string, conditions: readonly string[], date: string): string => {
    const keys = [
      ...(plan.kind === 'none' ? [] : [`${periodSql(plan.kind, date, seasonStarts)} AS period`]),
      ...(plan.city ? ['c.city AS city'] : []),
      ...(plan.category ? ['c.category AS category'] : []),
      ...(currency === null ? ['c.currency AS currency'] : []),
    ]
    const foreign = currency === null || request.currency !== undefined ? 'false' : `bool_or(c.currency <> ${currency})`
    const sums = `ARRAY[${measures.map((name) => `sum(c.${name})`).join(', ')}]`
    return taggedSelect(
      tag,
      [
        plan.kind === 'none' ? 'NULL' : `string_agg(g.period::text, ',')`,
        plan.city ? `string_agg(g.city, E'\\x01')` : 'NULL',
        plan.category ? `string_agg(g.category, E'\\x01')` : 'NULL',
        currency === null ? `string_agg(g.currency, E'\\x01')` : 'NULL',
        'bool_or(g.strange)::text',
        'array_agg(g.sums)::text',
      ],
      `FROM (
        SELECT ${[...keys, `${foreign} AS strange`, `${sums} AS sums`].join(', ')}
        FROM ${source} WHERE ${[...conditions, ...filters].join(' AND ')}
        ${keys.length > 0 ? `GROUP BY ${keys.map((_, at) => at + 1).join(', ')}` : 'HAVING count(*) > 0'} LIMIT ${rowsMax + 1}
      ) g HAVING count(*) > 0`,
    )
  }
  const parts = batchParts(revenue, months, basis)
  const ofBatch = [
    partsSql(revenue, months, basis),
    isOneDay(plan.period)
      ? layer(tags.batch, 'batch_revenue c', [`c.version = (SELECT p.version FROM batch_parts p WHERE ${parts} AND p.version <> ${values.add(keptVersion, 'bigint')})`, inPeriod], 'c.local_day')
      : layer(tags.batch, 'batch_parts p JOIN batch_revenue c ON c.version = p.version', [parts, inPeriod], wholeMonths ? 'p.month' : 'c.local_day'),
  ]
  if (basis.asOf !== null) return ofBatch
  return [
    ...ofBatch,
    layer(tags.live, 'live_revenue c', [inPeriod, aboveHorizon], 'c.local_day'),
    layer(tags.correction, 'correction_revenue c', [inPeriod, aboveHorizon], 'c.local_day'),
  ]
}

/** A whole number for the period that holds the date: days, months or years, or thousandfold the year plus how many seasons of it have begun. */
function periodSql(kind: PeriodKind, date: string, seasonStarts: string): string {
  if (kind === 'day') return `(${date} - DATE '1970-01-01')`
  const year = `date_part('year', ${date})::int`
  if (kind === 'year') return year
  const month = `date_part('month', ${date})::int`
  if (kind === 'month') return `(${year} * 12 + ${month} - 1)`
  return `(${year} * 1000 + width_bucket(${month} * 100 + date_part('day', ${date})::int, ${seasonStarts}))`
}

function periodKind(by: readonly RevenueKey[], period: Period, seasons: Seasons | null): PeriodKind {
  const kinds = (['day', 'month', 'season', 'year'] as const).filter((kind) => by.includes(kind))
  if (kinds.length === 0 || isOneDay(period)) return 'none'
  if (kinds.includes('day')) return 'day'
  if (kinds.length === 1) return kinds[0]!
  return !kinds.includes('season') || seasonsFollowMonths(seasons!) ? 'month' : 'day'
}

type PeriodKeys = Group['keys']

function periodKeys(by: readonly RevenueKey[], { kind, period, seasons }: Plan): (value: number) => PeriodKeys {
  const ofDay = (day: number): PeriodKeys => ({
    ...(by.includes('day') && { day: formatDay(day) }),
    ...(by.includes('month') && { month: monthKey(day) }),
    ...(by.includes('season') && { season: seasonKey(day, seasons!) }),
    ...(by.includes('year') && { year: yearKey(day) }),
  })
  if (kind === 'none') return () => (isOneDay(period) ? ofDay(period.fromDay) : {})
  if (kind === 'day') return ofDay
  if (kind === 'year') return (year) => ({ year: yearText(year) })
  if (kind === 'month') return (month) => ofDay(daysFromCivil(Math.floor(month / 12), (month % 12) + 1, 1))
  return (value) => {
    const begun = value % 1000
    const year = Math.floor(value / 1000)
    return { season: begun === 0 ? `${yearText(year - 1)}-${seasons!.starts.at(-1)!.name}` : `${yearText(year)}-${seasons!.starts[begun - 1]!.name}` }
  }
}

/** One layer's groups, from the one row that they came in. */
function readCells(row: TaggedRow, by: readonly RevenueKey[], plan: Plan): Cell[] {
  const [, periods, cities, categories, currencies, , sums] = row as [number, ...(string | null)[]]
  const split = (texts: string | null | undefined): string[] | null => texts?.split(separator) ?? null
  const keysOf = periodKeys(by, plan)
  const period = periods?.split(',') ?? null
  const city = split(cities)
  const category = split(categories)
  const currency = split(currencies)
  const figures = sums!.slice(2, -2).split('},{')
  if (figures.length > rowsMax) refuseTooManyRows()
  return figures.map((figure, at) => ({
    keys: {
      ...keysOf(Number(period?.[at])),
      ...(city !== null && { city: city[at]! }),
      ...(category !== null && { category: category[at]! }),
    },
    currency: currency?.[at] ?? plan.currency!,
    added: figure.split(',').map(BigInt),
  }))
}

function checkRange({ by }: RevenueRequest, { fromDay, toDay }: Period): void {
  if (by.includes('day') && fromDay !== null && toDay !== null && toDay - fromDay > daysMax) {
    throw new InvalidRequestError(`By day, an answer covers at most ${daysMax} days (20 years). Ask for a shorter range, or by month or year.`, { daysMax })
  }
}

function onlyCurrency(groups: readonly Group[]): string | null {
  const first = groups[0]?.currency ?? null
  return groups.every((group) => group.currency === first) ? first : null
}

function byKeys(by: readonly RevenueKey[]): (a: RevenueRow, b: RevenueRow) => number {
  const keys = [...by, 'currency'] as const
  return (a, b) => {
    for (const key of keys) {
      const order = compareBytes(a[key]!, b[key]!)
      if (order !== 0) return order
    }
    return 0
  }
}
