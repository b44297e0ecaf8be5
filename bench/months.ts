/**
 * P12 and P12f: what a month costs a batch when five times as much history lies before it. Two stores, of 12 and of 60 months of equal size, one cut and one file
 * a month and partition. Each pair counts the next month in both and measures the batch from its first reading of the archive to its publication; then a full
 * recompute of both. Copies come as the shop's own do, and, in a second measurement, also from every month before.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BatchOptions } from '#batch/run.ts'
import { runBatch } from '#batch/run.ts'
import { openDecoder } from '#core/decode.ts'
import type { EventLog, Lake, LogAppend, QueryEngine } from '#core/ports.ts'
import { openDiskLake } from '#engines/disk-lake.ts'
import { openDuckDb } from '#engines/duckdb.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'
import { generateEvents } from '#generator/history.ts'
import { runSpeedWorker } from '#speed/worker.ts'
import type { Database } from '#store/database.ts'
import { readCommitted } from '#store/committed.ts'
import { cutEpoch } from '#store/epochs.ts'
import { pruneStore } from '#store/prune.ts'
import { openBenchDatabase, openBenchServer, topic } from './bench-store.ts'
import { benchCurrency, benchZone } from './speed-loop.ts'
import type { Ratio } from './statistics.ts'
import { median, ratioOf } from './statistics.ts'

export type MonthsResult = {
  readonly eventsPerMonth: number
  readonly copiesOfAllAges: number
  /** P12: one more month, 60 months of history ÷ 12. */
  readonly incremental: Ratio
  readonly incrementalSeconds: { readonly short: number; readonly long: number }
  /** The same, of the step that reads the archive alone. */
  readonly recompute: Ratio
  /** P12f: every month again. */
  readonly full: Ratio
  readonly fullSeconds: { readonly short: number; readonly long: number }
}

const months = { short: 12, long: 60 } as const
const partitions = 4
const keptBatches = 2
const monthMs = 30 * 86_400_000
const seed = 42

type Shop = AsyncDisposable & {
  /** Counts the next month. */
  readonly sell: () => Promise<void>
  readonly cut: () => Promise<void>
  /** Seconds of the whole batch from the archive's end on, and of reading and staging alone. */
  readonly batch: (full: boolean) => Promise<{ readonly all: number; readonly recompute: number }>
}

/** The months of `history`, and after them as many more as are sold. */
async function openShop(url: string, name: string, history: number, extra: number, eventsPerMonth: number, oldCopies: number): Promise<Shop> {
  const stack = new AsyncDisposableStack()
  const lakeRoot = await mkdtemp(join(tmpdir(), 'tidemark-bench-lake-'))
  stack.defer(() => rm(lakeRoot, { recursive: true, force: true }))
  const database = stack.use(await openBenchDatabase(url, name))
  const log = stack.use(await openPostgresLog({ connectionString: url, schema: `${name}_log`, pollIntervalMs: 5 }))
  const lake = stack.use(await openDiskLake({ root: lakeRoot }))
  const engine = stack.use(await openDuckDb({ lake }))
  await log.create(topic, partitions)
  const slices = monthsOf(history + extra, eventsPerMonth, oldCopies)
  const sell = async (): Promise<void> => {
    const records = slices.next()
    if (records.done === true) throw new Error('no month is left')
    for (let from = 0; from < records.value.length; from += 20_000) await log.append(topic, records.value.slice(from, from + 20_000))
    await countAll(database, log)
  }
  const cut = async (): Promise<void> => void (await cutEpoch(database, openDecoder({ zone: benchZone, currency: benchCurrency }).logicVersion))
  for (let month = 0; month < history; month++) {
    await sell()
    await cut()
  }
  await timedBatch(database, log, lake, engine, false)
  return { sell, cut, batch: (full) => timedBatch(database, log, lake, engine, full), [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

/** Equal numbers of records. With `oldCopies`, so many of each month's are sent again from the months before, evenly. */
function* monthsOf(count: number, eventsPerMonth: number, oldCopies: number): Generator<LogAppend[]> {
  const toMs = Date.parse('2025-03-01T00:00:00Z')
  const options = { profile: 'bench', seed, events: count * eventsPerMonth, fromMs: toMs - count * monthMs, toMs, zone: benchZone, currency: benchCurrency } as const
  const kept: LogAppend[][] = []
  let month: LogAppend[] = []
  for (const { append } of generateEvents(options)) {
    month.push(append)
    if (month.length < eventsPerMonth) continue
    const { logTimeMs } = month.at(-1)!
    const again = Array.from({ length: kept.length === 0 ? 0 : oldCopies }, (_, n) => {
      const from = kept[n % kept.length]!
      // Another event each month: one that came again every month would lie in every file.
      return { ...from[(n * 37 + kept.length * 7) % from.length]!, logTimeMs: logTimeMs! }
    })
    kept.push(month.filter((_, n) => n % 50 === 0))
    yield [...month, ...again]
    month = []
  }
  if (month.length > 0) yield month
}

async function countAll(database: Database, log: EventLog): Promise<void> {
  const { end } = await log.bounds(topic)
  const stop = new AbortController()
  const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined }
  await runSpeedWorker(
    {
      database,
      log,
      decoder: openDecoder({ zone: benchZone, currency: benchCurrency }),
      topic,
      worker: 'bench',
      ledgerIdsMax: 8_000_000,
      flushIntervalMs: 50,
      flushRecordsMax: 50_000,
      logger: quiet,
      onFlush: () => {
        void readCommitted(database.pool, topic).then((committed) => {
          if ([...end].every(([partition, offset]) => committed.get(partition) === offset)) stop.abort()
        })
      },
    },
    stop.signal,
  )
}

async function timedBatch(database: Database, log: EventLog, lake: Lake, engine: QueryEngine, full: boolean): Promise<{ all: number; recompute: number }> {
  const at = new Map<string, number>()
  const before: BatchOptions['before'] = (step) => {
    at.set(step, performance.now())
    return Promise.resolve()
  }
  const decoder = openDecoder({ zone: benchZone, currency: benchCurrency })
  const { crossCheck } = await runBatch({ database, log, lake, engine, codec: parquetCodec, decoder, topic, fileOffsetsMax: 250_000, signal: new AbortController().signal, full, before })
  const ended = performance.now()
  if (crossCheck.summary.result !== 'exact') throw new Error(`void: ${crossCheck.summary.text}`)
  // As after every batch; else live rows of years would be what grows.
  await pruneStore(database, keptBatches, 8_000_000)
  const from = at.get('recompute')!
  return { all: (ended - from) / 1000, recompute: (at.get('cross-check')! - from) / 1000 }
}

export async function benchMonths(eventsPerMonth: number, pairs: number, oldCopies: number, fullPairs: number): Promise<MonthsResult> {
  await using server = await openBenchServer()
  const shops = {
    short: await openShop(server.url, 'bench_short', months.short, pairs + 1, eventsPerMonth, oldCopies),
    long: await openShop(server.url, 'bench_long', months.long, pairs + 1, eventsPerMonth, oldCopies),
  }
  await using _short = shops.short
  await using _long = shops.long
  const seconds = { short: [] as number[], long: [] as number[] }
  const recompute = { short: [] as number[], long: [] as number[] }
  for (let pair = -1; pair < pairs; pair++) {
    for (const name of pair % 2 === 0 ? (['short', 'long'] as const) : (['long', 'short'] as const)) {
      await shops[name].sell()
      const measured = await shops[name].batch(false)
      process.stderr.write(`  a month after ${months[name]}: ${measured.all.toFixed(2)} s, reading ${measured.recompute.toFixed(2)} s\n`)
      if (pair < 0) continue
      seconds[name].push(measured.all)
      recompute[name].push(measured.recompute)
    }
  }
  const full = { short: [] as number[], long: [] as number[] }
  for (let pair = 0; pair < fullPairs; pair++) {
    for (const name of ['short', 'long'] as const) {
      const { all } = await shops[name].batch(true)
      process.stderr.write(`  all ${months[name]} months: ${all.toFixed(2)} s\n`)
      full[name].push(all)
    }
  }
  const rounded = (of: { short: number[]; long: number[] }): { short: number; long: number } => ({ short: Math.round(median(of.short) * 100) / 100, long: Math.round(median(of.long) * 100) / 100 })
  return {
    eventsPerMonth,
    copiesOfAllAges: oldCopies,
    incremental: ratioOf(seconds.long, seconds.short),
    incrementalSeconds: rounded(seconds),
    recompute: ratioOf(recompute.long, recompute.short),
    full: ratioOf(full.long, full.short),
    fullSeconds: rounded(full),
  }
}

if (import.meta.main) {
  const [events = 20_000, pairs = 3, copies = 0, fullPairs = 1] = process.argv.slice(2).map(Number)
  process.stdout.write(`${JSON.stringify(await benchMonths(events, pairs, copies, fullPairs), null, 1)}\n`)
}
