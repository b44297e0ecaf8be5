/**
 * A shop on Kafka, HDFS, Trino, Elasticsearch and Redis, run by the command line as a person would: generated events through the log, live figures, files in the
 * lake, a batch by Trino, documents that equal the figures. Then every engine and every layer is killed in turn under load, twice around; an engine is started
 * again by "engines up", nothing else is done, and at the end there is no difference.
 */
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cacheDirectoryOf } from '#cli/engines/cache-directory.ts'
import { readState } from '#cli/engines/state.ts'
import { startEngines } from '#cli/engines/starter.ts'
import { runningEngines } from '#cli/engines/status.ts'
import { killProcess } from '#cli/engines/stop.ts'
import type { EventLog } from '#core/ports.ts'
import { openKafkaLog } from '#engines/kafka-log.ts'
import { isWhole } from '#test/faults/setup.ts'
import { freePort } from '#test/free-port.ts'
import { seededRandom } from '#test/lab/random.ts'
import { waitUntil } from '#test/wait-until.ts'
import type { Victim } from './killed-shop.ts'
import { KilledShop } from './killed-shop.ts'
import { StubbornProducer } from './stubborn-producer.ts'

/** Where `npm test` started all of the engines; a shop of the same folder finds them. */
const data = process.env['TIDEMARK_TEST_ENGINES_DATA']
const engines = data === undefined ? null : runningEngines(data)
const isThere = engines !== null && ['kafka', 'hdfs', 'trino', 'elasticsearch', 'redis'].every((name) => (engines.names as readonly string[]).includes(name))
const seed = Number(process.env['KILL_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const layers: readonly Victim[] = ['speed', 'serve', 'batch', 'search', 'postgres', 'ours']
const rounds = isWhole ? 2 : 1
/** About 1,400 records a second: engines that share two cores keep up with that. */
const producerRestMs = 100

describe.skipIf(!isThere)(`a shop on the real engines${isThere ? '' : ' (skipped: not all of them run; Java 25, Maven and redis-server let "npm test" start them)'}`, () => {
  let shop: KilledShop
  let log: EventLog
  let producer: StubbornProducer

  beforeAll(async () => {
    process.stdout.write(`cluster: KILL_SEED=${seed}\n`)
    shop = new KilledShop(data!, await freePort(), seededRandom(seed), 'cluster')
    await shop.start()
    log = await openKafkaLog({ url: runningEngines(data!).environment['LOG_URL']!, groupPrefix: 'producer' })
    producer = new StubbornProducer(seed, async () => log, producerRestMs)
  }, 240_000)
  afterAll(async () => {
    await producer?.[Symbol.asyncDispose]()
    await log?.[Symbol.asyncDispose]()
    await shop?.[Symbol.asyncDispose]()
    for (const name of ['cluster.json', 'postgres', 'logs']) if (existsSync(join(data!, name))) await rm(join(data!, name), { recursive: true, force: true, maxRetries: 5 })
  }, 120_000)

  /** Where a search engine was away for a minute, hundreds of thousands of sales are left to be sent: that takes as long as the machine needs, but never stands still. */
  async function whenSalesCaughtUp(): Promise<void> {
    for (let behind = Infinity; behind > 0; ) {
      const before = behind
      await waitUntil(
        `the sales in the search index to go on (${before} behind)`,
        async () => {
          const { follower } = JSON.parse(await shop.ask('search', 'status', '--json')) as { follower: { salesBehind: number } | null }
          behind = follower?.salesBehind ?? Infinity
          return behind === 0 || behind < before
        },
        60_000,
      )
    }
  }

  async function whenSearchAgrees(): Promise<void> {
    await whenSalesCaughtUp()
    let refusal: unknown
    const isEqual = async (): Promise<boolean> => {
      try {
        await shop.ask('search', 'verify', '--json')
        return true
      } catch (thrown) {
        refusal = thrown
        return false
      }
    }
    await waitUntil('the documents to equal the figures', isEqual, 60_000).catch((thrown: unknown) => {
      throw new Error(`${String(thrown)}\n${String(refusal)}`, { cause: thrown })
    })
  }

  test('counts what Kafka holds, archives it to HDFS, recomputes it by Trino, and its documents equal its figures', { timeout: 300_000 }, async () => {
    producer.run()
    await shop.whenBack(producer)
    await waitUntil('some thousands of records', async () => producer.acknowledged > 5_000, 60_000)
    await producer.hold()
    await shop.verify(producer)
    await shop.runBatch()
    await shop.verify(producer)
    producer.run()
    await waitUntil('some more', async () => producer.acknowledged > 8_000, 60_000)
    await producer.hold()
    await shop.verify(producer)
    const batch = JSON.parse(await shop.ask('batch', 'run', '--json', '--quiet')) as { crossCheck: { result: string }; batch: { eventsCounted: number } }
    expect(batch.crossCheck.result).toMatch(/^(exact|corrected)$/)
    await shop.verify(producer)
    const full = JSON.parse(await shop.ask('batch', 'run', '--full', '--json', '--quiet')) as { crossCheck: { result: string } }
    expect(full.crossCheck.result).toBe('exact')
    await shop.verify(producer)
    await whenSearchAgrees()
    const answer = JSON.parse(await shop.ask('query', 'revenue', '--json')) as { receipt: { fromBatch: { events: number }; complete: boolean } }
    expect(answer.receipt.complete).toBe(true)
    expect(answer.receipt.fromBatch.events).toBeGreaterThan(0)
  })

  test('kill -9 of each engine and each layer in turn under load', { timeout: 1_800_000 }, async () => {
    const processes = readState(data!)!.processes.map(({ name }) => name)
    producer.run()
    await shop.whenBack(producer)
    for (let round = 0; round < rounds; round++) {
      for (const victim of [...processes, ...layers]) {
        // A random moment is what this is about.
        await pause(shop.random.below(1_000))
        if (victim === 'batch' || shop.random.chance(0.4)) shop.startBatch()
        const killedAt = performance.now()
        if (processes.includes(victim)) {
          await killProcess(data!, victim)
          await startEngines({ names: runningNames(), cacheDirectory: cacheDirectoryOf(process.env), dataDirectory: data! })
        } else expect(await shop.kill(victim as Victim)).toBeGreaterThan(0)
        await shop.whenBack(producer)
        process.stdout.write(`kill -9 of ${victim}: counting again after ${Math.round(performance.now() - killedAt)} ms\n`)
      }
      await producer.hold()
      await shop.verify(producer)
      await whenSearchAgrees()
      producer.run()
    }
    await producer.hold()
    await shop.verify(producer)
    await shop.runBatch()
    await shop.verify(producer)
    await whenSearchAgrees()
    expect(producer.failure).toBeNull()
    expect(await shop.stop()).toEqual({ code: 0, signal: null })
  })
})

function runningNames(): readonly ['kafka', 'hdfs', 'trino', 'elasticsearch', 'redis'] {
  return ['kafka', 'hdfs', 'trino', 'elasticsearch', 'redis']
}
