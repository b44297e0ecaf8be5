/**
 * Row S25: a whole pipeline on real engines, each behind a proxy of its own. Shop traffic → Kafka → speed worker → PostgreSQL; PostgreSQL → search follower →
 * Elasticsearch; a schedule on Redis asks for batches, which archive to HDFS and compute by Trino. In each round the six are clogged one by one, in random
 * order, and unclogged in another. Trino reads HDFS by itself, beside the proxies.
 */
import { strict as assert } from 'node:assert'
import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import { openJobs } from '#batch/jobs.ts'
import type { BatchOptions } from '#batch/run.ts'
import { runBatch } from '#batch/run.ts'
import { nightlyId, runSchedule } from '#batch/schedule.ts'
import { cluster } from '#cli/engines/cluster.ts'
import { ConflictError, TidemarkError } from '#core/errors.ts'
import { openElasticsearch } from '#engines/elasticsearch.ts'
import { openHdfsLake } from '#engines/hdfs-lake.ts'
import { openTrino } from '#engines/trino.ts'
import { runSearchFollower } from '#speed/search-follower.ts'
import { openDatabase } from '#store/database.ts'
import { listBatches } from '#store/batches.ts'
import type { TestEngine } from '#test/engines.ts'
import { testEngine } from '#test/engines.ts'
import { checkExact } from '#test/lab/merged.ts'
import type { Random } from '#test/lab/random.ts'
import { seededRandom } from '#test/lab/random.ts'
import { SearchLab, expectSameFigures, expectSameSales, openTestSearch } from '#test/lab/search.ts'
import { waitUntil } from '#test/wait-until.ts'
import { openTestLake, testTrinoUrl } from '../contract/trino-lake.ts'
import { ClogProxy, addressOf, renamesBroker, renamesDataNode, urlVia } from './clog-proxy.ts'
import { openKafkaLab } from './kafka-lab.ts'
import { LoopWorker, batchOptionsOf, expectE0, openTraffic } from './setup.ts'

export const swizzledEngines: readonly TestEngine[] = ['kafka', 'hdfs', 'hdfsRpc', 'trino', 'elasticsearch', 'redis']

const clogWithinMs = 5_000
const unclogWithinMs = 3_000
/** After the last is unclogged: the longest pause of any retry, a session of Kafka's group, and a busy machine. */
const recoverWithinMs = 60_000
const recordsPerAppend = 3
const appendPauseMs = 150
const answerTimeoutMs = 2_000
const kafkaLimits = { requestTimeoutMs: 1_500, connectTimeoutMs: 1_500 }
const hdfsLimits = { roundsMax: 3, backoffMs: 50, connectTimeoutMs: 1_500, answerTimeoutMs: 3_000, idleTimeoutMs: 3_000 }
const trinoLimits = { requestTimeoutMs: 3_000, queryTimeoutMs: 60_000, retryBudgetMs: 6_000 }
const searchLimits = { requestTimeoutMs: 2_000, retryDelayMs: 50, retriesMax: 2 }
const zone = 'Europe/London'
const everyFiveSeconds = '*/5 * * * * *'
/** Every so many rounds, the pipeline is given the time for a batch, and the documents for catching up. */
const roundsBetweenRests = 2
/** Of a round of some ten seconds; a loop without a pause would make thousands. */
const warningsPerRoundMax = 60
const connectionsPerRoundMax = 200

/** One engine's way in, or several that are clogged together. */
type Way = { readonly name: string; readonly proxies: readonly ClogProxy[] }

export async function swizzle(rounds: number, seed: number): Promise<void> {
  const random = seededRandom(seed)
  await using stack = new AsyncDisposableStack()
  const open = async (...args: Parameters<typeof ClogProxy.open>): Promise<ClogProxy> => stack.use(await ClogProxy.open(...args))

  const kafka = await open(urlOf('kafka'), renamesBroker(urlOf('kafka')))
  const own = stack.use(await openKafkaLab(kafka.address))
  const { lab } = own
  const postgres = await open(addressOf(lab.url))
  const redis = await open(addressOf(urlOf('redis')))
  const elasticsearch = await open(addressOf(urlOf('elasticsearch')))
  const trino = await open(addressOf(urlOf('trino')))
  const lakeHere = stack.use(await openTestLake())
  const dataNode = await addressOfDataNode(lakeHere.folder.path)
  const dataNodes = await open(dataNode)
  const nameNode = await open(urlOf('hdfs'), renamesDataNode(dataNode, dataNodes.address))
  const ways: readonly Way[] = [
    { name: 'PostgreSQL', proxies: [postgres] },
    { name: 'Kafka', proxies: [kafka] },
    { name: 'Redis', proxies: [redis] },
    { name: 'Elasticsearch', proxies: [elasticsearch] },
    { name: 'Trino', proxies: [trino] },
    { name: 'HDFS', proxies: [nameNode, dataNodes] },
  ]
  const unclogAll = (): void => ways.forEach(({ proxies }) => proxies.forEach((proxy) => proxy.unclog()))

  const openStore = () => stack.use(openDatabase({ url: urlVia(lab.url, postgres), schema: lab.database.schema, answerTimeoutMs }))
  const lake = stack.use(
    await openHdfsLake({
      url: `webhdfs://${nameNode.address}${lakeHere.folder.path}?user=${cluster.users.lake}&datanodes=${dataNodes.address}`,
      location: `${urlOf('hdfsRpc')}${lakeHere.folder.path}`,
      limits: hdfsLimits,
    }),
  )
  const engine = stack.use(await openTrino({ url: testTrinoUrl(trino.address), lake, limits: trinoLimits }))
  const batchOptions = { ...batchOptionsOf(lab), database: openStore(), log: stack.use(await own.open(kafkaLimits)), lake, engine }

  const worker = stack.use(new LoopWorker(lab, { database: openStore(), log: stack.use(await own.open(kafkaLimits)) }))
  const searchHere = stack.use(await openTestSearch(urlOf('elasticsearch')))
  const documents = new SearchLab(lab, searchHere.search, searchHere.prefix)
  const follower = stack.use(new LoopFollower(documents, { database: openStore(), search: stack.use(await openElasticsearch({ url: `http://${elasticsearch.address}`, ...searchLimits })), log: stack.use(await own.open(kafkaLimits)) }))
  const layer = stack.use(new ScheduledBatches(urlVia(urlOf('redis'), redis), batchOptions))
  stack.defer(unclogAll)

  const traffic = openTraffic(lab, seed)
  await traffic(60)
  await expectE0(lab, recoverWithinMs)
  for (let round = 1; round <= rounds; round++) {
    const before = [worker.warnings.length, follower.warnings.length, layer.failures.length]
    const connectionsBefore = ways.map(({ proxies }) => proxies.reduce((sum, { connections }) => sum + connections, 0))
    await feedUntil(traffic, swizzleOnce(ways, random).finally(unclogAll))
    await expectE0(lab, recoverWithinMs)
    expect([worker.failure, follower.failure], 'no layer gave up').toEqual([null, null])
    const warnings = [worker.warnings.length, follower.warnings.length, layer.failures.length].map((count, i) => count - before[i]!)
    const connections = ways.map(({ name, proxies }, i) => [name, proxies.reduce((sum, { connections: all }) => sum + all, 0) - connectionsBefore[i]!] as const)
    for (const count of warnings) expect(count, `round ${round}: retries of worker, follower, schedule: ${warnings.join(', ')}`).toBeLessThan(warningsPerRoundMax)
    for (const [name, count] of connections) expect(count, `round ${round}: connections to ${name}`).toBeLessThan(connectionsPerRoundMax)
    if (round % roundsBetweenRests !== 0 && round < rounds) continue
    const published = layer.published
    await waitUntil('a batch that the schedule asked for to be published', () => layer.published > published, 2 * recoverWithinMs)
    await checkExact(lab)
    await whenDocumentsAgree(documents)
  }

  await layer.stop()
  for (const thrown of layer.batchFailures) expect(isPassing(thrown), String(thrown)).toBe(true)
  expect((await runBatch(batchOptions)).crossCheck.summary.result).toBe('exact')
  expect((await runBatch({ ...batchOptions, full: true })).crossCheck.summary.result).toBe('exact')
  expect((await listBatches(lab.database.pool, 10_000)).filter(({ status }) => status === 'held' || status === 'running')).toEqual([])
  await checkExact(lab)
  await whenDocumentsAgree(documents)
}

function isPassing(thrown: unknown): boolean {
  return thrown instanceof TidemarkError && (thrown.retryable || thrown instanceof ConflictError)
}

/** The times of a round, and nothing of them by the machine: which engine is clogged when, and for how long. */
async function swizzleOnce(ways: readonly Way[], random: Random): Promise<void> {
  const clogs = shuffled(ways, random).map((way) => ({ atMs: random.below(clogWithinMs), act: () => way.proxies.forEach((proxy) => proxy.clog()) }))
  const unclogs = shuffled(ways, random).map((way) => ({ atMs: clogWithinMs + random.below(unclogWithinMs), act: () => way.proxies.forEach((proxy) => proxy.unclog()) }))
  const startedAt = performance.now()
  for (const { atMs, act } of [...clogs, ...unclogs].sort((a, b) => a.atMs - b.atMs)) {
    await waitUntil('the time of the next', () => performance.now() - startedAt >= atMs)
    act()
  }
}

function shuffled<T>(all: readonly T[], random: Random): T[] {
  const left = [...all]
  return all.map(() => left.splice(random.below(left.length), 1)[0]!)
}

async function feedUntil(traffic: (records: number) => Promise<void>, over: Promise<void>): Promise<void> {
  let isOver = false
  const ended = over.finally(() => {
    isOver = true
  })
  while (!isOver) {
    await traffic(recordsPerAppend)
    const appendedAt = performance.now()
    await waitUntil('more to be sold', () => isOver || performance.now() - appendedAt >= appendPauseMs)
  }
  await ended
}

async function whenDocumentsAgree(documents: SearchLab): Promise<void> {
  let last: unknown
  await waitUntil(
    'the documents to be the figures',
    async () => {
      try {
        await expectSameFigures(documents)
        await expectSameSales(documents)
        return true
      } catch (thrown) {
        last = thrown
        return false
      }
    },
    recoverWithinMs,
  ).catch((thrown: unknown) => {
    throw last ?? thrown
  })
}

/** The search follower's real loop. */
class LoopFollower implements AsyncDisposable {
  readonly warnings: string[]
  failure: unknown = null
  readonly #stopping = new AbortController()
  readonly #done: Promise<void>

  constructor({ options, warnings }: SearchLab, own: Pick<SearchLab['options'], 'database' | 'search' | 'log'>) {
    this.warnings = warnings
    this.#done = runSearchFollower({ ...options, ...own, pollIntervalMs: 100 }, this.#stopping.signal).catch((thrown: unknown) => {
      this.failure = thrown
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort()
    await this.#done
  }
}

/** Batches as a schedule on Redis asks for them. */
class ScheduledBatches implements AsyncDisposable {
  published = 0
  /** Of batches and of the queue. */
  readonly failures: unknown[] = []
  readonly batchFailures: unknown[] = []
  readonly #jobs: ReturnType<typeof openJobs>
  readonly #stopping = new AbortController()
  readonly #running: Promise<void>

  constructor(url: string, options: BatchOptions) {
    const onError = (thrown: unknown): void => void this.failures.push(thrown)
    this.#jobs = openJobs({ url, namespace: `swizzle-${randomUUID().slice(0, 8)}` }, onError)
    this.#running = runSchedule({ jobs: this.#jobs, schedules: async () => [{ id: nightlyId, pattern: everyFiveSeconds }], zone, ask: async () => this.#ask(options), onError, watchIntervalMs: 1_000 }, this.#stopping.signal)
  }

  async #ask(options: BatchOptions): Promise<void> {
    try {
      await runBatch(options)
      this.published++
    } catch (thrown) {
      this.batchFailures.push(thrown)
      throw thrown
    }
  }

  /** The batch under way ends first. */
  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) return
    this.#stopping.abort()
    await this.#running
    await this.#jobs[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

function urlOf(engine: TestEngine): string {
  const url = testEngine(engine)
  assert(url !== null, `no ${engine}`)
  return url
}

/** Where the NameNode sends whoever writes. */
async function addressOfDataNode(path: string): Promise<string> {
  const response = await fetch(`http://${urlOf('hdfs')}/webhdfs/v1${path}/_asked?op=CREATE&noredirect=true&user.name=${cluster.users.lake}`, { method: 'PUT', signal: AbortSignal.timeout(20_000) })
  const { Location } = (await response.json()) as { Location: string }
  return new URL(Location).host
}
