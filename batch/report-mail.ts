/** The mail that brings a report: the figures and what was restated, with the whole report attached. Pure; the same version is the same mail. */
import type { Mail, MailAttachment } from '#core/ports.ts'
import type { Report, ReportLine } from '#core/report/report.ts'
import { changeText, countText, counted, daysTitle, moneyText, nothing, periodTitle, signedMoneyText } from '#core/report/words.ts'
import { withBooks } from './report-html/comparisons.ts'
import type { Markup } from './report-html/markup.ts'
import { html } from './report-html/markup.ts'
import type { Measure } from './report-html/measures.ts'
import { mainMeasures, signedText, valueText } from './report-html/measures.ts'
import { reasonText } from './report-html/restatement.ts'
import { archiveText, crossCheckText } from './report-html/receipt.ts'

export type MailTerms = { readonly from: string; readonly to: string; /** Of the page; empty for none. */ readonly publicUrl: string; readonly attachments: readonly MailAttachment[] }

const currenciesMax = 10

export function renderReportMail(report: Report, { from, to, publicUrl, attachments }: MailTerms): Mail {
  const links = reportLinks(report, publicUrl)
  const attached = attachments.length === 0 ? 'The files are too large for a mail; they are kept in the lake.' : `Attached: ${attachments.map(({ name }) => name).join(', ')}.`
  return {
    from,
    to,
    messageId: mailId(report, report.version, from),
    inReplyTo: report.restatement === null ? null : mailId(report, report.restatement.ofVersion, from),
    date: new Date(report.publishedAt),
    subject: subjectOf(report),
    text: plain([...textLines(report), '', attached, ...(links === null ? [] : [links.html]), ''].join('\n')),
    html: htmlBody(report, attached, links),
    attachments,
  }
}

/** Known again by everyone who gets it twice: a worker may die between sending a mail and noting it. */
function mailId({ kind, period, receipt }: Report, version: number, from: string): string {
  const domain = /@([^@>\s]+)>?$/.exec(from)?.[1] ?? 'tidemark.invalid'
  return `${deliveryId(kind, period, version, receipt.incarnation)}@${domain}`
}

export function deliveryId(kind: string, period: string, version: number, incarnation: string): string {
  return `${kind}.${period}.v${version}.${incarnation}`
}

export type ReportLinks = { readonly report: string; readonly html: string; readonly csv: string; readonly page: string }

/** Where the serving layer has the version; null where nobody said how it is reached. */
export function reportLinks({ kind, period, version }: Report, publicUrl: string): ReportLinks | null {
  const base = publicUrl.replace(/\/+$/, '')
  const file = (format: string): string => `${base}/v1/reports/${kind}/${period}/files/${format}?version=${version}`
  return base === '' ? null : { report: `${base}/v1/reports/${kind}/${period}?version=${version}`, html: file('html'), csv: file('csv'), page: `${base}/` }
}

export function totalsOf(report: Report): ReportLine[] {
  return report.lines.filter(({ section }) => section === 'total')
}

/** `March 2025: net £165,814.85, +20.7 % on Feb 2025`. */
export function subjectOf(report: Report): string {
  const title = periodTitle(report.kind, report.period)
  const totals = totalsOf(report)
  if (totals.length === 0) return `${title}: nothing was sold`
  const words = totals.slice(0, 3).map((total) => `net ${moneyText(total.now.netMinor, total.currency)}${totals.length === 1 ? subjectChange(report, total) : ''}`)
  return plain(`${title}${report.version > 1 ? `, restated (version ${report.version})` : ''}: ${words.join(' · ')}${totals.length > 3 ? ' …' : ''}`)
}

function subjectChange(report: Report, total: ReportLine): string {
  const { restatement } = report
  if (restatement !== null) {
    const changed = restatement.lines.find(({ section, currency }) => section === 'total' && currency === total.currency)
    return changed === undefined ? '' : `, ${signedMoneyText(changed.difference.netMinor, total.currency)}`
  }
  const [comparison] = withBooks(report)
  const base = comparison?.of(total) ?? null
  return comparison === undefined || base === null ? '' : `, ${changeText(BigInt(total.now.netMinor), BigInt(base.netMinor))} on ${comparison.title}`
}

/** Spaces that do not break are for typesetting. */
function plain(text: string): string {
  return text.replaceAll('\u00A0', ' ')
}

function titleLine(report: Report): string {
  return `${periodTitle(report.kind, report.period)} (${daysTitle(report.from, report.to)}), version ${report.version}`
}

export function textLines(report: Report): string[] {
  const lines = [titleLine(report)]
  if (totalsOf(report).length === 0) lines.push('', 'Nothing was sold or refunded.')
  for (const total of totalsOf(report).slice(0, currenciesMax)) {
    lines.push('', total.currency)
    for (const measure of mainMeasures) {
      const value = measure.of(total.now)
      lines.push(`  ${measure.label.padEnd(24)} ${value === null ? nothing : valueText(measure, value, total.currency)}`)
      for (const { title, amount, percent } of changes(report, total, measure)) lines.push(`  ${''.padEnd(24)} ${amount} (${percent}) on ${title}`)
    }
  }
  return [...lines, ...restatementLines(report), '', crossCheckText(report), archiveText(report)]
}

function changes(report: Report, total: ReportLine, measure: Measure): { title: string; amount: string; percent: string }[] {
  return withBooks(report).flatMap(({ title, of }) => {
    const base = of(total)
    const [value, before] = [measure.of(total.now), base === null ? null : measure.of(base)]
    return value === null || before === null ? [] : [{ title, amount: signedText(measure, value - before, total.currency), percent: changeText(value, before) }]
  })
}

export function restatementLines({ restatement }: Report): string[] {
  if (restatement === null) return []
  const { ofVersion, causes, eventCount, lines } = restatement
  const totals = lines.filter(({ section }) => section === 'total')
  return [
    '',
    `It restates version ${ofVersion}, by ${counted(eventCount, 'event')}:`,
    ...totals.map(({ currency, asPublished, asKnownNow, difference }) => `  net ${moneyText(asPublished.netMinor, currency)} as published, ${moneyText(asKnownNow.netMinor, currency)} as known now: ${signedMoneyText(difference.netMinor, currency)}`),
    ...causes.map(({ reason, events, currency, difference }) => `  ${reasonText(reason)}${events === 0 ? '' : ` (${countText(events)})`}: net ${signedMoneyText(difference.netMinor, currency)}`),
  ]
}

const cell = 'padding:6px 0 6px 16px;border-bottom:1px solid #e2e7ea;text-align:right;white-space:nowrap;'
const label = 'padding:6px 0;border-bottom:1px solid #e2e7ea;text-align:left;vertical-align:top;font-weight:normal;'
const faint = 'color:#55636e;font-size:13px;'

function htmlBody(report: Report, attached: string, links: ReportLinks | null): string {
  const totals = totalsOf(report)
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${subjectOf(report)}</title></head>
<body style="margin:0;padding:16px;background:#ffffff;color:#14212a;font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,Arial,sans-serif">
<div style="max-width:640px;margin:0 auto">
<h1 style="margin:0;font-size:26px;line-height:1.2">${periodTitle(report.kind, report.period)}</h1>
<p style="margin:4px 0 20px;${faint}">${daysTitle(report.from, report.to)} · version ${report.version}</p>
${totals.length === 0 ? html`<p>Nothing was sold or refunded.</p>` : totals.slice(0, currenciesMax).map((total) => figuresTable(report, total, totals.length > 1))}
${restatementTable(report)}
<p style="margin:20px 0 0;${faint}">${crossCheckText(report)} ${archiveText(report)}</p>
<p style="margin:8px 0 0;${faint}">${attached}${links === null ? null : html` <a href="${links.html}" style="color:#0b6474">Open the report</a>`}</p>
</div></body></html>
`.markup
}

/** Two columns: a telephone has room for no more, and a mail cannot count on styles for it. */
function figuresTable(report: Report, total: ReportLine, isOneOfSeveral: boolean): Markup {
  const row = (measure: Measure, at: number): Markup => {
    const value = measure.of(total.now)
    const shown = value === null ? nothing : valueText(measure, value, total.currency)
    const lines = changes(report, total, measure).map(({ title, amount, percent }) => html`<br><span style="${faint}">${amount} (${percent}) on ${title}</span>`)
    return html`<tr><th scope="row" style="${label}">${measure.label}</th><td style="${cell}white-space:normal;"><span style="font-weight:600;${at === 0 ? 'font-size:19px;color:#0b6474;' : ''}">${shown}</span>${lines}</td></tr>
`
  }
  return html`${isOneOfSeveral ? html`<h2 style="margin:20px 0 4px;font-size:17px">${total.currency}</h2>` : null}<table style="border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums"><tbody>
${mainMeasures.map(row)}</tbody></table>`
}

function restatementTable({ restatement }: Report): Markup | null {
  if (restatement === null) return null
  const { ofVersion, causes, eventCount, lines } = restatement
  const totals = lines.filter(({ section }) => section === 'total')
  const row = (name: string, amount: string): Markup => html`<tr><th scope="row" style="${label}">${name}</th><td style="${cell}">${amount}</td></tr>
`
  return html`<h2 style="margin:24px 0 4px;font-size:17px">Restates version ${ofVersion}, by ${counted(eventCount, 'event')}</h2>
<table style="border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums"><tbody>
${totals.flatMap(({ currency, asPublished, asKnownNow }) => [row(`Net ${currency} as published`, moneyText(asPublished.netMinor, currency)), row(`Net ${currency} as known now`, moneyText(asKnownNow.netMinor, currency))])}${causes.map(({ reason, events, currency, difference }) => row(`${reasonText(reason)}${events === 0 ? '' : ` (${countText(events)})`}`, signedMoneyText(difference.netMinor, currency)))}</tbody></table>`
}
