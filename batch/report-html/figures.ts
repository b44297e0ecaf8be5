/** The figures of a currency: each with its change against the period before and the year before. */
import type { ComparedPeriod, Report, ReportFigures, ReportLine } from '#core/report/report.ts'
import { changeText, nothing, periodTitle } from '#core/report/words.ts'
import type { Markup } from './markup.ts'
import { html } from './markup.ts'
import type { Measure } from './measures.ts'
import { allMeasures, arrowOf, mainMeasures, signedText, toneOf, valueText } from './measures.ts'
import { behind, table } from './table.ts'

export function figuresSection(report: Report, total: ReportLine): Markup {
  return html`<div class="tiles">${mainMeasures.map((measure, at) => tile(report, total, measure, at === 0))}</div>
${behind('These figures as a table', figuresTable(report, total))}`
}

function tile(report: Report, { now, before, yearBefore, currency }: ReportLine, measure: Measure, isFirst: boolean): Markup {
  const value = measure.of(now)
  return html`<dl class="tile${isFirst ? ' first' : ''}"><dt>${measure.label}</dt><dd><strong>${value === null ? nothing : valueText(measure, value, currency)}</strong>
${changeLine(report, report.before, measure, value, before, currency)}${changeLine(report, report.yearBefore, measure, value, yearBefore, currency)}</dd></dl>`
}

function changeLine({ kind }: Report, compared: ComparedPeriod, measure: Measure, value: bigint | null, figures: ReportFigures | null, currency: string): Markup {
  const title = periodTitle(kind, compared.period)
  if (figures === null) return html`<span class="change none">no books for ${title}</span>`
  const base = measure.of(figures)
  if (value === null || base === null) return html`<span class="change none">${nothing} on ${title}</span>`
  const difference = value - base
  return html`<span class="change"><b class="${toneOf(measure, difference)}">${arrowOf(difference)} ${changeText(value, base)}</b> <span class="by">${signedText(measure, difference, currency)}</span> <span class="on">on ${title}</span></span>`
}

function figuresTable(report: Report, { now, before, yearBefore, currency }: ReportLine): Markup {
  const compared = [
    { period: report.before, figures: before },
    { period: report.yearBefore, figures: yearBefore },
  ]
  const head = ['', periodTitle(report.kind, report.period), ...compared.flatMap(({ period }) => [periodTitle(report.kind, period.period), 'change', '%'])]
  const rows = allMeasures.map((measure) => {
    const value = measure.of(now)
    const cells = compared.flatMap(({ figures }) => comparedCells(measure, value, figures, currency))
    return [measure.label, value === null ? nothing : valueText(measure, value, currency), ...cells]
  })
  return table('Figures beside the period before and the year before', head, rows, 1)
}

function comparedCells(measure: Measure, value: bigint | null, figures: ReportFigures | null, currency: string): string[] {
  const base = figures === null ? null : measure.of(figures)
  if (base === null) return [nothing, nothing, nothing]
  const shown = valueText(measure, base, currency)
  return value === null ? [shown, nothing, nothing] : [shown, signedText(measure, value - base, currency), changeText(value, base)]
}

/** The change of a line's measure as two cells: the amount and the per cent. */
export function changeCells(measure: Measure, now: ReportFigures, before: ReportFigures | null, currency: string): [string, string] {
  const [value, base] = [measure.of(now), before === null ? null : measure.of(before)]
  return value === null || base === null ? [nothing, nothing] : [signedText(measure, value - base, currency), changeText(value, base)]
}
