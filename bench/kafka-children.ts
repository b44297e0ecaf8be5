/** Processes that measure: each holds one system under test, so that driver, generator and truth are not in its figures. */
import type { ChildProcess } from 'node:child_process'
import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { cpuSecondsOf, peakMiBOf } from './cpu-time.ts'
import type { BenchCluster, FilledTopic } from './kafka-cluster.ts'
import type { WorkMode } from './at-least-once.ts'

export type WorkOrder = {
  readonly do: 'work'
  readonly logUrl: string
  readonly databaseUrl: string
  readonly schema: string
  readonly topic: string
  readonly group: string
  readonly mode: WorkMode
  readonly views?: readonly string[]
  readonly flushRecordsMax?: number
}
export type IdleRead = { readonly do: 'read'; readonly brokers: string; readonly topic: string; readonly records: number; readonly group: string }
export type FollowOrder = Omit<WorkOrder, 'do' | 'mode' | 'views' | 'flushRecordsMax'> & { readonly do: 'follow'; readonly searchUrl: string }
export type ParentMessage = WorkOrder | IdleRead | FollowOrder | { readonly do: 'stop' }
export type ChildMessage =
  | { readonly is: 'ready' }
  | { readonly is: 'started' }
  | { readonly is: 'flushed'; readonly records: number }
  | { readonly is: 'worked'; readonly cpuSeconds: number }
  | { readonly is: 'read'; readonly seconds: number; readonly secondsWithJoin: number; readonly cpuSeconds: number }
  | { readonly is: 'failed'; readonly reason: string }

const program = fileURLToPath(new URL('./kafka-child.ts', import.meta.url))
/** As ./tidemark starts its processes. */
const heapFlags = ['--max-semi-space-size=8']

export class BenchChild implements AsyncDisposable {
  readonly process: ChildProcess
  onFlushed: (records: number) => void = () => undefined
  readonly #waiting = new Map<ChildMessage['is'], { resolve: (message: never) => void; reject: (thrown: Error) => void }>()

  constructor(flags: readonly string[] = []) {
    this.process = fork(program, { execArgv: [...heapFlags, ...flags], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.process.on('message', (message: ChildMessage) => {
      if (message.is === 'flushed') this.onFlushed(message.records)
      else if (message.is === 'failed') this.#fail(new Error(message.reason))
      else {
        this.#waiting.get(message.is)?.resolve(message as never)
        this.#waiting.delete(message.is)
      }
    })
    this.process.on('exit', (code, signal) => this.#fail(new Error(`the measured process ended with ${String(code ?? signal)}`)))
  }

  get pid(): number {
    return this.process.pid!
  }

  heard<K extends ChildMessage['is']>(is: K): Promise<Extract<ChildMessage, { is: K }>> {
    return new Promise((resolve, reject) => this.#waiting.set(is, { resolve, reject }))
  }

  tell(message: ParentMessage): void {
    this.process.send(message)
  }

  #fail(thrown: Error): void {
    for (const { reject } of this.#waiting.values()) reject(thrown)
    this.#waiting.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return
    const ended = new Promise((resolve) => this.process.once('exit', resolve))
    this.process.disconnect()
    await ended
  }
}

export async function startChild(flags: readonly string[] = []): Promise<BenchChild> {
  const child = new BenchChild(flags)
  await child.heard('ready')
  return child
}

export type Counting = {
  readonly seconds: number
  readonly workerCpuSeconds: number
  /** PostgreSQL's and the broker's meanwhile. */
  readonly postgresCpuSeconds: number
  readonly brokerCpuSeconds: number
  /** The worst of the workers. */
  readonly peakMiB: number
}

export type CountOptions = { readonly mode?: WorkMode; readonly views?: readonly string[]; readonly flushRecordsMax?: number }

/** Counts a whole topic, from the workers' start (group join included) to the last flush's commit. */
export async function countTopic(cluster: BenchCluster, children: readonly BenchChild[], schema: string, filled: Pick<FilledTopic, 'topic' | 'records'>, options: CountOptions = {}): Promise<Counting> {
  const broker = cluster.engines.processes.find(({ engine }) => engine === 'kafka')!.pid
  const before = { postgres: cpuSecondsOf(cluster.server.pid), broker: cpuSecondsOf(broker) }
  let counted = 0
  const done = Promise.withResolvers<number>()
  const order: WorkOrder = {
    do: 'work',
    logUrl: cluster.logUrl,
    databaseUrl: cluster.server.url,
    schema,
    topic: filled.topic,
    group: `bench-${randomUUID()}`,
    mode: options.mode ?? 'exactly-once',
    ...options,
  }
  const started = children.map((child) => child.heard('started'))
  for (const child of children) {
    child.onFlushed = (records) => {
      counted += records
      if (counted >= filled.records) done.resolve(performance.now())
    }
    child.tell(order)
  }
  const worked = children.map((child) => child.heard('worked'))
  await Promise.all(started)
  const startedAt = performance.now()
  // A failed worker ends the run here and not at a deadline.
  const endedAt = await Promise.race([done.promise, ...worked.map((one) => one.then(() => Promise.reject(new Error('a worker stopped by itself'))))])
  const after = { postgres: cpuSecondsOf(cluster.server.pid), broker: cpuSecondsOf(broker) }
  for (const child of children) child.tell({ do: 'stop' })
  const results = await Promise.all(worked)
  return {
    seconds: (endedAt - startedAt) / 1000,
    workerCpuSeconds: results.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
    postgresCpuSeconds: after.postgres - before.postgres,
    brokerCpuSeconds: after.broker - before.broker,
    peakMiB: Math.max(...children.map(({ pid }) => peakMiBOf(pid))),
  }
}

/** kafkajs reading the topic and doing nothing. */
export async function readTopicIdle(cluster: BenchCluster, child: BenchChild, filled: Pick<FilledTopic, 'topic' | 'records'>): Promise<{ seconds: number; secondsWithJoin: number; cpuSeconds: number }> {
  const read = child.heard('read')
  child.tell({ do: 'read', brokers: cluster.brokers, topic: filled.topic, records: filled.records, group: `idle-${randomUUID()}` })
  return read
}
