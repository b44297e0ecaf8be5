/** The lines of a report: each key's figures in the period, in the period before, and in the same period a year before. All of one batch. */
import { formatDay } from '#core/calendar.ts'
import type { ClosedPeriod, Seasons } from '#core/period.ts'
import { parseSeasonPeriod, seasonKey, yearMin } from '#core/period.ts'
import type { ReportKind } from '#core/report/periods.ts'
import { parseReportPeriod, periodBefore, periodYearBefore } from '#core/report/periods.ts'
import { noFigures } from '#core/report/figures.ts'
import type { ComparedPeriod, ReportFigures, ReportLine, ReportSection } from '#core/report/report.ts'
import { lineKey } from '#core/report/restate.ts'
import type { Queryable } from '#store/database.ts'
import type { BatchPart, ProductSums, SectionRow } from '#store/reports.ts'
import { readProductLabels, readProducts, readSections, readTopProducts } from '#store/reports.ts'

const topProducts = 10

export type ComparedDays = ComparedPeriod & { readonly days: ClosedPeriod }

/** The two periods that a report's figures stand beside. */
export function comparedPeriods(kind: ReportKind, period: string, seasons: Seasons, booksOpenDay: number): { before: ComparedDays; yearBefore: ComparedDays } {
  const { fromDay } = parseReportPeriod(kind, period, seasons)
  // Behind the first year that periods can name.
  const none: ComparedDays = { period, from: formatDay(fromDay), to: formatDay(fromDay), hasBooks: false, days: { fromDay, toDay: fromDay } }
  const [before, yearBefore] = [periodBefore(kind, period, seasons), periodYearBefore(period)].map((earlier) => (earlier === null ? none : compared(kind, earlier, seasons, booksOpenDay)))
  return { before: before!, yearBefore: yearBefore! }
}

function compared(kind: ReportKind, period: string, seasons: Seasons, booksOpenDay: number): ComparedDays {
  const days = parseReportPeriod(kind, period, seasons)
  return { period, from: formatDay(days.fromDay), to: formatDay(days.toDay), hasBooks: days.toDay > booksOpenDay, days }
}

export type LinesOptions = {
  readonly parts: readonly BatchPart[]
  readonly days: ClosedPeriod
  readonly before: ComparedDays
  readonly yearBefore: ComparedDays
  readonly seasons: Seasons
}

/** In the order of the sections; days by date, cities and categories by net revenue, products by rank. Several currencies one after the other. */
export async function readLines(queryable: Queryable, options: LinesOptions): Promise<ReportLine[]> {
  const lines = [...(await sectionLines(queryable, options)), ...(await productLines(queryable, options, 'units')), ...(await productLines(queryable, options, 'net')), ...(await seasonLines(queryable, options))]
  const labels = await readProductLabels(queryable, [...new Set(lines.flatMap(({ productId }) => productId ?? []))])
  return lines.map((line) => {
    const label = line.productId === null ? undefined : labels.get(line.productId)
    return label === undefined ? line : { ...line, productName: label.name, category: label.category ?? line.category }
  })
}

async function sectionLines(queryable: Queryable, { parts, days, before, yearBefore }: LinesOptions): Promise<ReportLine[]> {
  const read = async (of: ClosedPeriod): Promise<Map<string, SectionRow>> =>
    new Map((await readSections(queryable, parts, of)).map((row) => [lineKey({ ...row, season: null, productId: null }), row]))
  const keys = await read(days)
  const earlier = before.hasBooks ? await read(before.days) : null
  const lastYear = yearBefore.hasBooks ? await read(yearBefore.days) : null
  // A city that sold last year and not now is a line as well: its fall is news.
  for (const [key, row] of [...(earlier ?? []), ...(lastYear ?? [])]) {
    if (row.section !== 'day' && !keys.has(key)) keys.set(key, { ...row, figures: noFigures })
  }
  const lines = [...keys].map(([key, row]) => line(row, row.section === 'day' ? null : rowFigures(earlier, key), row.section === 'day' ? null : rowFigures(lastYear, key)))
  return lines.sort(bySection)
}

function rowFigures(known: ReadonlyMap<string, SectionRow> | null, key: string): ReportFigures | null {
  return known === null ? null : (known.get(key)?.figures ?? noFigures)
}

function figuresIn(known: ReadonlyMap<string, ReportFigures> | null, key: string): ReportFigures | null {
  return known === null ? null : (known.get(key) ?? noFigures)
}

function line({ section, currency, day, city, category, figures }: SectionRow, before: ReportFigures | null, yearBefore: ReportFigures | null): ReportLine {
  return { section, currency, day, city, category, season: null, productId: null, productName: null, rank: null, now: figures, before, yearBefore }
}

const sectionOrder: readonly ReportSection[] = ['total', 'city', 'category', 'city_category', 'day']

function bySection(a: ReportLine, b: ReportLine): number {
  const byNet = (): number => {
    const difference = BigInt(b.now.netMinor) - BigInt(a.now.netMinor)
    return difference < 0n ? -1 : difference > 0n ? 1 : 0
  }
  return (
    sectionOrder.indexOf(a.section) - sectionOrder.indexOf(b.section) ||
    byText(a.currency, b.currency) ||
    (a.section === 'day' ? byText(a.day!, b.day!) : byNet() || byText(a.city ?? '', b.city ?? '') || byText(a.category ?? '', b.category ?? ''))
  )
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

async function productLines(queryable: Queryable, { parts, days, before, yearBefore }: LinesOptions, by: 'units' | 'net'): Promise<ReportLine[]> {
  const top = await readTopProducts(queryable, parts, days, by, topProducts)
  const ids = [...new Set(top.map(({ productId }) => productId))]
  const read = async (other: ComparedDays): Promise<Map<string, ReportFigures> | null> => (other.hasBooks ? readProducts(queryable, parts, other.days, ids) : null)
  const [earlier, lastYear] = [await read(before), await read(yearBefore)]
  return top.map((product) => productLine(by === 'units' ? 'product_units' : 'product_net', null, product, figuresIn(earlier, productKey(product)), figuresIn(lastYear, productKey(product))))
}

function productKey({ currency, productId }: ProductSums): string {
  return `${currency} ${productId}`
}

function productLine(section: ReportSection, season: string | null, product: ProductSums, before: ReportFigures | null, yearBefore: ReportFigures | null): ReportLine {
  const { currency, productId, rank, category, figures } = product
  return { section, currency, day: null, city: null, category, season, productId, productName: productId, rank, now: figures, before, yearBefore }
}

/** Popular products of each season that the period touches, from the season's beginning up to the period's end. */
async function seasonLines(queryable: Queryable, { parts, days, seasons }: LinesOptions): Promise<ReportLine[]> {
  const lines: ReportLine[] = []
  for (let day = days.fromDay; day < days.toDay; ) {
    const season = seasonKey(day, seasons)
    // The winter that 1970 began in has no name that a period may have.
    if (Number(season.slice(0, 4)) < yearMin) {
      day++
      continue
    }
    const whole = parseSeasonPeriod(season, seasons)
    const top = await readTopProducts(queryable, parts, { fromDay: whole.fromDay, toDay: Math.min(whole.toDay, days.toDay) }, 'units', topProducts)
    lines.push(...top.map((product) => productLine('season', season, product, null, null)))
    day = whole.toDay
  }
  return lines
}
