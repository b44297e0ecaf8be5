/** Parts of SQL that follow from a view's declaration. Text only. */
import { measures } from '#core/views/measures.ts'
import type { View } from '#core/views/view.ts'

export const measureList = measures.join(', ')

export function grainList(view: View, prefix = ''): string {
  return view.grain.map((dimension) => prefix + dimension.name).join(', ')
}

/** `sum(x)::bigint AS x` for every measure; sums of bigint are numeric in PostgreSQL. */
export const sumList = measures.map((name) => `sum(${name})::bigint AS ${name}`).join(', ')
