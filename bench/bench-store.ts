/** A PostgreSQL of the bench's own, with the settings that users get, and stores in it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openDecoder } from '#core/decode.ts'
import type { EventLog } from '#core/ports.ts'
import { openEmbeddedPostgres } from '#engines/embedded-postgres.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'
import { generateEvents, planHistory } from '#generator/history.ts'
import type { ProfileName } from '#generator/profiles.ts'
import { Truth } from '#generator/truth.ts'
import { runSpeedWorker } from '#speed/worker.ts'
import type { Database } from '#store/database.ts'
import { openDatabase, run } from '#store/database.ts'
import { migrateStore } from '#store/migrate.ts'
import { benchCurrency, benchZone } from './speed-loop.ts'

export const topic = 'transactions'
const partitions = 4

export type BenchServer = AsyncDisposable & { readonly url: string; readonly folder: string; readonly pid: number }

export async function openBenchServer(): Promise<BenchServer> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-bench-'))
  const server = await openEmbeddedPostgres({ dataDirectory: folder })
  return {
    url: server.url,
    folder,
    pid: server.pid,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** An empty, migrated store in a schema of its own. */
export async function openBenchDatabase(url: string, schema: string): Promise<Database> {
  const database = openDatabase({ url, schema })
  await migrateStore(database)
  return database
}

export type FilledLog = { readonly log: EventLog; readonly records: number; readonly grossMinor: bigint; readonly refundsMinor: bigint }

/** A log holding so many lines of a profile, and what they truly add up to. */
export async function fillLog(url: string, schema: string, profile: ProfileName, lines: number): Promise<FilledLog> {
  const log = await openPostgresLog({ connectionString: url, schema })
  await log.create(topic, partitions)
  const toMs = Date.parse('2025-03-01T00:00:00Z')
  const options = { profile, seed: 42, events: lines, fromMs: toMs - 30 * 86_400_000, toMs, zone: benchZone, currency: benchCurrency }
  const truth = new Truth(planHistory(options).origin)
  let batch: Parameters<EventLog['append']>[1][number][] = []
  let records = 0
  for (const record of generateEvents(options)) {
    truth.add(record)
    batch.push(record.append)
    records++
    if (batch.length < 20_000) continue
    await log.append(topic, batch)
    batch = []
  }
  if (batch.length > 0) await log.append(topic, batch)
  const { revenue } = truth.toFile()
  return {
    log,
    records,
    grossMinor: revenue.reduce((sum, row) => sum + BigInt(row.grossMinor), 0n),
    refundsMinor: revenue.reduce((sum, row) => sum + BigInt(row.refundsMinor), 0n),
  }
}

/** Reads all that the log holds and does nothing with it. Resolves to seconds. */
export async function readLog(log: EventLog): Promise<number> {
  const { first, end } = await log.bounds(topic)
  const startedAt = performance.now()
  let records = 0
  for await (const batch of log.read(topic, first, { to: end, signal: new AbortController().signal })) records += batch.records.length
  if (records === 0) throw new Error('the log is empty')
  return (performance.now() - startedAt) / 1000
}

/** Counts all that the log holds, end to end, into the database. Resolves to seconds; throws where one penny is wrong. */
export async function countLog(filled: FilledLog, database: Database, flushRecordsMax: number): Promise<number> {
  const decoder = openDecoder({ zone: benchZone, currency: benchCurrency })
  const stop = new AbortController()
  const startedAt = performance.now()
  let counted = 0
  let failed: unknown = null
  const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined }
  await runSpeedWorker(
    {
      database,
      log: filled.log,
      decoder,
      topic,
      worker: 'bench',
      ledgerIdsMax: 8_000_000,
      flushIntervalMs: 250,
      flushRecordsMax,
      logger: quiet,
      onFlush: ({ records }) => {
        counted += records
        if (counted >= filled.records) stop.abort()
      },
    },
    stop.signal,
  ).catch((thrown: unknown) => {
    failed = thrown
  })
  const seconds = (performance.now() - startedAt) / 1000
  if (failed !== null) throw new Error('the worker failed', { cause: failed })
  const [sum] = await run<{ gross: string; refunds: string }>(database.pool, 'SELECT sum(gross_minor)::text AS gross, sum(refunds_minor)::text AS refunds FROM merged_revenue')
  if (BigInt(sum!.gross) !== filled.grossMinor || BigInt(sum!.refunds) !== filled.refundsMinor) throw new Error(`void: counted ${sum!.gross}, true ${filled.grossMinor}`)
  return seconds
}

export async function dropSchema(database: Database): Promise<void> {
  await run(database.pool, `DROP SCHEMA ${database.schema} CASCADE`)
  await database[Symbol.asyncDispose]()
}
