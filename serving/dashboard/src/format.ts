/** How the page writes money, counts and times. */
import { currencyExponent, formatMinor } from '#core/money.ts'

/** The page is in English; of the reader's languages the first English one decides how numbers look. */
export const locale = (typeof navigator === 'undefined' ? [] : navigator.languages).find((language) => /^en\b/.test(language)) ?? 'en-GB'

const formats = new Map<string, Intl.NumberFormat>()

function numberFormat(key: string, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  let format = formats.get(key)
  if (format === undefined) {
    format = new Intl.NumberFormat(locale, options)
    formats.set(key, format)
  }
  return format
}

/** `"100000.00", "GBP"` → `£100,000.00`. The text goes to Intl as it is, so no digit is lost however large it gets. */
export function formatMoney(decimal: string, currency: string): string {
  const digits = decimal.split('.')[1]?.length ?? 0
  const format = numberFormat(`${currency} ${digits}`, { style: 'currency', currency, minimumFractionDigits: digits, maximumFractionDigits: digits })
  return format.format(decimal as Intl.StringNumericLiteral)
}

export function decimalOf(minor: bigint | string, currency: string): string {
  return formatMinor(BigInt(minor), currencyExponent(currency) ?? 2)
}

export function formatMinorMoney(minor: bigint | string, currency: string): string {
  return formatMoney(decimalOf(minor, currency), currency)
}

/** With its sign, also above zero: `+£4.99`. */
export function formatChange(minor: bigint | string, currency: string): string {
  return BigInt(minor) > 0n ? `+${formatMinorMoney(minor, currency)}` : formatMinorMoney(minor, currency)
}

/** `5n, 20n` → `+25%`. Empty where there was nothing above zero to compare with. */
export function formatPercentChange(change: bigint, before: bigint): string {
  if (before <= 0n) return ''
  return numberFormat('change', { style: 'percent', maximumFractionDigits: 1, signDisplay: 'exceptZero' }).format(Number((change * 10_000n) / before) / 10_000)
}

/** For axes: `£1.2M`. Rounded, so never beside an exact figure without saying so. */
export function formatMoneyShort(major: number, currency: string): string {
  return numberFormat(`short ${currency}`, { style: 'currency', currency, notation: 'compact', maximumFractionDigits: 1, minimumFractionDigits: 0 }).format(major)
}

/** For lengths and heights only, where a float is exact enough. */
export function majorNumber(minor: bigint | string, currency: string): number {
  return Number(decimalOf(minor, currency))
}

/** A name inside a sentence, kept from turning the sentence around where it is written from right to left: what <bdi> does for elements. */
export function isolateName(name: string): string {
  return `\u2068${name}\u2069`
}

/** Null is a number that nobody knows. */
export function formatCount(count: number | bigint | null): string {
  return count === null ? 'unknown' : numberFormat('count', {}).format(count)
}

/** `1n, 3n` → `33%`. Empty where the whole is not above zero: a share of nothing says nothing. */
export function formatShare(part: bigint, whole: bigint): string {
  if (whole <= 0n || part < 0n) return ''
  return numberFormat('share', { style: 'percent', maximumFractionDigits: 0 }).format(Number((part * 10_000n) / whole) / 10_000)
}

/** Half a unit is rounded away from zero, as on a bill. */
export function divideMinor(sumMinor: bigint, count: bigint): bigint | null {
  if (count === 0n) return null
  const half = sumMinor < 0n ? -count : count
  return (2n * sumMinor + half) / (2n * count)
}

/** `12:04:07` on the shop's clock. */
export function formatTime(instantMs: number, zone: string): string {
  return new Intl.DateTimeFormat('en-GB', { timeZone: zone, hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }).format(instantMs)
}

export function formatMinute(instantMs: number, zone: string): string {
  return new Intl.DateTimeFormat('en-GB', { timeZone: zone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(instantMs)
}

export function formatDateTime(instantMs: number, zone: string): string {
  return new Intl.DateTimeFormat(locale, { timeZone: zone, day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(instantMs)
}

/** A local day is a date without a clock, so it is formatted as if it were UTC. */
export function formatLocalDay(day: string): string {
  return new Intl.DateTimeFormat(locale, { timeZone: 'UTC', weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' }).format(Date.parse(day))
}

export function formatWeekday(day: string): string {
  return new Intl.DateTimeFormat(locale, { timeZone: 'UTC', weekday: 'long' }).format(Date.parse(day))
}

export function formatMonth(month: string): string {
  return new Intl.DateTimeFormat(locale, { timeZone: 'UTC', month: 'long', year: 'numeric' }).format(Date.parse(`${month}-01`))
}

/** `2025-03` → `March 2025`, `2025-Q1` → `Q1 2025`, `2025-spring` → `Spring 2025`. */
export function formatReportPeriod(period: string): string {
  if (/^\d{4}-\d\d$/.test(period)) return formatMonth(period)
  const name = period.slice(5)
  return name === '' ? period : `${name.charAt(0).toUpperCase()}${name.slice(1)} ${period.slice(0, 4)}`
}

/** `3 s`, `4 min`, `2 h`, `5 days`. */
export function formatAge(ageMs: number): string {
  const seconds = Math.max(0, Math.floor(ageMs / 1000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  return seconds < 2 * 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} days`
}
