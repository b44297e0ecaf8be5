/** Decode + ledger + fold alone, from memory, in one thread: what the loop could do if nothing else cost. Aim: 400 k lines/s. */
import { openDecoder } from '#core/decode.ts'
import { Ledger } from '#core/ledger.ts'
import type { LogBatch, LogRecord } from '#core/ports.ts'
import { generateEvents } from '#generator/history.ts'
import type { ProfileName } from '#generator/profiles.ts'
import { Accumulator } from '#speed/accumulator.ts'
import { median } from './statistics.ts'

export const benchZone = 'Europe/London'
export const benchCurrency = 'GBP'
const flushRecords = 100_000

export type SpeedLoopResult = { readonly name: string; readonly profile: string; readonly lines: number; readonly linesPerSecond: number; readonly cellsPerLine: number }

/** Lines of a profile as one partition's batches of 1,000. */
export function profileBatches(profile: ProfileName, lines: number): LogBatch[] {
  const toMs = Date.parse('2025-03-01T00:00:00Z')
  const records: LogRecord[] = []
  for (const { append } of generateEvents({ profile, seed: 42, events: lines, fromMs: toMs - 30 * 86_400_000, toMs, zone: benchZone, currency: benchCurrency })) {
    records.push({ offset: records.length, logTimeMs: append.logTimeMs!, value: append.value, headers: append.headers ?? null })
  }
  const batches: LogBatch[] = []
  for (let from = 0; from < records.length; from += 1_000) {
    const part = records.slice(from, from + 1_000)
    batches.push({ partition: 0, from, to: from + part.length, records: part })
  }
  return batches
}

export function benchSpeedLoop(profile: ProfileName, lines: number, rounds: number): SpeedLoopResult {
  const batches = profileBatches(profile, lines)
  const count = batches.at(-1)!.to
  const rates: number[] = []
  let cells = 0
  for (let round = 0; round < rounds + 1; round++) {
    const decoder = openDecoder({ zone: benchZone, currency: benchCurrency })
    const accumulator = new Accumulator({ topic: 'transactions', decoder, ledger: new Ledger(8_000_000) }, new Map([[0, 0]]))
    cells = 0
    const startedAt = performance.now()
    for (const batch of batches) {
      accumulator.add(batch)
      if (accumulator.records >= flushRecords) cells += accumulator.take().cells.reduce((sum, view) => sum + view.measured.length, 0)
    }
    cells += accumulator.take().cells.reduce((sum, view) => sum + view.measured.length, 0)
    // The first round warms up.
    if (round > 0) rates.push((count * 1000) / (performance.now() - startedAt))
  }
  return { name: 'decode + ledger + fold + cells', profile, lines: count, linesPerSecond: Math.round(median(rates)), cellsPerLine: Math.round((cells / count) * 100) / 100 }
}

if (import.meta.main) {
  for (const profile of ['bench', 'sparse'] as const) process.stdout.write(`${JSON.stringify(benchSpeedLoop(profile, 500_000, 3))}\n`)
}
