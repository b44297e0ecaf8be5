/**
 * The event log in PostgreSQL: one row per appended batch and partition, like Kafka's record batches.
 *
 * An append is one transaction that locks the rows of its partitions in their order (so two appends cannot deadlock), takes offsets
 * and log times from them, stores the batches and moves the rows on. The locks end with the commit, so offsets become visible in
 * order, and a reader that sees an offset has seen, or can read, every offset before it.
 */
import { strict as assert } from 'node:assert'
import { readFile } from 'node:fs/promises'

import type pg from 'pg'

import { ConfigError, InvalidRequestError, UnavailableError } from '#core/errors.ts'
import type { EventLog, LogAppend, LogBatch, LogBounds, LogReadOptions, Vector } from '#core/ports.ts'

import { encodeFrame, frameBytesMax, type FrameRecord } from './log-frames.ts'
import { LogPartitioner } from './log-partitioner.ts'
import { assignPartitions } from './partition-leases.ts'
import { readPartitions, readPositions, unknownTopic } from './postgres-log-reader.ts'
import { onSession, openPool, sessionConfig } from './postgres-sessions.ts'
import { checkTopic } from './topic-names.ts'

const BATCH_BYTES_MAX = 1024 * 1024
const BATCH_RECORDS_MAX = 10_000
/** One record with its headers. PostgreSQL itself ends at 1 GiB per value. */
const RECORD_BYTES_MAX = 128 * 1024 * 1024
/** Stored batches go to the server in statements of about this size. */
const STATEMENT_BYTES_MAX = 8 * 1024 * 1024
const STATEMENT_BATCHES_MAX = 100
const PRUNE_BATCHES_MAX = 1_000
/** How often an append starts again because the topic's partitions are others than it knew. */
const APPEND_ATTEMPTS_MAX = 5
/** Appends and reads have connections of their own: an append may wait for another process's lock. */
const APPEND_CONNECTIONS_MAX = 4
const READ_CONNECTIONS_MAX = 4

export type PostgresLogOptions = {
  readonly connectionString: string
  /** The log's own schema, made when it is missing: `[a-z_][a-z0-9_]*`, at most 63 characters. */
  readonly schema?: string
  /** How often a reader that has read everything looks for more. */
  readonly pollIntervalMs?: number
  /** Stored bytes of one fetch, over all partitions. A reader holds two fetches, plus a batch per partition. */
  readonly fetchBytesMax?: number
  /** How often a process compares the partitions it holds with its share. */
  readonly assignIntervalMs?: number
  /** Silence after which a process's partitions are taken over. */
  readonly leaseMs?: number
}

type Topic = { readonly topicId: number; readonly partitions: number }
type Locked = { nextOffset: number; lastLogTimeMs: number }
type Batch = { readonly partition: number; readonly baseOffset: number; readonly nextOffset: number; readonly records: readonly FrameRecord[] }

/** Opens the log and makes its schema unless it exists. Throws ConfigError or UnavailableError. */
export async function openPostgresLog(options: PostgresLogOptions): Promise<EventLog> {
  const settings = {
    schema: 'tidemark_log',
    pollIntervalMs: 50,
    fetchBytesMax: 8 * 1024 * 1024,
    assignIntervalMs: 500,
    leaseMs: 5_000,
    ...options,
  }
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(settings.schema)) {
    throw new ConfigError(`The log's schema cannot be called ${JSON.stringify(settings.schema)}: use a-z, 0-9 and _, at most 63 characters.`)
  }
  const writers = openPool(settings, APPEND_CONNECTIONS_MAX)
  try {
    await createSchema(writers, settings.schema)
  } catch (thrown) {
    await writers.end()
    throw thrown
  }
  return new PostgresLog(settings, writers, openPool(settings, READ_CONNECTIONS_MAX))
}

async function createSchema(pool: pg.Pool, schema: string): Promise<void> {
  const tables = await readFile(new URL('./postgres-log.sql', import.meta.url), 'utf8')
  await onSession(pool, 'prepare its tables', async (client) => {
    const isThere = async (): Promise<boolean> =>
      (await client.query(/* sql */ `SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'members'`, [schema])).rowCount === 1
    if (await isThere()) return
    await client.query('BEGIN')
    await client.query(/* sql */ `SELECT pg_advisory_xact_lock(hashtextextended('tidemark event log: ' || $1, 0))`, [schema])
    if (!(await isThere())) {
      await client.query(`CREATE SCHEMA IF NOT EXISTS ${schema}`)
      await client.query(tables)
    }
    await client.query('COMMIT')
  })
}

class PostgresLog implements EventLog {
  readonly #settings: Required<PostgresLogOptions>
  readonly #writers: pg.Pool
  readonly #readers: pg.Pool
  readonly #topics = new Map<string, Topic>()
  readonly #partitioners = new Map<string, LogPartitioner>()
  readonly #closing = new AbortController()

  constructor(settings: Required<PostgresLogOptions>, writers: pg.Pool, readers: pg.Pool) {
    this.#settings = settings
    this.#writers = writers
    this.#readers = readers
  }

  async create(topic: string, partitions: number): Promise<void> {
    checkTopic(topic, partitions)
    await onSession(this.#writers, `create topic ${topic}`, (client) =>
      client.query(
        /* sql */ `WITH made AS (INSERT INTO topics (name) VALUES ($1) ON CONFLICT DO NOTHING RETURNING topic_id)
        INSERT INTO partitions (topic_id, partition) SELECT topic_id, generate_series(0, $2::int - 1) FROM made`,
        [topic, partitions],
      ),
    )
  }

  /** UnavailableError where the connection ends during the commit, too: the records may then be stored. Event ids make a repeat harmless. */
  async append(topic: string, records: readonly LogAppend[]): Promise<Vector> {
    if (records.length === 0) return new Map()
    for (const { value, headers } of records) {
      const bytes = frameBytesMax(value, headers)
      if (bytes > RECORD_BYTES_MAX) {
        throw new InvalidRequestError(`A record of ${bytes} bytes is too large for the log: send at most ${RECORD_BYTES_MAX} bytes.`, { topic, bytes })
      }
    }
    for (let attempt = 1; attempt <= APPEND_ATTEMPTS_MAX; attempt += 1) {
      const known = await this.#topic(topic)
      const ends = await onSession(this.#writers, `append to topic ${topic}`, (client) => this.#appendTo(client, topic, known, records))
      if (ends !== null) return ends
      this.#topics.delete(topic)
    }
    throw new UnavailableError(`The partitions of topic ${topic} change faster than records can be appended: try again.`, { topic })
  }

  /** One transaction; `null`, and nothing stored, where the topic's partitions are not the known ones any more. */
  async #appendTo(client: pg.PoolClient, topic: string, known: Topic, records: readonly LogAppend[]): Promise<Vector | null> {
    const indices = this.#partitioner(topic).spread(records.map((record) => record.key), known.partitions)
    const touched = [...indices.keys()].sort((a, b) => a - b)
    // Durable when it resolves, also where the database's default is not; stricter defaults stay.
    await client.query(/* sql */ `BEGIN ISOLATION LEVEL READ COMMITTED;
      SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'`)
    const { locked, nowMs, partitions } = await lockPartitions(client, known.topicId, touched)
    if (locked.size !== touched.length || partitions !== known.partitions) {
      await client.query('ROLLBACK')
      return null
    }
    let group: Batch[] = []
    let groupBytes = 0
    for (const partition of touched) {
      const own = indices.get(partition)!.map((index) => records[index]!)
      for (const { batch, bytes } of cutBatches(partition, own, locked.get(partition)!, nowMs)) {
        if (group.length > 0 && (groupBytes + bytes > STATEMENT_BYTES_MAX || group.length === STATEMENT_BATCHES_MAX)) {
          await insertBatches(client, known.topicId, group)
          group = []
          groupBytes = 0
        }
        group.push(batch)
        groupBytes += bytes
      }
    }
    await insertBatches(client, known.topicId, group)
    const ends = touched.map((partition) => locked.get(partition)!)
    await client.query({
      name: 'move-partitions',
      text: /* sql */ `UPDATE partitions SET next_offset = moved.next_offset, last_log_time_ms = moved.last_log_time_ms
        FROM unnest($2::int[], $3::bigint[], $4::bigint[]) AS moved (partition, next_offset, last_log_time_ms)
        WHERE partitions.topic_id = $1 AND partitions.partition = moved.partition`,
      values: [known.topicId, touched, ends.map((end) => end.nextOffset), ends.map((end) => end.lastLogTimeMs)],
    })
    await client.query('COMMIT')
    return new Map(touched.map((partition) => [partition, locked.get(partition)!.nextOffset]))
  }

  assigned(topic: string, signal: AbortSignal): AsyncIterable<readonly number[]> {
    const { assignIntervalMs, leaseMs } = this.#settings
    // A session whose answer takes longer than the lease has lost it.
    const session = sessionConfig({ ...this.#settings, answerMsMax: leaseMs })
    return assignPartitions({ session, topic, assignIntervalMs, leaseMs, closing: this.#closing.signal }, signal)
  }

  read(topic: string, from: Vector, options: LogReadOptions): AsyncIterable<LogBatch> {
    const { pollIntervalMs, fetchBytesMax } = this.#settings
    return readPartitions({ pool: this.#readers, topic, pollIntervalMs, fetchBytesMax }, from, options)
  }

  async bounds(topic: string): Promise<LogBounds> {
    const positions = await readPositions(this.#readers, topic)
    if (positions.size === 0) throw unknownTopic(topic)
    return {
      first: new Map([...positions].map(([partition, { first }]) => [partition, first])),
      end: new Map([...positions].map(([partition, { end }]) => [partition, end])),
    }
  }

  async prune(topic: string, below: Vector, beforeMs: number): Promise<void> {
    const positions = await readPositions(this.#writers, topic)
    if (positions.size === 0) throw unknownTopic(topic)
    const before = Math.min(Math.ceil(beforeMs), Number.MAX_SAFE_INTEGER)
    for (const [partition, to] of below) {
      const topicId = positions.get(partition)?.topicId
      if (topicId === undefined) continue
      // Many short transactions, so that no append waits long for a partition's row.
      let pruned = true
      while (pruned) pruned = await this.#pruneSome(topicId, partition, to, before)
    }
  }

  /** Log time does not go back, so what is old enough is always the head of the partition. */
  async #pruneSome(topicId: number, partition: number, to: number, beforeMs: number): Promise<boolean> {
    const result = await onSession(this.#writers, 'prune', (client) =>
      client.query(
        /* sql */ `WITH old AS (
          SELECT next_offset FROM batches
          WHERE topic_id = $1 AND partition = $2 AND next_offset <= $3 AND last_log_time_ms < $4
          ORDER BY next_offset LIMIT ${PRUNE_BATCHES_MAX}
        ), gone AS (
          DELETE FROM batches WHERE topic_id = $1 AND partition = $2 AND next_offset IN (SELECT next_offset FROM old)
          RETURNING next_offset
        ), gone_to AS MATERIALIZED (SELECT max(next_offset) AS next_offset FROM gone)
        UPDATE partitions SET first_offset = greatest(first_offset, gone_to.next_offset)
        FROM gone_to WHERE topic_id = $1 AND partition = $2 AND gone_to.next_offset IS NOT NULL`,
        [topicId, partition, to, beforeMs],
      ),
    )
    return result.rowCount === 1
  }

  async #topic(topic: string): Promise<Topic> {
    const known = this.#topics.get(topic)
    if (known !== undefined) return known
    const positions = await readPositions(this.#writers, topic)
    const [position] = positions.values()
    if (position === undefined) throw unknownTopic(topic)
    const found = { topicId: position.topicId, partitions: positions.size }
    this.#topics.set(topic, found)
    return found
  }

  #partitioner(topic: string): LogPartitioner {
    const partitioner = this.#partitioners.get(topic) ?? new LogPartitioner()
    this.#partitioners.set(topic, partitioner)
    return partitioner
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new UnavailableError('The event log was closed.'))
    await Promise.all([this.#writers.end(), this.#readers.end()])
  }
}

/** Locks the partitions in their order and tells where they stand and what time it is, on the database's clock, once all are locked. */
async function lockPartitions(
  client: pg.PoolClient,
  topicId: number,
  partitions: readonly number[],
): Promise<{ locked: Map<number, Locked>; nowMs: number; partitions: number }> {
  const { rows } = await client.query<[number, string, string, string, number]>({
    name: 'lock-partitions',
    text: /* sql */ `WITH locked AS MATERIALIZED (
        SELECT partition, next_offset, last_log_time_ms FROM partitions
        WHERE topic_id = $1 AND partition = ANY ($2::int[]) ORDER BY partition FOR UPDATE
      )
      SELECT partition, next_offset, last_log_time_ms, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint,
        (SELECT count(*)::int FROM partitions WHERE topic_id = $1)
      FROM locked`,
    values: [topicId, partitions],
    rowMode: 'array',
  })
  return {
    locked: new Map(rows.map(([partition, next, time]) => [partition, { nextOffset: Number(next), lastLogTimeMs: Number(time) }])),
    nowMs: Math.max(0, ...rows.map((row) => Number(row[3]))),
    partitions: rows[0]?.[4] ?? 0,
  }
}

/** Cuts one partition's records into stored batches and moves `at` on, past them. */
function* cutBatches(partition: number, appends: readonly LogAppend[], at: Locked, nowMs: number): Generator<{ batch: Batch; bytes: number }> {
  let records: FrameRecord[] = []
  let bytes = 0
  const cut = (): { batch: Batch; bytes: number } => {
    const baseOffset = at.nextOffset
    at.nextOffset += records.length
    at.lastLogTimeMs = records.at(-1)!.logTimeMs
    const made = { batch: { partition, baseOffset, nextOffset: at.nextOffset, records }, bytes }
    records = []
    bytes = 0
    return made
  }
  let lastMs = at.lastLogTimeMs
  for (const { value, headers, logTimeMs = nowMs } of appends) {
    assert(Number.isSafeInteger(logTimeMs), 'a log time is whole milliseconds')
    const recordBytes = frameBytesMax(value, headers)
    if (records.length === BATCH_RECORDS_MAX || (records.length > 0 && bytes + recordBytes > BATCH_BYTES_MAX)) yield cut()
    lastMs = Math.max(lastMs, Math.min(logTimeMs, nowMs))
    records.push({ value, headers: headers ?? null, logTimeMs: lastMs })
    bytes += recordBytes
  }
  if (records.length > 0) yield cut()
}

async function insertBatches(client: pg.PoolClient, topicId: number, batches: readonly Batch[]): Promise<void> {
  const values: (number | Buffer)[] = [topicId]
  const tuples = batches.map(({ partition, baseOffset, nextOffset, records }) => {
    const frame = encodeFrame(records)
    const n = values.push(partition, baseOffset, nextOffset, records[0]!.logTimeMs, records.at(-1)!.logTimeMs, frame.length, frame)
    return `($1, $${n - 6}, $${n - 5}, $${n - 4}, $${n - 3}, $${n - 2}, $${n - 1}, $${n})`
  })
  await client.query(
    /* sql */ `INSERT INTO batches (topic_id, partition, base_offset, next_offset, base_log_time_ms, last_log_time_ms, records_bytes, records)
    VALUES ${tuples.join(', ')}`,
    values,
  )
}
