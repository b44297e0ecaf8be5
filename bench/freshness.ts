/** Freshness: from the append of an event to the first API answer that holds it, at 300 events/s open-loop. Must: p99 2 s, aim 1 s. */
import { openDecoder } from '#core/decode.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'
import { startServing } from '#serving/start.ts'
import { runSpeedWorker } from '#speed/worker.ts'
import { openBenchDatabase, openBenchServer, topic } from './bench-store.ts'
import { benchCurrency, benchZone } from './speed-loop.ts'
import { percentile } from './statistics.ts'

export type FreshnessResult = { readonly name: string; readonly eventsPerSecond: number; readonly events: number; readonly p50Ms: number; readonly p99Ms: number; readonly maxMs: number }

const eventsPerSecond = 300
const stepMs = 10
const warmUpMs = 3_000
const flushIntervalMs = 250

/** Each event is one sale of one unit, so the answer's count of transactions says which events it holds. */
export async function benchFreshness(seconds: number): Promise<FreshnessResult> {
  await using server = await openBenchServer()
  await using database = await openBenchDatabase(server.url, 'fresh')
  await using log = await openPostgresLog({ connectionString: server.url, schema: 'fresh_log' })
  await log.create(topic, 4)
  const settings = { zone: benchZone, currency: benchCurrency, booksOpenOn: null, version: 'bench', ledgerIdsMax: 8_000_000 }
  await using api = await startServing({ database, settings, clock: Date.now, port: 0 })
  const stop = new AbortController()
  const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined }
  const decoder = openDecoder({ zone: benchZone, currency: benchCurrency })
  const worker = runSpeedWorker(
    { database, log, decoder, topic, worker: 'bench', ledgerIdsMax: 8_000_000, flushIntervalMs, flushRecordsMax: 100_000, logger: quiet },
    stop.signal,
  )
  const appendedAt: number[] = []
  const latencies: number[] = []
  const startedAt = performance.now()
  const producing = (async () => {
    while (performance.now() - startedAt < warmUpMs + seconds * 1000) {
      // Open loop: what is due is due, however long the append before took.
      const due = Math.floor(((performance.now() - startedAt) * eventsPerSecond) / 1000) - appendedAt.length
      if (due > 0) {
        const now = performance.now()
        const records = Array.from({ length: due }, (_, i) => saleOf(appendedAt.length + i))
        await log.append(topic, records)
        for (let i = 0; i < due; i++) appendedAt.push(now)
      }
      await new Promise((resolve) => setTimeout(resolve, stepMs))
    }
  })()
  let seen = 0
  let done = false
  void producing.then(() => (done = true))
  while (!done || seen < appendedAt.length) {
    const response = await fetch(`${api.url}/v1/revenue`)
    const { rows } = (await response.json()) as { rows: { transactions: number }[] }
    const now = performance.now()
    const counted = rows[0]?.transactions ?? 0
    for (; seen < counted; seen++) {
      const at = appendedAt[seen]
      // Counted before its append returned: then it was fresher than this clock can tell.
      if (at !== undefined && at - startedAt > warmUpMs) latencies.push(now - at)
    }
  }
  await producing
  stop.abort()
  await worker
  return {
    name: 'freshness: append to API answer',
    eventsPerSecond,
    events: latencies.length,
    p50Ms: Math.round(percentile(latencies, 0.5)),
    p99Ms: Math.round(percentile(latencies, 0.99)),
    maxMs: Math.round(percentile(latencies, 1)),
  }
}

function saleOf(number: number): { key: string; value: Uint8Array } {
  const time = new Date().toISOString().slice(0, 19).replace('T', ' ')
  const text = `f-${number},u${number % 500},p${number % 200},"Product ${number % 200}","Category ${number % 8}",1,5.00,5.00,${time},"City ${number % 12}"`
  return { key: String(number), value: Buffer.from(text) }
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await benchFreshness(20))}\n`)
