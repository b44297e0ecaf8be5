/** What only the PostgreSQL log promises, seen from beside it: with connections of our own that hold, kill and damage. */
import { spawn, type ChildProcess } from 'node:child_process'
import { createServer, connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { ConfigError, CorruptError, LossError, UnavailableError } from '#core/errors.ts'
import type { EventLog, LogAppend } from '#core/ports.ts'
import { partitionOfKey } from '#engines/log-partitioner.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'

import { failure, readAll, record, textsOf } from '../../contract/event-log-contract.ts'
import { freshSchema, openTestPostgres, type TestPostgres } from '../../postgres.ts'
import { waitUntil } from '../../wait-until.ts'

const TEST_MS = 60_000

let postgres: TestPostgres
let schema: string
let log: EventLog
let beside: pg.Client
let topics = 0

/** Tells the sessions of this file's log from all others, where the server is shared. */
const APPLICATION = `tidemark-log-${process.pid}`

beforeAll(async () => {
  postgres = await openTestPostgres()
  schema = await freshSchema(postgres.url, 'log')
  const url = new URL(postgres.url)
  url.searchParams.set('application_name', APPLICATION)
  log = await openPostgresLog({ connectionString: url.href, schema })
  beside = await openBeside()
}, TEST_MS)

afterAll(async () => {
  await beside.end()
  await log[Symbol.asyncDispose]()
  await postgres[Symbol.asyncDispose]()
}, TEST_MS)

async function openBeside(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: postgres.url })
  client.on('error', () => {})
  await client.connect()
  await client.query(`SET search_path = ${schema}`)
  return client
}

async function freshTopic(partitions: number): Promise<string> {
  const topic = `topic-${(topics += 1)}`
  await log.create(topic, partitions)
  return topic
}

/** A record of a key that belongs to the partition. */
function recordIn(partition: number, partitions: number, value: string): LogAppend {
  for (let i = 0; ; i += 1) {
    if (partitionOfKey(`k${i}`, partitions) === partition) return record(`k${i}`, value)
  }
}

async function topicIdOf(topic: string): Promise<number> {
  const { rows } = await beside.query<{ topic_id: number }>('SELECT topic_id FROM topics WHERE name = $1', [topic])
  return rows[0]!.topic_id
}

/** The sessions of the log that wait for a lock now. */
async function waitingSessions(): Promise<number[]> {
  const { rows } = await beside.query<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'`,
    [APPLICATION],
  )
  return rows.map((row) => row.pid)
}

/** Collects what a reader without an end sees, until stopped. */
function follow(topic: string, partitions: readonly number[]): { readonly seen: string[]; readonly stop: () => Promise<void> } {
  const stopping = new AbortController()
  const seen: string[] = []
  const reading = (async () => {
    const start = new Map(partitions.map((partition) => [partition, 0]))
    for await (const batch of log.read(topic, start, { signal: stopping.signal })) {
      seen.push(...batch.records.map((each) => Buffer.from(each.value).toString()))
    }
  })()
  return {
    seen,
    stop: async () => {
      stopping.abort()
      await reading
    },
  }
}

describe('transactions', { timeout: TEST_MS }, () => {
  test('while one holds a partition, appends to others go on, and nothing uncommitted or out of order is seen', async () => {
    const topic = await freshTopic(2)
    const topicId = await topicIdOf(topic)
    const reader = follow(topic, [0, 1])
    await using holder = await heldRow(topicId, 0)
    const both = log.append(topic, [recordIn(0, 2, 'a0'), recordIn(1, 2, 'a1')])
    await waitUntil('the append to wait for the row', async () => (await waitingSessions()).length === 1)
    await log.append(topic, [recordIn(1, 2, 'b1')])
    await waitUntil('b1', () => reader.seen.length === 1)
    expect(reader.seen).toEqual(['b1'])
    await holder.release()
    await both
    await log.append(topic, [recordIn(0, 2, 'c0')])
    await waitUntil('all four', () => reader.seen.length === 4)
    expect(reader.seen[0]).toBe('b1')
    expect(reader.seen.indexOf('a0')).toBeLessThan(reader.seen.indexOf('c0'))
    await reader.stop()
  })

  test('an append whose connection is killed before its commit leaves nothing', async () => {
    const topic = await freshTopic(3)
    const before = await log.append(topic, [record('k', 'kept')])
    // Everything is stored and only the commit is missing: a trigger holds the append there.
    await beside.query(`
      CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$;
      CREATE TRIGGER hold AFTER UPDATE ON partitions FOR EACH STATEMENT EXECUTE FUNCTION hold();
      SELECT pg_advisory_lock(4711)`)
    try {
      const sent = Array.from({ length: 30_000 }, (_, i) => record(`k${i}`, `lost ${i}`))
      const appending = failure(log.append(topic, sent))
      const [pid] = await waitUntil('the append to be held', async () => {
        const waiting = await waitingSessions()
        return waiting.length === 1 ? waiting : null
      })
      const { end } = await log.bounds(topic)
      for (const [partition, next] of before) expect(end.get(partition)).toBe(next)
      await beside.query('SELECT pg_terminate_backend($1)', [pid])
      expect(await appending).toBeInstanceOf(UnavailableError)
    } finally {
      await beside.query('DROP TRIGGER hold ON partitions; DROP FUNCTION hold(); SELECT pg_advisory_unlock(4711)')
    }
    expect(textsOf(await readAll(log, topic))).toEqual(['kept'])
    const { rows } = await beside.query('SELECT count(*)::int AS count FROM batches WHERE topic_id = $1', [await topicIdOf(topic)])
    expect(rows).toEqual([{ count: 1 }])
    await log.append(topic, [record('k', 'after')])
    expect(textsOf(await readAll(log, topic))).toEqual(['kept', 'after'])
  })

  test('an append waits for two partitions in their order, so that two cannot deadlock', async () => {
    const topic = await freshTopic(4)
    const rounds = Array.from({ length: 60 }, (_, i) => i)
    await using other = await openPostgresLog({ connectionString: postgres.url, schema })
    await Promise.all([
      ...rounds.map((i) => log.append(topic, [recordIn(0, 4, `a${i}`), recordIn(3, 4, `a${i}`)])),
      ...rounds.map((i) => other.append(topic, [recordIn(3, 4, `b${i}`), recordIn(0, 4, `b${i}`)])),
    ])
    expect(textsOf(await readAll(log, topic)).length).toBe(240)
  })

  test('is durable also where the database commits asynchronously', async () => {
    const topic = await freshTopic(1)
    const url = new URL(postgres.url)
    url.searchParams.set('options', '-c synchronous_commit=off')
    await using relaxed = await openPostgresLog({ connectionString: url.href, schema })
    await beside.query(`
      CREATE TABLE commits (setting text);
      CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO commits VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
      CREATE TRIGGER note AFTER INSERT ON batches FOR EACH STATEMENT EXECUTE FUNCTION note()`)
    try {
      await relaxed.append(topic, [record('k', 'v')])
      const { rows } = await beside.query('SELECT setting FROM commits')
      expect(rows).toEqual([{ setting: 'on' }])
    } finally {
      await beside.query('DROP TRIGGER note ON batches; DROP FUNCTION note(); DROP TABLE commits')
    }
  })

  test('uses as many partitions as there are, also when some were added', async () => {
    const topic = await freshTopic(1)
    await log.append(topic, [record('k', 'one')])
    await beside.query('INSERT INTO partitions (topic_id, partition) SELECT $1, generate_series(1, 11)', [await topicIdOf(topic)])
    const key = Array.from({ length: 50 }, (_, i) => `k${i}`).find((each) => partitionOfKey(each, 12) !== 0)!
    const ends = await log.append(topic, [record(key, 'twelve')])
    expect([...ends.keys()]).toEqual([partitionOfKey(key, 12)])
  })
})

describe('log time', { timeout: TEST_MS }, () => {
  test('is the given one, unless that lies in the future or before the one before', async () => {
    const topic = await freshTopic(1)
    const dayMs = 86_400_000
    const base = Date.UTC(2024, 11, 30)
    const given = [base, base + dayMs, base, base + 2 * dayMs + 7]
    await log.append(topic, given.slice(0, 3).map((logTimeMs) => ({ ...record('k', 'v'), logTimeMs })))
    await log.append(topic, given.slice(3).map((logTimeMs) => ({ ...record('k', 'v'), logTimeMs })))
    const { rows } = await beside.query<{ ms: string }>('SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms')
    await log.append(topic, [{ ...record('k', 'v'), logTimeMs: Date.UTC(2999, 0, 1) }, record('k', 'v')])
    const times = (await readAll(log, topic)).get(0)!.map((each) => each.logTimeMs)
    expect(times.slice(0, 4)).toEqual([base, base + dayMs, base + dayMs, base + 2 * dayMs + 7])
    expect(times[4]).toBeGreaterThanOrEqual(Number(rows[0]!.ms))
    expect(times[4]).toBeLessThan(Number(rows[0]!.ms) + 30_000)
    expect(times[5]).toBe(times[4])
  })

  test('stands still while the clock of the database lies behind', async () => {
    const topic = await freshTopic(1)
    await log.append(topic, [record('k', 'v')])
    const aheadMs = Date.now() + 3_600_000
    await beside.query('UPDATE partitions SET last_log_time_ms = $2 WHERE topic_id = $1', [await topicIdOf(topic), aheadMs])
    await log.append(topic, [record('k', 'v'), { ...record('k', 'v'), logTimeMs: 5 }])
    expect((await readAll(log, topic)).get(0)!.slice(1).map((each) => each.logTimeMs)).toEqual([aheadMs, aheadMs])
  })
})

describe('storage', { timeout: TEST_MS }, () => {
  test('takes values of 32 MiB', async () => {
    const topic = await freshTopic(1)
    const value = Buffer.alloc(32 * 1024 * 1024)
    for (let i = 0; i < value.length; i += 4_096) value.writeUInt32LE(i, i)
    await log.append(topic, [record('k', 'small'), { key: 'k', value }, record('k', 'small')])
    const read = (await readAll(log, topic)).get(0)!
    expect(read.length).toBe(3)
    expect(Buffer.compare(read[1]!.value, value)).toBe(0)
  })

  test('cuts a large append into batches of at most a MiB and 10,000 records', async () => {
    const topic = await freshTopic(1)
    await log.append(topic, Array.from({ length: 25_000 }, (_, i) => record('k', `${i}`)))
    await log.append(topic, Array.from({ length: 30 }, () => ({ key: 'k', value: Buffer.alloc(100_000) })))
    const { rows } = await beside.query<{ count: string; bytes: number }>(
      'SELECT next_offset - base_offset AS count, records_bytes AS bytes FROM batches WHERE topic_id = $1 ORDER BY next_offset',
      [await topicIdOf(topic)],
    )
    expect(rows.map((row) => Number(row.count))).toEqual([10_000, 10_000, 5_000, 10, 10, 10])
    expect(rows.every((row) => row.bytes <= 1024 * 1024)).toBe(true)
  })

  test('a damaged batch is found by its checksum, and named', async () => {
    const topic = await freshTopic(1)
    await log.append(topic, [record('k', 'a'.repeat(100))])
    await log.append(topic, [record('k', 'b'.repeat(100))])
    await beside.query('UPDATE batches SET records = set_byte(records, 50, 99) WHERE topic_id = $1 AND base_offset = 1', [await topicIdOf(topic)])
    const error = await failure(readAll(log, topic))
    expect(error).toBeInstanceOf(CorruptError)
    expect((error as CorruptError).details).toMatchObject({ partition: 0, baseOffset: 1, nextOffset: 2 })
  })

  test('a missing batch stops the reader and is named', async () => {
    const topic = await freshTopic(1)
    for (const value of ['a', 'b', 'c']) await log.append(topic, [record('k', value)])
    await beside.query('DELETE FROM batches WHERE topic_id = $1 AND base_offset = 1', [await topicIdOf(topic)])
    const error = await failure(readAll(log, topic))
    expect(error).toBeInstanceOf(CorruptError)
    expect((error as CorruptError).details).toEqual({ topic, partition: 0, from: 1, to: 2 })
  })

  test('a partition cannot keep its neighbours waiting: each fetch has some of every one', async () => {
    const topic = await freshTopic(3)
    await using small = await openPostgresLog({ connectionString: postgres.url, schema, fetchBytesMax: 30_000 })
    for (const partition of [0, 0, 0, 0, 0, 0, 0, 0, 1, 2]) {
      await log.append(topic, Array.from({ length: 10 }, () => recordIn(partition, 3, 'x'.repeat(1_000))))
    }
    const order: number[] = []
    const { end } = await log.bounds(topic)
    const start = new Map([[0, 0], [1, 0], [2, 0]])
    for await (const batch of small.read(topic, start, { to: end, signal: new AbortController().signal })) order.push(batch.partition)
    expect(order.slice(0, 3).sort((a, b) => a - b)).toEqual([0, 1, 2])
    expect(order.length).toBeGreaterThan(5)
  })

  test('prunes whole batches that are old enough, oldest first, in partitions of thousands', async () => {
    const topic = await freshTopic(1)
    const topicId = await topicIdOf(topic)
    for (let i = 0; i < 10; i += 1) await log.append(topic, [{ ...record('k', `${i}`), logTimeMs: 1_000 * (i + 1) }, { ...record('k', `${i}'`), logTimeMs: 1_000 * (i + 1) }])
    await log.prune(topic, new Map([[0, 20]]), 3_001)
    expect((await log.bounds(topic)).first.get(0)).toBe(6)
    await log.prune(topic, new Map([[0, 9]]), 1e15)
    expect((await log.bounds(topic)).first.get(0)).toBe(8)
    expect(textsOf(await readAll(log, topic)).length).toBe(12)
    // More batches than one statement removes.
    await beside.query(
      `INSERT INTO batches SELECT topic_id, partition, g, g + 1, 10000, 10000, records_bytes, records
       FROM generate_series(20, 4000) g, (SELECT * FROM batches WHERE topic_id = $1 LIMIT 1) AS one`,
      [topicId],
    )
    await beside.query('UPDATE partitions SET next_offset = 4001 WHERE topic_id = $1', [topicId])
    await log.prune(topic, new Map([[0, 4_001]]), 1e15)
    expect(await log.bounds(topic)).toEqual({ first: new Map([[0, 4_001]]), end: new Map([[0, 4_001]]) })
  })
})

describe('failures', { timeout: TEST_MS }, () => {
  test('a database that is not there is unavailable', async () => {
    const server = createServer()
    const port = await new Promise<number>((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port)))
    await new Promise((resolve) => server.close(resolve))
    const error = await failure(openPostgresLog({ connectionString: `postgres://nobody:x@127.0.0.1:${port}/none`, schema }))
    expect(error).toBeInstanceOf(UnavailableError)
    expect((error as UnavailableError).retryable).toBe(true)
  })

  test('wrong settings say what to change', async () => {
    const url = new URL(postgres.url)
    url.password = 'wrong'
    expect(await failure(openPostgresLog({ connectionString: url.href, schema }))).toBeInstanceOf(ConfigError)
    expect(await failure(openPostgresLog({ connectionString: 'nonsense', schema }))).toBeInstanceOf(ConfigError)
    expect(await failure(openPostgresLog({ connectionString: postgres.url, schema: 'x; DROP' }))).toBeInstanceOf(ConfigError)
    expect(await failure(log.create('a/b', 1))).toBeInstanceOf(ConfigError)
    expect(await failure(log.create('a', 0))).toBeInstanceOf(ConfigError)
    expect(await failure(log.append('none', [record('k', 'v')]))).toBeInstanceOf(ConfigError)
    expect(await failure(log.bounds('none'))).toBeInstanceOf(ConfigError)
    expect(await failure(readAll(log, 'none', new Map([[0, 0]]), new Map([[0, 1]])))).toBeInstanceOf(ConfigError)
  })

  test('a lost connection ends a reader with UnavailableError, and the log goes on with a new one', async () => {
    const topic = await freshTopic(1)
    await log.append(topic, Array.from({ length: 50_000 }, (_, i) => record('k', `${i}`)))
    await using relay = await openRelay(postgres.url)
    await using remote = await openPostgresLog({ connectionString: relay.url, schema, fetchBytesMax: 10_000 })
    const reading = (async () => {
      for await (const batch of remote.read(topic, new Map([[0, 0]]), { signal: new AbortController().signal })) {
        if (batch.from >= 10_000) relay.cut()
      }
    })()
    expect(await failure(reading)).toBeInstanceOf(UnavailableError)
    expect(textsOf(await readAll(remote, topic)).length).toBe(50_000)
  })

  test('an abort does not wait for an answer that never comes', async () => {
    const topic = await freshTopic(1)
    await log.append(topic, [record('k', 'v')])
    await using relay = await openRelay(postgres.url)
    const remote = await openPostgresLog({ connectionString: relay.url, schema })
    const stop = new AbortController()
    const texts: string[] = []
    const reading = (async () => {
      for await (const batch of remote.read(topic, new Map([[0, 0]]), { signal: stop.signal })) texts.push(...batch.records.map((each) => Buffer.from(each.value).toString()))
    })()
    await waitUntil('the first record', () => texts.length === 1)
    relay.silence()
    const startMs = performance.now()
    stop.abort()
    await reading
    expect(performance.now() - startMs).toBeLessThan(10_000)
    relay.cut()
    await remote[Symbol.asyncDispose]()
  })

  test('a topic that was made anew is a loss', async () => {
    const topic = await freshTopic(1)
    await log.append(topic, [record('k', 'a'), record('k', 'b')])
    const reader = log.read(topic, new Map([[0, 0]]), { signal: new AbortController().signal })[Symbol.asyncIterator]()
    expect((await reader.next()).value.records.length).toBe(2)
    const lost = failure(reader.next())
    const topicId = await topicIdOf(topic)
    await beside.query(`BEGIN; DELETE FROM batches WHERE topic_id = ${topicId}; DELETE FROM partitions WHERE topic_id = ${topicId}; DELETE FROM topics WHERE topic_id = ${topicId}; COMMIT`)
    await log.create(topic, 1)
    expect(await lost).toBeInstanceOf(LossError)
    // Appends find the new one.
    expect(await log.append(topic, [record('k', 'new')])).toEqual(new Map([[0, 1]]))
  })

  test('many may open a log that has no tables yet', async () => {
    const fresh = await freshSchema(postgres.url, 'log')
    const logs = await Promise.all(Array.from({ length: 6 }, () => openPostgresLog({ connectionString: postgres.url, schema: fresh })))
    await Promise.all(logs.map((each) => each.create('t', 2)))
    expect((await logs[0]!.bounds('t')).end.size).toBe(2)
    await Promise.all(logs.map((each) => each[Symbol.asyncDispose]()))
  })

  test('a closed log leaves no session behind and says that it is closed', async () => {
    const topic = await freshTopic(1)
    const application = `closing-${process.pid}`
    const url = new URL(postgres.url)
    const count = async (): Promise<number> =>
      (await beside.query<{ count: number }>(`SELECT count(*)::int AS count FROM pg_stat_activity WHERE application_name = $1`, [application])).rows[0]!.count
    url.searchParams.set('application_name', application)
    const closing = await openPostgresLog({ connectionString: url.href, schema })
    await closing.append(topic, [record('k', 'v')])
    const assigned = closing.assigned(topic, new AbortController().signal)[Symbol.asyncIterator]()
    expect((await assigned.next()).value).toEqual([0])
    const next = failure(assigned.next())
    expect(await count()).toBeGreaterThan(0)
    await closing[Symbol.asyncDispose]()
    expect(await next).toBeInstanceOf(UnavailableError)
    expect(await failure(closing.append(topic, [record('k', 'v')]))).toBeInstanceOf(UnavailableError)
    await waitUntil('all sessions to end', async () => (await count()) === 0)
  })
})

describe('assignment', { timeout: TEST_MS }, () => {
  test('a reader whose session is ended loses everything, and gets it back with a new one', async () => {
    const topic = await freshTopic(3)
    const stop = new AbortController()
    const lists: (readonly number[])[] = []
    const following = (async () => {
      for await (const list of log.assigned(topic, stop.signal)) lists.push(list)
    })()
    await waitUntil('all three', () => lists.at(-1)?.length === 3)
    await beside.query('SELECT pg_terminate_backend(pid) FROM members WHERE topic_id = $1', [await topicIdOf(topic)])
    await waitUntil('all three again', () => lists.length >= 3 && lists.at(-1)?.length === 3)
    expect(lists).toEqual([[0, 1, 2], [], [0, 1, 2]])
    stop.abort()
    await following
  })

  test('what a reader has not given up stays its own, however often the others look', async () => {
    const topic = await freshTopic(2)
    const stop = new AbortController()
    const slow = log.assigned(topic, stop.signal)[Symbol.asyncIterator]()
    expect((await slow.next()).value).toEqual([0, 1])
    let taken: readonly number[] = []
    const following = (async () => {
      for await (const list of log.assigned(topic, stop.signal)) taken = list
    })()
    const [kept] = (await slow.next()).value as [number]
    // Each heartbeat precedes a look at who holds what.
    const heartbeats = async (): Promise<string[]> => {
      const { rows } = await beside.query('SELECT heartbeat_at::text AS at FROM members WHERE topic_id = $1 ORDER BY pid', [await topicIdOf(topic)])
      return rows.map((row) => row.at)
    }
    for (let look = 0; look < 3; look += 1) {
      const before = await heartbeats()
      await waitUntil('both to look again', async () => (await heartbeats()).every((at, index) => at !== before[index]))
      expect(taken).toEqual([])
    }
    const ended = slow.next()
    await waitUntil('it to be handed over', () => taken.length === 1)
    expect(taken).toEqual([1 - kept])
    stop.abort()
    expect((await ended).done).toBe(true)
    await following
  })

  test('new partitions are found', async () => {
    const topic = await freshTopic(2)
    const stop = new AbortController()
    const assigned = log.assigned(topic, stop.signal)[Symbol.asyncIterator]()
    expect((await assigned.next()).value).toEqual([0, 1])
    await beside.query('INSERT INTO partitions (topic_id, partition) SELECT $1, generate_series(2, 3)', [await topicIdOf(topic)])
    expect((await assigned.next()).value).toEqual([0, 1, 2, 3])
    stop.abort()
  })

  test('a topic that does not exist is a mistake in the settings', async () => {
    expect(await failure(log.assigned('none', new AbortController().signal)[Symbol.asyncIterator]().next())).toBeInstanceOf(ConfigError)
  })

  test.each(['SIGKILL', 'SIGSTOP'] as const)('what a process holds is taken over after %s', async (signal) => {
    const topic = await freshTopic(4)
    const child = spawnMember(topic)
    const stop = new AbortController()
    let list: readonly number[] = []
    try {
      await waitUntil('the other process to hold all', () => child.lists.at(-1)?.length === 4)
      const following = (async () => {
        for await (const each of log.assigned(topic, stop.signal)) list = each
      })()
      await waitUntil('half each', () => list.length === 2 && child.lists.at(-1)?.length === 2)
      child.process.kill(signal)
      await waitUntil('all to be taken over', () => list.length === 4)
      if (signal === 'SIGSTOP') {
        child.process.kill('SIGCONT')
        await waitUntil('the other to hear that it lost all, then to get half', () => list.length === 2 && child.lists.at(-1)?.length === 2)
        expect(child.lists.at(-2)).toEqual([])
        expect([...list, ...child.lists.at(-1)!].sort((a, b) => a - b)).toEqual([0, 1, 2, 3])
      }
      stop.abort()
      await following
    } finally {
      stop.abort()
      child.process.kill('SIGKILL')
    }
  })
})

function spawnMember(topic: string): { readonly process: ChildProcess; readonly lists: (readonly number[])[] } {
  const script = new URL('./postgres-log-child.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [script, postgres.url, schema, topic], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lists: (readonly number[])[] = []
  createInterface({ input: child.stdout }).on('line', (line) => lists.push(JSON.parse(line)))
  return { process: child, lists }
}

/** A transaction that holds the row of a partition until released. */
async function heldRow(topicId: number, partition: number): Promise<AsyncDisposable & { release(): Promise<void> }> {
  const client = await openBeside()
  await client.query('BEGIN')
  await client.query('SELECT 1 FROM partitions WHERE topic_id = $1 AND partition = $2 FOR UPDATE', [topicId, partition])
  let open = true
  const release = async (): Promise<void> => {
    if (!open) return
    open = false
    await client.query('ROLLBACK')
    await client.end()
  }
  return { release, [Symbol.asyncDispose]: release }
}

/** A TCP relay to the server: `cut` breaks all its connections once, `silence` lets nothing through any more. */
async function openRelay(target: string): Promise<AsyncDisposable & { readonly url: string; cut(): void; silence(): void }> {
  const url = new URL(target)
  const sockets = new Set<Socket>()
  const relay = createServer((near) => {
    const far = connect(Number(url.port), url.hostname)
    for (const [from, to] of [[near, far], [far, near]] as const) {
      sockets.add(from)
      from.on('error', () => {}).on('close', () => to.destroy()).pipe(to)
    }
  })
  const port = await new Promise<number>((resolve) => relay.listen(0, '127.0.0.1', () => resolve((relay.address() as { port: number }).port)))
  const near = new URL(target)
  near.hostname = '127.0.0.1'
  near.port = String(port)
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
    sockets.clear()
  }
  return {
    url: near.href,
    cut,
    silence: () => {
      for (const socket of sockets) socket.unpipe().pause()
    },
    [Symbol.asyncDispose]: async () => {
      cut()
      await new Promise((resolve) => relay.close(resolve))
    },
  }
}
