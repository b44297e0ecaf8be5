/**
 * P6: CPU seconds per million events with ten and a hundred times the cities, categories and products ÷ with the profile's own. The lines are the profile's, in which
 * every product (with its category) and every city is split into so many of its kind by the id of the event, so that copies stay copies and sums stay sums.
 */
import { countAndCheck } from './kafka-end-to-end.ts'
import type { FilledTopic } from './kafka-cluster.ts'
import { fillTopic, openBenchCluster } from './kafka-cluster.ts'
import type { Counting } from './kafka-children.ts'
import { startChild } from './kafka-children.ts'
import type { Ratio } from './statistics.ts'
import { median, ratioOf } from './statistics.ts'

export type KeysResult = {
  readonly lines: number
  /** Per number of times: worker's and PostgreSQL's CPU seconds per million lines, and lines/s. */
  readonly by: Readonly<Record<string, { readonly cpuSecondsPerMillion: number; readonly workerCpuSecondsPerMillion: number; readonly linesPerSecond: number }>>
  readonly tenfold: Ratio
  readonly hundredfold: Ratio
}

const times = [1, 10, 100] as const

export async function benchKeys(lines: number, rounds: number): Promise<KeysResult> {
  await using cluster = await openBenchCluster()
  const topics = new Map<number, FilledTopic>()
  for (const n of times) topics.set(n, await fillTopic(cluster, `transactions-${n}`, { profile: 'bench', lines, partitions: 4, ...(n === 1 ? {} : { rewrite: splitKeys(n) }) }))
  await using worker = await startChild()
  const runs = new Map<number, Counting[]>(times.map((n) => [n, []]))
  for (let round = -1; round < rounds; round++) {
    for (const n of times) {
      const counting = await countAndCheck(cluster, [worker], topics.get(n)!)
      process.stderr.write(`  ${n} times: ${counting.seconds.toFixed(2)} s, CPU ${cpuOf(counting).toFixed(2)} s\n`)
      if (round >= 0) runs.get(n)!.push(counting)
    }
  }
  const records = topics.get(1)!.records
  const perMillion = (n: number, of: (one: Counting) => number): number => Math.round((median(runs.get(n)!.map(of)) / records) * 1e8) / 100
  return {
    lines: records,
    by: Object.fromEntries(
      times.map((n) => [n, { cpuSecondsPerMillion: perMillion(n, cpuOf), workerCpuSecondsPerMillion: perMillion(n, (one) => one.workerCpuSeconds), linesPerSecond: Math.round(records / median(runs.get(n)!.map((one) => one.seconds))) }]),
    ),
    tenfold: ratioOf(runs.get(10)!.map(cpuOf), runs.get(1)!.map(cpuOf)),
    hundredfold: ratioOf(runs.get(100)!.map(cpuOf), runs.get(1)!.map(cpuOf)),
  }
}

function cpuOf(counting: Counting): number {
  return counting.workerCpuSeconds + counting.postgresCpuSeconds
}

/** id,user,product,"name","category",quantity,price,total,time,"city" */
export function splitKeys(n: number): (line: Buffer) => Buffer {
  return (line) => {
    const text = line.toString()
    const parts = /^([^,]*),([^,]*),([^,]*),"([^"]*)","([^"]*)",(.*),"([^"]*)"$/.exec(text)
    if (parts === null) throw new Error(`this line cannot be split: ${text}`)
    const [, id = '', user = '', product = '', name = '', category = '', middle = '', city = ''] = parts
    const number = hashOf(id)
    const kind = number % n
    // Another part of the hash: cities and products vary independently.
    const place = Math.floor(number / n) % n
    return Buffer.from(`${id},${user},${product}-${kind},"${name} ${kind}","${category} ${kind}",${middle},"${city} ${place}"`)
  }
}

function hashOf(text: string): number {
  let hash = 2_166_136_261
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16_777_619)
  hash ^= hash >>> 15
  return Math.imul(hash, 0x45d9f3b) >>> 0
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await benchKeys(Number(process.argv[2] ?? 100_000), Number(process.argv[3] ?? 1)), null, 1)}\n`)
