/** Tables of seasons made of the days of a leap year on which seasons begin. */
import type { SeasonTable } from '#core/season-table.ts'
import { parseSeasonTable } from '#core/season-table.ts'

const dayText = (dayOfLeapYear: number): string => new Date(Date.UTC(2024, 0, 1 + dayOfLeapYear)).toISOString().slice(5, 10)

/** Seasons s0, s1 … that begin on these days, 0 to 365. Null where one would hold 29 February alone, which no table may. */
export function tableOfCuts(cuts: readonly number[]): SeasonTable | null {
  const firsts = [...cuts].sort((a, b) => a - b)
  const seasons = firsts.map((first, at) => ({ name: `s${at}`, from: dayText(first), to: dayText((firsts[(at + 1) % firsts.length]! + 365) % 366) }))
  if (seasons.some(({ from, to }) => from === '02-29' && to === '02-29')) return null
  return parseSeasonTable(JSON.stringify({ calendar: 'random', seasons }))
}
