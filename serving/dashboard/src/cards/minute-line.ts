/** Pure part of the line by minute: every minute of the window has a value, and a minute without a row is a zero, not a gap. */
import type { MinuteRow } from '../api.ts'

export const windowMinutes = 180
const minuteMs = 60_000

export type FilledMinute = { readonly minuteMs: number; readonly currency: string; readonly transactions: number; readonly grossMinor: string; readonly refundsMinor: string }

/** The window ends with the minute of `asOfMs`, which may still be filling. Rows outside of it are left out; none inside give no line at all. */
export function fillMinutes(rows: readonly MinuteRow[], currency: string, asOfMs: number): FilledMinute[] {
  const byMinute = new Map(rows.filter((row) => row.currency === currency).map((row) => [Date.parse(row.minute), row]))
  const last = Math.floor(asOfMs / minuteMs) * minuteMs
  const filled = Array.from({ length: windowMinutes }, (_, index) => {
    const at = last - (windowMinutes - 1 - index) * minuteMs
    const row = byMinute.get(at)
    return { minuteMs: at, currency, transactions: row?.transactions ?? 0, grossMinor: row?.grossMinor ?? '0', refundsMinor: row?.refundsMinor ?? '0' }
  })
  return filled.some(({ minuteMs: at }) => byMinute.has(at)) ? filled : []
}
