/** What became of an earlier version: as published, as known now, the difference in each line, and what explains it. */
import type { ReportLineKey, RestatedLine, Restatement, RestatementCause, RestatementEvent, RestatementReason } from '#core/report/report.ts'
import { addFigures, noFigures } from '#core/report/figures.ts'
import { countText, counted, dayTitle, moneyText, nothing, signedCountText, signedMoneyText, timeTitle } from '#core/report/words.ts'
import type { Markup } from './markup.ts'
import { html, name } from './markup.ts'
import type { Cell } from './table.ts'
import { behind, table } from './table.ts'

/** Lines of cities, categories and days beyond it stand in the JSON file; the totals always stand here. */
const linesMax = 400
const eventsMax = 50

const reasonWords: Readonly<Record<RestatementReason, string>> = {
  'late sale': 'Late sales',
  'late refund': 'Late refunds',
  sale: 'Sales logged after the batch was cut',
  refund: 'Refunds logged after the batch was cut',
  logic: 'Other rules of counting',
  'accepted batch': 'A batch that a person accepted unexplained',
  seasons: 'Other seasons',
}

export function reasonText(reason: RestatementReason): string {
  return reasonWords[reason]
}

export function restatementSection(restatement: Restatement): Markup {
  const { ofVersion, ofBatch, publishedAt, eventCount } = restatement
  return html`<p>Version ${ofVersion} was published on ${timeTitle(publishedAt)} on batch ${ofBatch}, and stays as it is. What has become known since is in this version; the lines below lead from one to the other to the last unit.</p>
${causesTable(restatement.causes)}${linesTable(restatement.lines)}${eventsTable(restatement.events, eventCount)}`
}

export function causesTable(causes: readonly RestatementCause[]): Markup {
  if (causes.length === 0) return html`<p class="note">The total is the same; only lines below it changed.</p>`
  const currencies = [...new Set(causes.map(({ currency }) => currency))]
  const row = ({ events, difference, currency }: Omit<RestatementCause, 'reason'>, label: string): Cell[] => [
    label,
    currency,
    events === 0 ? nothing : countText(events),
    signedCountText(difference.unitsSold),
    ...[difference.grossMinor, difference.refundsMinor, difference.netMinor].map((minor) => signedMoneyText(minor, currency)),
  ]
  const foot = currencies.map((currency) => {
    const mine = causes.filter((cause) => cause.currency === currency)
    return row({ currency, events: mine.reduce((sum, { events }) => sum + events, 0), difference: mine.reduce((sum, { difference }) => addFigures(sum, difference), noFigures) }, 'Difference')
  })
  return table('What explains the difference', ['Cause', '', 'Events', 'Units', 'Gross', 'Refunds', 'Net'], causes.map((cause) => row(cause, reasonText(cause.reason))), 1, { foot, style: 'causes' })
}

function linesTable(lines: readonly RestatedLine[]): Markup {
  const totals = lines.filter(({ section }) => section === 'total')
  const others = lines.filter(({ section }) => section !== 'total')
  const more = others.length - linesMax
  const head = ['Line', 'Net as published', 'Net as known now', 'Difference', 'Gross', 'Refunds', 'Transactions', 'Units']
  const shown = [...totals, ...others.slice(0, linesMax)]
  return html`${table('As published and as known now', head, totals.map(lineRow), 1)}${behind(
    `${counted(lines.length, 'line')} that changed`,
    html`${table('Every line that changed', head, shown.map(lineRow), 1)}${more > 0 ? html`<p class="note">${counted(more, 'more line')} of this kind ${more === 1 ? 'stands' : 'stand'} in the JSON file of this report.</p>` : null}`,
    shown.length > 60,
  )}`
}

function lineRow(line: RestatedLine): Cell[] {
  const { asPublished, asKnownNow, difference, currency } = line
  return [
    html`${lineTitle(line)}`,
    moneyText(asPublished.netMinor, currency),
    moneyText(asKnownNow.netMinor, currency),
    ...[difference.netMinor, difference.grossMinor, difference.refundsMinor].map((minor) => signedMoneyText(minor, currency)),
    ...[difference.transactions, difference.unitsSold].map(signedCountText),
  ]
}

function lineTitle({ section, currency, day, city, category }: ReportLineKey): Markup {
  if (section === 'total') return html`Total ${currency}`
  if (section === 'day') return html`${dayTitle(day!)}`
  if (section === 'city') return name(city)
  if (section === 'category') return name(category)
  return html`${name(city)} · ${name(category)}`
}

function eventsTable(events: readonly RestatementEvent[], eventCount: number): Markup | null {
  if (eventCount === 0) return html`<p class="note">No event explains it: the rules changed, and not the facts.</p>`
  const shown = events.slice(0, eventsMax)
  const more = eventCount - shown.length
  const rows = shown.map((event): Cell[] => [
    name(event.eventId),
    reasonText(event.reason).replace(/s$/, ''),
    dayTitle(event.localDay),
    timeTitle(event.logTime),
    html`${name(event.city)} · ${name(event.category)}`,
    name(event.productId),
    `${event.partition}:${event.offset}${event.index === 0 ? '' : `.${event.index}`}`,
    countText(event.quantity),
    moneyText(event.totalMinor, event.currency),
  ])
  const list = table('Events that explain the difference', ['Event', 'What', 'Of the day', 'Logged', 'City · category', 'Product', 'Position', 'Units', 'Amount'], rows, 7, { style: 'events' })
  const rest = more > 0 ? html`<p class="note">${countText(more)} more stand in the file <code>restatement.csv</code> of this version, each with its position in the log.</p>` : null
  return behind(more > 0 ? `The first ${countText(shown.length)} of ${counted(eventCount, 'event')}` : counted(eventCount, 'event'), html`${list}${rest}`)
}
