/** P13: p50 of merged answers ÷ one prepared point select of `pg`, same process, same connection. Must: 3 for a day's revenue by city. */
import type pg from 'pg'
import { openDecoder } from '#core/decode.ts'
import { parseDayPeriod, parseMonthPeriod, parseYearPeriod } from '#core/period.ts'
import { openDiskLake } from '#engines/disk-lake.ts'
import { openDuckDb } from '#engines/duckdb.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { answerTopProducts } from '#store/answer-products.ts'
import { answerRevenue } from '#store/answer-revenue.ts'
import { runBatch } from '#batch/run.ts'
import { measures } from '#core/views/measures.ts'
import { views } from '#core/views/all.ts'
import type { Database } from '#store/database.ts'
import { run } from '#store/database.ts'
import { countLog, fillLog, openBenchDatabase, openBenchServer, topic } from './bench-store.ts'
import { benchCurrency, benchZone } from './speed-loop.ts'
import { median, percentile } from './statistics.ts'

export type MergedQueryResult = { readonly name: string; readonly p50Us: number; readonly p99Us: number; readonly ratio: number; readonly rows: number }

const rounds = 400
const lines = 200_000

export async function benchMergedQueries(): Promise<MergedQueryResult[]> {
  await using server = await openBenchServer()
  await using database = await openBenchDatabase(server.url, 'merged')
  const filled = await fillLog(server.url, 'merged_log', 'shop', lines)
  await using log = filled.log
  await countLog(filled, database, 100_000)
  await using lake = await openDiskLake({ root: `${server.folder}/lake` })
  await using engine = await openDuckDb({ lake })
  const decoder = openDecoder({ zone: benchZone, currency: benchCurrency })
  await runBatch({ database, log, lake, engine, codec: parquetCodec, decoder, topic, fileOffsetsMax: 250_000, signal: new AbortController().signal })
  await addLiveRows(database)
  const client = await database.pool.connect()
  try {
    await client.query('CREATE TABLE point (id int PRIMARY KEY, value bigint); INSERT INTO point SELECT i, i FROM generate_series(1, 10000) i')
    await client.query('ANALYZE')
    const terms = { ledgerIdsMax: 8_000_000 }
    const cases: [string, () => Promise<{ rows: readonly unknown[] }>][] = [
      ['one day by city', () => answerRevenue(client, { by: ['city'], period: parseDayPeriod('2025-02-20') }, terms)],
      ['one cell', () => answerRevenue(client, { by: ['city', 'category'], period: parseDayPeriod('2025-02-20'), city: 'London', category: 'Electronics' }, terms)],
      ['one month by city', () => answerRevenue(client, { by: ['city'], period: parseMonthPeriod('2025-02') }, terms)],
      ['a year by month', () => answerRevenue(client, { by: ['month'], period: parseYearPeriod('2025') }, terms)],
      ['top 5 of the day', () => answerTopProducts(client, { n: 5, by: 'units', period: parseDayPeriod('2025-02-20') }, terms)],
    ]
    const point = (i: number) => async () => (client as pg.ClientBase).query({ name: 'point', text: 'SELECT value FROM point WHERE id = $1', values: [1 + (i % 10_000)] })
    const results: MergedQueryResult[] = []
    for (const [name, ask] of cases) {
      const merged: number[] = []
      const points: number[] = []
      let rows = 0
      for (let round = 0; round < rounds + 50; round++) {
        const pointUs = await timed(point(round))
        const mergedUs = await timed(async () => {
          rows = (await ask()).rows.length
        })
        // The first rounds warm plans and code.
        if (round >= 50) {
          merged.push(mergedUs)
          points.push(pointUs)
        }
      }
      if (rows === 0) throw new Error(`void: ${name} answered nothing`)
      results.push({ name, p50Us: Math.round(median(merged)), p99Us: Math.round(percentile(merged, 0.99)), ratio: Math.round((median(merged) / median(points)) * 100) / 100, rows })
    }
    return results
  } finally {
    client.release()
  }
}

/** Live rows above the batch: a tenth of its cells again, as traffic since the last batch would leave them. */
async function addLiveRows(database: Database): Promise<void> {
  for (const view of views) {
    const columns = `${view.grain.map((dimension) => dimension.name).join(', ')}, ${measures.join(', ')}`
    await run(
      database.pool,
      `INSERT INTO live_${view.name} (epoch, ${columns}) SELECT epoch, ${columns} FROM merged_${view.name}, lake_state WHERE ${view.grain[0].name} >= DATE '2025-02-01' AND ('x' || substr(md5(${view.grain[1].name}::text || ${view.grain[2].name}), 1, 4))::bit(16)::int % 10 = 0`,
    )
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return (performance.now() - startedAt) * 1000
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await benchMergedQueries(), null, 1)}\n`)
