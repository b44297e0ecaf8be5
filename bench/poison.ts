/** What rubbish costs: a batch with 10 % poison ÷ the same batch clean, decoded, counted and flushed. At most 2. */
import { openDecoder } from '#core/decode.ts'
import { Ledger } from '#core/ledger.ts'
import type { LogBatch } from '#core/ports.ts'
import { Accumulator } from '#speed/accumulator.ts'
import { commitFlush } from '#store/flush.ts'
import { openPartitions } from '#store/partitions.ts'
import { dropSchema, openBenchDatabase, openBenchServer, topic } from './bench-store.ts'
import { benchCurrency, benchZone, profileBatches } from './speed-loop.ts'
import type { Ratio } from './statistics.ts'
import { ratioOf } from './statistics.ts'

export type PoisonResult = { readonly name: string; readonly ratio: Ratio }

const lines = 50_000
const pairs = 7
/** Texts of each kind that D7 names and that fit a line; the huge ones are measured by their bytes elsewhere. */
const poison = ['{"eventId":', 'null', '', '[1,2]', '{"a":1,"a":2}', '1,2,3', '1,1,1,"a","b",0,1.00,0.00,2024-12-30 14:30:00,"c"', '1,1,1,"a","b",1,12.345,12.345,2024-12-30 14:30:00,"c"', `{"x":${'['.repeat(200)}${']'.repeat(200)}}`, '\u00ff\u00fe']

export async function benchPoison(): Promise<PoisonResult> {
  await using server = await openBenchServer()
  const clean = profileBatches('bench', lines)
  const poisoned = clean.map((batch) => ({
    ...batch,
    records: batch.records.map((record, i) => (i % 10 === 0 ? { ...record, value: Buffer.from(poison[(i / 10) % poison.length]!, 'latin1') } : record)),
  }))
  const times: { clean: number[]; poisoned: number[] } = { clean: [], poisoned: [] }
  for (let pair = 0; pair < pairs + 1; pair++) {
    const cleanMs = await timeOf(server.url, clean, `clean_${pair}`)
    const poisonedMs = await timeOf(server.url, poisoned, `poisoned_${pair}`)
    // The first pair warms up.
    if (pair === 0) continue
    times.clean.push(cleanMs)
    times.poisoned.push(poisonedMs)
  }
  return { name: '10 % rubbish ÷ clean', ratio: ratioOf(times.poisoned, times.clean) }
}

async function timeOf(url: string, batches: readonly LogBatch[], schema: string): Promise<number> {
  const database = await openBenchDatabase(url, schema)
  const ledger = new Ledger(1_000_000)
  await openPartitions(database, topic, new Map([[0, 0]]), ledger)
  const startedAt = performance.now()
  const accumulator = new Accumulator({ topic, decoder: openDecoder({ zone: benchZone, currency: benchCurrency }), ledger }, new Map([[0, 0]]))
  for (const batch of batches) accumulator.add(batch)
  await commitFlush(database, accumulator.take())
  const ms = performance.now() - startedAt
  await dropSchema(database)
  return ms
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await benchPoison())}\n`)
