/** The live figures of the page: whole from `/v1/events`, or put together from single requests for the first paint and for polling. */
import { formatDay, parseDay } from '#core/calendar.ts'
import { fetchJson, Problem, type Answer, type MinuteRow, type Piece, type ProductRow, type Receipt, type RevenueRow, type Status } from './api.ts'

export type Figures = {
  readonly receipt: Receipt
  readonly total: readonly RevenueRow[]
  readonly byCity: Piece<RevenueRow>
  readonly byCategory: Piece<RevenueRow>
  readonly topOfDay: Piece<ProductRow>
  readonly topOfMonth: Piece<ProductRow>
  readonly topOfSeason: Piece<ProductRow>
  readonly minutes: Piece<MinuteRow>
}

/** Data of one `figures` event. */
export type FiguresEvent = {
  readonly receipt: Receipt
  readonly today: { readonly total: readonly RevenueRow[]; readonly revenueByCity: readonly RevenueRow[]; readonly revenueByCategory: readonly RevenueRow[] }
  readonly top: { readonly day: readonly ProductRow[]; readonly month: readonly ProductRow[]; readonly season: readonly ProductRow[] }
  readonly minutes: readonly MinuteRow[]
}

export function readFiguresEvent(event: FiguresEvent): Figures {
  const { receipt, today, top, minutes } = event
  return {
    receipt,
    total: today.total,
    byCity: today.revenueByCity,
    byCategory: today.revenueByCategory,
    topOfDay: top.day,
    topOfMonth: top.month,
    topOfSeason: top.season,
    minutes,
  }
}

export const topRowsShown = 5
/** How far back the newest season is looked for: a shop may be closed for some days, and the page holds no calendar of seasons of its own. */
const seasonLookBackDays = 7

/** Throws Problem where even the total is not to be had; any other part that fails stands as a Problem in its place. */
export async function fetchFigures(status: Pick<Status, 'today'>, signal: AbortSignal): Promise<Figures> {
  const { today } = status
  const day = `from=${today}&to=${addDays(today, 1)}`
  const rows = async <Row>(path: string): Promise<Piece<Row>> => {
    try {
      return (await fetchJson<Answer<Row>>(path, signal)).body.rows
    } catch (error) {
      return error instanceof Problem ? error : new Problem(String(error))
    }
  }
  const topOfSeason = async (): Promise<Piece<ProductRow>> => {
    const days = await rows<RevenueRow>(`/v1/revenue?from=${addDays(today, 1 - seasonLookBackDays)}&to=${addDays(today, 1)}&by=day,season`)
    if (days instanceof Problem) return days
    const season = days.at(-1)?.season
    return season === undefined ? [] : rows(`/v1/products/top?n=${topRowsShown}&season=${season}`)
  }
  const [total, byCity, byCategory, topOfDay, topOfMonth, ofSeason, minutes] = await Promise.all([
    fetchJson<Answer<RevenueRow>>(`/v1/revenue?${day}`, signal),
    rows<RevenueRow>(`/v1/revenue?${day}&by=city`),
    rows<RevenueRow>(`/v1/revenue?${day}&by=category`),
    rows<ProductRow>(`/v1/products/top?n=${topRowsShown}&day=${today}`),
    rows<ProductRow>(`/v1/products/top?n=${topRowsShown}&month=${today.slice(0, 7)}`),
    topOfSeason(),
    rows<MinuteRow>('/v1/minutes'),
  ])
  return { receipt: total.body.receipt, total: total.body.rows, byCity, byCategory, topOfDay, topOfMonth, topOfSeason: ofSeason, minutes }
}

/** `2024-12-31, 1` → `2025-01-01`. */
export function addDays(day: string, days: number): string {
  return formatDay(parseDay(day)! + days)
}

/** First day of the month so many months later: `2024-11-21, -12` → `2023-11-01`. */
export function addMonths(day: string, months: number): string {
  const index = Number(day.slice(0, 4)) * 12 + Number(day.slice(5, 7)) - 1 + months
  return `${String(Math.floor(index / 12)).padStart(4, '0')}-${String((index % 12) + 1).padStart(2, '0')}-01`
}

/** Records committed so far, over all partitions: grows with every change of the figures. */
export function countCommitted(partitions: Iterable<{ readonly nextOffset: number | string }>): number {
  let committed = 0
  for (const { nextOffset } of partitions) committed += Number(nextOffset)
  return committed
}

export function positionOf(receipt: Receipt): number {
  return countCommitted(Object.values(receipt.position).flatMap((partitions) => Object.values(partitions).map((nextOffset) => ({ nextOffset }))))
}
