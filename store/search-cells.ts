/**
 * What the documents of the figures say: merged totals of cells, the published batch's rows with the live and correction rows above its horizon, in one
 * statement and so one snapshot; as in `answers.ts`, by cell. Each is absolute: the same key read later simply has a newer total.
 */
import type { PoolClient } from 'pg'
import { measures } from '#core/views/measures.ts'
import type { View } from '#core/views/view.ts'
import type { Queryable } from './database.ts'
import { run } from './database.ts'
import type { Since } from './search-follower.ts'
import { changedCorrections, changedLive } from './search-follower.ts'
import { grainList, measureList, sumList } from './view-tables.ts'

/** In the order of the view's grain; days `YYYY-MM-DD`, hours as numbers. */
export type CellKey = readonly [string | number, string | number, string | number, string | number]
export type SearchCell = {
  readonly key: CellKey
  /** In the order of `measures`; all zero where nothing is left. */
  readonly totals: readonly bigint[]
  readonly productName: string | null
}
export type CellPage = { readonly cells: readonly SearchCell[]; readonly isLast: boolean }

function typeOf(kind: View['grain'][number]['kind']): string {
  return kind === 'text' ? 'text' : kind === 'hour' ? 'smallint' : 'date'
}

/** Keys after `after`, in their order: `AND (a, b, c, d) > ($n, …)`. */
function behind(view: View, after: CellKey | null, firstParameter: number): { readonly sql: string; readonly values: readonly unknown[] } {
  if (after === null) return { sql: '', values: [] }
  const parameters = view.grain.map((dimension, i) => `$${firstParameter + i}::${typeOf(dimension.kind)}`)
  return { sql: `AND (${grainList(view)}) > (${parameters.join(', ')})`, values: after }
}

const hasProduct = (view: View): boolean => view.grain.some((dimension) => dimension.name === 'product_id')

function named(view: View, cells: string): string {
  return hasProduct(view)
    ? `SELECT c.*, coalesce(r.name, n.product_name) AS product_name FROM (${cells}) c LEFT JOIN product_names n ON n.product_id = c.product_id
      LEFT JOIN reference_products r ON r.product_id = c.product_id ORDER BY ${grainList(view, 'c.')}`
    : `SELECT c.*, NULL::text AS product_name FROM (${cells}) c ORDER BY ${grainList(view, 'c.')}`
}

type Row = Readonly<Record<string, string | number | bigint | null>>

function cellOf(view: View, row: Row): SearchCell {
  return {
    key: view.grain.map((dimension) => row[dimension.name]) as unknown as CellKey,
    totals: measures.map((name) => row[name] as bigint),
    productName: row['product_name'] as string | null,
  }
}

/** Totals of the keys of the CTE `dirty`. The batch's rows are looked up one by one, the live ones of the periods read once. */
function totalsOf(view: View, periodCondition: string): string {
  const [period] = view.grain
  const same = (a: string, b: string): string => view.grain.map(({ name }) => `${a}.${name} = ${b}.${name}`).join(' AND ')
  const above = (table: string): string => /* sql */ `
      SELECT ${grainList(view, 'd.')}, ${measures.map((name) => `c.${name}`).join(', ')} FROM ${table}_${view.name} c JOIN dirty d ON ${same('d', 'c')}
      WHERE c.epoch > (SELECT epoch FROM publish_pointer) AND ${periodCondition}`
  return /* sql */ `
    SELECT ${grainList(view)}, ${sumList} FROM (
      SELECT ${grainList(view)}, ${measures.map((name) => `0::bigint AS ${name}`).join(', ')} FROM dirty
      UNION ALL ${above('live')}
      UNION ALL ${above('correction')}
      UNION ALL
      SELECT ${grainList(view, 'd.')}, ${measures.map((name) => `b.${name}`).join(', ')} FROM dirty d CROSS JOIN LATERAL (
        SELECT ${measureList} FROM batch_${view.name} r
        WHERE r.version = (SELECT p.version FROM batch_parts p JOIN publish_pointer x ON x.batch = p.batch
            WHERE p.view = '${view.name}' AND p.month = date_trunc('month', d.${period.name})::date)
          AND ${same('r', 'd')} OFFSET 0) b
    ) parts GROUP BY ${grainList(view)}`
}

/** A page of the cells of these periods that changed, behind `after`, with their totals now. */
export async function readChangedCells(client: PoolClient, view: View, since: Since, periods: readonly string[], after: CellKey | null, cellsMax: number): Promise<CellPage> {
  const [period] = view.grain
  // A join by loops would read the rows of a period once for each of its keys.
  await client.query('SET LOCAL enable_nestloop = off')
  const { sql: behindSql, values } = behind(view, after, 2)
  const rows = await run<Row>(
    client,
    /* sql */ `
    WITH dirty AS MATERIALIZED (
      SELECT ${grainList(view)} FROM (
        SELECT ${grainList(view)} FROM live_${view.name} WHERE ${period.name} = ANY ($1::date[]) AND ${changedLive(since)}
        UNION ALL
        SELECT ${grainList(view)} FROM correction_${view.name} WHERE ${period.name} = ANY ($1::date[]) AND ${changedCorrections(since)}
      ) changed WHERE true ${behindSql} GROUP BY ${grainList(view)} ORDER BY ${grainList(view)} LIMIT ${cellsMax}
    )
    ${named(view, totalsOf(view, `c.${period.name} = ANY ($1::date[])`))}`,
    [periods, ...values],
  )
  await client.query('SET LOCAL enable_nestloop = on')
  return { cells: rows.map((row) => cellOf(view, row)), isLast: rows.length < cellsMax }
}

/** Totals of these keys of one month, zero where there is nothing. */
export async function readCells(client: Queryable, view: View, month: string, keys: readonly CellKey[]): Promise<SearchCell[]> {
  const [period] = view.grain
  const columns = view.grain.map((dimension, i) => `$${i + 2}::${typeOf(dimension.kind)}[]`)
  const rows = await run<Row>(
    client,
    /* sql */ `
    WITH dirty AS MATERIALIZED (SELECT * FROM unnest(${columns.join(', ')}) AS d (${grainList(view)}))
    ${named(view, totalsOf(view, `c.${period.name} >= $1::date AND c.${period.name} < $1::date + interval '1 month'`))}`,
    [month, ...view.grain.map((_, i) => keys.map((key) => key[i]))],
  )
  return rows.map((row) => cellOf(view, row))
}

/** A page of all cells of a month (its first day), behind `after`. */
export async function readMonthCells(client: Queryable, view: View, month: string, after: CellKey | null, cellsMax: number): Promise<CellPage> {
  const [period] = view.grain
  const { sql: behindSql, values } = behind(view, after, 2)
  const rows = await run<Row>(
    client,
    named(
      view,
      /* sql */ `SELECT ${grainList(view)}, ${measureList} FROM merged_${view.name}
      WHERE ${period.name} >= $1::date AND ${period.name} < ($1::date + interval '1 month')::date ${behindSql} ORDER BY ${grainList(view)} LIMIT ${cellsMax}`,
    ),
    [month, ...values],
  )
  return { cells: rows.map((row) => cellOf(view, row)), isLast: rows.length < cellsMax }
}

export type MonthTotals = { readonly month: string; readonly totals: readonly bigint[] }

/** Sums of each month, `YYYY-MM`, of the whole view. */
export async function readMonthTotals(queryable: Queryable, view: View): Promise<MonthTotals[]> {
  const [period] = view.grain
  const rows = await run<Row>(queryable, `SELECT to_char(${period.name}, 'YYYY-MM') AS month, ${sumList} FROM merged_${view.name} GROUP BY 1 ORDER BY 1`)
  return rows.map((row) => ({ month: row['month'] as string, totals: measures.map((name) => row[name] as bigint) }))
}
