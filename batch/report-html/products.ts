/** The products that sold best: by units, by net revenue, and of each season. */
import type { Report, ReportLine } from '#core/report/report.ts'
import { countText, moneyText, seasonTitle } from '#core/report/words.ts'
import { changeHead, changesOf } from './comparisons.ts'
import type { Markup } from './markup.ts'
import { html, name } from './markup.ts'
import type { Measure } from './measures.ts'
import { net, units } from './measures.ts'
import type { Cell } from './table.ts'
import { bar, greatestOf, table } from './table.ts'

export function productsSection(report: Report, lines: readonly ReportLine[], by: 'units' | 'net'): Markup {
  if (lines.length === 0) return html`<p class="none">Nothing was sold.</p>`
  const measure = by === 'units' ? units : net
  const head: Cell[] = ['', 'Product', '', ...(by === 'units' ? ['Units', 'Net'] : ['Net', 'Units']), ...changeHead(report)]
  const rows = productRows(lines, measure, (line) => changesOf(report, measure, line))
  return table(by === 'units' ? 'Ten products with most units sold' : 'Ten products with most net revenue', head, rows, 2, { style: 'bars products' })
}

/** A season that the period does not reach the end of is counted up to the period's end. */
export function seasonSections(report: Report, lines: readonly ReportLine[], heading: (text: string) => Markup): Markup {
  const seasons = [...new Set(lines.map(({ season }) => season!))]
  if (seasons.length === 0) return html`<p class="none">Nothing was sold in a season of this period.</p>`
  const one = (season: string): Markup => {
    const title = seasonTitle(season)
    const rows = productRows(lines.filter((line) => line.season === season), units, () => [])
    return html`<div class="season">${heading(title)}${table(`Popular products of ${title}`, ['', 'Product', '', 'Units', 'Net'], rows, 2, { style: 'bars products' })}</div>`
  }
  return html`<p class="note">By units sold, from the first day of each season to its last or that of this ${wordOf(report)}. Seasons as in version ${report.seasonsVersion} of their table.</p><div class="seasons">${seasons.map(one)}</div>`
}

function productRows(lines: readonly ReportLine[], measure: Measure, changes: (line: ReportLine) => string[]): Cell[][] {
  const greatest = greatestOf(lines.map(({ now }) => measure.of(now)!))
  return lines.map((line) => {
    const [unitsText, netText] = [countText(line.now.unitsSold), moneyText(line.now.netMinor, line.currency)]
    const category = line.category === null ? null : html`<small>${name(line.category)}</small>`
    const label = html`${name(line.productName ?? line.productId)} ${category}`
    return [String(line.rank ?? ''), label, bar(measure.of(line.now)!, greatest), ...(measure === units ? [unitsText, netText] : [netText, unitsText]), ...changes(line)]
  })
}

function wordOf({ kind }: Report): string {
  return { monthly: 'month', quarterly: 'quarter', seasonal: 'season', yearly: 'year' }[kind]
}
