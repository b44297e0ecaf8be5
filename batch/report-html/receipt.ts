/** The receipt in words that somebody who closes books reads: what the figures cover, and how they were checked. */
import type { AcceptedLoss } from '#core/receipt.ts'
import type { Report } from '#core/report/report.ts'
import { countText, counted, dayTitle, timeTitle } from '#core/report/words.ts'
import type { Markup } from './markup.ts'
import { html } from './markup.ts'
import { behind, table } from './table.ts'

const lossesMax = 50

export function receiptSection(report: Report): Markup {
  const { receipt } = report
  const rows: [string, Markup | string][] = [
    ['Made from', `Batch ${receipt.batch}, published ${timeTitle(receipt.batchPublishedAt)}.`],
    ['Covers', receipt.asOf === null ? 'An empty log.' : `Every record of the log up to its horizon; the newest was logged ${timeTitle(receipt.asOf)}.`],
    ['Checked against the live figures', crossCheckText(report)],
    ['Checked against the archive', archiveText(report)],
    ['Days', `Of the zone ${report.zone}. The books open on ${dayTitle(report.booksOpenOn)}.`],
    ['Seasons', `Table ${report.seasonsVersion}.`],
    ['Lost records', lossText(receipt.acceptedLosses)],
    ['Version', html`${report.version}, published ${timeTitle(report.publishedAt)}. A version never changes; what is known later becomes the next one.`],
    ['Store', html`<code>${receipt.incarnation}</code>, rules <code>${receipt.logicVersion}</code>`],
  ]
  const horizon = Object.entries(receipt.horizon).flatMap(([topic, partitions]) => Object.entries(partitions).map(([partition, next]) => [`${topic} ${partition}`, countText(next)]))
  return html`<dl class="receipt">${rows.map(([label, text]) => html`<div><dt>${label}</dt><dd>${text}</dd></div>
`)}</dl>${lossTable(receipt.acceptedLosses)}${behind('Horizon: the first record of each partition that is not covered', table('Horizon', ['Partition', 'Next offset'], horizon, 1, { style: 'narrow' }))}`
}

export function crossCheckText({ receipt: { crossCheck } }: Report): string {
  const at = crossCheck.checkedAt === null ? '' : `, ${timeTitle(crossCheck.checkedAt)}`
  if (crossCheck.result === 'exact') return `The batch and the live figures agreed to the last unit${at}.`
  if (crossCheck.result === 'corrected') return `The batch and the live figures differed by ${counted(crossCheck.corrections, 'correction')}, each explained and booked${at}.`
  if (crossCheck.result === 'accepted') return `The batch differed from the live figures without an explanation; a person accepted it, and the difference is booked${at}.`
  return `${crossCheck.result}${at}.`
}

export function archiveText({ receipt: { archiveCheck } }: Report): string {
  const { engine, files, rowsRead, keysCompared } = archiveCheck
  return `The period was computed once more from the original files by ${engine}: ${counted(files, 'file')}, ${counted(rowsRead, 'row')} read, ${counted(keysCompared, 'figure row')} compared, no difference.`
}

function lossText(losses: readonly AcceptedLoss[]): string {
  if (losses.length === 0) return 'None.'
  const counts = losses.reduce((sum, { eventsCounted }) => sum + eventsCounted, 0)
  const gone = losses.length === 1 ? 'is gone and was' : 'are gone and were'
  return `${counted(losses.length, 'range')} of the log ${gone} given up by a person; ${counted(counts, 'event')} of ${losses.length === 1 ? 'it' : 'them'} had been counted live and were taken out.`
}

function lossTable(losses: readonly AcceptedLoss[]): Markup | null {
  if (losses.length === 0) return null
  const rows = losses.slice(0, lossesMax).map(({ topic, partition, from, to, what, eventsCounted, acceptedAt }) => [`${topic} ${partition}`, `${countText(from)} – ${countText(to - 1)}`, what, timeTitle(acceptedAt), countText(eventsCounted)])
  const more = losses.length - rows.length
  const rest = more > 0 ? html`<p class="note">${counted(more, 'more range')} in the JSON file of this report.</p>` : null
  return html`${table('Ranges of the log that were given up', ['Partition', 'Records', 'What', 'Given up', 'Events counted'], rows, 4)}${rest}`
}
