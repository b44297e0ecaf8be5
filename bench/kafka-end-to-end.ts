/**
 * P1 and P2: lines/s from Kafka into durable figures, exactly once, ÷ kafkajs and ÷ kcat reading the same topic and doing nothing. Pairs are interleaved;
 * a run whose figures are not the generator's truth ends the bench.
 */
import { spawn } from 'node:child_process'
import { openSync } from 'node:fs'
import type { ProfileName } from '#generator/profiles.ts'
import { dropSchema, openBenchDatabase } from './bench-store.ts'
import type { BenchCluster, FilledTopic } from './kafka-cluster.ts'
import { fillTopic, missingHere, openBenchCluster, requireTruth } from './kafka-cluster.ts'
import type { BenchChild, CountOptions, Counting } from './kafka-children.ts'
import { countTopic, readTopicIdle, startChild } from './kafka-children.ts'
import type { Ratio } from './statistics.ts'
import { median, ratioOf } from './statistics.ts'

export type KafkaEndToEndResult = {
  readonly profile: string
  readonly lines: number
  readonly linesPerSecond: number
  readonly kafkajsLinesPerSecond: number
  readonly kcatLinesPerSecond: number
  /** P1; kafkajs without its joining of the group, which is faster. */
  readonly ofKafkajs: Ratio
  /** The same in CPU seconds: kafkajs's process ÷ our worker's, and ÷ our worker's and PostgreSQL's. What else runs on the machine tells less here. */
  readonly cpuOfKafkajs: { readonly worker: Ratio; readonly withPostgres: Ratio }
  /** P2. */
  readonly ofKcat: Ratio
  /** The same thing against itself, run after run. */
  readonly nullOfOurs: Ratio
  readonly nullOfKafkajs: Ratio
  readonly cpuSecondsPerMillion: { readonly worker: number; readonly postgres: number; readonly broker: number }
  readonly peakMiB: number
}

export const missingForKafka = (): Promise<string | null> => missingHere(['kafka'])
export const missingForKcat = (): Promise<string | null> => missingHere(['kafka'], ['kcat'])

let stores = 0

/** Counts the topic into a new store, checks it against the truth, and drops it. `beside` starts something that runs meanwhile, and gives how to end it. */
export async function countAndCheck(
  cluster: BenchCluster,
  children: readonly BenchChild[],
  filled: FilledTopic,
  options: CountOptions = {},
  beside: (schema: string) => Promise<() => Promise<void>> = () => Promise.resolve(() => Promise.resolve()),
): Promise<Counting> {
  const schema = `bench_${stores++}`
  const database = await openBenchDatabase(cluster.server.url, schema)
  try {
    const end = await beside(schema)
    const counting = await countTopic(cluster, children, schema, filled, options)
    await end()
    await requireTruth(database, (options.views ?? ['revenue', 'product_sales', 'product_city_sales', 'pace']).map((view) => `merged_${view}`), filled.truth)
    return counting
  } finally {
    await dropSchema(database)
  }
}

/** Seconds of kcat from its start to its end. */
async function readWithKcat(brokers: string, topic: string): Promise<number> {
  const startedAt = performance.now()
  const child = spawn('kcat', ['-C', '-e', '-q', '-b', brokers, '-t', topic, '-o', 'beginning', '-X', 'fetch.wait.max.ms=10'], { stdio: ['ignore', openSync('/dev/null', 'w'), 'inherit'] })
  const code = await new Promise((resolve, reject) => {
    child.once('exit', resolve)
    child.once('error', reject)
  })
  if (code !== 0) throw new Error(`kcat ended with ${String(code)}`)
  return (performance.now() - startedAt) / 1000
}

export async function benchKafkaEndToEnd(profile: ProfileName, lines: number, pairs: number): Promise<KafkaEndToEndResult> {
  await using cluster = await openBenchCluster()
  const filled = await fillTopic(cluster, 'transactions', { profile, lines, partitions: 4 })
  await using worker = await startChild()
  await using reader = await startChild()
  const ours: Counting[] = []
  const kafkajs: number[] = []
  const kafkajsCpu: number[] = []
  const kcat: number[] = []
  for (let pair = -1; pair < pairs; pair++) {
    const idle = await readTopicIdle(cluster, reader, filled)
    const ofKcat = await readWithKcat(cluster.brokers, filled.topic)
    const counting = await countAndCheck(cluster, [worker], filled)
    process.stderr.write(`  ${profile}: kafkajs ${idle.seconds.toFixed(2)} s (${idle.secondsWithJoin.toFixed(2)} with joining), kcat ${ofKcat.toFixed(2)} s, ours ${counting.seconds.toFixed(2)} s\n`)
    // The first round warms up.
    if (pair < 0) continue
    kafkajs.push(idle.seconds)
    kafkajsCpu.push(idle.cpuSeconds)
    kcat.push(ofKcat)
    ours.push(counting)
  }
  const seconds = ours.map((one) => one.seconds)
  const perMillion = (of: (one: Counting) => number): number => Math.round((median(ours.map(of)) / filled.records) * 1e8) / 100
  return {
    profile,
    lines: filled.records,
    linesPerSecond: Math.round(filled.records / median(seconds)),
    kafkajsLinesPerSecond: Math.round(filled.records / median(kafkajs)),
    kcatLinesPerSecond: Math.round(filled.records / median(kcat)),
    ofKafkajs: ratioOf(kafkajs, seconds),
    cpuOfKafkajs: {
      worker: ratioOf(kafkajsCpu, ours.map((one) => one.workerCpuSeconds)),
      withPostgres: ratioOf(kafkajsCpu, ours.map((one) => one.workerCpuSeconds + one.postgresCpuSeconds)),
    },
    ofKcat: ratioOf(kcat, seconds),
    nullOfOurs: nullOf(seconds),
    nullOfKafkajs: nullOf(kafkajs),
    cpuSecondsPerMillion: { worker: perMillion((one) => one.workerCpuSeconds), postgres: perMillion((one) => one.postgresCpuSeconds), broker: perMillion((one) => one.brokerCpuSeconds) },
    peakMiB: Math.max(...ours.map((one) => one.peakMiB)),
  }
}

/** Each run against the next of the same thing. */
export function nullOf(seconds: readonly number[]): Ratio {
  return ratioOf(seconds.slice(0, -1), seconds.slice(1))
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await benchKafkaEndToEnd((process.argv[2] ?? 'bench') as ProfileName, Number(process.argv[3] ?? 200_000), Number(process.argv[4] ?? 2)), null, 1)}\n`)
