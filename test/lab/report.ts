/** Reports out of thin air, for whatever shows them: every section adds up, as in a real one, and the same options make the same report. */
import { formatDay, parseDay } from '#core/calendar.ts'
import { addFigures, noFigures, subtractFigures } from '#core/report/figures.ts'
import type { ReportKind } from '#core/report/periods.ts'
import type { Report, ReportFigures, ReportLine, ReportLineKey, RestatedLine, RestatementCause, RestatementEvent } from '#core/report/report.ts'
import { lineKey } from '#core/report/restate.ts'

export type ReportFixture = {
  readonly kind?: ReportKind
  readonly period?: string
  readonly from?: string
  readonly to?: string
  readonly before?: Report['before']
  readonly yearBefore?: Report['yearBefore']
  readonly cities?: readonly string[]
  readonly categories?: readonly string[]
  readonly currencies?: readonly string[]
  readonly products?: readonly string[]
  /** Late events that version 2 is made of; without them it is version 1. */
  readonly restatedEvents?: number
  readonly seed?: number
}

const citiesDefault = ['London', 'Manchester', 'Birmingham', 'Leeds', 'Glasgow', 'Bristol', 'Edinburgh', 'Liverpool', 'Cardiff', 'Belfast', 'Newcastle upon Tyne', 'York', 'Bath', 'St Albans']
const categoriesDefault = ['Electronics', 'Home', 'Clothing', 'Garden', 'Toys', 'Books']
const productsDefault = ['Laptop', 'Kettle', 'Wool scarf', 'Rose bush', 'Building bricks', 'Atlas of rivers', 'Headphones', 'Desk lamp', 'Raincoat', 'Watering can', 'Chess set', 'Cookery book', 'Camera']

const noKey = { day: null, city: null, category: null, season: null, productId: null }

export function reportFixture(options: ReportFixture = {}): Report {
  const { kind = 'monthly', period = '2025-03', from = '2025-03-01', to = '2025-04-01', restatedEvents = 0, seed = 7 } = options
  const before = options.before ?? { period: '2025-02', from: '2025-02-01', to: '2025-03-01', hasBooks: true }
  const yearBefore = options.yearBefore ?? { period: '2024-03', from: '2024-03-01', to: '2024-04-01', hasBooks: true }
  const currencies = options.currencies ?? ['GBP']
  const chance = chanceOf(seed)
  const lines: ReportLine[] = []
  const restated: RestatedLine[] = []
  const events: RestatementEvent[] = []
  for (const currency of currencies) {
    const now = sectionsOf(options, currency, from, to, chance, 1)
    const earlier = before.hasBooks ? sectionsOf(options, currency, before.from, before.to, chance, 0.93) : null
    const lastYear = yearBefore.hasBooks ? sectionsOf(options, currency, yearBefore.from, yearBefore.to, chance, 0.8) : null
    if (restatedEvents > 0 && currency === currencies[0]) restated.push(...restate(options, now, currency, from, restatedEvents, events, chance))
    const figuresIn = (sections: Sections | null, key: string, isCompared: boolean): ReportFigures | null => (sections === null || !isCompared ? null : (sections.get(key)?.figures ?? noFigures))
    const added = [...now].map(([name, { key, figures }]): ReportLine => {
      const isCompared = key.section !== 'day'
      return { ...key, productName: null, rank: null, now: figures, before: figuresIn(earlier, name, isCompared), yearBefore: figuresIn(lastYear, name, isCompared) }
    })
    lines.push(...added.sort(byNetWithin))
    lines.push(...productLines(options, currency, period, chance, before.hasBooks, yearBefore.hasBooks))
  }
  return {
    kind,
    period,
    version: restatedEvents > 0 ? 2 : 1,
    from,
    to,
    zone: 'Europe/London',
    booksOpenOn: '2023-01-01',
    seasonsVersion: 1,
    publishedAt: `${to}T03:04:11.482Z`,
    before,
    yearBefore,
    lines,
    receipt: {
      incarnation: '5c1f6a1e-3f7d-4d0e-9a43-0b8f4f9a7c11',
      batch: 451,
      epoch: 460,
      batchPublishedAt: `${to}T03:03:02.120Z`,
      logicVersion: '1 Europe/London GBP',
      horizon: { transactions: { 0: 812_204, 1: 799_310, 2: 805_877, 3: 801_992 } },
      asOf: `${to}T02:59:58.711Z`,
      crossCheck: { result: 'exact', corrections: 0, checkedAt: `${to}T03:02:58.004Z` },
      archiveCheck: { engine: 'DuckDB', files: 64, rowsRead: 3_219_383, keysCompared: 21_448 },
      acceptedLosses: [],
    },
    restatement:
      restatedEvents === 0
        ? null
        : { ofVersion: 1, ofBatch: 420, ofEpoch: 429, publishedAt: `${to}T01:00:00.000Z`, causes: causesOf(events), lines: restated, eventCount: events.length, events: events.slice(0, 200) },
  }
}

type Sections = Map<string, { readonly key: ReportLineKey; figures: ReportFigures }>

function sectionsOf({ cities = citiesDefault, categories = categoriesDefault }: ReportFixture, currency: string, from: string, to: string, chance: () => number, size: number): Sections {
  const sections: Sections = new Map()
  const [first, end] = [parseDay(from)!, parseDay(to)!]
  for (let day = first; day < end; day++) {
    const weekend = day % 7 === 2 || day % 7 === 3 ? 1.35 : 1
    cities.forEach((city, at) => {
      categories.forEach((category, place) => {
        const weight = (size * weekend * 9) / (1 + at * 0.55) / (1 + place * 0.3)
        const transactions = Math.floor(weight * (0.6 + 0.8 * chance()))
        if (transactions === 0) return
        const refundEvents = chance() < 0.06 ? 1 : 0
        const gross = Math.floor(transactions * (1_900 + 5_200 * chance()))
        const refunds = refundEvents === 0 ? 0 : Math.floor((gross / transactions) * chance())
        const figures: ReportFigures = {
          transactions,
          orders: Math.ceil(transactions * 0.7),
          refundEvents,
          unitsSold: transactions + Math.floor(transactions * chance()),
          unitsRefunded: refundEvents,
          grossMinor: String(gross),
          refundsMinor: String(refunds),
          netMinor: String(gross - refunds),
        }
        addCell(sections, currency, formatDay(day), city, category, figures)
      })
    })
  }
  return sections
}

function addCell(sections: Sections, currency: string, day: string, city: string, category: string, figures: ReportFigures): void {
  const keys: ReportLineKey[] = [
    { ...noKey, section: 'total', currency },
    { ...noKey, section: 'city', currency, city },
    { ...noKey, section: 'category', currency, category },
    { ...noKey, section: 'city_category', currency, city, category },
    { ...noKey, section: 'day', currency, day },
  ]
  for (const key of keys) {
    const known = sections.get(lineKey(key))
    if (known === undefined) sections.set(lineKey(key), { key, figures })
    else known.figures = addFigures(known.figures, figures)
  }
}

function restate({ cities = citiesDefault, categories = categoriesDefault }: ReportFixture, now: Sections, currency: string, from: string, count: number, events: RestatementEvent[], chance: () => number): RestatedLine[] {
  const published = new Map([...now].map(([name, { figures }]) => [name, figures]))
  for (let at = 0; at < count; at++) {
    const isRefund = at % 3 === 1
    const [city, category] = [cities[Math.floor(chance() * cities.length)]!, categories[Math.floor(chance() * categories.length)]!]
    const localDay = formatDay(parseDay(from)! + Math.floor(chance() * 28))
    const totalMinor = String(500 + Math.floor(chance() * 9_000))
    events.push({
      reason: isRefund ? 'late refund' : 'late sale',
      source: 'transactions',
      eventId: isRefund ? `r-${9_000 + at}` : `o-${70_000 + at}-1`,
      kind: isRefund ? 'refund' : 'sale',
      localDay,
      logTime: `${from.slice(0, 4)}-12-02T10:${String(at % 60).padStart(2, '0')}:41.000Z`,
      partition: at % 4,
      offset: 812_300 + at,
      index: 0,
      city,
      category,
      productId: `P-${100 + (at % 40)}`,
      quantity: 1,
      totalMinor,
      currency,
    })
    addCell(now, currency, localDay, city, category, eventFigures(isRefund, totalMinor))
  }
  return [...now].flatMap(([name, { key, figures }]) => {
    const asPublished = published.get(name) ?? noFigures
    return JSON.stringify(asPublished) === JSON.stringify(figures) ? [] : [{ ...key, asPublished, asKnownNow: figures, difference: subtractFigures(figures, asPublished) }]
  })
}

function eventFigures(isRefund: boolean, totalMinor: string): ReportFigures {
  const sale = { ...noFigures, transactions: 1, orders: 1, unitsSold: 1, grossMinor: totalMinor, netMinor: totalMinor }
  return isRefund ? { ...noFigures, refundEvents: 1, unitsRefunded: 1, refundsMinor: totalMinor, netMinor: `-${totalMinor}` } : sale
}

function causesOf(events: readonly RestatementEvent[]): RestatementCause[] {
  const causes = new Map<string, RestatementCause>()
  for (const event of events) {
    const known = causes.get(event.reason)
    const figures = eventFigures(event.kind === 'refund', event.totalMinor)
    causes.set(event.reason, { reason: event.reason, currency: event.currency, events: (known?.events ?? 0) + 1, difference: addFigures(known?.difference ?? noFigures, figures) })
  }
  return [...causes.values()]
}

const sectionOrder = ['total', 'city', 'category', 'city_category', 'day']

function byNetWithin(a: ReportLine, b: ReportLine): number {
  const sections = sectionOrder.indexOf(a.section) - sectionOrder.indexOf(b.section)
  if (sections !== 0) return sections
  if (a.section === 'day') return a.day! < b.day! ? -1 : 1
  return Number(BigInt(b.now.netMinor) - BigInt(a.now.netMinor))
}

function productLines({ products = productsDefault, categories = categoriesDefault }: ReportFixture, currency: string, period: string, chance: () => number, hasBefore: boolean, hasYearBefore: boolean): ReportLine[] {
  const figuresOf = (units: number, priceMinor: number): ReportFigures => ({
    ...noFigures,
    transactions: Math.ceil(units * 0.8),
    orders: Math.ceil(units * 0.6),
    unitsSold: units,
    grossMinor: String(units * priceMinor),
    netMinor: String(units * priceMinor),
  })
  const sold = products.map((productName, at) => {
    const price = 900 + Math.floor(chance() * 9_000)
    const units = Math.floor((900 / (1 + at * 0.4)) * (0.8 + 0.4 * chance()))
    return { productName, productId: `P-${100 + at}`, category: categories[at % categories.length]!, now: figuresOf(units, price), before: figuresOf(Math.floor(units * (0.7 + 0.5 * chance())), price), yearBefore: figuresOf(at % 4 === 3 ? 0 : Math.floor(units * 0.8), price) }
  })
  const top = (section: ReportLine['section'], season: string | null, order: (figures: ReportFigures) => number): ReportLine[] =>
    [...sold]
      .sort((a, b) => order(b.now) - order(a.now))
      .slice(0, 10)
      .map((product, at) => ({ ...noKey, ...product, section, currency, season, rank: at + 1, before: hasBefore && season === null ? product.before : null, yearBefore: hasYearBefore && season === null ? product.yearBefore : null }))
  const year = Number(period.slice(0, 4))
  const seasons = period.length === 4 ? [`${year - 1}-winter`, `${year}-spring`, `${year}-summer`, `${year}-autumn`, `${year}-winter`] : [`${year}-spring`]
  return [
    ...top('product_units', null, (figures) => figures.unitsSold),
    ...top('product_net', null, (figures) => Number(figures.netMinor)),
    ...seasons.flatMap((season, at) => top('season', season, (figures) => (figures.unitsSold * (7 + at)) % 997)),
  ]
}

/** Mulberry32. */
function chanceOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** A report of a period in which nothing was sold, with nothing before it. */
export function emptyReport(): Report {
  const report = reportFixture({ cities: [], products: [] })
  return { ...report, lines: [], before: { ...report.before, hasBooks: false }, yearBefore: { ...report.yearBefore, hasBooks: false } }
}
