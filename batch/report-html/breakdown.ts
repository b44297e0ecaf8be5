/** Net revenue by category and by city as bars with their figures, and the table of cities and categories. */
import type { Report, ReportFigures, ReportLine } from '#core/report/report.ts'
import { addFigures, noFigures } from '#core/report/figures.ts'
import { amountText, countText, counted, moneyText, nothing, shareText } from '#core/report/words.ts'
import { changeHead, changesOf } from './comparisons.ts'
import type { Markup } from './markup.ts'
import { html, name } from './markup.ts'
import { net } from './measures.ts'
import type { Cell } from './table.ts'
import { bar, behind, greatestOf, table } from './table.ts'

/** A chart of more is a list: the others stand together, and each in the table behind. */
const shownMax = 12
/** A table of more columns fits no page. */
const columnsMax = 12
/** The page of a shop with more is slower to open than its CSV file. */
const pairsMax = 1_500

export type Breakdown = { readonly what: 'city' | 'category'; readonly title: string; readonly plural: string }
export const byCategory: Breakdown = { what: 'category', title: 'Category', plural: 'categories' }
export const byCity: Breakdown = { what: 'city', title: 'City', plural: 'cities' }

export function breakdownSection(report: Report, { what, title, plural }: Breakdown, lines: readonly ReportLine[], total: ReportLine): Markup {
  if (lines.length === 0) return html`<p class="none">Nothing was sold or refunded.</p>`
  // "1 other" would take the line that it stands for.
  const isWhole = lines.length <= shownMax + 1
  const shown = isWhole ? lines : lines.slice(0, shownMax)
  const rest = isWhole ? null : together(lines.slice(shownMax))
  const restName = `${countText(lines.length - shown.length)} other ${plural}`
  const greatest = greatestOf([...shown, ...(rest === null ? [] : [rest])].map(({ now }) => BigInt(now.netMinor)))
  const row = (line: ReportLine, label: Cell): Cell[] => breakdownRow(report, line, label, total, greatest)
  const head = [title, '', 'Net', 'Share', ...changeHead(report)]
  const chart = table(`Net revenue by ${what}`, head, shown.map((line) => row(line, name(line[what]))), 1, {
    foot: [...(rest === null ? [] : [row(rest, restName)]), row(total, 'Total')],
    style: 'bars',
  })
  const every = table(`Every ${what}`, [title, 'Transactions', 'Units', 'Gross', 'Refunds', 'Net', ...changeHead(report)], lines.map((line) => fullRow(report, line, name(line[what]))), 1, { foot: [fullRow(report, total, 'Total')], style: 'dense' })
  return html`${chart}${behind(`${counted(lines.length, title.toLowerCase(), plural)} with all figures`, every, lines.length > 60)}`
}

function breakdownRow(report: Report, line: ReportLine, label: Cell, total: ReportLine, greatest: bigint): Cell[] {
  const value = BigInt(line.now.netMinor)
  const drawn = label === 'Total' ? '' : bar(value, greatest)
  return [label, drawn, moneyText(value, line.currency), shareText(value, BigInt(total.now.netMinor)), ...changesOf(report, net, line)]
}

function fullRow(report: Report, line: ReportLine, label: Cell): Cell[] {
  const { now, currency } = line
  return [
    label,
    ...[now.transactions, now.unitsSold].map(countText),
    ...[now.grossMinor, now.refundsMinor, now.netMinor].map((minor) => moneyText(minor, currency)),
    ...changesOf(report, net, line),
  ]
}

function together(lines: readonly ReportLine[]): ReportLine {
  const sum = (of: (line: ReportLine) => ReportFigures | null): ReportFigures | null =>
    lines.every((line) => of(line) === null) ? null : lines.reduce((figures, line) => addFigures(figures, of(line) ?? noFigures), noFigures)
  return { ...lines[0]!, now: sum(({ now }) => now)!, before: sum(({ before }) => before), yearBefore: sum(({ yearBefore }) => yearBefore) }
}

/** Cities down, categories across, net revenue in the cells; sums at both ends. */
export function matrixSection(report: Report, lines: readonly ReportLine[], cities: readonly ReportLine[], categories: readonly ReportLine[], total: ReportLine): Markup {
  if (lines.length === 0) return html`<p class="none">Nothing was sold or refunded.</p>`
  const matrix = categories.length > columnsMax ? html`<p class="note">With ${countText(categories.length)} categories this table would be wider than a page: each city and category stands in the list below.</p>` : matrixTable(lines, cities, categories, total)
  return html`${matrix}${pairList(report, lines, total)}`
}

function matrixTable(lines: readonly ReportLine[], cities: readonly ReportLine[], categories: readonly ReportLine[], total: ReportLine): Markup {
  const cells = new Map(lines.map((line) => [pairKey(line.city, line.category), line]))
  const head: Cell[] = ['City', ...categories.map(({ category }) => name(category)), 'Total']
  const row = (city: ReportLine): Cell[] => [
    name(city.city),
    ...categories.map(({ category }) => {
      const cell = cells.get(pairKey(city.city, category))
      return cell === undefined || isUnsold(cell) ? nothing : amountText(cell.now.netMinor, cell.currency)
    }),
    amountText(city.now.netMinor, city.currency),
  ]
  const foot: Cell[] = ['Total', ...categories.map(({ now, currency }) => amountText(now.netMinor, currency)), amountText(total.now.netMinor, total.currency)]
  const style = categories.length > 5 ? 'matrix wide' : 'matrix'
  const titled = (caption: string, shown: readonly ReportLine[]): Markup => table(caption, head, shown.map(row), 1, { foot: [foot], style })
  if (cities.length <= shownMax + 1) return titled('Net revenue by city and category', cities)
  return html`${titled(`Net revenue of the first ${shownMax} cities by category; the totals are of all ${countText(cities.length)}`, cities.slice(0, shownMax))}${behind(`All ${countText(cities.length)} cities by category`, titled('Net revenue by city and category', cities), cities.length > 60)}`
}

function isUnsold({ now }: ReportLine): boolean {
  return now.transactions === 0 && now.refundEvents === 0
}

function pairKey(city: string | null, category: string | null): string {
  return JSON.stringify([city, category])
}

function pairList(report: Report, lines: readonly ReportLine[], total: ReportLine): Markup {
  if (lines.length > pairsMax) return html`<p class="note">${countText(lines.length)} pairs of city and category, each with its changes, stand in the CSV file of this report.</p>`
  const head = ['City', 'Category', 'Transactions', 'Units', 'Net', ...changeHead(report)]
  const row = (line: ReportLine, labels: Cell[]): Cell[] => [
    ...labels,
    ...[line.now.transactions, line.now.unitsSold].map(countText),
    moneyText(line.now.netMinor, line.currency),
    ...changesOf(report, net, line),
  ]
  const list = table('Every city and category', head, lines.map((line) => row(line, [name(line.city), name(line.category)])), 2, { foot: [row(total, ['', 'Total'])], style: 'dense' })
  return behind('Every city and category with its changes', list, lines.length > 60)
}
