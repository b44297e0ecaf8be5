/**
 * Top products, from merged full sums at any cut: a product that is sixth in both layers can be first, so two top lists never merge. A
 * product is summed over its categories (or cities); each currency has its own list. Order: the measure asked for, then net, then product id
 * bytewise.
 */
import { monthStart } from '#core/calendar.ts'
import { InvalidRequestError } from '#core/errors.ts'
import type { Period } from '#core/period.ts'
import type { Answer, ProductRow } from '#core/receipt.ts'
import { measures } from '#core/views/measures.ts'
import { productCitySales } from '#core/views/product-city-sales.ts'
import { productSales } from '#core/views/product-sales.ts'
import type { AnswerTerms, AsOfRequest, Filters, PeriodRequest, Sums } from './answers.ts'
import { Values, addDays, addMonths, askStatement, figuresOf, productsMax, resolvePeriod, sharesOf, withSeasons } from './answers.ts'
import type { Queryable } from './database.ts'
import type { Basis } from './layers.ts'
import { aboveHorizon, basisOf, batchParts } from './layers.ts'
import type { TaggedRow } from './receipt.ts'
import { partsSql, taggedSelect, tags } from './receipt.ts'

export const productOrders = ['units', 'net', 'gross', 'transactions'] as const
export type ProductOrder = (typeof productOrders)[number]

export type TopProductsRequest = { readonly n: number; readonly by: ProductOrder; readonly period: PeriodRequest } & Filters & AsOfRequest

const orderColumn: Readonly<Record<ProductOrder, string>> = {
  units: 'units_sold',
  net: 'gross_minor - refunds_minor',
  gross: 'gross_minor',
  transactions: 'transactions',
}

/** Rows by currency, then rank. Throws InvalidRequestError for a cut that no view can answer, CorruptError where the batch view is not whole. */
export async function answerTopProducts(queryable: Queryable, request: TopProductsRequest, terms: AnswerTerms): Promise<Answer<ProductRow>> {
  if (!Number.isInteger(request.n) || request.n < 1 || request.n > productsMax) {
    throw new InvalidRequestError(`n must be a whole number from 1 to ${productsMax}.`, { parameter: 'n' })
  }
  if (request.city !== undefined && request.category !== undefined) {
    throw new InvalidRequestError('A top list is kept by city or by category, not by both: leave one of them out.', { parameter: 'category' })
  }
  return withSeasons(queryable, 'season' in request.period, async (seasons) => {
    const period = resolvePeriod(request.period, seasons)
    if (request.city !== undefined) checkMonths(period)
    const values = new Values()
    const basis = basisOf(request.asOf, (value, type) => values.add(value, type))
    const sql = figuresSql(request, period, basis, values)
    const { rows, parts } = await askStatement(queryable, sql, values.list, terms, basis)
    const products = rows.filter((row) => row[0] === tags.total).map(readProduct)
    products.sort((a, b) => (a.currency === b.currency ? a.rank - b.rank : a.currency < b.currency ? -1 : 1))
    const receipt = parts.receipt(sharesOf(products.map((product) => [product.currency, product.sums])))
    const answer = {
      rows: products.map(({ rank, productId, productName, currency, sums }) => ({ rank, productId, productName, ...figuresOf(sums, currency) })),
      receipt,
      version: parts.version,
      moves: parts.state.moves,
    }
    return { seasonVersion: parts.state.seasonVersion, answer }
  })
}

/** By city, products are kept by the month: by the day it would be one row per event. */
function checkMonths({ fromDay, toDay }: Period): void {
  for (const day of [fromDay, toDay]) {
    if (day !== null && monthStart(day) !== day) {
      throw new InvalidRequestError('Products of one city are kept by the month: ask for a month, a year, a season of whole months, or from and to on first days of months.', {
        parameter: 'city',
      })
    }
  }
}

function figuresSql(request: TopProductsRequest, period: Period, basis: Basis, values: Values): string[] {
  const view = request.city === undefined ? productSales : productCitySales
  const inPeriod = addDays(values, period)(`c.${view.grain[0].name}`)
  const months = addMonths(values, period)
  const filters = (['city', 'category', 'currency'] as const).flatMap((key) => (request[key] === undefined ? [] : [`c.${key} = ${values.add(request[key], 'text')}`]))
  const conditions = [inPeriod, ...filters].join(' AND ')
  const columns = `c.product_id, c.currency, ${measures.map((measure) => `c.${measure}`).join(', ')}`
  const above = `${aboveHorizon} AND ${conditions}`
  const share = (sum: string): string => `coalesce(sum(${sum}) FILTER (WHERE of_batch), 0)`
  const nMax = values.add(request.n, 'int')
  const ofSpeed = `UNION ALL SELECT false, ${columns} FROM live_${view.name} c WHERE ${above}
            UNION ALL SELECT false, ${columns} FROM correction_${view.name} c WHERE ${above}`
  return [
    partsSql(view, months, basis),
    taggedSelect(
      tags.total,
      [
        'place::text',
        'product_id',
        'currency',
        `coalesce((SELECT r.name FROM reference_products r WHERE r.product_id = ranked.product_id),
          (SELECT n.product_name FROM product_names n WHERE n.product_id = ranked.product_id), product_id)`,
        `concat_ws(',', ${measures.join(', ')})`,
        'batch_events::text',
        'batch_net::text',
      ],
      `FROM (
        SELECT *, row_number() OVER (PARTITION BY currency ORDER BY ${orderColumn[request.by]} DESC, gross_minor - refunds_minor DESC, product_id) AS place
        FROM (
          SELECT product_id, currency, ${measures.map((measure) => `sum(${measure}) AS ${measure}`).join(', ')},
            ${share('transactions + refund_events')} AS batch_events, ${share('gross_minor - refunds_minor')} AS batch_net
          FROM (
            SELECT true AS of_batch, ${columns} FROM batch_parts p JOIN batch_${view.name} c ON c.version = p.version
              WHERE ${batchParts(view, months, basis)} AND ${conditions}
            ${basis.asOf === null ? ofSpeed : ''}
          ) cells
          GROUP BY product_id, currency
          HAVING ${measures.map((measure) => `sum(${measure}) <> 0`).join(' OR ')}
        ) summed
      ) ranked WHERE place <= ${nMax}`,
    ),
  ]
}

type Product = { readonly rank: number; readonly productId: string; readonly productName: string; readonly currency: string; readonly sums: Sums }

function readProduct(row: TaggedRow): Product {
  const [, place, productId, currency, productName, sums, batchEvents, batchNet] = row as [number, ...string[]]
  return {
    rank: Number(place),
    productId: productId!,
    productName: productName!,
    currency: currency!,
    sums: { totals: sums!.split(',').map(BigInt), batchEvents: BigInt(batchEvents!), batchNet: BigInt(batchNet!) },
  }
}
