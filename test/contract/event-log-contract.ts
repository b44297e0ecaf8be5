/**
 * What every event log does, whatever it is made of. Run by each adapter's test with a subject: a place that keeps topics, opened as
 * often as the suite likes. Not assumed: offsets without gaps, a log time that is taken as given, pruning that forgets at once.
 */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import type { EventLog, LogAppend, LogRecord, Vector } from '#core/ports.ts'
import { LossError } from '#core/errors.ts'

import { waitUntil } from '../wait-until.ts'

export interface EventLogSubject extends AsyncDisposable {
  /** Opens the same log again; the suite closes what it opens. */
  open(): Promise<EventLog>
  /** Makes the log forget what lies below, whatever it takes. */
  forget(topic: string, below: Vector): Promise<void>
  /** How soon a change of the readers must have been shared out. */
  readonly assignmentMs: number
}

const TEST_MS = 60_000

export function testEventLog(name: string, start: () => Promise<EventLogSubject>): void {
  describe(`event log: ${name}`, { timeout: TEST_MS }, () => {
    let subject: EventLogSubject
    let log: EventLog

    beforeAll(async () => {
      subject = await start()
      log = await subject.open()
    }, TEST_MS)

    afterAll(async () => {
      await log[Symbol.asyncDispose]()
      await subject[Symbol.asyncDispose]()
    }, TEST_MS)

    const freshTopic = async (partitions: number): Promise<string> => {
      const topic = `t.${randomUUID()}`
      await log.create(topic, partitions)
      return topic
    }

    describe('create', () => {
      test('makes the partitions once and leaves an existing topic as it is', async () => {
        const topic = await freshTopic(3)
        await log.append(topic, [record('a', 'one')])
        const before = await log.bounds(topic)
        await log.create(topic, 7)
        expect(await log.bounds(topic)).toEqual(before)
        expect([...before.first.keys()].sort((a, b) => a - b)).toEqual([0, 1, 2])
      })

      test('may be called by several at once', async () => {
        const topic = `t.${randomUUID()}`
        await using other = await subject.open()
        await Promise.all([log, other, log, other, log, other].map((each) => each.create(topic, 4)))
        expect((await log.bounds(topic)).end.size).toBe(4)
      })
    })

    describe('append', () => {
      test('is durable when it resolves, and the same after opening the log five times', async () => {
        const topic = await freshTopic(3)
        const sent = Array.from({ length: 500 }, (_, i) => record(`key ${i % 17}`, `value ${i}`))
        await log.append(topic, sent)
        const first = await readAll(log, topic)
        expect(textsOf(first).sort()).toEqual(sent.map((each) => textOf(each.value)).sort())
        for (let opening = 0; opening < 5; opening += 1) {
          await using again = await subject.open()
          expect(plain(await readAll(again, topic))).toEqual(plain(first))
        }
      })

      test('returns the next offset of each partition it touched, and of no other', async () => {
        const topic = await freshTopic(4)
        const once = await log.append(topic, [record('k', '1'), record('k', '2')])
        expect(once.size).toBe(1)
        const [[partition, next]] = [...once] as [[number, number]]
        expect((await log.bounds(topic)).end.get(partition)).toBe(next)
        const twice = await log.append(topic, [record('k', '3')])
        expect([...twice.keys()]).toEqual([partition])
        expect(twice.get(partition)).toBeGreaterThan(next)
        const after = await readAll(log, topic, once, twice)
        expect(textsOf(after)).toEqual(['3'])
      })

      test('of nothing does nothing', async () => {
        const topic = await freshTopic(2)
        const before = await log.bounds(topic)
        expect((await log.append(topic, [])).size).toBe(0)
        expect(await log.bounds(topic)).toEqual(before)
      })

      test('keeps the records of one key in one partition and in their order', async () => {
        const topic = await freshTopic(5)
        const keys = ['o-77', 'Ωμέγα', '注文-42', 'заказ', '🛒', '', 'o-78']
        for (let round = 0; round < 20; round += 1) {
          await log.append(topic, keys.map((key) => record(key, `${key}#${round}`)))
        }
        const read = await readAll(log, topic)
        for (const key of keys) {
          const homes = [...read].filter(([, records]) => records.some((each) => textOf(each.value).startsWith(`${key}#`)))
          expect(homes.length, key).toBe(1)
          const own = homes[0]![1].map((each) => textOf(each.value)).filter((text) => text.startsWith(`${key}#`))
          expect(own).toEqual(Array.from({ length: 20 }, (_, round) => `${key}#${round}`))
        }
      })

      test('spreads records without a key', async () => {
        const topic = await freshTopic(3)
        for (let i = 0; i < 60; i += 1) await log.append(topic, [{ key: null, value: Buffer.from(String(i)) }])
        const read = await readAll(log, topic)
        expect([...read.values()].every((records) => records.length > 0)).toBe(true)
        expect(textsOf(read).map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, i) => i))
      })

      test('by several at once loses, doubles and reorders nothing', async () => {
        const topic = await freshTopic(3)
        await using other = await subject.open()
        const appendAll = async (to: EventLog, who: string): Promise<void> => {
          for (let i = 0; i < 40; i += 1) {
            await to.append(topic, [0, 1, 2, 3, 4].map((key) => record(`${key}`, `${who} ${key} ${i}`)))
          }
        }
        await Promise.all([appendAll(log, 'a'), appendAll(other, 'b'), appendAll(log, 'c'), appendAll(other, 'd')])
        const read = await readAll(log, topic)
        expect(textsOf(read).length).toBe(4 * 40 * 5)
        for (const who of ['a', 'b', 'c', 'd']) {
          for (const key of [0, 1, 2, 3, 4]) {
            const own = textsOf(read).filter((text) => text.startsWith(`${who} ${key} `))
            expect(own).toEqual(Array.from({ length: 40 }, (_, i) => `${who} ${key} ${i}`))
          }
        }
      })

      test('keeps values and headers byte for byte', async () => {
        const topic = await freshTopic(1)
        const large = Buffer.alloc(5 * 1024 * 1024, 0).map((_, i) => (i * 31 + (i >> 8)) % 256)
        const everyByte = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
        const sent: LogAppend[] = [
          { key: 'k', value: Buffer.alloc(0) },
          { key: 'k', value: everyByte, headers: { 'content-type': 'text/csv', źródło: 'sklep żółty', empty: '' } },
          { key: 'k', value: large, headers: { part: '1' } },
          { key: 'k', value: Buffer.from('last') },
        ]
        await log.append(topic, sent)
        const read = (await readAll(log, topic)).get(0)!
        expect(read.map((each) => each.value.length)).toEqual([0, 256, large.length, 4])
        for (const [index, each] of read.entries()) expect(Buffer.compare(each.value, sent[index]!.value), `value ${index}`).toBe(0)
        expect(read.map((each) => each.headers)).toEqual([null, sent[1]!.headers, { part: '1' }, null])
      })

      test('never lets log time go back within a partition, nor run ahead of the clock', async () => {
        const topic = await freshTopic(1)
        const startMs = Date.now()
        for (const logTimeMs of [undefined, startMs - 1_000_000, startMs + 3_600_000, undefined, startMs - 5]) {
          await log.append(topic, [{ key: 'k', value: Buffer.from('v'), ...(logTimeMs === undefined ? {} : { logTimeMs }) }])
        }
        const times = (await readAll(log, topic)).get(0)!.map((each) => each.logTimeMs)
        expect(times).toEqual([...times].sort((a, b) => a - b))
        // A remote log's clock may differ from ours a little.
        expect(times.at(-1)).toBeLessThan(Date.now() + 60_000)
        expect(times.every(Number.isSafeInteger)).toBe(true)
      })
    })

    describe('read', () => {
      test('gives runs that follow on each other, with rising offsets inside', async () => {
        const topic = await freshTopic(2)
        for (let i = 0; i < 30; i += 1) await log.append(topic, many(i * 400, 400))
        const { end } = await log.bounds(topic)
        const position = new Map([...end.keys()].map((partition) => [partition, 0]))
        let count = 0
        for await (const batch of log.read(topic, position, { to: end, signal: forever() })) {
          expect(batch.from).toBe(position.get(batch.partition))
          let last = batch.from - 1
          for (const { offset } of batch.records) {
            if (offset <= last || offset >= batch.to) throw new Error(`offset ${offset} after ${last} in a run that ends at ${batch.to}`)
            last = offset
          }
          position.set(batch.partition, batch.to)
          count += batch.records.length
        }
        expect(count).toBe(12_000)
        for (const [partition, to] of end) expect(position.get(partition)).toBeGreaterThanOrEqual(to)
      })

      test('starts and stops at any offset, also within what was appended in one go', async () => {
        const topic = await freshTopic(1)
        await log.append(topic, many(0, 1_000))
        await log.append(topic, many(1_000, 1_000))
        const all = (await readAll(log, topic)).get(0)!
        for (const [from, to] of [[1, 2], [0, 999], [500, 1_500], [999, 1_001], [1_999, 2_000], [1_000, 1_000]] as const) {
          const start = new Map([[0, all[from]!.offset]])
          const end = new Map([[0, all[to]?.offset ?? all.at(-1)!.offset + 1]])
          const part = (await readAll(log, topic, start, end)).get(0) ?? []
          expect(plainRecords(part)).toEqual(plainRecords(all.slice(from, to)))
        }
      })

      test('any way of cutting a random history into reads gives the same records', async () => {
        const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32))
        const random = mulberry32(seed)
        const below = (n: number): number => Math.floor(random() * n)
        const topic = await freshTopic(3)
        for (let i = 0; i < 40; i += 1) {
          const size = 1 + below(i % 7 === 0 ? 3_000 : 20)
          await log.append(topic, Array.from({ length: size }, (_, j) => record(String(below(9)), `${i}/${j}`.padEnd(below(60)))))
        }
        const whole = await readAll(log, topic)
        const { end } = await log.bounds(topic)
        const pieces = new Map<number, LogRecord[]>([...end.keys()].map((partition) => [partition, []]))
        const position = new Map([...end.keys()].map((partition) => [partition, 0]))
        while ([...end].some(([partition, to]) => position.get(partition)! < to)) {
          const to = new Map([...end].map(([partition, last]) => [partition, Math.min(last, position.get(partition)! + below(1_500))]))
          for (const [partition, records] of await readAll(log, topic, position, to)) pieces.get(partition)!.push(...records)
          for (const [partition, next] of to) position.set(partition, next)
        }
        expect(plain(pieces), `seed ${seed}`).toEqual(plain(whole))
      })

      test('reads nothing of a partition that `to` leaves out, and ends at once where nothing is wanted', async () => {
        const topic = await freshTopic(2)
        await log.append(topic, Array.from({ length: 20 }, (_, i) => record(String(i), String(i))))
        const { end } = await log.bounds(topic)
        const start = new Map([[0, 0], [1, 0]])
        const read = await readAll(log, topic, start, new Map([[1, end.get(1)!]]))
        expect([...read.keys()]).toEqual([1])
        expect(await readAll(log, topic, end, end)).toEqual(new Map())
        expect(await readAll(log, topic, new Map(), end)).toEqual(new Map())
      })

      test('waits for what is appended later, and passes it on as it comes', async () => {
        const topic = await freshTopic(2)
        const stop = new AbortController()
        const seen: string[] = []
        const reading = (async () => {
          for await (const batch of log.read(topic, new Map([[0, 0], [1, 0]]), { signal: stop.signal })) {
            seen.push(...batch.records.map((each) => textOf(each.value)))
          }
        })()
        for (let i = 0; i < 5; i += 1) {
          await log.append(topic, [record(`k${i}`, `v${i}`)])
          await waitUntil(`record ${i}`, () => seen.length === i + 1)
        }
        expect(seen).toEqual(['v0', 'v1', 'v2', 'v3', 'v4'])
        stop.abort()
        await reading
      })

      test('waits until it reaches a `to` that lies ahead', async () => {
        const topic = await freshTopic(1)
        const next = await log.append(topic, [record('k', '0')])
        const reading = readAll(log, topic, next, new Map([[0, next.get(0)! + 1]]))
        await log.append(topic, [record('k', '1'), record('k', '2')])
        const texts = textsOf(await reading)
        expect(texts.length).toBeLessThanOrEqual(1)
        expect(['1', undefined]).toContain(texts[0])
      })

      test('stops promptly and without an error when aborted: before, while waiting, in the middle', async () => {
        const topic = await freshTopic(1)
        const before = new AbortController()
        before.abort()
        expect(await countUntil(log.read(topic, new Map([[0, 0]]), { signal: before.signal }))).toBe(0)

        const waiting = new AbortController()
        const idle = countUntil(log.read(topic, new Map([[0, 0]]), { signal: waiting.signal }))
        setTimeout(() => waiting.abort(), 100)
        const waitedMs = await timeMs(idle)
        expect(waitedMs).toBeLessThan(3_000)

        for (let i = 0; i < 3; i += 1) await log.append(topic, many(i * 20_000, 20_000))
        for (const delayMs of [0, 1, 3, 10, 20]) {
          const during = new AbortController()
          const counting = countUntil(log.read(topic, new Map([[0, 0]]), { signal: during.signal }))
          setTimeout(() => during.abort(), delayMs)
          expect(await timeMs(counting)).toBeLessThan(3_000)
        }
      })

      test('may be left after any batch', async () => {
        const topic = await freshTopic(2)
        for (let i = 0; i < 5; i += 1) await log.append(topic, many(i * 4_000, 4_000))
        for (let round = 0; round < 20; round += 1) {
          for await (const batch of log.read(topic, new Map([[0, 0], [1, 0]]), { signal: forever() })) {
            expect(batch.records.length).toBeGreaterThan(0)
            break
          }
        }
      })

      test('throws LossError beyond the end', async () => {
        const topic = await freshTopic(2)
        const next = await log.append(topic, [record('k', 'v')])
        const [[partition, end]] = [...next] as [[number, number]]
        const error = await failure(readAll(log, topic, new Map([[partition, end + 5]]), new Map([[partition, end + 10]])))
        expect(error).toBeInstanceOf(LossError)
        expect((error as LossError).details).toMatchObject({ topic, partition, from: end, to: end + 5 })
      })

      test('throws LossError where the log has forgotten, and not where it has not', async () => {
        const topic = await freshTopic(1)
        const next = await log.append(topic, [record('k', 'old')])
        await log.append(topic, [record('k', 'new')])
        await subject.forget(topic, next)
        const { first, end } = await log.bounds(topic)
        expect(first).toEqual(next)
        const error = await failure(readAll(log, topic, new Map([[0, 0]]), end))
        expect(error).toBeInstanceOf(LossError)
        expect((error as LossError).details).toMatchObject({ topic, partition: 0, from: 0, to: next.get(0) })
        expect((error as LossError).message).toMatch(/accept the loss/)
        expect(textsOf(await readAll(log, topic, next, end))).toEqual(['new'])
      })
    })

    describe('prune', () => {
      test('never forgets what lies at or above the vector, nor what is younger', async () => {
        const topic = await freshTopic(1)
        const next = await log.append(topic, [record('k', 'below')])
        await log.append(topic, [record('k', 'above')])
        await log.prune(topic, next, Date.now() - 3_600_000)
        expect((await log.bounds(topic)).first.get(0)).toBe(0)
        await log.prune(topic, next, Date.now() + 3_600_000)
        const { first, end } = await log.bounds(topic)
        expect(first.get(0)).toBeLessThanOrEqual(next.get(0)!)
        expect(textsOf(await readAll(log, topic, next, end))).toEqual(['above'])
      })

      test('leaves positions that are past it as they were', async () => {
        const topic = await freshTopic(1)
        const next = await log.append(topic, many(0, 100))
        await log.prune(topic, next, Date.now() + 3_600_000)
        expect((await log.bounds(topic)).end).toEqual(next)
        const after = await log.append(topic, [record('k', 'later')])
        expect(after.get(0)).toBeGreaterThan(next.get(0)!)
        expect(textsOf(await readAll(log, topic, next, after))).toEqual(['later'])
      })
    })

    describe('assigned', () => {
      test('shares all partitions out among 1, 2, 3 and again 1 readers', async () => {
        const topic = await freshTopic(5)
        const readers: Reader[] = []
        const join = async (): Promise<void> => {
          readers.push(new Reader(await subject.open(), topic))
        }
        const settle = (fewest: number, most: number): Promise<boolean> =>
          waitUntil(
            `${readers.length} readers with ${fewest} to ${most} partitions each`,
            () => {
              const lists = readers.map((reader) => reader.list)
              const all = lists.flat().sort((a, b) => a - b)
              const fair = lists.every((list) => list.length >= fewest && list.length <= most)
              return fair && all.join() === '0,1,2,3,4'
            },
            subject.assignmentMs,
          )
        try {
          await join()
          await settle(5, 5)
          await join()
          await settle(2, 3)
          await join()
          await settle(1, 2)
          await readers.shift()!.leave()
          await settle(2, 3)
          await readers.shift()!.leave()
          await settle(5, 5)
        } finally {
          for (const reader of readers) await reader.leave()
        }
        for (const reader of readers) expect(reader.failure).toBeNull()
      })

      test('takes a partition away only from a reader that has heard of it', async () => {
        const topic = await freshTopic(2)
        const stop = new AbortController()
        await using slowLog = await subject.open()
        const slow = slowLog.assigned(topic, stop.signal)[Symbol.asyncIterator]()
        let held: readonly number[] = (await slow.next()).value
        while (held.length < 2) held = (await slow.next()).value
        const quick = new Reader(await subject.open(), topic)
        try {
          // It learns that it should give one up, and still works on it: it has not asked for more.
          const kept: readonly number[] = (await slow.next()).value
          expect(kept.length).toBe(1)
          expect(held).toContain(kept[0])
          expect(quick.list).toEqual([])
          const following = slow.next()
          await waitUntil('the other reader to get it', () => quick.list.length === 1, subject.assignmentMs)
          expect([...kept, ...quick.list].sort((a, b) => a - b)).toEqual([0, 1])
          stop.abort()
          expect((await following).done).toBe(true)
        } finally {
          stop.abort()
          await quick.leave()
        }
      })

      test('ends promptly when aborted', async () => {
        const topic = await freshTopic(2)
        const reader = new Reader(log, topic)
        await waitUntil('a first list', () => reader.list.length === 2, subject.assignmentMs)
        expect(await timeMs(reader.stop())).toBeLessThan(3_000)
        expect(reader.failure).toBeNull()
        const stopped = new AbortController()
        stopped.abort()
        expect(await countUntil(log.assigned(topic, stopped.signal))).toBe(0)
      })
    })
  })
}

/** A consumer that follows its assignment. */
class Reader {
  readonly #log: EventLog
  readonly #stop = new AbortController()
  readonly #running: Promise<void>
  list: readonly number[] = []
  failure: unknown = null

  constructor(log: EventLog, topic: string) {
    this.#log = log
    this.#running = this.#follow(topic)
  }

  async #follow(topic: string): Promise<void> {
    try {
      for await (const list of this.#log.assigned(topic, this.#stop.signal)) this.list = list
    } catch (thrown) {
      this.failure = thrown
    }
    this.list = []
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  /** Stops, and closes its log. */
  async leave(): Promise<void> {
    await this.stop()
    await this.#log[Symbol.asyncDispose]()
  }
}

/** Records by partition from a vector (default: the first kept) to one (default: the end now). Partitions without records are left out. */
export async function readAll(log: EventLog, topic: string, from?: Vector, to?: Vector): Promise<Map<number, LogRecord[]>> {
  const bounds = from === undefined || to === undefined ? await log.bounds(topic) : null
  const records = new Map<number, LogRecord[]>()
  for await (const batch of log.read(topic, from ?? bounds!.first, { to: to ?? bounds!.end, signal: forever() })) {
    const of = records.get(batch.partition) ?? []
    for (const each of batch.records) of.push(each)
    records.set(batch.partition, of)
  }
  return records
}

export function record(key: string, value: string): LogAppend {
  return { key, value: Buffer.from(value) }
}

function many(first: number, count: number): LogAppend[] {
  return Array.from({ length: count }, (_, i) => record(`key ${(first + i) % 50}`, `record ${first + i}`))
}

export function textOf(value: Uint8Array): string {
  return new TextDecoder().decode(value)
}

export function textsOf(read: ReadonlyMap<number, readonly LogRecord[]>): string[] {
  return [...read.values()].flat().map((each) => textOf(each.value))
}

function plainRecords(records: readonly LogRecord[]): unknown[] {
  return records.map(({ offset, logTimeMs, value, headers }) => [offset, logTimeMs, textOf(value), headers])
}

function plain(read: ReadonlyMap<number, readonly LogRecord[]>): unknown {
  return [...read].sort(([a], [b]) => a - b).map(([partition, records]) => [partition, plainRecords(records)])
}

async function countUntil(items: AsyncIterable<unknown>): Promise<number> {
  let count = 0
  for await (const _ of items) count += 1
  return count
}

async function timeMs(work: Promise<unknown>): Promise<number> {
  const startMs = performance.now()
  await work
  return performance.now() - startMs
}

export async function failure(work: Promise<unknown>): Promise<unknown> {
  try {
    await work
  } catch (thrown) {
    return thrown
  }
  throw new Error('It should have failed.')
}

function forever(): AbortSignal {
  return new AbortController().signal
}

/** A small seeded generator, uniform in [0, 1). */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

