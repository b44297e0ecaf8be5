/** SQL that follows from a view's declaration: the statements that write live rows and compare layers. Text only. */
import { measures } from '#core/views/measures.ts'
import type { Dimension, View } from '#core/views/view.ts'

export const measureList = measures.join(', ')

export function grainList(view: View, prefix = ''): string {
  return view.grain.map((dimension) => prefix + dimension.name).join(', ')
}

/** `sum(x)::bigint AS x` for every measure; sums of bigint are numeric in PostgreSQL. */
export const sumList = measures.map((name) => `sum(${name})::bigint AS ${name}`).join(', ')

/** The array type that a column of cells is sent as, and the expression that turns its element `x` into the column's value. */
function sent(dimension: Dimension): { readonly array: string; readonly value: (x: string) => string } {
  if (dimension.kind === 'text') return { array: 'text[]', value: (x) => x }
  if (dimension.kind === 'hour') return { array: 'int[]', value: (x) => `${x}::smallint` }
  return { array: 'int[]', value: (x) => `DATE '1970-01-01' + ${x}` }
}

/**
 * Adds cells to `live_<view>`. Parameters: $1 epoch, then one array per dimension, then one per measure. The rows come sorted by key and
 * are locked in that order.
 */
export function addLiveCells(view: View): string {
  const columns = view.grain.map((dimension, i) => ({ ...sent(dimension), alias: `d${i}` }))
  const arrays = [...columns.map((column, i) => `$${i + 2}::${column.array}`), ...measures.map((_, i) => `$${i + 2 + columns.length}::bigint[]`)]
  const aliases = [...columns.map((column) => column.alias), ...measures]
  const values = [...columns.map((column) => column.value(column.alias)), ...measures]
  const adds = measures.map((name) => `${name} = t.${name} + EXCLUDED.${name}`)
  return /* sql */ `
    INSERT INTO live_${view.name} AS t (epoch, ${grainList(view)}, ${measureList})
    SELECT $1, ${values.join(', ')} FROM unnest(${arrays.join(', ')}) AS cells (${aliases.join(', ')})
    ON CONFLICT (${view.grain[0].name}, epoch, ${view.grain.slice(1).map((dimension) => dimension.name).join(', ')})
    DO UPDATE SET ${adds.join(', ')}`
}
