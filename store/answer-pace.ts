/** The shop's pace by weekday and hour, from the view `pace`, for the heat map of peak hours. */
import type { Answer, PaceRow } from '#core/receipt.ts'
import { measures } from '#core/views/measures.ts'
import { pace } from '#core/views/pace.ts'
import type { AnswerTerms, AsOfRequest, Filters, PeriodRequest } from './answers.ts'
import { Values, addDays, addLayer, addMonths, askStatement, compareBytes, emptySums, figuresOf, isEmpty, resolvePeriod, sharesOf, withSeasons } from './answers.ts'
import type { Queryable } from './database.ts'
import { aboveHorizon, basisOf, batchParts } from './layers.ts'
import { partsSql, taggedSelect, tags } from './receipt.ts'

export type PaceRequest = { readonly period: PeriodRequest } & Omit<Filters, 'city'> & AsOfRequest

/** At most 168 rows per currency, by weekday (1 is Monday), hour, currency. Throws as answerRevenue does. */
export async function answerPace(queryable: Queryable, request: PaceRequest, terms: AnswerTerms): Promise<Answer<PaceRow>> {
  return withSeasons(queryable, 'season' in request.period, async (seasons) => {
    const values = new Values()
    const period = resolvePeriod(request.period, seasons)
    const inPeriod = addDays(values, period)('c.local_day')
    const months = addMonths(values, period)
    const filters = (['category', 'currency'] as const).flatMap((key) => (request[key] === undefined ? [] : [`c.${key} = ${values.add(request[key], 'text')}`]))
    const conditions = [inPeriod, ...filters].join(' AND ')
    const above = `${aboveHorizon} AND ${conditions}`
    const layer = (tag: number, source: string): string =>
      taggedSelect(
        tag,
        ['g.weekday::text', 'g.local_hour::text', 'g.currency', 'g.sums::text'],
        `FROM (SELECT date_part('isodow', c.local_day)::int AS weekday, c.local_hour, c.currency, ARRAY[${measures.map((name) => `sum(c.${name})`).join(', ')}] AS sums
          FROM ${source} GROUP BY 1, 2, 3) g`,
      )
    const basis = basisOf(request.asOf, (value, type) => values.add(value, type))
    const sql = [
      partsSql(pace, months, basis),
      layer(
        tags.batch,
        `batch_parts p JOIN batch_pace c ON c.version = p.version
          WHERE ${batchParts(pace, months, basis)} AND ${conditions}`,
      ),
      ...(basis.asOf === null ? [layer(tags.live, `live_pace c WHERE ${above}`), layer(tags.correction, `correction_pace c WHERE ${above}`)] : []),
    ]
    const { rows, parts } = await askStatement(queryable, sql, values.list, terms, basis)
    const cells = new Map<string, { readonly weekday: number; readonly hour: number; readonly currency: string; readonly sums: ReturnType<typeof emptySums> }>()
    for (const [tag, weekday, hour, currency, sums] of rows) {
      if (tag < tags.batch) continue
      const key = `${weekday} ${hour} ${currency}`
      let cell = cells.get(key)
      if (cell === undefined) cells.set(key, (cell = { weekday: Number(weekday), hour: Number(hour), currency: currency!, sums: emptySums() }))
      addLayer(cell.sums, tag, sums!.slice(1, -1).split(',').map(BigInt))
    }
    const kept = [...cells.values()].filter((cell) => !isEmpty(cell.sums))
    kept.sort((a, b) => a.weekday - b.weekday || a.hour - b.hour || compareBytes(a.currency, b.currency))
    const answer = {
      rows: kept.map(({ weekday, hour, currency, sums }) => ({ weekday, hour, ...figuresOf(sums, currency) })),
      receipt: parts.receipt(sharesOf(kept.map((cell) => [cell.currency, cell.sums]))),
      version: parts.version,
      moves: parts.state.moves,
    }
    return { seasonVersion: parts.state.seasonVersion, answer }
  })
}
