/**
 * The true answers, added up from what the generator meant, never from the bytes it wrote. A truth may be added to while traffic runs,
 * written to a file, read back, and merged with the truth of another stream.
 *
 * The file is one JSON object; rows stand one a line, sorted by their key in UTF-16 order, so equal truths have equal bytes. Money is
 * decimal digits in minor units. Days are local days of the shop's zone.
 */
import assert from 'node:assert'
import { ConfigError, ConflictError } from '#core/errors.ts'
import type { Fact, GeneratedRecord, RefusalWord } from './fact.ts'

export type TruthMeasures = {
  readonly transactions: number
  readonly orders: number
  readonly refundEvents: number
  readonly unitsSold: number
  readonly unitsRefunded: number
  /** Minor units, digits. */
  readonly grossMinor: string
  readonly refundsMinor: string
}

/** One row per (day, city, category, currency). */
export type TruthRevenueRow = { readonly day: string; readonly city: string; readonly category: string; readonly currency: string } & TruthMeasures
/** One row per (day, productId, currency), over all categories. */
export type TruthProductRow = { readonly day: string; readonly productId: string; readonly currency: string } & TruthMeasures

export type TruthFile = {
  /** null where truths of several seeds or profiles were merged. */
  readonly seed: number | null
  readonly profile: string | null
  readonly zone: string
  readonly currency: string
  /** What the ids of its streams begin with. */
  readonly idPrefixes: readonly string[]
  /** Records of the log. */
  readonly records: number
  /** Distinct accepted events, sales and refunds. */
  readonly events: number
  /** Events that repeat an accepted one; that contradict one. */
  readonly copies: number
  readonly conflicts: number
  /** Accepted events whose local day had ended more than an hour before their log time. */
  readonly late: number
  /** Refused records. */
  readonly refusedByReason: Readonly<Partial<Record<RefusalWord, number>>>
  readonly revenue: readonly TruthRevenueRow[]
  readonly products: readonly TruthProductRow[]
}

export type TruthOrigin = Pick<TruthFile, 'seed' | 'profile' | 'zone' | 'currency' | 'idPrefixes'>

/** Below this a number holds any further amount exactly; above it, the sum moves into the bigint. */
const SPILL_MINOR = 2 ** 52

class Sums {
  transactions = 0
  orders = 0
  refundEvents = 0
  unitsSold = 0
  unitsRefunded = 0
  #grossMinor = 0
  #grossSpilled = 0n
  #refundsMinor = 0
  #refundsSpilled = 0n

  addFact(fact: Fact): void {
    if (fact.kind === 'sale') {
      this.transactions += 1
      if (fact.orderLine === 1) this.orders += 1
      this.unitsSold += fact.quantity
      this.#grossMinor += fact.totalMinor
      if (this.#grossMinor < SPILL_MINOR) return
      this.#grossSpilled += BigInt(this.#grossMinor)
      this.#grossMinor = 0
    } else {
      this.refundEvents += 1
      this.unitsRefunded += fact.quantity
      this.#refundsMinor += fact.totalMinor
      if (this.#refundsMinor < SPILL_MINOR) return
      this.#refundsSpilled += BigInt(this.#refundsMinor)
      this.#refundsMinor = 0
    }
  }

  addMeasures(measures: TruthMeasures): void {
    this.transactions += measures.transactions
    this.orders += measures.orders
    this.refundEvents += measures.refundEvents
    this.unitsSold += measures.unitsSold
    this.unitsRefunded += measures.unitsRefunded
    this.#grossSpilled += BigInt(measures.grossMinor)
    this.#refundsSpilled += BigInt(measures.refundsMinor)
  }

  measures(): TruthMeasures {
    return {
      transactions: this.transactions,
      orders: this.orders,
      refundEvents: this.refundEvents,
      unitsSold: this.unitsSold,
      unitsRefunded: this.unitsRefunded,
      grossMinor: String(this.#grossSpilled + BigInt(this.#grossMinor)),
      refundsMinor: String(this.#refundsSpilled + BigInt(this.#refundsMinor)),
    }
  }
}

/** No text of an event holds this character. */
const SEPARATOR = '\u0000'

function sumsOf(cells: Map<string, Sums>, key: string): Sums {
  let sums = cells.get(key)
  if (sums === undefined) {
    sums = new Sums()
    cells.set(key, sums)
  }
  return sums
}

export class Truth {
  #origin: TruthOrigin
  #records = 0
  #events = 0
  #copies = 0
  #conflicts = 0
  #late = 0
  readonly #refused = new Map<RefusalWord, number>()
  readonly #revenue = new Map<string, Sums>()
  readonly #products = new Map<string, Sums>()

  constructor(origin: TruthOrigin) {
    this.#origin = { ...origin, idPrefixes: [...origin.idPrefixes].sort() }
  }

  /** Counts a record that is in the log, once; the order of records does not matter. */
  add(record: GeneratedRecord): void {
    this.#records += 1
    for (const meaning of record.means) {
      if (meaning.is === 'event') {
        const { fact } = meaning
        this.#events += 1
        if (meaning.late) this.#late += 1
        sumsOf(this.#revenue, fact.dayText + SEPARATOR + fact.city + SEPARATOR + fact.category + SEPARATOR + fact.currency).addFact(fact)
        sumsOf(this.#products, fact.dayText + SEPARATOR + fact.productId + SEPARATOR + fact.currency).addFact(fact)
      } else if (meaning.is === 'copy') this.#copies += 1
      else if (meaning.is === 'conflict') this.#conflicts += 1
      else this.#refused.set(meaning.reason, (this.#refused.get(meaning.reason) ?? 0) + 1)
    }
  }

  /**
   * Adds the truth of other streams into the same shop. Throws ConfigError where zone or currency differ, ConflictError where both count
   * a stream of the same ids, for then the second time would all be copies.
   */
  merge(other: TruthFile): void {
    const mine = this.#origin
    if (other.zone !== mine.zone || other.currency !== mine.currency) {
      const both = `${other.zone} and ${other.currency} does not add to one in ${mine.zone} and ${mine.currency}`
      throw new ConfigError(`A truth in ${both}; generate both with the same shop's settings.`)
    }
    const twice = other.idPrefixes.find((prefix) => mine.idPrefixes.includes(prefix))
    if (twice !== undefined) throw new ConflictError(`Both truths count the stream of ids ${twice}; name each truth once.`, { idPrefix: twice })
    this.#origin = {
      ...mine,
      seed: mine.seed === other.seed ? mine.seed : null,
      profile: mine.profile === other.profile ? mine.profile : null,
      idPrefixes: [...mine.idPrefixes, ...other.idPrefixes].sort(),
    }
    this.#records += other.records
    this.#events += other.events
    this.#copies += other.copies
    this.#conflicts += other.conflicts
    this.#late += other.late
    for (const [reason, count] of Object.entries(other.refusedByReason) as [RefusalWord, number][]) {
      this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + count)
    }
    for (const row of other.revenue) sumsOf(this.#revenue, [row.day, row.city, row.category, row.currency].join(SEPARATOR)).addMeasures(row)
    for (const row of other.products) sumsOf(this.#products, [row.day, row.productId, row.currency].join(SEPARATOR)).addMeasures(row)
  }

  toFile(): TruthFile {
    const sorted = (cells: Map<string, Sums>): [string[], TruthMeasures][] =>
      [...cells.keys()].sort().map((key) => [key.split(SEPARATOR), (cells.get(key) ?? new Sums()).measures()])
    return {
      seed: this.#origin.seed,
      profile: this.#origin.profile,
      zone: this.#origin.zone,
      currency: this.#origin.currency,
      idPrefixes: this.#origin.idPrefixes,
      records: this.#records,
      events: this.#events,
      copies: this.#copies,
      conflicts: this.#conflicts,
      late: this.#late,
      refusedByReason: Object.fromEntries([...this.#refused].sort(([a], [b]) => (a < b ? -1 : 1))),
      revenue: sorted(this.#revenue).map(([key, measures]) => {
        const [day = '', city = '', category = '', currency = ''] = key
        return { day, city, category, currency, ...measures }
      }),
      products: sorted(this.#products).map(([key, measures]) => {
        const [day = '', productId = '', currency = ''] = key
        return { day, productId, currency, ...measures }
      }),
    }
  }
}

const ROWS_PER_CHUNK = 1000

function* rowChunks(rows: readonly object[]): Iterable<string> {
  for (let from = 0; from < rows.length; from += ROWS_PER_CHUNK) {
    const texts = rows.slice(from, from + ROWS_PER_CHUNK).map((row) => JSON.stringify(row))
    yield (from === 0 ? '\n' : ',\n') + texts.join(',\n')
  }
}

/** The file's text in pieces; a sparse year has hundreds of thousands of rows. */
export function* truthText(file: TruthFile): Iterable<string> {
  const { revenue, products, ...head } = file
  const headText = JSON.stringify(head)
  assert(headText.endsWith('}'))
  yield `${headText.slice(0, -1)},\n"revenue":[`
  yield* rowChunks(revenue)
  yield '\n],\n"products":['
  yield* rowChunks(products)
  yield '\n]}\n'
}

const COUNTS = ['records', 'events', 'copies', 'conflicts', 'late'] as const
const MEASURE_COUNTS = ['transactions', 'orders', 'refundEvents', 'unitsSold', 'unitsRefunded'] as const
const MEASURE_AMOUNTS = ['grossMinor', 'refundsMinor'] as const

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function areRows(value: unknown, names: readonly string[]): boolean {
  return (
    Array.isArray(value) &&
    value.every(
      (row: unknown) =>
        isRecord(row) &&
        names.every((name) => typeof row[name] === 'string') &&
        MEASURE_COUNTS.every((name) => isCount(row[name])) &&
        MEASURE_AMOUNTS.every((name) => typeof row[name] === 'string' && /^\d{1,30}$/.test(row[name])),
    )
  )
}

/** Reads a truth file. Throws ConfigError where the text is none. */
export function parseTruth(text: string): TruthFile {
  const fail = (what: string, cause?: unknown): never => {
    throw new ConfigError(`This is no truth file: ${what}. Write one with: tidemark generate --truth FILE`, {}, cause)
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (cause) {
    return fail('it is not JSON', cause)
  }
  if (!isRecord(parsed)) return fail('it is not a JSON object')
  const file = parsed
  if (typeof file['zone'] !== 'string' || typeof file['currency'] !== 'string') return fail('zone or currency is missing')
  if (file['seed'] !== null && !isCount(file['seed'])) return fail('seed is no whole number')
  if (file['profile'] !== null && typeof file['profile'] !== 'string') return fail('profile is no text')
  const prefixes = file['idPrefixes']
  if (!Array.isArray(prefixes) || !prefixes.every((prefix) => typeof prefix === 'string')) return fail('idPrefixes is no list of texts')
  for (const name of COUNTS) if (!isCount(file[name])) return fail(`${name} is no count`)
  if (!isRecord(file['refusedByReason']) || !Object.values(file['refusedByReason']).every(isCount)) return fail('refusedByReason holds no counts')
  if (!areRows(file['revenue'], ['day', 'city', 'category', 'currency'])) return fail('a row of revenue is incomplete')
  if (!areRows(file['products'], ['day', 'productId', 'currency'])) return fail('a row of products is incomplete')
  return file as TruthFile
}
