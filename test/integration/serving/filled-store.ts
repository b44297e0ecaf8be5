/**
 * A migrated store filled by plain SQL: what the speed and batch layers would have left, without either. Facts go into all four views, as every event
 * does.
 */
import type { Database } from '#store/database.ts'
import { openDatabase } from '#store/database.ts'
import { migrateStore } from '#store/migrate.ts'
import { freshSchema, openTestPostgres } from '#test/postgres.ts'

export type Fact = {
  readonly day: string
  readonly hour?: number
  readonly city?: string
  readonly category?: string
  readonly product?: string
  readonly currency?: string
  readonly transactions?: number
  readonly orders?: number
  readonly refundEvents?: number
  readonly unitsSold?: number
  readonly unitsRefunded?: number
  readonly gross?: string
  readonly refunds?: string
}

export type FilledStore = {
  readonly database: Database
  /** Adds live rows of an epoch. */
  live(epoch: number, facts: readonly Fact[]): Promise<void>
  /** Adds corrections of an epoch. */
  correct(epoch: number, batch: number, facts: readonly Fact[]): Promise<void>
  /** Makes a published batch whose whole content is these facts; does not move the pointer. */
  batch(batch: number, epoch: number, facts: readonly Fact[]): Promise<void>
  point(batch: number): Promise<void>
  position(partition: number, nextOffset: number, logTimeMs: number): Promise<void>
  sql(text: string, values?: readonly unknown[]): Promise<Record<string, unknown>[]>
} & AsyncDisposable

const grains = {
  revenue: 'local_day, city, category, currency',
  product_sales: 'local_day, product_id, category, currency',
  product_city_sales: 'local_month, product_id, city, currency',
  pace: 'local_day, local_hour, category, currency',
}
const sums =
  'sum(transactions), sum(orders), sum(refund_events), sum(units_sold), sum(units_refunded), sum(gross_minor), sum(refunds_minor)'
const source = `(SELECT (f->>'day')::date AS local_day, date_trunc('month', (f->>'day')::date)::date AS local_month, (f->>'hour')::smallint AS local_hour,
    f->>'city' AS city, f->>'category' AS category, f->>'product' AS product_id, f->>'currency' AS currency,
    (f->>'transactions')::bigint AS transactions, (f->>'orders')::bigint AS orders, (f->>'refundEvents')::bigint AS refund_events,
    (f->>'unitsSold')::bigint AS units_sold, (f->>'unitsRefunded')::bigint AS units_refunded,
    (f->>'gross')::bigint AS gross_minor, (f->>'refunds')::bigint AS refunds_minor
  FROM jsonb_array_elements($1::jsonb) f) facts`

export async function openFilledStore(prefix: string): Promise<FilledStore> {
  const postgres = await openTestPostgres()
  const database = openDatabase({ url: postgres.url, schema: await freshSchema(postgres.url, prefix), connectionsMax: 8 })
  await migrateStore(database)
  const whole = (facts: readonly Fact[]): string => JSON.stringify(facts.map((fact) => ({ ...blank, ...fact })))
  const sql = async (text: string, values: readonly unknown[] = []): Promise<Record<string, unknown>[]> => (await database.pool.query(text, [...values])).rows
  return {
    database,
    sql,
    async live(epoch, facts) {
      for (const [view, grain] of Object.entries(grains)) {
        await sql(`INSERT INTO live_${view} SELECT ${epoch}, ${grain}, ${sums} FROM ${source} GROUP BY ${grain}`, [whole(facts)])
      }
    },
    async correct(epoch, batch, facts) {
      for (const [view, grain] of Object.entries(grains)) {
        await sql(`INSERT INTO correction_${view} SELECT ${epoch}, ${batch}, 'copy', ${grain}, ${sums} FROM ${source} GROUP BY ${grain}`, [whole(facts)])
      }
    },
    async batch(batch, epoch, facts) {
      await sql(
        `INSERT INTO batches (batch, epoch, base_batch, kind, status, published_at, cross_check)
         VALUES ($1, $2, 0, 'full', 'published', '2025-01-02T03:04:05Z', '{"result": "corrected", "corrections": 2, "checkedAt": "2025-01-02T03:04:00.000Z"}')`,
        [batch, epoch],
      )
      for (const [view, grain] of Object.entries(grains)) {
        const months = new Set(facts.map((fact) => fact.day.slice(0, 7)))
        for (const month of months) {
          const rows = await sql(`SELECT nextval('row_versions') AS version`)
          const inMonth = facts.filter((fact) => fact.day.startsWith(month))
          const version = String(rows[0]!['version'])
          await sql(`INSERT INTO batch_${view} SELECT ${version}, ${grain}, ${sums} FROM ${source} GROUP BY ${grain}`, [whole(inMonth)])
          await sql(`INSERT INTO batch_parts SELECT $1, $2, $3, $4::bigint, count(*) FROM batch_${view} WHERE version = $4::bigint`, [batch, view, `${month}-01`, version])
        }
      }
    },
    async point(batch) {
      await sql('UPDATE publish_pointer x SET batch = b.batch, epoch = b.epoch, moves = moves + 1 FROM batches b WHERE b.batch = $1', [batch])
    },
    async position(partition, nextOffset, logTimeMs) {
      await sql(
        `INSERT INTO committed_offsets (topic, partition, first_offset, next_offset, last_log_time_ms) VALUES ('transactions', $1, 0, $2, $3)
         ON CONFLICT (topic, partition) DO UPDATE SET next_offset = EXCLUDED.next_offset, last_log_time_ms = EXCLUDED.last_log_time_ms`,
        [partition, nextOffset, logTimeMs],
      )
    },
    async [Symbol.asyncDispose]() {
      await database[Symbol.asyncDispose]()
      await postgres[Symbol.asyncDispose]()
    },
  }
}

const blank = {
  hour: 12,
  city: 'London',
  category: 'Electronics',
  product: '2001',
  currency: 'GBP',
  transactions: 1,
  orders: 1,
  refundEvents: 0,
  unitsSold: 1,
  unitsRefunded: 0,
  gross: '0',
  refunds: '0',
}
export const wholeFact = (fact: Fact): Required<Fact> => ({ ...blank, ...fact })
