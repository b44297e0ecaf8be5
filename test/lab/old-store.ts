/**
 * A store as migration 0004 left it, with figures in all that it knew: a published batch, its parts, live rows below and above its horizon, and corrections.
 * Plain SQL in the words of that time, since no code of today speaks them.
 */
import type { Database } from '#store/database.ts'
import { run } from '#store/database.ts'

const grains = {
  revenue: `'2025-03-01'::date + n, CASE n % 2 WHEN 0 THEN 'London' ELSE 'Leeds' END, 'Home', 'GBP'`,
  product_sales: `'2025-03-01'::date + n, 'P' || n % 3, 'Home', 'GBP'`,
  product_city_sales: `'2025-03-01'::date, 'P' || n, 'London', 'GBP'`,
  pace: `'2025-03-01'::date + n, n % 24, 'Home', 'GBP'`,
} as const
const measures = (transactions: string, minor: string): string => `${transactions}, ${transactions}, 0, ${transactions}, 0, ${minor}, 0`

/** Batch 1 ends epoch 1 and has seven rows of 10.00 in March 2025; epoch 1's live rows are below it, five rows of 0.05 above. */
export async function fillOldStore({ pool }: Database): Promise<void> {
  const statements = [
    `UPDATE lake_state SET epoch = 2, logic_version = 'v1 Europe/London GBP', mark = 3`,
    `INSERT INTO cuts (epoch, logic_version) VALUES (1, 'v1 Europe/London GBP')`,
    `INSERT INTO committed_offsets (topic, partition, first_offset, next_offset, records, accepted) VALUES ('transactions', 0, 0, 12, 12, 12)`,
    `INSERT INTO cut_offsets (epoch, topic, partition, next_offset) VALUES (1, 'transactions', 0, 7)`,
    `INSERT INTO batches (batch, epoch, base_batch, kind, status, published_at, cross_check) VALUES (nextval('batch_numbers'), 1, 0, 'incremental', 'published', now(), '{"result": "exact"}')`,
    `UPDATE publish_pointer SET batch = 1, epoch = 1, moves = 1`,
    `INSERT INTO job_runs (kind, period, outcome, batch, started_at) VALUES ('nightly', '2025-03-09', 'exact', 1, now())`,
    ...Object.entries(grains).flatMap(([view, grain]) => [
      `INSERT INTO batch_parts VALUES (1, '${view}', '2025-03-01', nextval('row_versions'), 7)`,
      `INSERT INTO batch_${view} SELECT currval('row_versions'), ${grain}, ${measures('1', '1000')} FROM generate_series(0, 6) n`,
      `INSERT INTO live_${view} SELECT 1, ${grain}, ${measures('1', '1000')} FROM generate_series(0, 6) n`,
      `INSERT INTO live_${view} SELECT 2, ${grain}, ${measures('1', '5')} FROM generate_series(0, 4) n`,
      `INSERT INTO correction_${view} SELECT 1, 1, 'copy', ${grain}, ${measures('-1', '-1000')} FROM generate_series(0, 0) n`,
    ]),
  ]
  for (const statement of statements) await run(pool, statement)
}
