/**
 * How reports write figures: the same text for the same figure on every machine, so nothing here asks for a locale or a clock. Money is exact, and so are
 * averages and per cents up to their one rounding, half away from zero as on a bill. Pure.
 */
import { civilFromDays, parseDay } from '../calendar.ts'
import { currencyExponent, formatMinor } from '../money.ts'
import type { ReportKind } from './periods.ts'
import type { ReportFigures } from './report.ts'

const minus = '\u2212'
const noBreak = '\u00A0'
/** Where there is nothing to say. */
export const nothing = '–'

const symbols: Readonly<Record<string, string>> = { GBP: '£', EUR: '€', USD: '$' }

/** `1234567` → `1,234,567`; a minus is as wide as a plus. */
export function countText(value: number | bigint): string {
  return grouped(String(value))
}

export function signedCountText(value: number | bigint): string {
  return value > 0 ? `+${countText(value)}` : countText(value)
}

/** `-123456, GBP` → `−£1,234.56`; currencies without a sign that is theirs alone carry their code. */
export function moneyText(minor: bigint | string, currency: string): string {
  const amount = BigInt(minor)
  const text = grouped(decimalText(amount < 0n ? -amount : amount, currency))
  const symbol = symbols[currency]
  return `${amount < 0n ? minus : ''}${symbol === undefined ? `${currency}${noBreak}` : symbol}${text}`
}

/** Without its currency, which stands above: `−1,234.56`. */
export function amountText(minor: bigint | string, currency: string): string {
  return grouped(decimalText(minor, currency))
}

export function signedMoneyText(minor: bigint | string, currency: string): string {
  return BigInt(minor) > 0n ? `+${moneyText(minor, currency)}` : moneyText(minor, currency)
}

/** For an axis: `£1.2M`, cut after one digit. Never beside an exact figure. */
export function shortMoneyText(minor: bigint, currency: string): string {
  const size = minor < 0n ? -minor : minor
  const unit = 10n ** BigInt(currencyExponent(currency) ?? 2)
  const [scale, letter] = size >= unit * 1_000_000_000n ? [1_000_000_000n, 'bn'] : size >= unit * 1_000_000n ? [1_000_000n, 'M'] : size >= unit * 1_000n ? [1_000n, 'k'] : [1n, '']
  const tenths = (size * 10n) / (unit * scale)
  const text = `${grouped(String(tenths / 10n))}${tenths % 10n === 0n ? '' : `.${tenths % 10n}`}`
  const symbol = symbols[currency]
  return `${minor < 0n ? minus : ''}${symbol === undefined ? `${currency}${noBreak}` : symbol}${text}${letter}`
}

/** `123456, GBP` → `1234.56`: for files that machines read. */
export function decimalText(minor: bigint | string, currency: string): string {
  return formatMinor(BigInt(minor), currencyExponent(currency) ?? 2)
}

function grouped(text: string): string {
  const [, sign = '', whole = '', fraction = ''] = /^(-?)(\d+)(\.\d+)?$/.exec(text) ?? []
  return `${sign === '' ? '' : minus}${whole.replaceAll(/\B(?=(\d{3})+$)/g, ',')}${fraction}`
}

/** Half away from zero; `divisor` above zero. */
export function divideRounded(value: bigint, divisor: bigint): bigint {
  const size = value < 0n ? -value : value
  const rounded = (size * 2n + divisor) / (divisor * 2n)
  return value < 0n ? -rounded : rounded
}

/** Gross revenue per transaction; null where there was none. */
export function averageMinor({ grossMinor, transactions }: ReportFigures): bigint | null {
  return transactions === 0 ? null : divideRounded(BigInt(grossMinor), BigInt(transactions))
}

/** The change in tenths of a per cent of what was before, whatever its sign; null where nothing was before. */
export function changePermille(now: bigint, before: bigint): bigint | null {
  return before === 0n ? null : divideRounded((now - before) * 1000n, before < 0n ? -before : before)
}

/** `+3.4 %`; `new` where nothing was before and something is now, a dash where both are nothing. */
export function changeText(now: bigint, before: bigint): string {
  const permille = changePermille(now, before)
  if (permille === null) return now === 0n ? nothing : 'new'
  const size = permille < 0n ? -permille : permille
  const sign = permille > 0n ? '+' : permille < 0n ? minus : ''
  return `${sign}${countText(size / 10n)}.${size % 10n}${noBreak}%`
}

/** `-12.3`: for files that machines read. Null where nothing was before. */
export function changeDecimal(now: bigint, before: bigint): string | null {
  const permille = changePermille(now, before)
  return permille === null ? null : formatMinor(permille, 1)
}

/** `part` of `whole` as `12.3 %`; a dash where a share says nothing. */
export function shareText(part: bigint, whole: bigint): string {
  if (whole <= 0n || part < 0n) return nothing
  const permille = divideRounded(part * 1000n, whole)
  return `${permille / 10n}.${permille % 10n}${noBreak}%`
}

export const monthNames = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December'] as const

/** `2025-03` → `March 2025`, `2025-Q1` → `Q1 2025`, `2024-winter` → `Winter 2024`. */
export function periodTitle(kind: ReportKind, period: string): string {
  const year = period.slice(0, 4)
  const rest = period.slice(5)
  if (kind === 'monthly') return `${monthNames[Number(rest) - 1]} ${year}`
  if (kind === 'quarterly') return `${rest} ${year}`
  if (kind === 'seasonal') return seasonTitle(period)
  return year
}

/** Where there is little room: `2025-03` → `Mar 2025`. */
export function shortPeriodTitle(kind: ReportKind, period: string): string {
  return kind === 'monthly' ? `${monthNames[Number(period.slice(5)) - 1]!.slice(0, 3)} ${period.slice(0, 4)}` : periodTitle(kind, period)
}

/** `2024-winter` → `Winter 2024`: a season has the year that it starts in. */
export function seasonTitle(season: string): string {
  const name = season.slice(5).replaceAll('_', ' ')
  return `${name.slice(0, 1).toUpperCase()}${name.slice(1)} ${season.slice(0, 4)}`
}

/** `2025-03-01` → `1 March 2025`. */
export function dayTitle(day: string): string {
  const { year, month, day: date } = civilOf(day)
  return `${date} ${monthNames[month - 1]} ${year}`
}

/** Of half-open days: `1 – 31 March 2025`, `1 December 2024 – 28 February 2025`. */
export function daysTitle(from: string, to: string): string {
  const first = civilOf(from)
  const last = civilFromDays(parseDay(to)! - 1)
  const end = `${last.day} ${monthNames[last.month - 1]} ${last.year}`
  if (first.year !== last.year) return `${dayTitle(from)} – ${end}`
  if (first.month !== last.month) return `${first.day} ${monthNames[first.month - 1]} – ${end}`
  return first.day === last.day ? end : `${first.day} – ${end}`
}

/** `2025-04-01T03:00:12.000Z` → `1 April 2025, 03:00 UTC`. */
export function timeTitle(instant: string): string {
  return `${dayTitle(instant.slice(0, 10))}, ${instant.slice(11, 16)} UTC`
}

function civilOf(day: string): { year: number; month: number; day: number } {
  return civilFromDays(parseDay(day)!)
}

/** `1 file`, `2 files`. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${countText(value)} ${value === 1 ? one : many}`
}
