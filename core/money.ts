/**
 * Money is an integer in minor units and a currency. Text is read digit by digit and never passes through a float.
 * Exponents: ISO 4217, list one, as amended to 2024.
 */

const exponentOf = new Map<string, number>()
const codesByExponent: Readonly<Record<number, string>> = {
  0: 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF',
  2:
    'AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP COU CRC ' +
    'CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW ' +
    'KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP ' +
    'PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN ' +
    'UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG',
  3: 'BHD IQD JOD KWD LYD OMR TND',
  4: 'CLF UYW',
}
for (const [exponent, codes] of Object.entries(codesByExponent)) {
  for (const code of codes.split(' ')) exponentOf.set(code, Number(exponent))
}

/** Highest amount of one field of one event, in minor units. Keeps every single amount and product exact in a number. */
export const amountMinorMax = 1_000_000_000_000

/** Digits after the point, or undefined for a code that is not money. */
export function currencyExponent(currency: string): number | undefined {
  return exponentOf.get(currency)
}

export type AmountFault = 'mistyped-field' | 'number-not-exact' | 'out-of-range'

const zeroCode = 48
const nineCode = 57

/**
 * Reads `[-]digits[.digits]` as minor units with so many fraction digits. Zeros beyond the exponent are exact and accepted; any other
 * digit there is `number-not-exact`. Below 0 or above `amountMinorMax` is `out-of-range`; any other text is `mistyped-field`.
 */
export function parseAmount(text: string, exponent: number): number | AmountFault {
  const length = text.length
  let at = 0
  let negative = false
  if (text.charCodeAt(0) === 45) {
    negative = true
    at = 1
  }
  const firstDigit = at
  let minor = 0
  let tooLarge = false
  for (; at < length; at++) {
    const code = text.charCodeAt(at)
    if (code < zeroCode || code > nineCode) break
    minor = minor * 10 + (code - zeroCode)
    if (minor > amountMinorMax) {
      tooLarge = true
      minor = amountMinorMax
    }
  }
  if (at === firstDigit) return 'mistyped-field'
  let fractionDigits = 0
  let inexact = false
  if (at < length) {
    if (text.charCodeAt(at) !== 46 || at + 1 === length) return 'mistyped-field'
    for (at++; at < length; at++) {
      const code = text.charCodeAt(at)
      if (code < zeroCode || code > nineCode) return 'mistyped-field'
      if (fractionDigits < exponent) {
        minor = minor * 10 + (code - zeroCode)
        fractionDigits++
      } else if (code !== zeroCode) inexact = true
    }
  }
  if (inexact) return 'number-not-exact'
  while (fractionDigits++ < exponent) minor *= 10
  if (tooLarge || minor > amountMinorMax || (negative && minor !== 0)) return 'out-of-range'
  return minor
}

/**
 * The decimal text of a JSON number's source (`1500.1`, `15e2`), for parseAmount: exponents are moved into digits, exactly.
 * Returns null where the exponent is absurd, so that `1e999999999` costs nothing.
 */
export function plainDecimal(source: string): string | null {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(source)
  if (match === null) return null
  const [, sign = '', whole = '', fraction = '', exponentText = '0'] = match
  const exponent = Number(exponentText)
  if (Math.abs(exponent) > 40) return null
  const digits = whole + fraction
  const point = whole.length + exponent
  const padded = point > digits.length ? digits.padEnd(point, '0') : digits
  const head = point > 0 ? padded.slice(0, point) : '0'
  const tail = point > 0 ? padded.slice(point) : '0'.repeat(-point) + padded
  const trimmedHead = head.replace(/^0+(?=\d)/, '')
  return tail === '' ? `${sign}${trimmedHead}` : `${sign}${trimmedHead}.${tail}`
}

/** `300000n, 2` → `3000.00`; `-5n, 2` → `-0.05`; `7n, 0` → `7`. */
export function formatMinor(amountMinor: bigint, exponent: number): string {
  const negative = amountMinor < 0n
  const digits = (negative ? -amountMinor : amountMinor).toString().padStart(exponent + 1, '0')
  const sign = negative ? '-' : ''
  return exponent === 0 ? sign + digits : `${sign}${digits.slice(0, -exponent)}.${digits.slice(-exponent)}`
}
