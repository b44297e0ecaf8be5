import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { writeCsv } from '../../../../serving/dashboard/src/csv.ts'
import { addDays, addMonths } from '../../../../serving/dashboard/src/figures.ts'
import { decimalOf, divideMinor, formatAge, formatChange, formatMinorMoney, formatMoney, formatPercentChange, formatReportPeriod, formatShare } from '../../../../serving/dashboard/src/format.ts'
import { delayedAfterMs, isCaughtUp, judgeFreshness, staleAfterMs } from '../../../../serving/dashboard/src/freshness.ts'
import { fillMinutes, windowMinutes } from '../../../../serving/dashboard/src/cards/minute-line.ts'
import { backoffMs } from '../../../../serving/dashboard/src/live/backoff.ts'

describe('money', () => {
  test.each([
    ['100000.00', 'GBP', '£100,000.00'],
    ['0.05', 'GBP', '£0.05'],
    ['-12.50', 'GBP', '-£12.50'],
    ['1200', 'JPY', '¥1,200'],
    ['1.234', 'KWD', 'KWD\u00a01.234'],
    ['90071992547409930000.01', 'GBP', '£90,071,992,547,409,930,000.01'],
  ])('%s %s is written %s', (decimal, currency, written) => {
    expect(formatMoney(decimal, currency)).toBe(written)
  })

  test('no digit of any amount is lost', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), (minor) => {
        const written = formatMinorMoney(minor, 'GBP')
        expect(written.startsWith('-')).toBe(minor < 0n)
        expect(BigInt(written.replaceAll(/\D/g, ''))).toBe(minor < 0n ? -minor : minor)
      }),
    )
  })

  test('an average is rounded half away from zero, and none is had of nothing', () => {
    expect(divideMinor(5n, 2n)).toBe(3n)
    expect(divideMinor(-5n, 2n)).toBe(-3n)
    expect(divideMinor(4n, 3n)).toBe(1n)
    expect(divideMinor(5n, 0n)).toBeNull()
  })

  test('shares and decimals', () => {
    expect(formatShare(1n, 3n)).toBe('33%')
    expect(formatShare(1n, 0n)).toBe('')
    expect(decimalOf('-5', 'GBP')).toBe('-0.05')
  })
})

describe('CSV', () => {
  test('quotes what RFC 4180 asks for and disarms formulas, but leaves negative numbers', () => {
    const text = writeCsv(['City', 'Net'], [['a "b", c', '-12.50'], ['=1+1', '+44'], ['@x', '-x'], ['\tx', '3']])
    expect(text).toBe(`\uFEFFCity,Net\r\n"a ""b"", c",-12.50\r\n"'=1+1","'+44"\r\n"'@x","'-x"\r\n"'\tx",3\r\n`)
  })
})

describe('calendar', () => {
  test('days and months cross the ends of years', () => {
    expect(addDays('2024-12-31', 1)).toBe('2025-01-01')
    expect(addDays('2024-03-01', -1)).toBe('2024-02-29')
    expect(addMonths('2024-11-21', -12)).toBe('2023-11-01')
    expect(addMonths('2024-12-31', 1)).toBe('2025-01-01')
    expect(addMonths('2024-01-31', -1)).toBe('2023-12-01')
  })

  test('ages', () => {
    expect([-5, 3_999, 60_000, 7_200_000, 200_000_000].map(formatAge)).toEqual(['0 s', '3 s', '1 min', '2 h', '2 days'])
  })
})

describe('freshness', () => {
  test('age is a fault only while the log holds something newer', () => {
    expect(judgeFreshness(delayedAfterMs - 1, false)).toBe('fresh')
    expect(judgeFreshness(delayedAfterMs, false)).toBe('delayed')
    expect(judgeFreshness(staleAfterMs, false)).toBe('stale')
    expect(judgeFreshness(staleAfterMs, true)).toBe('quiet')
  })

  test('an unknown end is no end that was reached', () => {
    expect(isCaughtUp([{ nextOffset: 5, logEnd: '5' }])).toBe(true)
    expect(isCaughtUp([{ nextOffset: 5, logEnd: 6 }])).toBe(false)
    expect(isCaughtUp([{ nextOffset: 5 }])).toBe(false)
  })
})

describe('the line by minute', () => {
  test('has every minute of the window, zero where nothing was sold, in one currency', () => {
    const asOfMs = Date.parse('2025-01-01T12:00:30Z')
    const row = { minute: '2025-01-01T11:59:00Z', currency: 'GBP', transactions: 2, grossMinor: '500', refundsMinor: '0', gross: '5.00', refunds: '0.00' }
    const filled = fillMinutes([row, { ...row, currency: 'EUR' }, { ...row, minute: '2025-01-01T08:00:00Z' }], 'GBP', asOfMs)
    expect(filled).toHaveLength(windowMinutes)
    expect(filled.at(-1)).toMatchObject({ minuteMs: Date.parse('2025-01-01T12:00:00Z'), grossMinor: '0' })
    expect(filled.at(-2)).toMatchObject({ grossMinor: '500', transactions: 2 })
    expect(filled.filter(({ transactions }) => transactions > 0)).toHaveLength(1)
  })
})

test('waits between attempts double up to a limit and are spread', () => {
  const longest = Array.from({ length: 12 }, (_, attempt) => backoffMs(attempt, () => 1))
  expect(longest.slice(0, 5)).toEqual([500, 1000, 2000, 4000, 8000])
  expect(longest.at(-1)).toBe(15_000)
  expect(backoffMs(3, () => 0)).toBe(2000)
})

test('a line without a sale in its window is no line', () => {
  const row = { minute: '2024-12-30T14:30:00Z', currency: 'GBP', transactions: 1, grossMinor: '300000', refundsMinor: '0', gross: '3000.00', refunds: '0.00' }
  expect(fillMinutes([row], 'GBP', Date.parse('2025-01-01T12:00:30Z'))).toEqual([])
})

test('a change has its sign, and a percentage only where there was something above zero to compare with', () => {
  expect([formatChange('499', 'GBP'), formatChange('-499', 'GBP'), formatChange('0', 'GBP')]).toEqual(['+£4.99', '-£4.99', '£0.00'])
  expect([formatPercentChange(5n, 20n), formatPercentChange(-1n, 3n), formatPercentChange(0n, 3n), formatPercentChange(10n ** 30n, 10n ** 30n)]).toEqual(['+25%', '-33.3%', '0%', '+100%'])
  expect([formatPercentChange(5n, 0n), formatPercentChange(5n, -5n)]).toEqual(['', ''])
})

test.each([
  ['2025-03', 'March 2025'],
  ['2025-Q1', 'Q1 2025'],
  ['2025-spring', 'Spring 2025'],
  ['2024-été', 'Été 2024'],
  ['2025', '2025'],
])('the period %s is called %s', (period, name) => {
  expect(formatReportPeriod(period)).toBe(name)
})
