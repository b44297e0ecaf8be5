/** What a report looks like as HTML and CSV, of reports that are built here. Browsers look at it in test/e2e/report-page.test.ts. */
import { describe, expect, test } from 'vitest'
import { renderReportCsv, renderRestatementCsv } from '#batch/report-csv.ts'
import { renderReportHtml } from '#batch/report-html.ts'
import { scaleOf } from '#batch/report-html/day-chart.ts'
import { renderReportJson } from '#batch/report-json.ts'
import { decimalText, moneyText } from '#core/report/words.ts'
import type { Report, ReportLine } from '#core/report/report.ts'
import { emptyReport, reportFixture } from '#test/lab/report.ts'

function lineOf(report: Report, wanted: Partial<ReportLine>): ReportLine {
  const found = report.lines.find((line) => Object.entries(wanted).every(([name, value]) => line[name as keyof ReportLine] === value))
  if (found === undefined) throw new Error(`no line ${JSON.stringify(wanted)}`)
  return found
}

/** RFC 4180, read by other code than wrote it. */
function readCsv(text: string): Record<string, string>[] {
  const rows: string[][] = [[]]
  let cell = ''
  let quoted = false
  for (let at = 1; at < text.length; at++) {
    const character = text[at]!
    if (quoted && character === '"' && text[at + 1] === '"') cell += text[at++]
    else if (character === '"') quoted = !quoted
    else if (!quoted && (character === ',' || character === '\r')) {
      rows.at(-1)!.push(cell)
      cell = ''
      if (character === '\r') {
        at++
        rows.push([])
      }
    } else cell += character
  }
  rows.pop()
  const [header, ...lines] = rows
  return lines.map((cells) => {
    expect(cells).toHaveLength(header!.length)
    return Object.fromEntries(header!.map((name, at) => [name, cells[at]!]))
  })
}

const odd = ['<script>alert(1)</script>', 'מעלה אדומים', `"quoted" & 'single'`, 'a\u202Edesrever', '=1+1', '-5', 'القاهرة']

describe('HTML', () => {
  test('the same report is the same bytes, also after it was stored as JSON', () => {
    const report = reportFixture({ restatedEvents: 30 })
    expect(renderReportHtml(JSON.parse(renderReportJson(report)) as Report)).toBe(renderReportHtml(reportFixture({ restatedEvents: 30 })))
  })

  test('it asks for nothing outside itself and runs nothing', () => {
    const page = renderReportHtml(reportFixture({ restatedEvents: 30 }))
    expect(page).not.toMatch(/<script|<link|<img|<iframe|@import|url\(|\shref="(?!#)|\ssrc=|\son\w+=/i)
    expect(page).toMatch(/^<!doctype html>\n<html lang="en"/)
    expect(page.endsWith('</html>\n')).toBe(true)
  })

  test('names are text whatever stands in them, and turn nothing around', () => {
    const page = renderReportHtml(reportFixture({ cities: odd, categories: odd, products: odd, restatedEvents: 20 }))
    expect(page).not.toMatch(/<script|\u202E|[^;]alert\(1\)<(?!\/bdi|&)/)
    expect(page).toContain('<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi>')
    expect(page).toContain('<bdi>&quot;quoted&quot; &amp; &#39;single&#39;</bdi>')
    expect(page).toContain('<bdi>a\uFFFDdesrever</bdi>')
    expect(page).toContain('<bdi>מעלה אדומים</bdi>')
  })

  test('figures come first, then charts, restatement and receipt, under headings in order', () => {
    const report = reportFixture({ restatedEvents: 30 })
    const page = renderReportHtml(report)
    const headings = [...page.matchAll(/<h(\d)[^>]*>([^<]+)</g)].map(([, level, text]) => `${level} ${text}`)
    expect(headings).toEqual([
      '1 March 2025',
      '2 Figures',
      '2 Net revenue day by day',
      '2 Net revenue by category',
      '2 Net revenue by city',
      '2 Net revenue by city and category, in GBP',
      '2 Top products by units sold',
      '2 Top products by net revenue',
      '2 Popular products by season',
      '3 Spring 2025',
      '2 Restatement of version 1',
      '2 Receipt',
    ])
    const total = lineOf(report, { section: 'total' })
    for (const minor of [total.now.netMinor, total.now.grossMinor, total.now.refundsMinor, String(BigInt(total.now.netMinor) - BigInt(total.before!.netMinor)), String(BigInt(total.now.netMinor) - BigInt(total.yearBefore!.netMinor))]) {
      expect(page).toContain(moneyText(minor, 'GBP'))
    }
  })

  test('each currency stands by itself, and none is added to another', () => {
    const report = reportFixture({ currencies: ['GBP', 'JPY', 'KWD'] })
    const page = renderReportHtml(report)
    const parts = page.split('<h2 class="currency">').slice(1)
    expect(parts.map((part) => part.slice(0, 3))).toEqual(['GBP', 'JPY', 'KWD'])
    for (const part of parts) expect(part).toContain(moneyText(lineOf(report, { section: 'total', currency: part.slice(0, 3) }).now.netMinor, part.slice(0, 3)))
  })

  test('a period without a sale says so, and where books were not open yet there is no comparison', () => {
    expect(renderReportHtml(emptyReport())).toContain('Nothing was sold or refunded in this period')
    const first = reportFixture({ before: { period: '2025-02', from: '2025-02-01', to: '2025-03-01', hasBooks: false } })
    const page = renderReportHtml(first)
    expect(page).toContain('<span class="on">on Feb 2025</span> <span class="on">no books yet</span>')
    expect(page).not.toContain('>on Feb 2025</th>')
    expect(page).toContain('>on Mar 2024</th>')
  })

  test('of a year the period before is the year before, and stands there once', () => {
    const earlier = { period: '2024', from: '2024-01-01', to: '2025-01-01', hasBooks: true }
    const page = renderReportHtml(reportFixture({ kind: 'yearly', period: '2025', from: '2025-01-01', to: '2026-01-01', before: earlier, yearBefore: earlier, cities: ['London'] }))
    expect(page.match(/<dl class="tile first">.*?<\/dl>/s)![0].match(/on 2024/g)).toHaveLength(1)
    const polyline = /<polyline class="line" points="([^"]*)"/.exec(page)![1]!
    expect(polyline.split(' ')).toHaveLength(365)
  })

  test('of 450 cities the first stand in the chart, the others together, and every one in the table', () => {
    const cities = Array.from({ length: 450 }, (_, at) => `City ${at}`)
    const base = reportFixture({ cities: ['London'], categories: ['Home'] })
    const model = lineOf(base, { section: 'city' })
    const figures = (at: number): ReportLine['now'] => ({ ...model.now, netMinor: String(1_000_000 - at * 1_000) })
    const lines = [...base.lines.filter(({ section }) => section !== 'city'), ...cities.map((city, at) => ({ ...model, city, now: figures(at), before: figures(at), yearBefore: null }))]
    const page = renderReportHtml({ ...base, lines })
    const section = page.slice(page.indexOf('>Net revenue by city<'), page.indexOf('in GBP<'))
    expect(section).toContain('438 other cities')
    const rest = cities.slice(12).reduce((sum, _, at) => sum + BigInt(figures(at + 12).netMinor), 0n)
    expect(section).toContain(`438 other cities</th><td class="figure"><svg`)
    expect(section).toContain(moneyText(rest, 'GBP'))
    for (const city of cities) expect(section).toContain(`<bdi>${city}</bdi>`)
  })

  test('net revenue below zero is drawn below zero and hollow, and written with a minus', () => {
    const base = reportFixture()
    const lines = base.lines.map((line) => (line.city === 'Bath' || line.day === '2025-03-03' ? { ...line, now: { ...line.now, netMinor: '-1234567' } } : line))
    const page = renderReportHtml({ ...base, lines })
    expect(page).toContain('−£12,345.67')
    expect(page).toContain('class="bar below"')
    expect(page).toMatch(/<line class="zero" x1="0" x2="1000" y1="(?!1000\.0)/)
  })

  test('the scale holds every value at few whole steps', () => {
    for (const values of [[0n], [1n], [123n, 99_999n], [-5n, 3n], [-123_456n, -1n], [10n ** 18n]]) {
      const { low, high, marks } = scaleOf(values, 'GBP')
      expect(marks.length).toBeGreaterThan(1)
      expect(marks.length).toBeLessThan(8)
      for (const value of values) expect(value >= low && value <= high).toBe(true)
      expect([marks[0], marks.at(-1)]).toEqual([low, high])
      expect(marks).toContain(0n)
    }
  })

  test('a restatement says what was published, what is known, what explains it, and where the other events are', () => {
    const report = reportFixture({ restatedEvents: 300 })
    const page = renderReportHtml(report)
    const [total] = report.restatement!.lines
    const { asPublished, asKnownNow, difference } = total!
    for (const minor of [asPublished.netMinor, asKnownNow.netMinor, difference.netMinor]) expect(page).toContain(moneyText(minor, 'GBP'))
    expect(page).toContain('Late sales')
    expect(page).toContain('The first 50 of 300 events')
    expect(page).toContain('250 more stand in the file <code>restatement.csv</code>')
    expect(page).toContain(`+${moneyText(difference.netMinor, 'GBP')} on the ${moneyText(asPublished.netMinor, 'GBP')} that was published`)
  })

  test('the receipt says in words how the figures were checked, and what was given up', () => {
    const report = reportFixture()
    const loss = { topic: 'transactions', partition: 2, from: 10, to: 20, what: 'gap', eventsCounted: 7, acceptedAt: '2025-03-09T10:00:00.000Z', takenOut: null } as const
    const page = renderReportHtml({ ...report, receipt: { ...report.receipt, crossCheck: { result: 'corrected', corrections: 3, checkedAt: null }, acceptedLosses: [loss] } })
    expect(page).toContain('differed by 3 corrections, each explained and booked.')
    expect(page).toContain('by DuckDB: 64 files, 3,219,383 rows read, 21,448 figure rows compared, no difference.')
    expect(page).toContain('1 range of the log is gone and was given up')
    expect(page).toContain('10 – 19')
  })
})

describe('CSV', () => {
  test('every line of the report is a row with its figures, its comparisons and their changes', () => {
    const report = reportFixture({ currencies: ['GBP', 'JPY'] })
    const rows = readCsv(renderReportCsv(report))
    expect(rows).toHaveLength(report.lines.length)
    rows.forEach((row, at) => {
      const line = report.lines[at]!
      expect(row).toMatchObject({ kind: 'monthly', period: '2025-03', version: '1', section: line.section, currency: line.currency, day: line.day ?? '', city: line.city ?? '', product_id: line.productId ?? '' })
      expect(row['net']).toBe(decimalText(line.now.netMinor, line.currency))
      expect(row['before_net']).toBe(line.before === null ? '' : decimalText(line.before.netMinor, line.currency))
      expect(row['year_before_units_sold']).toBe(line.yearBefore === null ? '' : String(line.yearBefore.unitsSold))
      expect(row['change_net']).toBe(line.before === null ? '' : decimalText(BigInt(line.now.netMinor) - BigInt(line.before.netMinor), line.currency))
    })
    const total = rows.find((row) => row['section'] === 'total')!
    expect(total['change_net_percent']).toMatch(/^-?\d+\.\d$/)
  })

  test('names that begin like formulas are text', () => {
    const rows = readCsv(renderReportCsv(reportFixture({ cities: odd, products: odd })))
    const names = new Set(rows.flatMap((row) => [row['city']!, row['product_name']!]))
    expect([...names].filter((text) => /^[=+\-@]/.test(text))).toEqual([])
    expect(names).toContain(`'=1+1`)
    expect(names).toContain(`'-5`)
    // Figures keep their sign.
    const negative = reportFixture()
    const lines = negative.lines.map((line) => ({ ...line, now: { ...line.now, netMinor: '-5' } }))
    expect(readCsv(renderReportCsv({ ...negative, lines }))[0]!['net']).toBe('-0.05')
  })

  test('every event of a restatement is a row', () => {
    const report = reportFixture({ restatedEvents: 30 })
    const rows = readCsv([...renderRestatementCsv(report, [report.restatement!.events])].join(''))
    expect(rows).toHaveLength(30)
    expect(rows[1]).toMatchObject({ version: '2', of_version: '1', reason: 'late refund', event_id: 'r-9001', partition: '1', offset: '812301', total: decimalText(report.restatement!.events[1]!.totalMinor, 'GBP') })
  })
})
