/** End to end from the embedded log into durable figures ÷ reading that log and doing nothing. Must: 0.35. */
import type { ProfileName } from '#generator/profiles.ts'
import { countLog, dropSchema, fillLog, openBenchDatabase, openBenchServer, readLog } from './bench-store.ts'
import type { Ratio } from './statistics.ts'
import { median, ratioOf } from './statistics.ts'

export type EndToEndResult = { readonly name: string; readonly profile: string; readonly lines: number; readonly linesPerSecond: number; readonly readLinesPerSecond: number; readonly ratio: Ratio }

const flushRecordsMax = 100_000

export async function benchEndToEnd(profile: ProfileName, lines: number, pairs: number): Promise<EndToEndResult> {
  await using server = await openBenchServer()
  const filled = await fillLog(server.url, 'bench_log', profile, lines)
  const counting: number[] = []
  const reading: number[] = []
  try {
    await readLog(filled.log)
    for (let pair = 0; pair < pairs; pair++) {
      reading.push(await readLog(filled.log))
      const database = await openBenchDatabase(server.url, `bench_${pair}`)
      counting.push(await countLog(filled, database, flushRecordsMax))
      await dropSchema(database)
    }
  } finally {
    await filled.log[Symbol.asyncDispose]()
  }
  const { records } = filled
  return {
    name: 'end to end ÷ reading and doing nothing',
    profile,
    lines: records,
    linesPerSecond: Math.round(records / median(counting)),
    readLinesPerSecond: Math.round(records / median(reading)),
    ratio: ratioOf(reading, counting),
  }
}

if (import.meta.main) {
  for (const profile of ['bench', 'sparse'] as const) process.stdout.write(`${JSON.stringify(await benchEndToEnd(profile, 500_000, 3))}\n`)
}
