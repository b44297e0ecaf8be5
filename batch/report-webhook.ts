/** What a webhook gets: a message that Slack shows as it is, and the facts beside it for programs. Pure; the same version is the same body. */
import type { Report, ReportLine } from '#core/report/report.ts'
import { averageMinor, changeText, decimalText, nothing, periodTitle } from '#core/report/words.ts'
import { withBooks } from './report-html/comparisons.ts'
import { mainMeasures, valueText } from './report-html/measures.ts'
import { archiveText, crossCheckText } from './report-html/receipt.ts'
import { reportLinks, restatementLines, subjectOf, totalsOf } from './report-mail.ts'

/** Slack takes 50 blocks and 10 fields a block. */
const currenciesMax = 10

export function renderReportWebhook(report: Report, publicUrl: string): string {
  const { kind, period, version, from, to, publishedAt, receipt, restatement } = report
  const restates = restatement === null ? null : { version: restatement.ofVersion, events: restatement.eventCount, causes: restatement.causes }
  return JSON.stringify({
    text: escapeSlack(subjectOf(report)),
    blocks: blocksOf(report),
    report: { kind, period, version, from, to, publishedAt, incarnation: receipt.incarnation, batch: receipt.batch, totals: totalsOf(report).map(factsOf), restates },
    links: reportLinks(report, publicUrl),
  })
}

function factsOf({ currency, now, before, yearBefore }: ReportLine): object {
  const average = averageMinor(now)
  return {
    currency,
    ...now,
    gross: decimalText(now.grossMinor, currency),
    refunds: decimalText(now.refundsMinor, currency),
    net: decimalText(now.netMinor, currency),
    average: average === null ? null : decimalText(average, currency),
    before,
    yearBefore,
  }
}

function blocksOf(report: Report): object[] {
  const header = `${periodTitle(report.kind, report.period)}${report.version > 1 ? `, version ${report.version}` : ''}`
  const restated = restatementLines(report).filter((line) => line !== '')
  return [
    { type: 'header', text: { type: 'plain_text', text: header } },
    ...totalsOf(report).slice(0, currenciesMax).map((total) => ({ type: 'section', fields: mainMeasures.map((measure) => field(report, total, measure)) })),
    ...(totalsOf(report).length === 0 ? [{ type: 'section', text: markdown('Nothing was sold or refunded.') }] : []),
    ...(restated.length === 0 ? [] : [{ type: 'section', text: markdown(restated.map((line) => line.trim()).join('\n').slice(0, 2_900)) }]),
    { type: 'context', elements: [markdown(`${crossCheckText(report)} ${archiveText(report)}`)] },
  ]
}

function field(report: Report, total: ReportLine, measure: (typeof mainMeasures)[number]): object {
  const value = measure.of(total.now)
  const changes = withBooks(report).map(({ title, of }) => {
    const figures = of(total)
    const base = figures === null ? null : measure.of(figures)
    return `\n${value === null || base === null ? nothing : changeText(value, base)} on ${title}`
  })
  const shown = value === null ? nothing : valueText(measure, value, total.currency)
  return markdown(`*${measure.label}*\n${shown}${changes.join('')}`)
}

function markdown(text: string): object {
  return { type: 'mrkdwn', text: escapeSlack(text) }
}

/** After Slack's own rule: these three and no more. */
function escapeSlack(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
