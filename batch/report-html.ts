/**
 * A report as one HTML file that needs nothing else: figures first, charts with their tables, restatements, receipt. It prints on A4 and reads in a mail. The
 * same report is the same bytes everywhere: nothing here knows a clock or a locale. Pure.
 */
import { readFileSync } from 'node:fs'
import type { Report, ReportLine, ReportSection } from '#core/report/report.ts'
import { daysTitle, moneyText, periodTitle, signedMoneyText, timeTitle } from '#core/report/words.ts'
import { breakdownSection, byCategory, byCity, matrixSection } from './report-html/breakdown.ts'
import { daySection } from './report-html/day-chart.ts'
import { figuresSection } from './report-html/figures.ts'
import type { Markup } from './report-html/markup.ts'
import { html, raw } from './report-html/markup.ts'
import { productsSection, seasonSections } from './report-html/products.ts'
import { receiptSection } from './report-html/receipt.ts'
import { restatementSection } from './report-html/restatement.ts'

const style = readFileSync(new URL('./report-html/style.css', import.meta.url), 'utf8')

const kindWords = { monthly: 'Monthly report', quarterly: 'Quarterly report', seasonal: 'Seasonal report', yearly: 'Yearly report' } as const

export function renderReportHtml(report: Report): string {
  const title = `${periodTitle(report.kind, report.period)} · ${kindWords[report.kind]}${report.version > 1 ? `, version ${report.version}` : ''}`
  const currencies = [...new Set(report.lines.map(({ currency }) => currency))]
  return html`<!doctype html>
<html lang="en" dir="ltr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<style>
${raw(style)}</style>
</head>
<body style="font-family:system-ui,-apple-system,'Segoe UI',Roboto,Arial,sans-serif">
<main>
${head(report, currencies)}
${currencies.length === 0 ? html`<p class="empty">Nothing was sold or refunded in this period, and nothing in the periods it is compared with.</p>` : currencies.map((currency) => currencyPart(report, currency, currencies.length > 1))}
${report.restatement === null ? null : html`<section id="restatement"><h2>Restatement of version ${report.restatement.ofVersion}</h2>${restatementSection(report.restatement)}</section>`}
<section id="receipt"><h2>Receipt</h2>${receiptSection(report)}</section>
</main>
</body>
</html>
`.markup
}

function head(report: Report, currencies: readonly string[]): Markup {
  return html`<header><p class="kind">${kindWords[report.kind]}</p><h1>${periodTitle(report.kind, report.period)}</h1>
<p class="about"><span>${daysTitle(report.from, report.to)}</span> <span>${report.zone}</span> <span>version ${report.version}</span> <span>published ${timeTitle(report.publishedAt)}</span></p>
${currencies.length > 1 ? html`<p class="about">Each currency by itself: ${currencies.join(', ')}.</p>` : null}${restatedNotice(report)}</header>`
}

function restatedNotice({ version, restatement }: Report): Markup | null {
  if (restatement === null) return null
  const totals = restatement.lines.filter(({ section }) => section === 'total')
  const words = totals.map(({ difference, asPublished, currency }) => `${signedMoneyText(difference.netMinor, currency)} on the ${moneyText(asPublished.netMinor, currency)} that was published`)
  return html`<p class="restated">Version ${version} restates version ${restatement.ofVersion}: ${words.length === 0 ? 'the totals are the same' : `net ${words.join('; ')}`}. <a href="#restatement">What changed and why</a></p>`
}

function currencyPart(report: Report, currency: string, isOneOfSeveral: boolean): Markup {
  const linesOf = (section: ReportSection): readonly ReportLine[] => report.lines.filter((line) => line.section === section && line.currency === currency)
  const [total] = linesOf('total')
  if (total === undefined) return html`<p class="empty">Nothing was sold or refunded in ${currency}.</p>`
  const [cities, categories] = [linesOf('city'), linesOf('category')]
  const level = isOneOfSeveral ? 3 : 2
  const section = (title: string, content: Markup, kind = ''): Markup => html`<section class="${kind}">${heading(level, title)}${content}</section>
`
  return html`${isOneOfSeveral ? html`<h2 class="currency">${currency}</h2>` : null}
${section('Figures', figuresSection(report, total), 'figures')}
${section('Net revenue day by day', daySection(report, linesOf('day'), currency), 'days')}
${section('Net revenue by category', breakdownSection(report, byCategory, categories, total))}
${section('Net revenue by city', breakdownSection(report, byCity, cities, total))}
${section(`Net revenue by city and category, in ${currency}`, matrixSection(report, linesOf('city_category'), cities, categories, total), 'cross')}
${section('Top products by units sold', productsSection(report, linesOf('product_units'), 'units'))}
${section('Top products by net revenue', productsSection(report, linesOf('product_net'), 'net'))}
${section('Popular products by season', seasonSections(report, linesOf('season'), (title) => heading(level + 1, title)))}`
}

function heading(level: number, title: string): Markup {
  return raw(html`<h${level}>${title}</h${level}>`.markup)
}
