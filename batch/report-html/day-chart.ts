/** The line of net revenue day by day, and the table behind it. Labels are text beside the drawing, so that they stay legible however narrow it gets. */
import { civilFromDays, formatDay, parseDay } from '#core/calendar.ts'
import { noFigures } from '#core/report/figures.ts'
import type { Report, ReportFigures, ReportLine } from '#core/report/report.ts'
import { countText, dayTitle, moneyText, monthNames, shortMoneyText } from '#core/report/words.ts'
import { currencyExponent } from '#core/money.ts'
import type { Markup } from './markup.ts'
import { html, raw } from './markup.ts'
import { behind, table } from './table.ts'

type Day = { readonly day: string; readonly figures: ReportFigures; readonly net: bigint }

/** Longer than a quarter: its table is for the screen and the files. */
const paperRowsMax = 31

export function daySection(report: Report, lines: readonly ReportLine[], currency: string): Markup {
  const days = everyDay(report, lines)
  if (lines.length === 0) return html`<p class="none">Nothing was sold or refunded on any day.</p>`
  const best = days.reduce((a, b) => (b.net > a.net ? b : a))
  const worst = days.reduce((a, b) => (b.net < a.net ? b : a))
  const words = `Best day ${dayTitle(best.day)} with ${moneyText(best.net, currency)}, lowest ${dayTitle(worst.day)} with ${moneyText(worst.net, currency)}.`
  const rows = days.map(({ day, figures }) => [
    dayTitle(day),
    ...[figures.transactions, figures.unitsSold].map(countText),
    ...[figures.grossMinor, figures.refundsMinor, figures.netMinor].map((minor) => moneyText(minor, currency)),
  ])
  const isLong = days.length > paperRowsMax
  return html`<figure>${drawing(days, currency, `Net revenue by day. ${words}`)}<figcaption>${words}</figcaption></figure>
${behind('Every day as a table', table('Figures by day', ['Day', 'Transactions', 'Units', 'Gross', 'Refunds', 'Net'], rows, 1), isLong)}`
}

function everyDay({ from, to }: Report, lines: readonly ReportLine[]): Day[] {
  const known = new Map(lines.map((line) => [line.day, line.now]))
  const days: Day[] = []
  for (let at = parseDay(from)!; at < parseDay(to)!; at++) {
    const figures = known.get(formatDay(at)) ?? noFigures
    days.push({ day: formatDay(at), figures, net: BigInt(figures.netMinor) })
  }
  return days
}

/** Marks at whole steps of 1, 2 or 5 times a power of ten, from the lowest value (or zero) to above the highest. */
export function scaleOf(values: readonly bigint[], currency: string): { readonly low: bigint; readonly high: bigint; readonly marks: readonly bigint[] } {
  const lowest = values.reduce((low, value) => (value < low ? value : low), 0n)
  const highest = values.reduce((high, value) => (value > high ? value : high), 0n)
  const unit = 10n ** BigInt(currencyExponent(currency) ?? 2)
  let step = unit
  for (let factor = 0; (highest - lowest + step - 1n) / step > 4n; factor++) step = factor % 3 === 1 ? (step / 2n) * 5n : step * 2n
  const low = lowest < 0n ? -((-lowest + step - 1n) / step) * step : 0n
  const high = highest === 0n && low === 0n ? step : ((highest + step - 1n) / step) * step
  const marks: bigint[] = []
  for (let mark = low; mark <= high; mark += step) marks.push(mark)
  return { low, high, marks }
}

function drawing(days: readonly Day[], currency: string, label: string): Markup {
  const { low, high, marks } = scaleOf(days.map(({ net }) => net), currency)
  const down = (value: bigint): string => tenths(((high - value) * 10_000n) / (high - low))
  const across = (at: number): string => tenths(days.length === 1 ? 5_000n : (BigInt(at) * 10_000n) / BigInt(days.length - 1))
  const points = days.map(({ net }, at) => `${across(at)},${down(net)}`).join(' ')
  const [first, last] = [across(0), across(days.length - 1)]
  const lines = marks.map((mark) => html`<line class="${mark === 0n ? 'zero' : 'grid'}" x1="0" x2="1000" y1="${down(mark)}" y2="${down(mark)}"/>`)
  const values = marks.map((mark) => html`<span style="top:${percent(down(mark))}%">${shortMoneyText(mark, currency)}</span>`)
  const dates = dateMarks(days).map(({ at, text, isMinor }) => html`<span${isMinor ? html` class="minor"` : null} style="left:${percent(across(at))}%">${text}</span>`)
  return html`<div class="plot"><div class="values" aria-hidden="true">${values}</div><svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" aria-label="${label}">${lines}<polygon class="area" points="${first},${down(0n)} ${raw(points)} ${last},${down(0n)}"/><polyline class="line" points="${raw(points)}"/></svg><div class="dates" aria-hidden="true">${dates}</div></div>`
}

/** Ten-thousandths of the width or height as the drawing's thousandths: `1234` → `123.4`. */
function tenths(value: bigint): string {
  return `${value / 10n}.${value % 10n}`
}

function percent(thousandths: string): string {
  return String(Number(thousandths) / 10)
}

/** Of a month every seventh day, of longer periods the months' beginnings; every other one gives way where it is narrow. */
function dateMarks(days: readonly Day[]): { readonly at: number; readonly text: string; readonly isMinor: boolean }[] {
  const isShort = days.length <= paperRowsMax
  const marks = days.flatMap(({ day }, at) => {
    const { month, day: date } = civilFromDays(parseDay(day)!)
    const name = monthNames[month - 1]!.slice(0, 3)
    if (isShort) return at % 7 === 0 ? [{ at, text: `${date} ${name}` }] : []
    return date === 1 ? [{ at, text: name }] : []
  })
  return marks.map((mark, at) => ({ ...mark, isMinor: at % 2 === 1 }))
}
