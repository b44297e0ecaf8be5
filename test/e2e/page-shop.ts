/** The shop that the page's tests look at: the real layers on a real PostgreSQL, log and lake; only the traffic is the test's. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freezeReport, refreshReports } from '#batch/reports.ts'
import { runBatch } from '#batch/run.ts'
import { openDecoder } from '#core/decode.ts'
import { openDiskLake } from '#engines/disk-lake.ts'
import { openDuckDb } from '#engines/duckdb.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'
import type { RunningServer } from '#serving/start.ts'
import { startServing } from '#serving/start.ts'
import { runSpeedWorker } from '#speed/worker.ts'
import { readCommitted } from '#store/committed.ts'
import { openDatabase } from '#store/database.ts'
import { migrateStore } from '#store/migrate.ts'
import { agreeOnLogic } from '#store/partitions.ts'
import { buildDashboard } from '../../serving/dashboard/build.ts'
import { freshSchema, openTestPostgres } from '../postgres.ts'
import { waitUntil } from '../wait-until.ts'
import type { Sale } from './page-server.ts'

export type PageShop = AsyncDisposable & {
  readonly url: string
  /** One unit of one product today; the figures follow by themselves. */
  sell(city: string, totalMinor: number): Promise<void>
  stopServer(): Promise<void>
  /** At the same address. */
  startServer(): Promise<void>
}

const topic = 'transactions'
/** The zone in which `today` is today. */
const zone = 'UTC'
export const today = new Date().toISOString().slice(0, 10)

/** The server's clock stands there, so that tests which run past midnight still see today. */
const endOfTodayMs = Date.parse(today) + 86_400_000 - 1

/** `2026-10` */
export const lastMonth = new Date(Date.parse(`${today.slice(0, 7)}-01`) - 86_400_000).toISOString().slice(0, 7)

export function makeSale(city: string, totalMinor: number, more: Partial<Sale> = {}): Sale {
  return { day: today, hour: 12, city, category: 'Electronics', productId: '2001', productName: 'Laptop', currency: 'GBP', quantity: 1, totalMinor, ...more }
}

/** A shop that sold in London and Leeds today and in the months before; the history comes from a published batch. */
export async function openPageShop(): Promise<PageShop> {
  await using opening = new AsyncDisposableStack()
  await buildDashboard()
  const postgres = opening.use(await openTestPostgres())
  const schema = await freshSchema(postgres.url, 'page')
  const database = opening.use(openDatabase({ url: postgres.url, schema }))
  await migrateStore(database)
  const log = opening.use(await openPostgresLog({ connectionString: postgres.url, schema: `${schema}_log` }))
  await log.create(topic, 2)
  const decoder = openDecoder({ zone, currency: 'GBP' })
  await agreeOnLogic(database, decoder.logicVersion)
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-page-'))
  opening.defer(() => rm(folder, { recursive: true, force: true }))

  let sold = 0
  const append = async (sales: readonly Sale[]): Promise<void> => {
    const records = sales.map((sale) => ({ key: String(++sold), value: Buffer.from(lineOf(sold, sale)) }))
    const ends = await log.append(topic, records)
    await waitUntil('the sales are counted', async () => {
      const committed = await readCommitted(database.pool, topic)
      return [...ends].every(([partition, end]) => (committed.get(partition) ?? 0) >= end)
    })
  }

  const stopping = new AbortController()
  const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined }
  const worker = runSpeedWorker(
    { database, log, decoder, topic, worker: 'page', ledgerIdsMax: 100_000, flushIntervalMs: 100, flushRecordsMax: 10_000, logger: quiet },
    stopping.signal,
  )
  opening.defer(async () => {
    stopping.abort()
    await worker
  })
  await append(
    Array.from({ length: 60 }, (_, index) =>
      makeSale(index % 3 === 0 ? 'London' : 'Leeds', 1999 + index, { day: new Date(Date.parse(today) - (index + 1) * 86_400_000).toISOString().slice(0, 10), hour: index % 24 }),
    ),
  )
  const lake = opening.use(await openDiskLake({ root: folder }))
  const engine = opening.use(await openDuckDb({ lake }))
  const batch = { database, log, lake, engine, codec: parquetCodec, decoder, topic, fileOffsetsMax: 10_000, signal: stopping.signal }
  await runBatch(batch)
  // Last month is closed and reported; then a sale of it comes late.
  const report = { database, lake, codec: parquetCodec, engine, engineName: 'DuckDB', topic, zone, booksOpenOn: '2024-01-01', signal: stopping.signal }
  await freezeReport(report, { kind: 'monthly', period: lastMonth })
  await append([makeSale('York', 12_345, { day: `${lastMonth}-15` })])
  await runBatch(batch)
  await refreshReports(report)
  await append([makeSale('London', 300_000, { quantity: 2 }), makeSale('Leeds', 1999, { category: 'Books' })])

  const settings = { zone, currency: 'GBP', booksOpenOn: '2024-01-01', version: 'test', ledgerIdsMax: 100_000 }
  let port = 0
  let server: RunningServer | null = null
  const startServer = async (): Promise<void> => {
    server = await startServing({ database, settings, clock: () => Math.min(Date.now(), endOfTodayMs), log, lake, port })
    port = server.port
  }
  const stopServer = async (): Promise<void> => {
    await server?.[Symbol.asyncDispose]()
    server = null
  }
  await startServer()
  opening.defer(stopServer)
  const opened = opening.move()
  return {
    url: `http://127.0.0.1:${port}/`,
    sell: (city, totalMinor) => append([makeSale(city, totalMinor)]),
    stopServer,
    startServer,
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

/** The seed format; today's sales happen now, so that the live line has them. */
function lineOf(id: number, sale: Sale): string {
  const time = sale.day === today ? new Date().toISOString().slice(11, 19) : `${String(sale.hour).padStart(2, '0')}:00:00`
  const money = (minor: number): string => `${Math.floor(minor / 100)}.${String(minor % 100).padStart(2, '0')}`
  return `page-${id},u1,${sale.productId},"${sale.productName}","${sale.category}",${sale.quantity},${money(sale.totalMinor / sale.quantity)},${money(sale.totalMinor)},${sale.day} ${time},"${sale.city}"`
}
