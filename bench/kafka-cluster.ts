/** A Kafka (and an HDFS, where asked for) and a PostgreSQL of the bench's own, in a temporary folder, on free ports, and topics filled with a profile's lines. */
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cacheDirectoryOf } from '#cli/engines/cache-directory.ts'
import type { EngineName } from '#cli/engines/cluster.ts'
import { findJavas } from '#cli/engines/java.ts'
import { requireFor } from '#cli/engines/requirements.ts'
import { startEngines } from '#cli/engines/starter.ts'
import type { Engines } from '#cli/engines/status.ts'
import { stopEngines } from '#cli/engines/stop.ts'
import { messageOf } from '#core/errors.ts'
import type { LogAppend } from '#core/ports.ts'
import { openKafkaLog } from '#engines/kafka-log.ts'
import { generateEvents, planHistory } from '#generator/history.ts'
import type { ProfileName } from '#generator/profiles.ts'
import type { TruthFile } from '#generator/truth.ts'
import { Truth } from '#generator/truth.ts'
import type { Database } from '#store/database.ts'
import { run } from '#store/database.ts'
import type { BenchServer } from './bench-store.ts'
import { openBenchServer } from './bench-store.ts'
import { benchCurrency, benchZone } from './speed-loop.ts'

export type BenchCluster = AsyncDisposable & {
  readonly folder: string
  /** `host:port`. */
  readonly brokers: string
  readonly logUrl: string
  readonly engines: Engines
  readonly server: BenchServer
}

export const cacheDirectory = cacheDirectoryOf(process.env)

/** What this machine lacks to run the engines and programs; null where all of it is there. */
export async function missingHere(engines: readonly EngineName[], programs: readonly string[] = []): Promise<string | null> {
  for (const program of programs) {
    const { error } = spawnSync(program, ['-V'], { timeout: 20_000 })
    if (error !== undefined) return `the program ${program} is missing (\`apt-get install ${program}\`)`
  }
  const signal = new AbortController().signal
  const javas = findJavas()
  for (const engine of engines) {
    const reason = await requireFor(engine, { cacheDirectory, javas, signal }).then(() => null, messageOf)
    if (reason !== null) return reason
  }
  return null
}

export async function openBenchCluster(names: readonly EngineName[] = ['kafka']): Promise<BenchCluster> {
  await using opening = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-bench-cluster-'))
  opening.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  opening.defer(async () => {
    await stopEngines(folder)
  })
  const say = (line: string): void => void process.stderr.write(`${line}\n`)
  const engines = await startEngines({ names, cacheDirectory, dataDirectory: folder, basePorts: 'free', say })
  const server = opening.use(await openBenchServer())
  const brokers = engines.urls.kafka ?? ''
  const closing = opening.move()
  return { folder, brokers, logUrl: `kafka://${brokers}`, engines, server, [Symbol.asyncDispose]: () => closing.disposeAsync() }
}

export type FilledTopic = {
  readonly topic: string
  readonly records: number
  readonly bytes: number
  readonly truth: TruthFile
}

export type Filling = {
  readonly profile: ProfileName
  readonly lines: number
  readonly partitions: number
  /** Leaves out what the decoder refuses, for a competitor that does not look. */
  readonly withoutRubbish?: boolean
  /** Changes a line, and nothing that adds up. */
  readonly rewrite?: (line: Buffer) => Buffer
}

const appendRecords = 20_000

/** Fills a new topic. Log time is the broker's own. */
export async function fillTopic({ logUrl }: Pick<BenchCluster, 'logUrl'>, topic: string, filling: Filling): Promise<FilledTopic> {
  await using log = await openKafkaLog({ url: logUrl, groupPrefix: 'bench-fill' })
  await log.create(topic, filling.partitions)
  const toMs = Date.parse('2025-03-01T00:00:00Z')
  const options = { profile: filling.profile, seed: 42, events: filling.lines, fromMs: toMs - 30 * 86_400_000, toMs, zone: benchZone, currency: benchCurrency, portable: true }
  const truth = new Truth(planHistory(options).origin)
  let batch: LogAppend[] = []
  let records = 0
  let bytes = 0
  for (const record of generateEvents(options)) {
    if (filling.withoutRubbish === true && record.means.some(({ is }) => is === 'refused')) continue
    truth.add(record)
    const { key, value } = record.append
    const line = filling.rewrite === undefined || record.means[0]?.is === 'refused' ? value : filling.rewrite(Buffer.from(value))
    batch.push({ key, value: line })
    records++
    bytes += line.length
    if (batch.length < appendRecords) continue
    await log.append(topic, batch)
    batch = []
  }
  if (batch.length > 0) await log.append(topic, batch)
  return { topic, records, bytes, truth: truth.toFile() }
}

const measures = ['transactions', 'orders', 'refundEvents', 'unitsSold', 'unitsRefunded', 'grossMinor', 'refundsMinor'] as const
const sums = ['transactions', 'orders', 'refund_events', 'units_sold', 'units_refunded', 'gross_minor', 'refunds_minor'].map((name) => `sum(${name})::text AS ${name}`).join(', ')

/** Throws where a sum of a measure of a table, or of one of our views, is not the truth's. */
export async function requireTruth(database: Pick<Database, 'pool'>, tables: readonly string[], truth: TruthFile): Promise<void> {
  const expected = measures.map((measure) => String(truth.revenue.reduce((sum, row) => sum + BigInt(row[measure]), 0n)))
  for (const table of tables) {
    const [row] = await run<Record<string, string>>(database.pool, `SELECT ${sums} FROM ${table}`)
    const found = Object.values(row!)
    if (found.join() !== expected.join()) throw new Error(`void: ${table} holds ${found.join(' ')}, and ${expected.join(' ')} is true`)
  }
}
