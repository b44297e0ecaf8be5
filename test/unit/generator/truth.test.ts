import { describe, expect, test } from 'vitest'
import { ConfigError, ConflictError } from '#core/errors.ts'
import type { Fact, GeneratedRecord } from '#generator/fact.ts'
import type { HistoryOptions } from '#generator/history.ts'
import { generateEvents, planHistory } from '#generator/history.ts'
import type { TruthFile, TruthMeasures } from '#generator/truth.ts'
import { Truth, parseTruth, truthText } from '#generator/truth.ts'
import { recount } from './recount.ts'

const YEAR: HistoryOptions = {
  profile: 'shop',
  seed: 11,
  events: 20_000,
  fromMs: Date.parse('2023-10-15T00:00:00Z'),
  toMs: Date.parse('2024-11-20T00:00:00Z'),
  zone: 'Europe/London',
  currency: 'GBP',
}

function truthOf(options: HistoryOptions, records: readonly GeneratedRecord[]): TruthFile {
  const truth = new Truth(planHistory(options).origin)
  for (const record of records) truth.add(record)
  return truth.toFile()
}

function rowText(row: TruthMeasures): string {
  return [row.transactions, row.orders, row.refundEvents, row.unitsSold, row.unitsRefunded, row.grossMinor, row.refundsMinor].join(' ')
}

function countable(records: readonly GeneratedRecord[]): Uint8Array[] {
  return records.filter(({ means }) => means[0]?.is !== 'refused').map(({ append }) => append.value)
}

describe('the truth equals an independent count of the bytes', () => {
  test.each([
    ['shop in London', YEAR],
    ['shop in New York, several currencies', { ...YEAR, seed: 12, zone: 'America/New_York', mixedCurrencies: true }],
    ['shop in Kolkata, yen, portable', { ...YEAR, seed: 13, zone: 'Asia/Kolkata', currency: 'JPY', portable: true }],
    ['bench', { ...YEAR, profile: 'bench', seed: 14 }],
    ['sparse', { ...YEAR, profile: 'sparse', seed: 15 }],
  ] as [string, HistoryOptions][])('%s', (_, options) => {
    const records = [...generateEvents(options)]
    const truth = truthOf(options, records)
    const counted = recount(countable(records), options.zone, options.currency)
    expect(new Map(truth.revenue.map((row) => [`${row.day}|${row.city}|${row.category}|${row.currency}`, rowText(row)]))).toEqual(counted.revenue)
    expect(new Map(truth.products.map((row) => [`${row.day}|${row.productId}|${row.currency}`, rowText(row)]))).toEqual(counted.products)
    expect([truth.events, truth.copies, truth.conflicts]).toEqual([counted.events, counted.copies, counted.conflicts])
    expect(truth.records).toBe(records.length)
  })
})

test('Names in decomposed form and in other scripts occur, and the truth holds the composed form', () => {
  const records = [...generateEvents(YEAR)]
  const bytes = countable(records).map((value) => Buffer.from(value).toString())
  expect(bytes.some((text) => text !== text.normalize('NFC'))).toBe(true)
  const truth = truthOf(YEAR, records)
  expect(truth.revenue.every(({ city, category }) => city === city.normalize('NFC') && category === category.normalize('NFC'))).toBe(true)
  expect(new Set(truth.revenue.map(({ city }) => city)).has('東京')).toBe(true)
  const { names } = recount(countable(records), YEAR.zone, YEAR.currency)
  expect([...names].some((name) => name.includes(','))).toBe(true)
  expect([...names].some((name) => name.includes('"'))).toBe(true)
  expect([...names].some((name) => /[֐-ۿ]/.test(name))).toBe(true)
})

test('Sums beyond 2^53 are exact (D8)', () => {
  const [record] = generateEvents({ ...YEAR, events: 1 })
  const [meaning] = record?.means ?? []
  if (record === undefined || meaning?.is !== 'event') throw new Error('a sale expected')
  const fact: Fact = { ...meaning.fact, kind: 'sale', totalMinor: 999_999_999_999 }
  const truth = new Truth(planHistory(YEAR).origin)
  const times = 20_011
  for (let i = 0; i < times; i += 1) truth.add({ ...record, means: [{ is: 'event', fact, late: false }, { is: 'event', fact: { ...fact, kind: 'refund' }, late: true }] })
  const expected = String(BigInt(times) * 999_999_999_999n)
  expect(BigInt(expected) > 2n ** 53n).toBe(true)
  expect(truth.toFile().revenue.map(({ grossMinor, refundsMinor }) => [grossMinor, refundsMinor])).toEqual([[expected, expected]])
  expect(truth.toFile().late).toBe(times)
})

describe('files', () => {
  const records = [...generateEvents(YEAR)]
  const whole = truthOf(YEAR, records)

  test('read back as they were written, and the order of records does not matter', () => {
    const text = [...truthText(whole)].join('')
    expect(parseTruth(text)).toEqual(whole)
    expect([...truthText(truthOf(YEAR, records.toReversed()))].join('')).toBe(text)
  })

  test('an empty truth is a file too', () => {
    const empty = new Truth(planHistory(YEAR).origin).toFile()
    expect(parseTruth([...truthText(empty)].join(''))).toEqual(empty)
  })

  test('merged truths equal the truth of both streams', () => {
    const other = { ...YEAR, seed: 99 }
    const otherRecords = [...generateEvents(other)]
    const both = new Truth(planHistory(YEAR).origin)
    for (const record of [...records, ...otherRecords]) both.add(record)
    const merged = new Truth(planHistory(YEAR).origin)
    for (const record of records) merged.add(record)
    merged.merge(parseTruth([...truthText(truthOf(other, otherRecords))].join('')))
    const { seed, idPrefixes, ...figures } = merged.toFile()
    const { seed: _seed, idPrefixes: _prefixes, ...expected } = both.toFile()
    expect(figures).toEqual(expected)
    expect(seed).toBeNull()
    expect(idPrefixes).toHaveLength(2)
    expect(() => merged.merge(whole)).toThrow(ConflictError)
    expect(() => merged.merge({ ...whole, currency: 'EUR' })).toThrow(ConfigError)
  })

  test.each([
    ['', 'not JSON'],
    ['[]', 'not a JSON object'],
    [JSON.stringify({ ...whole, copies: -1 }), 'copies'],
    [JSON.stringify({ ...whole, zone: undefined }), 'zone'],
    [JSON.stringify({ ...whole, revenue: [{ ...whole.revenue[0], grossMinor: 12 }] }), 'revenue'],
    [JSON.stringify({ ...whole, products: [{}] }), 'products'],
  ])('other text is refused: %.20s', (text, named) => {
    expect(() => parseTruth(text)).toThrow(ConfigError)
    expect(() => parseTruth(text)).toThrow(named)
  })
})
