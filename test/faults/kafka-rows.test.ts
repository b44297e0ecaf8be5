/** Rows of the fault catalogue on a real Kafka. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { cacheDirectoryOf } from '#cli/engines/cache-directory.ts'
import { restartProcess, startEngines } from '#cli/engines/starter.ts'
import { killProcess, stopEngines } from '#cli/engines/stop.ts'
import { sourceHeader } from '#core/decode.ts'
import { readCommitted } from '#store/committed.ts'
import type { Lab } from '#test/lab.ts'
import { keyOf } from '#test/lab.ts'
import { checkExact, expectFigures, readMerged } from '#test/lab/merged.ts'
import type { MeantAppend } from '#test/lab/shop-stream.ts'
import { Oracle } from '#test/oracle.ts'
import { waitUntil } from '#test/wait-until.ts'
import { forgetRecords, openKafka } from '../contract/kafka-subject.ts'
import { testEngine, whereMissing } from '../engines.ts'
import type { CrashPoint } from './crash-child.ts'
import { countCopiesOnce, countFirstOfConflict } from './data-steps.ts'
import type { KafkaLab } from './kafka-lab.ts'
import { openKafkaLab, withoutGaps } from './kafka-lab.ts'
import type { ProxyMode } from './kafka-proxy.ts'
import { KafkaProxy } from './kafka-proxy.ts'
import type { LossStage } from './loss-steps.ts'
import { fillFromHalfALake, fillFromLake, makeTopicAnew, putDatabaseBack, stopAtGap, takeOutCounted, withLog } from './loss-steps.ts'
import { LoopWorker, digestOfStore, expectE0, isWhole, openTraffic, plainSales, sale } from './setup.ts'
import type { CrashAt } from './speed-steps.ts'
import { crashAfterCommit, crashBeforeCommit, crashWorker, flushInMidFlush, joinAndLeave, loseCommit, replayIntoEmpty, replayIntoFull } from './speed-steps.ts'

const kafka = testEngine('kafka')
/** A session of a killed reader, and then some. */
const takenOverWithinMs = 30_000

describe(`on a real Kafka${whereMissing('kafka')}`, { skip: kafka === null, timeout: isWhole ? 600_000 : 90_000 }, () => {
  let own: KafkaLab
  let lab: Lab

  beforeAll(async () => {
    own = await openKafkaLab(kafka!)
    lab = own.lab
  }, 60_000)
  afterAll(async () => own[Symbol.asyncDispose](), 60_000)
  beforeEach(async () => lab.clear())

  const crashAt: CrashAt = async (point, nodeOptions) => crashWorker(lab, own.url, point, nodeOptions)

  describe('crashes around the commit', () => {
    test('S1 kill -9 after the commit, before the group is told: what comes again is skipped and the sums stay', async () => crashAfterCommit(lab, crashAt))

    test('S2 kill -9 before the commit: nothing of the flush is visible, and it is counted once afterwards', async () => crashBeforeCommit(lab, crashAt))

    test.each(['reply', 'request'] as const)('S4 the connection is cut and the %s of COMMIT is lost: the outcome is read again, nothing counts twice', async (lost) => loseCommit(lab, lost))
  })

  describe('several workers', () => {
    test('S5 a second worker flushes the same records in the middle of a flush: it is fenced and both converge', async () => flushInMidFlush(lab))

    test('S5 a second worker joins and leaves again and again while both read everything', async () => joinAndLeave(lab))

    test(`S5 a second worker joins and leaves the group ${isWhole ? 24 : 2} times: partitions move, nothing is lost or doubled`, async () => {
      const traffic = openTraffic(lab, 55)
      await using first = new LoopWorker(lab)
      for (let round = 0; round < (isWhole ? 24 : 2); round++) {
        await using log = await own.open()
        const held: number[] = []
        {
          await using _second = new LoopWorker(lab, { log, onFlush: ({ positions }) => held.push(positions.size) })
          await waitUntil('the second worker to have its share', async () => {
            await traffic(30)
            return held.some((partitions) => partitions === 1 || partitions === 2)
          }, takenOverWithinMs)
          await expectE0(lab, takenOverWithinMs)
        }
        await traffic(30)
        await expectE0(lab, takenOverWithinMs)
      }
      expect(first.failure).toBeNull()
    })

    test('S6 a worker is stopped with records in hand, another takes over after its session, and the zombie that wakes is fenced', async () => {
      await lab.append(plainSales(lab, 300, 'held'))
      const child = fileURLToPath(new URL('./crash-child.ts', import.meta.url))
      const point: CrashPoint = 'stopped with records in hand'
      const zombie = spawn(process.execPath, [child, lab.url, lab.database.schema, own.url, lab.topic, point], { stdio: ['ignore', 'pipe', 'ignore'] })
      const ended = once(zombie, 'exit')
      let said = ''
      zombie.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
      try {
        await waitUntil('the worker to stop itself', () => stateOf(zombie.pid!) === 'T', 30_000)
        await using log = await own.open({ groupPrefix: lab.database.schema })
        await using _heir = new LoopWorker(lab, { log })
        await expectE0(lab, takenOverWithinMs)
        await lab.append(plainSales(lab, 60, 'after'))
        await expectE0(lab, takenOverWithinMs)
        zombie.kill('SIGCONT')
        await waitUntil('the zombie to be fenced', () => {
          // It stops itself at each run it reads.
          if (stateOf(zombie.pid!) === 'T') zombie.kill('SIGCONT')
          return said.includes('"code":"fenced"')
        }, 30_000)
        await checkExact(lab)
      } finally {
        zombie.kill('SIGKILL')
        await ended
      }
      await using _worker = new LoopWorker(lab)
      await lab.append(plainSales(lab, 30, 'both'))
      await expectE0(lab, takenOverWithinMs)
    })

    test(`S23 told to end under load, ${isWhole ? 10 : 2} times: the last flush is done within 10 s, the group is left, and nothing is lost or doubled`, async () => {
      let sent = 0
      for (let round = 0; round < (isWhole ? 10 : 2); round++) {
        await using log = await own.open()
        const worker = new LoopWorker(lab, { log, flushRecordsMax: 200 })
        const before = sum(await readCommitted(lab.database.pool, lab.topic))
        const loading = new AbortController()
        const load = (async () => {
          while (!loading.signal.aborted) await lab.append(plainSales(lab, 100, `load-${sent++}`))
        })()
        await waitUntil('the worker to count under load', async () => sum(await readCommitted(lab.database.pool, lab.topic)) > before + 200, takenOverWithinMs)
        const startedAt = performance.now()
        await worker.stop()
        expect(performance.now() - startedAt).toBeLessThan(10_000)
        expect(worker.failure).toBeNull()
        loading.abort()
        await load
      }
      // Nobody is waited for: the group was left each time.
      const startedAt = performance.now()
      await using _worker = new LoopWorker(lab)
      await expectE0(lab, takenOverWithinMs)
      expect(performance.now() - startedAt).toBeLessThan(isWhole ? 60_000 : 20_000)
    })
  })

  describe('S13 the broker', () => {
    const modes: readonly (readonly [string, ProxyMode])[] = [
      ['is gone', 'refuse'],
      ['accepts and never answers', 'hang'],
      ['ends its side of each connection', 'half-close'],
      ['resets each connection in mid-answer', 'reset'],
      ['cuts its answers short', 'cut-short'],
      ['answers with rubbish', 'garble'],
    ]

    test.each(modes)('S13 %s for a while: reading and appending go on afterwards, nothing is lost or doubled', async (_what, mode) => {
      await using proxy = await KafkaProxy.open(kafka!)
      await using log = await own.open({ url: proxy.url, requestTimeoutMs: 1_000, connectTimeoutMs: 1_000 })
      const traffic = openTraffic(lab, 13)
      await traffic(50)
      await using worker = new LoopWorker(lab, { log })
      await expectE0(lab, takenOverWithinMs)
      proxy.mode = mode
      await traffic(50)
      // An append by way of the proxy waits for the broker to come back.
      const late = sale({ id: 'late', partition: 1 })
      const appended = log.append(lab.topic, [{ key: keyOf(1, lab.partitions), value: late.value }])
      const before = await readCommitted(lab.database.pool, lab.topic)
      const awayMs = isWhole ? 60_000 : 4_000
      await waitUntil('the time that it stays so', timer(awayMs), 2 * awayMs)
      expect(sum(await readCommitted(lab.database.pool, lab.topic))).toBeGreaterThanOrEqual(sum(before))
      if (mode !== 'hang' && mode !== 'half-close') expect(proxy.faults).toBeGreaterThan(0)
      proxy.mode = 'pass'
      lab.oracle.add(1, late.meant)
      expect(await appended).toEqual(new Map([[1, lab.oracle.ends().get(1)]]))
      await expectE0(lab, takenOverWithinMs)
      expect(worker.failure).toBeNull()
    })

    test('S13 answers slowly: all is counted', async () => {
      await using proxy = await KafkaProxy.open(kafka!)
      await openTraffic(lab, 14)(400)
      proxy.mode = { bytesPerSecond: 200_000 }
      await using log = await own.open({ url: proxy.url })
      await using worker = new LoopWorker(lab, { log })
      await expectE0(lab, 80_000)
      expect(worker.failure).toBeNull()
    })
  })

  describe('ranges that are gone', () => {
    let stage: LossStage
    beforeEach(async () => {
      const forgetBelow = async (topic: string, partition: number, below: number): Promise<void> => forgetRecords(own.admin, topic, new Map([[partition, below]]))
      stage = { plain: lab, lab: withLog(lab, lab.log), forgetBelow, makeAnew }
    })

    async function makeAnew(): ReturnType<LossStage['makeAnew']> {
      await own.admin.deleteTopics({ topics: [lab.topic] })
      const log = await own.open()
      await waitUntil('the topic to be made again', async () => {
        await log.create(lab.topic, lab.partitions).catch(() => undefined)
        return sum((await log.bounds(lab.topic).catch(() => null))?.end ?? new Map([[0, 1]])) === 0
      })
      return log
    }

    test('S9 the database is put back by an hour while the log went on: figures go back with their positions, and all is right again by itself', async () => putDatabaseBack(stage))

    test('S14 retention passes what the lake has: it is filled from there', async () => fillFromLake(stage))

    test('S14 the lake has only a part of it: the partition stops rather than leave a hole', async () => fillFromHalfALake(stage))

    test('S15 retention passes what was never counted nor archived: the partition stops, answers name the range, and giving it up lets it go on', async () => stopAtGap(stage))

    test('S15 what had been counted and not archived is taken out by the next batch, to the penny', async () => takeOutCounted(stage))

    test('S16 the topic is deleted and made anew: nothing is added or taken until it is given up; then the new one is counted from its beginning', async () => makeTopicAnew(stage))

    test('S16 the topic is made anew under a worker that reads it, and filled beyond where the worker stood: no record of it is taken for one of the old', async () => {
      await lab.append(plainSales(lab, 30, 'a'))
      await using worker = new LoopWorker(lab)
      await expectE0(lab)
      const before = await readMerged(lab)
      await using anew = await makeAnew()
      for (let round = 0; round < 5; round++) await withoutGaps(anew).append(lab.topic, plainSales(lab, 30, `b-${round}`).map(({ value }, n) => ({ key: `k${n}`, value })))
      await waitUntil('every partition to stop', async () => (await stoppedPartitions(lab)).length === lab.partitions, takenOverWithinMs)
      expect((await readMerged(lab)).views).toEqual(before.views)
      expect(worker.failure).toBeNull()
    })
  })

  test('S17 from 3 partitions to 12 while producing: everything in the new ones is counted, and a key that moved is still one', async () => {
    await using readers = await own.open({ partitionsCheckMs: 1_000 })
    await using worker = new LoopWorker(lab, { log: readers })
    const send = async (log: typeof readers, sales: readonly MeantAppend[]): Promise<void> => {
      for (const { value, meant } of sales) {
        const [[partition]] = [...(await log.append(lab.topic, [{ key: meant![0]!.id, value }]))] as [[number, number]]
        lab.oracle.add(partition, meant)
      }
    }
    const first = plainSales(lab, 40, 'a')
    await send(lab.log, first)
    await own.admin.createPartitions({ topicPartitions: [{ topic: lab.topic, count: 12 }] })
    await using producer = await own.open()
    await waitUntil('the new partitions to be there', async () => (await producer.bounds(lab.topic)).end.size === 12)
    // Before the workers know of them; the copies go to where their keys belong now.
    await send(producer, [...plainSales(lab, 40, 'b'), ...first])
    const merged = await expectE0(lab, 60_000)
    expect([...merged.n.keys()].length).toBe(12)
    expect([...merged.accounts.values()].reduce((total, { copies }) => total + copies, 0)).toBe(40)
    await send(producer, plainSales(lab, 40, 'c'))
    await expectE0(lab, 60_000)
    expect(worker.failure).toBeNull()
  })

  test('S18 transactional producers commit, abort and crash: what is aborted is never counted, and markers trip nothing', async () => {
    const client = openKafka(own.url)
    const counted = new Oracle()
    await using worker = new LoopWorker(lab)
    const ids = ['commits', 'aborts', 'crashes'].map((name) => `${lab.topic}-${name}`)
    const producers = await Promise.all(ids.map(async (transactionalId) => {
      const producer = client.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1, transactionTimeout: 30_000 })
      await producer.connect()
      return producer
    }))
    const send = async (transaction: Awaited<ReturnType<(typeof producers)[0]['transaction']>>, sales: readonly MeantAppend[]): Promise<void> => {
      await transaction.send({ topic: lab.topic, messages: sales.map(({ value, partition }) => ({ value: Buffer.from(value), partition })) })
    }
    let committed = 0
    for (let round = 0; round < (isWhole ? 40 : 5); round++) {
      const [commits, aborts] = [await producers[0]!.transaction(), await producers[1]!.transaction()]
      const sales = plainSales(lab, 30, `kept-${round}`)
      await send(commits, sales.slice(0, 15))
      await send(aborts, plainSales(lab, 30, `aborted-${round}`))
      await send(commits, sales.slice(15))
      await (round % 2 === 0 ? aborts.abort() : commits.commit())
      await (round % 2 === 0 ? commits.commit() : aborts.abort())
      for (const { partition, meant } of sales) counted.add(partition, meant)
      committed += sales.length
    }
    const crashing = await producers[2]!.transaction()
    await send(crashing, plainSales(lab, 30, 'crashed'))
    await producers[2]!.disconnect()
    // After the open transaction, so that readers wait for its end; the next producer of that name ends it.
    const last = await producers[0]!.transaction()
    const sales = plainSales(lab, 9, 'last')
    await send(last, sales)
    await last.commit()
    for (const { partition, meant } of sales) counted.add(partition, meant)
    const successor = client.producer({ transactionalId: ids[2]!, idempotent: true, maxInFlightRequests: 1 })
    await successor.connect()
    await (await successor.transaction()).abort()
    await waitUntil('all that was committed to be counted', async () => {
      const { accounts } = await readMerged(lab)
      return [...accounts.values()].reduce((total, { records }) => total + records, 0) === committed + sales.length
    }, takenOverWithinMs)
    const { end } = await lab.log.bounds(lab.topic)
    await waitUntil('the markers at the end to be passed', async () => {
      const positions = await readCommitted(lab.database.pool, lab.topic)
      return [...end].every(([partition, to]) => positions.get(partition) === to)
    })
    const merged = await readMerged(lab)
    expectFigures(merged, counted.expect(counted.ends()))
    for (const { records, accepted, copies, conflicts, refused } of merged.accounts.values()) expect(accepted + copies + conflicts + refused).toBe(records)
    expect(worker.failure).toBeNull()
    for (const producer of [...producers.slice(0, 2), successor]) await producer.disconnect()
  })

  describe('replays', () => {
    test('S19 the group of readers is deleted: nothing changes', async () => {
      const traffic = openTraffic(lab, 19)
      await traffic(300)
      {
        await using _worker = new LoopWorker(lab)
        await expectE0(lab)
      }
      const before = await digestOfStore(lab)
      await own.admin.deleteGroups([`${own.groupPrefix}.${lab.topic}`])
      {
        await using worker = new LoopWorker(lab)
        await waitUntil('the worker to have its partitions', async () => {
          const { groups } = await own.admin.describeGroups([`${own.groupPrefix}.${lab.topic}`])
          return groups[0]?.members.length === 1 && groups[0].state === 'Stable'
        })
        expect(await digestOfStore(lab)).toBe(before)
        await traffic(100)
        await expectE0(lab)
        expect(worker.warnings).toEqual([])
      }
    })

    test('S19 what the group is told for tools that show lag is where the books stand, and nothing is read back from it', async () => {
      await lab.append(plainSales(lab, 60, 'a'))
      await using _worker = new LoopWorker(lab)
      await expectE0(lab)
      const groupId = `${own.groupPrefix}.${lab.topic}`
      await waitUntil('the group to be told', async () => {
        const [told] = await own.admin.fetchOffsets({ groupId, topics: [lab.topic] })
        return told?.partitions.length === 3 && told.partitions.every(({ partition, offset }) => Number(offset) === lab.oracle.ends().get(partition))
      })
    })

    test('S20 a replay from offset 0 into empty tables gives identical figures', async () => replayIntoEmpty(lab))

    test('S21 a replay from offset 0 into tables that are not empty is fenced: not one row changes', async () => replayIntoFull(lab))
  })

  describe('data', () => {
    test('D1 up to 50 copies in other bytes and other partitions, across restarts and horizons, count once at every moment', async () => countCopiesOnce(lab))

    test.each([
      ['the same partition', 0, 0],
      ['a later partition', 0, 2],
    ])('D2 in %s: the first counts, the other is a dead letter with both positions', async (_where, first, second) => countFirstOfConflict(lab, first, second))

    test('D9 a header bomb is counted, and memory stays bounded', async () => {
      const headers: Record<string, string> = { [sourceHeader]: lab.topic }
      for (let n = 0; n < 60_000; n++) headers[`h${n}`] = 'x'
      const [bomb, neighbour] = [sale({ id: 'bomb' }), sale({ id: 'neighbour' })]
      await lab.log.append(lab.topic, [{ key: keyOf(0, lab.partitions), value: bomb.value, headers }])
      await lab.log.append(lab.topic, [{ key: keyOf(0, lab.partitions), value: neighbour.value }])
      for (const { meant } of [bomb, neighbour]) lab.oracle.add(0, meant)
      await using worker = new LoopWorker(lab)
      await expectE0(lab)
      expect(worker.warnings).toEqual([])
    })

    test('D9 a stored batch is damaged: its partition halts with the range named, the others go on, and it goes on once the log is whole', async () => {
      await lab.append(plainSales(lab, 30, 'a'))
      await using proxy = await KafkaProxy.open(kafka!)
      proxy.mode = { damages: 'Grandfather' }
      await lab.append([0, 1, 2].map((partition) => sale({ id: `b-${partition}`, partition, productName: partition === 1 ? 'Grandfather clock' : 'Lamp' })))
      {
        await using log = await own.open({ url: proxy.url })
        await using worker = new LoopWorker(lab, { log })
        const stopped = await waitUntil('the partition to stop', () => stoppedPartitions(lab).then((all) => all[0]), takenOverWithinMs)
        expect(stopped).toMatchObject({ partition: 1, from_offset: 10n, reason: expect.stringMatching(/does not match its checksum/) })
        await waitUntil('the others to be counted', async () => {
          const n = await readCommitted(lab.database.pool, lab.topic)
          return n.get(0) === 11 && n.get(2) === 11
        }, takenOverWithinMs)
        expect((await checkExact(lab)).n.get(1)).toBeLessThanOrEqual(10)
        expect(worker.failure).toBeNull()
      }
      await using _worker = new LoopWorker(lab)
      await expectE0(lab)
      expect(await stoppedPartitions(lab)).toEqual([])
    })
  })
})

async function stoppedPartitions(lab: Lab): Promise<readonly { readonly partition: number; readonly from_offset: bigint; readonly reason: string }[]> {
  return (await lab.database.pool.query('SELECT partition, from_offset, reason FROM stopped_partitions WHERE topic = $1 ORDER BY partition', [lab.topic])).rows
}

function sum(vector: ReadonlyMap<number, number>): number {
  return [...vector.values()].reduce((total, offset) => total + offset, 0)
}

/** Three brokers of its own, of which one may be killed. */
describe(`on three brokers${whereMissing('kafka')}${isWhole ? '' : ' (skipped: in "npm run test:faults" alone)'}`, { skip: kafka === null || !isWhole, timeout: 300_000 }, () => {
  test('S13 the broker that leads partitions is killed and comes back, each of the three in turn: reading, appending and the group go on, nothing is lost or doubled', async () => {
    const dataDirectory = await mkdtemp(join(tmpdir(), 'tidemark-kafka-'))
    const where = { dataDirectory, cacheDirectory: cacheDirectoryOf(process.env), nodes: 3, basePorts: 'free' } as const
    await using cluster = new AsyncDisposableStack()
    cluster.defer(async () => {
      await stopEngines(dataDirectory)
      await rm(dataDirectory, { recursive: true, force: true })
    })
    const { processes } = await startEngines({ ...where, names: ['kafka'] })
    const brokers = processes.filter(({ engine }) => engine === 'kafka')
    await using own = await openKafkaLab(brokers.map(({ ports }) => `127.0.0.1:${ports['client'] ?? Object.values(ports)[0]}`).join())
    const { lab } = own
    const traffic = openTraffic(lab, 133)
    await using worker = new LoopWorker(lab)
    for (const { name } of brokers) {
      await traffic(60)
      await expectE0(lab, 60_000)
      await killProcess(dataDirectory, name)
      // Two of three replicas are enough.
      await traffic(60)
      await expectE0(lab, 60_000)
      await restartProcess(where, name)
    }
    await traffic(60)
    await expectE0(lab, 60_000)
    expect(worker.failure).toBeNull()
  })
})

/** One letter, as the system's process table has it: T is stopped. */
function stateOf(pid: number): string {
  const status = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return status.slice(status.lastIndexOf(')') + 2, status.lastIndexOf(')') + 3)
}

function timer(ms: number): () => boolean {
  const until = performance.now() + ms
  return () => performance.now() >= until
}
