/** What the page shows live: today by city and by category, the top products of day, month and season, and the last hours. One snapshot for all. */
import { formatDay } from '#core/calendar.ts'
import type { ClosedPeriod } from '#core/period.ts'
import { monthKey, parseMonthPeriod, seasonKey } from '#core/period.ts'
import type { MinuteRow, ProductRow, Receipt, RevenueRow } from '#core/receipt.ts'
import type { AnswerTerms } from '#store/answers.ts'
import { answerMinutes } from '#store/answer-minutes.ts'
import { answerTopProducts } from '#store/answer-products.ts'
import { answerRevenue } from '#store/answer-revenue.ts'
import type { Database } from '#store/database.ts'
import { inTransaction } from '#store/database.ts'
import { readSeasons } from '#store/seasons.ts'

export type LiveFigures = {
  /** Of today's revenue. */
  readonly receipt: Receipt
  readonly today: {
    readonly day: string
    readonly revenueByCity: readonly RevenueRow[]
    readonly revenueByCategory: readonly RevenueRow[]
    readonly total: readonly RevenueRow[]
  }
  readonly top: { readonly month: readonly ProductRow[]; readonly day: readonly ProductRow[]; readonly season: readonly ProductRow[] }
  readonly periods: { readonly day: string; readonly month: string; readonly season: string }
  readonly minutes: readonly MinuteRow[]
}

const topShown = 5

/** The version is the snapshot's: equal versions on one day are equal figures. The id rises with what is covered, for people and logs. */
export async function readLiveFigures(database: Database, terms: AnswerTerms, today: number): Promise<{ readonly version: string; readonly id: string; readonly figures: LiveFigures }> {
  return inTransaction(database, { isolation: 'REPEATABLE READ' }, async (client) => {
    const day: ClosedPeriod = { fromDay: today, toDay: today + 1 }
    const byCity = await answerRevenue(client, { by: ['city'], period: day }, terms)
    const byCategory = await answerRevenue(client, { by: ['category'], period: day }, terms)
    const total = await answerRevenue(client, { by: [], period: day }, terms)
    const season = seasonKey(today, await readSeasons(client))
    const top = async (period: ClosedPeriod | { season: string }): Promise<readonly ProductRow[]> =>
      (await answerTopProducts(client, { n: topShown, by: 'units', period }, terms)).rows
    const minutes = await answerMinutes(client, terms)
    const figures: LiveFigures = {
      receipt: total.receipt,
      today: { day: formatDay(today), revenueByCity: byCity.rows, revenueByCategory: byCategory.rows, total: total.rows },
      top: { day: await top(day), month: await top(parseMonthPeriod(monthKey(today))), season: await top({ season }) },
      periods: { day: formatDay(today), month: monthKey(today), season },
      minutes: minutes.rows,
    }
    return { version: total.version, id: `${total.receipt.batch.id}.${total.moves}:${sumOffsets(total.receipt)}`, figures }
  })
}

function sumOffsets({ position }: Receipt): number {
  let sum = 0
  for (const partitions of Object.values(position)) for (const next of Object.values(partitions)) sum += next
  return sum
}
