import { describe, expect, test } from 'vitest'
import { parseReportPeriod } from '#core/report/periods.ts'
import { averageMinor, changeDecimal, changeText, countText, daysTitle, moneyText, periodTitle, shareText, shortMoneyText, signedMoneyText, timeTitle } from '#core/report/words.ts'
import { numberCell, textCell, writeCsv } from '#core/csv.ts'
import { noFigures } from '#core/report/figures.ts'

describe('per cents', () => {
  test.each([
    [103n, 100n, '+3.0 %'],
    [2001n, 2000n, '+0.1 %'],
    [4001n, 4000n, '0.0 %'],
    [1999n, 2000n, '−0.1 %'],
    [20001n, 40000n, '−50.0 %'],
    [-50n, 100n, '−150.0 %'],
    // A fall of a loss is a rise.
    [-50n, -100n, '+50.0 %'],
    [9_007_199_254_740_993_000n, 9_007_199_254_740_993_000n * 2n, '−50.0 %'],
    [12_345_678n, 1n, '+1,234,567,700.0 %'],
    [5n, 0n, 'new'],
    [-5n, 0n, 'new'],
    [0n, 0n, '–'],
  ])('%s after %s is %s', (now, before, text) => {
    expect(changeText(now, before).replace('\u00A0', ' ')).toBe(text)
  })

  test('a half is rounded away from zero on both sides', () => {
    expect([changeDecimal(20_010n, 20_000n), changeDecimal(20_009n, 20_000n), changeDecimal(19_990n, 20_000n), changeDecimal(19_991n, 20_000n)]).toEqual(['0.1', '0.0', '-0.1', '0.0'])
    expect(changeDecimal(1n, 0n)).toBeNull()
  })

  test('shares of nothing and of a loss say nothing', () => {
    expect([shareText(1n, 3n), shareText(1n, 0n), shareText(-1n, 3n), shareText(3n, 3n)]).toEqual(['33.3\u00A0%', '–', '–', '100.0\u00A0%'])
  })
})

describe('money and counts', () => {
  test.each([
    ['-123456789', 'GBP', '−£1,234,567.89'],
    ['5', 'GBP', '£0.05'],
    ['1234', 'JPY', 'JPY\u00A01,234'],
    ['1234567', 'KWD', 'KWD\u00A01,234.567'],
    ['9223372036854775807', 'EUR', '€92,233,720,368,547,758.07'],
  ])('%s of %s', (minor, currency, text) => {
    expect(moneyText(minor, currency)).toBe(text)
  })

  test('signs stand before the currency', () => {
    expect([signedMoneyText('100', 'GBP'), signedMoneyText('0', 'GBP'), signedMoneyText('-100', 'GBP'), countText(-1234)]).toEqual(['+£1.00', '£0.00', '−£1.00', '−1,234'])
  })

  test('an axis is marked in few letters', () => {
    expect([0n, 99_900n, 250_000n, 120_000_000n, -4_000_000n, 300_000_000_000n].map((minor) => shortMoneyText(minor, 'GBP'))).toEqual(['£0', '£999', '£2.5k', '£1.2M', '−£40k', '£3bn'])
  })

  test('an average is rounded as on a bill, and of no transactions there is none', () => {
    expect(averageMinor({ ...noFigures, transactions: 8, grossMinor: '100' })).toBe(13n)
    expect(averageMinor({ ...noFigures, transactions: 3, grossMinor: '100' })).toBe(33n)
    expect(averageMinor(noFigures)).toBeNull()
  })
})

test('periods, days and times have names', () => {
  const seasons = { version: 1, calendar: 'meteorological', starts: [{ name: 'winter', firstMonth: 12, firstDay: 1 }] }
  expect(parseReportPeriod('seasonal', '2024-winter', seasons).fromDay).toBeGreaterThan(0)
  expect([periodTitle('monthly', '2025-03'), periodTitle('quarterly', '2025-Q1'), periodTitle('seasonal', '2024-winter'), periodTitle('yearly', '2025')]).toEqual(['March 2025', 'Q1 2025', 'Winter 2024', '2025'])
  expect([daysTitle('2025-03-01', '2025-04-01'), daysTitle('2024-12-01', '2025-03-01'), daysTitle('2025-01-01', '2026-01-01')]).toEqual(['1 – 31 March 2025', '1 December 2024 – 28 February 2025', '1 January – 31 December 2025'])
  expect(timeTitle('2025-04-01T03:00:12.000Z')).toBe('1 April 2025, 03:00 UTC')
})

test('a cell of text is never a formula, and what CSV would misread stands in quotes', () => {
  expect(['=1+1', '+44', '-5', '@x', '\tx', 'a,b', 'say "x"', 'a\r\nb', 'Ünïcode', ''].map(textCell)).toEqual([`"'=1+1"`, `"'+44"`, `"'-5"`, `"'@x"`, `"'\tx"`, '"a,b"', '"say ""x"""', '"a\r\nb"', 'Ünïcode', ''])
  expect([numberCell(-5), numberCell('-1.50'), numberCell(null), textCell(null)]).toEqual(['-5', '-1.50', '', ''])
  expect(writeCsv(['a', 'b'], [['1', '2']])).toBe('\uFEFFa,b\r\n1,2\r\n')
})
