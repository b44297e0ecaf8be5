/**
 * P4: the worker as it is ÷ the same worker at least once. Compared are the flush as one transaction, fence and ledger pages in it, and (a) figures first, offsets
 * afterwards in a transaction of their own and without a fence; (b) that, and no ledger pages. Decoding, ledger in memory and figures are the same in all three.
 */
import { countAndCheck } from './kafka-end-to-end.ts'
import { fillTopic, openBenchCluster } from './kafka-cluster.ts'
import { startChild } from './kafka-children.ts'
import type { WorkMode } from './at-least-once.ts'
import type { Ratio } from './statistics.ts'
import { median, ratioOf } from './statistics.ts'

export type ExactlyOnceResult = { readonly lines: number; readonly linesPerSecond: Readonly<Record<WorkMode, number>>; readonly ofOffsetsApart: Ratio; readonly ofNoPages: Ratio }

const modes = ['exactly-once', 'offsets-apart', 'no-pages'] as const

export async function benchExactlyOnce(lines: number, rounds: number): Promise<ExactlyOnceResult> {
  await using cluster = await openBenchCluster()
  const filled = await fillTopic(cluster, 'transactions', { profile: 'bench', lines, partitions: 4 })
  await using worker = await startChild()
  const seconds: Record<WorkMode, number[]> = { 'exactly-once': [], 'offsets-apart': [], 'no-pages': [] }
  for (let round = -1; round < rounds; round++) {
    for (const mode of modes) {
      const counting = await countAndCheck(cluster, [worker], filled, { mode })
      process.stderr.write(`  ${mode}: ${counting.seconds.toFixed(2)} s\n`)
      if (round >= 0) seconds[mode].push(counting.seconds)
    }
  }
  const rate = (mode: WorkMode): number => Math.round(filled.records / median(seconds[mode]))
  return {
    lines: filled.records,
    linesPerSecond: { 'exactly-once': rate('exactly-once'), 'offsets-apart': rate('offsets-apart'), 'no-pages': rate('no-pages') },
    ofOffsetsApart: ratioOf(seconds['offsets-apart'], seconds['exactly-once']),
    ofNoPages: ratioOf(seconds['no-pages'], seconds['exactly-once']),
  }
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await benchExactlyOnce(Number(process.argv[2] ?? 200_000), Number(process.argv[3] ?? 1)), null, 1)}\n`)
