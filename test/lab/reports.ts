/** Reports in a lab, and what the oracle says must stand in them: worked out from what was meant, with no code of the report. */
import { expect } from 'vitest'
import type { ReportOptions } from '#batch/reports.ts'
import { parquetCodec } from '#engines/parquet.ts'
import type { Report, ReportFigures, ReportLine } from '#core/report/report.ts'
import type { Lab } from '#test/lab.ts'
import type { Expected, Sums } from '#test/oracle.ts'

export function labReportOptions(lab: Lab, extra: Partial<ReportOptions> = {}): ReportOptions {
  const { database, lake, engine, topic } = lab
  return { database, lake, engine, topic, codec: parquetCodec, engineName: 'DuckDB', zone: 'Europe/London', booksOpenOn: '2023-01-01', signal: new AbortController().signal, ...extra }
}

type Totals = Record<string, { transactions: bigint; orders: bigint; refundEvents: bigint; unitsSold: bigint; unitsRefunded: bigint; gross: bigint; refunds: bigint }>

function addTo(totals: Totals, key: string, sums: Sums): void {
  const cell = (totals[key] ??= { transactions: 0n, orders: 0n, refundEvents: 0n, unitsSold: 0n, unitsRefunded: 0n, gross: 0n, refunds: 0n })
  for (const name of Object.keys(cell) as (keyof typeof cell)[]) cell[name] += sums[name]
}

function written(sums: Totals[string]): ReportFigures {
  return {
    transactions: Number(sums.transactions),
    orders: Number(sums.orders),
    refundEvents: Number(sums.refundEvents),
    unitsSold: Number(sums.unitsSold),
    unitsRefunded: Number(sums.unitsRefunded),
    grossMinor: String(sums.gross),
    refundsMinor: String(sums.refunds),
    netMinor: String(sums.gross - sums.refunds),
  }
}

/** Section and key → figures of the days, `from` inclusive to `to` exclusive. */
function meantLines(expected: Expected, from: string, to: string): Map<string, ReportFigures> {
  const totals: Totals = {}
  for (const [key, sums] of expected.views.get('revenue')!) {
    const [day, city, category, currency] = JSON.parse(key) as [string, string, string, string]
    if (day < from || day >= to) continue
    addTo(totals, JSON.stringify(['total', currency]), sums)
    addTo(totals, JSON.stringify(['city', currency, city]), sums)
    addTo(totals, JSON.stringify(['category', currency, category]), sums)
    addTo(totals, JSON.stringify(['city_category', currency, city, category]), sums)
    addTo(totals, JSON.stringify(['day', currency, day]), sums)
  }
  return new Map(Object.entries(totals).map(([key, sums]) => [key, written(sums)]))
}

function keyOf(line: ReportLine): string {
  const parts: Record<string, (string | null)[]> = { total: [], city: [line.city], category: [line.category], city_category: [line.city, line.category], day: [line.day] }
  return JSON.stringify([line.section, line.currency, ...(parts[line.section] ?? [])])
}

/** The ten best products of a currency by units, then net revenue, then id bytewise. */
function meantTop(expected: Expected, from: string, to: string, by: 'units' | 'net'): string[] {
  const products = new Map<string, { currency: string; product: string; units: bigint; net: bigint }>()
  for (const [key, sums] of expected.views.get('product_sales')!) {
    const [day, product, , currency] = JSON.parse(key) as [string, string, string, string]
    if (day < from || day >= to) continue
    const known = products.get(`${currency} ${product}`) ?? { currency, product, units: 0n, net: 0n }
    known.units += sums.unitsSold
    known.net += sums.gross - sums.refunds
    products.set(`${currency} ${product}`, known)
  }
  const order = (a: bigint, b: bigint): number => (a > b ? -1 : a < b ? 1 : 0)
  const sorted = [...products.values()].sort(
    (a, b) =>
      (a.currency < b.currency ? -1 : a.currency > b.currency ? 1 : 0) ||
      (by === 'units' ? order(a.units, b.units) || order(a.net, b.net) : order(a.net, b.net) || order(a.units, b.units)) ||
      Buffer.compare(Buffer.from(a.product), Buffer.from(b.product)),
  )
  const taken = new Map<string, number>()
  return sorted.flatMap(({ currency, product }) => {
    const rank = (taken.get(currency) ?? 0) + 1
    taken.set(currency, rank)
    return rank <= 10 ? [`${currency} ${rank} ${product}`] : []
  })
}

const zeros: ReportFigures = { transactions: 0, orders: 0, refundEvents: 0, unitsSold: 0, unitsRefunded: 0, grossMinor: '0', refundsMinor: '0', netMinor: '0' }

/** Every line of the report is what the events below its horizon say, and none is missing; comparisons too. */
export function expectReportExact(lab: Lab, report: Report): void {
  const horizon = new Map(Object.entries(report.receipt.horizon[lab.topic] ?? {}).map(([partition, offset]) => [Number(partition), offset]))
  const expected = lab.oracle.expect(horizon)
  const now = meantLines(expected, report.from, report.to)
  const before = report.before.hasBooks ? meantLines(expected, report.before.from, report.before.to) : null
  const yearBefore = report.yearBefore.hasBooks ? meantLines(expected, report.yearBefore.from, report.yearBefore.to) : null
  const plain = report.lines.filter((line) => ['total', 'city', 'category', 'city_category', 'day'].includes(line.section))
  expect(Object.fromEntries(plain.filter((line) => JSON.stringify(line.now) !== JSON.stringify(zeros)).map((line) => [keyOf(line), line.now]))).toEqual(Object.fromEntries(now))
  for (const line of plain) {
    expect(line.before, keyOf(line)).toEqual(before === null || line.section === 'day' ? null : (before.get(keyOf(line)) ?? zeros))
    expect(line.yearBefore, keyOf(line)).toEqual(yearBefore === null || line.section === 'day' ? null : (yearBefore.get(keyOf(line)) ?? zeros))
  }
  for (const key of [...(before?.keys() ?? []), ...(yearBefore?.keys() ?? [])]) if (!key.startsWith('["day"')) expect(plain.map(keyOf)).toContain(key)
  for (const by of ['units', 'net'] as const) {
    const listed = report.lines.filter((line) => line.section === `product_${by}`).map((line) => `${line.currency} ${line.rank} ${line.productId}`)
    expect(listed).toEqual(meantTop(expected, report.from, report.to, by))
  }
}
