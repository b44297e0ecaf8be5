/** The figures of a currency: each with its change against the period before and the year before. */
import type { Report, ReportLine } from '#core/report/report.ts'
import { changeText, nothing, shortPeriodTitle } from '#core/report/words.ts'
import type { Comparison } from './comparisons.ts'
import { comparisonsOf, withBooks } from './comparisons.ts'
import type { Markup } from './markup.ts'
import { html } from './markup.ts'
import type { Measure } from './measures.ts'
import { allMeasures, arrowOf, mainMeasures, signedText, toneOf, valueText } from './measures.ts'
import { behind, table } from './table.ts'

export function figuresSection(report: Report, total: ReportLine): Markup {
  return html`<div class="tiles">${mainMeasures.map((measure, at) => tile(report, total, measure, at === 0))}</div>
${behind('These figures as a table', figuresTable(report, total))}`
}

function tile(report: Report, total: ReportLine, measure: Measure, isFirst: boolean): Markup {
  const value = measure.of(total.now)
  const changes = comparisonsOf(report).map((comparison) => changeOn(comparison, measure, total))
  return html`<dl class="tile${isFirst ? ' first' : ''}"><dt>${measure.label}</dt><dd><strong>${value === null ? nothing : valueText(measure, value, total.currency)}</strong><span class="changes">${changes}</span></dd></dl>
`
}

function changeOn({ title, of }: Comparison, measure: Measure, total: ReportLine): Markup {
  const figures = of(total)
  if (figures === null) return html`<span class="change"><span class="on">on ${title}</span> <span class="on">no books yet</span></span>`
  const [value, base] = [measure.of(total.now), measure.of(figures)]
  if (value === null || base === null) return html`<span class="change"><span class="on">on ${title}</span> <b class="same">${nothing}</b></span>`
  const difference = value - base
  return html`<span class="change"><span class="on">on ${title}</span> <b class="${toneOf(measure, difference)}">${arrowOf(difference)} ${changeText(value, base)}</b> <span>${signedText(measure, difference, total.currency)}</span></span>`
}

function figuresTable(report: Report, total: ReportLine): Markup {
  const comparisons = withBooks(report)
  const head = ['Figure', shortPeriodTitle(report.kind, report.period), ...comparisons.flatMap(({ title }) => [title, 'Change', '%'])]
  const rows = allMeasures.map((measure) => {
    const value = measure.of(total.now)
    const cells = comparisons.flatMap((comparison) => comparedCells(comparison, measure, value, total))
    return [measure.label, value === null ? nothing : valueText(measure, value, total.currency), ...cells]
  })
  return table('Figures beside those of other periods', head, rows, 1)
}

function comparedCells({ of }: Comparison, measure: Measure, value: bigint | null, total: ReportLine): string[] {
  const figures = of(total)
  const base = figures === null ? null : measure.of(figures)
  if (base === null) return [nothing, nothing, nothing]
  const shown = valueText(measure, base, total.currency)
  return value === null ? [shown, nothing, nothing] : [shown, signedText(measure, value - base, total.currency), changeText(value, base)]
}
