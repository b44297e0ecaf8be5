/** P7: a worker on 12 partitions ÷ on one, and 1, 2 and 4 workers that share the 12, from the start of the first (joining the group included) to the last commit. */
import { countAndCheck } from './kafka-end-to-end.ts'
import { fillTopic, openBenchCluster } from './kafka-cluster.ts'
import type { BenchChild } from './kafka-children.ts'
import { startChild } from './kafka-children.ts'
import type { Ratio } from './statistics.ts'
import { median, ratioOf } from './statistics.ts'

export type PartitionsResult = { readonly lines: number; readonly onePartition: number; readonly byWorkers: Readonly<Record<string, number>>; readonly twelveOfOne: Ratio; readonly twoWorkers: Ratio; readonly fourWorkers: Ratio }

const partitions = 12
const workersMax = 4

export async function benchPartitions(lines: number, rounds: number): Promise<PartitionsResult> {
  await using cluster = await openBenchCluster()
  const one = await fillTopic(cluster, 'transactions-1', { profile: 'bench', lines, partitions: 1 })
  const twelve = await fillTopic(cluster, 'transactions-12', { profile: 'bench', lines, partitions })
  await using stack = new AsyncDisposableStack()
  const children: BenchChild[] = []
  for (let i = 0; i < workersMax; i++) children.push(stack.use(await startChild()))
  const seconds: Record<'one' | '1' | '2' | '4', number[]> = { one: [], 1: [], 2: [], 4: [] }
  for (let round = -1; round < rounds; round++) {
    const measured = {
      one: (await countAndCheck(cluster, children.slice(0, 1), one)).seconds,
      1: (await countAndCheck(cluster, children.slice(0, 1), twelve)).seconds,
      2: (await countAndCheck(cluster, children.slice(0, 2), twelve)).seconds,
      4: (await countAndCheck(cluster, children, twelve)).seconds,
    }
    process.stderr.write(`  one partition ${measured.one.toFixed(2)} s, twelve with 1, 2, 4 workers: ${measured[1].toFixed(2)}, ${measured[2].toFixed(2)}, ${measured[4].toFixed(2)} s\n`)
    if (round < 0) continue
    for (const name of ['one', '1', '2', '4'] as const) seconds[name].push(measured[name])
  }
  const rate = (of: readonly number[]): number => Math.round(twelve.records / median(of))
  return {
    lines: twelve.records,
    onePartition: rate(seconds.one),
    byWorkers: { 1: rate(seconds[1]), 2: rate(seconds[2]), 4: rate(seconds[4]) },
    twelveOfOne: ratioOf(seconds.one, seconds[1]),
    twoWorkers: ratioOf(seconds[1], seconds[2]),
    fourWorkers: ratioOf(seconds[1], seconds[4]),
  }
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await benchPartitions(Number(process.argv[2] ?? 100_000), Number(process.argv[3] ?? 1)), null, 1)}\n`)
