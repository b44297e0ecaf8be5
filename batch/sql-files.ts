/** The batch layer's SQL: one file a statement, in the part that DuckDB and Trino share. */
import { readFileSync } from 'node:fs'
import type { View } from '#core/views/view.ts'

export type SqlFile =
  | View['name']
  | 'counted_events'
  | 'copy_places'
  | 'rows_lost'
  | 'counts'
  | 'read_sums'
  | 'product_names'
  | 'events_at'
  | 'events_of_ids'
  | 'records_at'
  | 'accounts'
  | 'letters'
  | 'ledger'
  | 'rows_of_user'
  | 'refused_records'
  | 'period_events'

const texts = new Map<SqlFile, string>()

export function batchSql(name: SqlFile): string {
  let text = texts.get(name)
  if (text === undefined) {
    text = readFileSync(new URL(`./sql/${name}.sql`, import.meta.url), 'utf8')
    texts.set(name, text)
  }
  return text
}
