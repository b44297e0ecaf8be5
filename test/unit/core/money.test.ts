import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { amountMinorMax, currencyExponent, formatMinor, parseAmount, plainDecimal } from '#core/money.ts'

/** Digits, a point and digits, as a person writes money; the value in minor units worked out with BigInt, where it has one. */
function meant(text: string, exponent: number): bigint | null {
  const match = /^(-?)([0-9]+)(?:\.([0-9]+))?$/.exec(text)
  if (match === null) return null
  const [, sign = '', whole = '', fraction = ''] = match
  if (/[1-9]/.test(fraction.slice(exponent))) return null
  const minor = BigInt(whole + fraction.slice(0, exponent).padEnd(exponent, '0'))
  return minor > BigInt(amountMinorMax) || (sign === '-' && minor !== 0n) ? null : minor
}

const exponents = fc.constantFrom(0, 2, 3, 4)
const decimals = fc
  .tuple(fc.constantFrom('', '', '', '-'), fc.stringMatching(/^[0-9]{1,15}$/), fc.option(fc.stringMatching(/^[0-9]{1,6}$/)))
  .map(([sign, whole, fraction]) => sign + whole + (fraction === null ? '' : `.${fraction}`))
const nearly = fc.oneof(decimals, fc.string({ maxLength: 12 }), fc.stringMatching(/^[-+0-9.,eE ]{0,10}$/))

describe('parseAmount', () => {
  test('accepts exactly the decimals within bounds whose digits the currency has', () => {
    fc.assert(
      fc.property(nearly, exponents, (text, exponent) => {
        const parsed = parseAmount(text, exponent)
        const expected = meant(text, exponent)
        if (expected === null) expect(typeof parsed).toBe('string')
        else expect(parsed).toBe(Number(expected))
      }),
      { numRuns: 5_000 },
    )
  })

  test('gives back what was formatted, canonically', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: BigInt(amountMinorMax) }), exponents, (minor, exponent) => {
        const text = formatMinor(minor, exponent)
        expect(parseAmount(text, exponent)).toBe(Number(minor))
        expect(text).toMatch(exponent === 0 ? /^(0|[1-9]\d*)$/ : new RegExp(`^(0|[1-9]\\d*)\\.\\d{${exponent}}$`))
      }),
    )
  })

  test.each([
    ['12.34', 2, 1234],
    ['12.345', 2, 'number-not-exact'],
    ['12.340', 2, 1234],
    ['12', 2, 1200],
    ['0', 2, 0],
    ['-0', 2, 0],
    ['-0.00', 2, 0],
    ['-0.01', 2, 'out-of-range'],
    ['10000000000.00', 2, 1_000_000_000_000],
    ['10000000000.01', 2, 'out-of-range'],
    ['1000000000000', 0, 1_000_000_000_000],
    ['9007199254740993', 0, 'out-of-range'],
    ['7.5', 0, 'number-not-exact'],
    ['1.234', 3, 1234],
    ['007', 2, 700],
    ['', 2, 'mistyped-field'],
    ['.', 2, 'mistyped-field'],
    ['.5', 2, 'mistyped-field'],
    ['5.', 2, 'mistyped-field'],
    ['1,000.00', 2, 'mistyped-field'],
    ['1e3', 2, 'mistyped-field'],
    ['+1', 2, 'mistyped-field'],
    [' 1', 2, 'mistyped-field'],
    ['٣', 2, 'mistyped-field'],
    ['NaN', 2, 'mistyped-field'],
  ] as const)('reads %j with %i digits as %j', (text, exponent, expected) => {
    expect(parseAmount(text, exponent)).toBe(expected)
  })
})

describe('formatMinor', () => {
  test.each([
    [300_000n, 2, '3000.00'],
    [-5n, 2, '-0.05'],
    [7n, 0, '7'],
    [-7n, 0, '-7'],
    [1n, 3, '0.001'],
    [9_007_199_254_740_993n, 2, '90071992547409.93'],
  ] as const)('writes %s with %i digits as %s', (minor, exponent, text) => {
    expect(formatMinor(minor, exponent)).toBe(text)
  })
})

describe('plainDecimal', () => {
  test('says what the JSON number says, exactly', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }), fc.nat(20), fc.integer({ min: -25, max: 25 }), (digits, scale, exponent) => {
        const text = digits.toString().replace('-', '').padStart(scale + 1, '0')
        const sign = digits < 0n ? '-' : ''
        const mantissa = scale === 0 ? text : `${text.slice(0, -scale)}.${text.slice(-scale)}`
        const plain = plainDecimal(`${sign}${mantissa}e${exponent}`)!
        const [whole = '', fraction = ''] = plain.replace('-', '').split('.')
        // Both as multiples of 10^-50.
        const value = BigInt(whole + fraction) * 10n ** BigInt(50 - fraction.length)
        expect(value).toBe((digits < 0n ? -digits : digits) * 10n ** BigInt(50 - scale + exponent))
      }),
    )
  })

  test.each([
    ['1500.1', '1500.1'],
    ['15e2', '1500'],
    ['1.5E+3', '1500'],
    ['1e-2', '0.01'],
    ['1e400', null],
    ['1e999999999', null],
    ['-0', '-0'],
  ])('reads %s as %s', (source, expected) => {
    expect(plainDecimal(source)).toBe(expected)
  })
})

test.each([
  ['GBP', 2],
  ['JPY', 0],
  ['KWD', 3],
  ['CLF', 4],
  ['XYZ', undefined],
  ['gbp', undefined],
  ['__proto__', undefined],
  ['XAU', undefined],
])('%s has %s digits', (currency, exponent) => {
  expect(currencyExponent(currency)).toBe(exponent)
})
