/**
 * Which process reads which partitions of a topic in the PostgreSQL log.
 *
 * Each reader is one session, a *member*: it holds a shared advisory lock on the topic, by which all see how many there are, and
 * an exclusive one on each partition it has. Every `assignIntervalMs` it compares what it has with its fair share: the partitions
 * divided by the members, what is left over going to the members with the smallest process numbers. What is above the share is
 * given back, and only once the consumer has been told and asks for the next list; what is free is taken up to the share. A session
 * that ends gives everything back by itself.
 *
 * A stopped process (SIGSTOP, a machine that sleeps) keeps its session. So members also write down when they were last alive, on the
 * database's clock; the session of one that is silent for `leaseMs` is ended by the others. Two processes may read one partition for
 * a moment all the same: safety is the committed offset's compare-and-set, never this.
 *
 * Session locks need sessions: a pooler between here and the server must pool by session.
 */
import pg from 'pg'

import { TidemarkError, UnavailableError } from '#core/errors.ts'

import { OfferedPartitions, isSameList } from './offered-partitions.ts'
import { unknownTopic } from './postgres-log-reader.ts'
import { translate } from './postgres-sessions.ts'
import { pause } from './waiting.ts'

const RECONNECT_MS = { first: 100, max: 5_000 } as const

export type LeaseOptions = {
  readonly session: pg.ClientConfig
  readonly topic: string
  readonly assignIntervalMs: number
  readonly leaseMs: number
  /** Aborted, with the reason to throw, when the log is closed. */
  readonly closing: AbortSignal
}

/**
 * The lists of partitions held, ascending, the first as soon as it is known. An empty list when the session is lost, which then
 * opens again, however long that takes. Throws ConfigError, and UnavailableError when the log is closed.
 */
export async function* assignPartitions(options: LeaseOptions, signal: AbortSignal): AsyncGenerator<readonly number[]> {
  if (signal.aborted) return
  const member = new Member(options)
  const { offers } = member
  const stop = (): void => offers.stop()
  signal.addEventListener('abort', stop, { once: true })
  const close = (): void => offers.stop(options.closing.reason)
  if (options.closing.aborted) close()
  else options.closing.addEventListener('abort', close, { once: true })
  const running = member.run()
  try {
    yield* offers.lists()
  } finally {
    signal.removeEventListener('abort', stop)
    options.closing.removeEventListener('abort', close)
    offers.stop()
    await running
  }
}

type Held = { readonly partition: number; readonly leaseId: number }
type Lease = Held & { readonly holder: number | null }

class Member {
  readonly #options: LeaseOptions
  readonly offers = new OfferedPartitions()

  constructor(options: LeaseOptions) {
    this.#options = options
  }

  async run(): Promise<void> {
    let reconnectMs: number = RECONNECT_MS.first
    while (!this.offers.stopped.aborted) {
      const client = new pg.Client(this.#options.session)
      // The server gives the locks back when the connection closes, whatever was under way; the member's row ages away.
      const hangUp = (): void => void client.connection.stream.destroy()
      this.offers.stopped.addEventListener('abort', hangUp)
      // Reported by the next statement too; waking makes that soon.
      client.on('error', () => this.offers.wake())
      try {
        await client.connect()
        const topicId = await this.#enter(client)
        while (!this.offers.stopped.aborted) {
          await this.#evaluate(client, topicId)
          reconnectMs = RECONNECT_MS.first
          await this.offers.rest(this.#options.assignIntervalMs)
        }
      } catch (thrown) {
        const error = translate(thrown, `share out topic ${this.#options.topic}`)
        if (!(error instanceof TidemarkError && error.retryable)) this.offers.stop(error)
      } finally {
        this.offers.stopped.removeEventListener('abort', hangUp)
        await client.end().catch(() => {})
      }
      if (this.offers.stopped.aborted) return
      this.offers.give([])
      await pause(reconnectMs, this.offers.stopped)
      reconnectMs = Math.min(reconnectMs * 2, RECONNECT_MS.max)
    }
  }

  async #enter(client: pg.Client): Promise<number> {
    const { topic } = this.#options
    const { rows } = await client.query<{ topic_id: number }>(/* sql */ `SELECT topic_id FROM topics WHERE name = $1`, [topic])
    const topicId = rows[0]?.topic_id
    if (topicId === undefined) throw unknownTopic(topic)
    // The first sign of life comes before the first lock.
    await this.#beat(client, topicId)
    await client.query(/* sql */ `SELECT pg_advisory_lock_shared('topics'::regclass::oid::bigint::bit(32)::int, $1)`, [topicId])
    return topicId
  }

  async #beat(client: pg.Client, topicId: number): Promise<void> {
    await client.query({
      name: 'beat',
      text: /* sql */ `INSERT INTO members (topic_id, pid, backend_start, heartbeat_at)
        SELECT $1, pid, backend_start, clock_timestamp() FROM pg_stat_get_activity(pg_backend_pid())
        ON CONFLICT (topic_id, pid) DO UPDATE SET backend_start = excluded.backend_start, heartbeat_at = excluded.heartbeat_at`,
      values: [topicId],
    })
  }

  async #evaluate(client: pg.Client, topicId: number): Promise<void> {
    await this.#beat(client, topicId)
    await endSilentMembers(client, topicId, this.#options.leaseMs)
    const { self, members, leases } = await readLeases(client, this.#options.topic, topicId)
    const held = leases.filter((lease) => lease.holder === self)
    const share = shareOf(self, members, leases.length)
    // What the consumer reads already comes first, so that a change moves as little as possible.
    const kept = [...held].sort((a, b) => this.#preference(a) - this.#preference(b) || a.partition - b.partition).slice(0, share)
    const free = leases.filter((lease) => lease.holder === null)
    const taken = await takeLeases(client, rotate(free, members.indexOf(self) * share).slice(0, share - kept.length))
    const list = [...kept, ...taken].map((lease) => lease.partition).sort((a, b) => a - b)
    if (!isSameList(list, this.offers.list)) this.offers.give(list)
    const { inUse } = this.offers
    await releaseLeases(client, held.filter((lease) => !inUse.includes(lease.partition)))
  }

  #preference({ partition }: Held): number {
    return this.offers.list?.includes(partition) === true ? 0 : 1
  }
}

/** Ends the sessions of members that have been silent, where they are ours to end; the row of one that is gone is dropped. */
async function endSilentMembers(client: pg.Client, topicId: number, leaseMs: number): Promise<void> {
  await client.query({
    name: 'end-silent-members',
    text: /* sql */ `DELETE FROM members
      WHERE topic_id = $1 AND pid <> pg_backend_pid() AND heartbeat_at < clock_timestamp() - $2 * interval '1 millisecond'
      RETURNING (
        SELECT pg_terminate_backend(other.pid) FROM pg_stat_activity other
        WHERE other.pid = members.pid AND other.backend_start = members.backend_start AND other.usename = current_user
      )`,
    values: [topicId, leaseMs],
  })
}

/** Advisory locks of two numbers: the table's oid, and the row's number in it. */
async function readLeases(client: pg.Client, topic: string, topicId: number): Promise<{ self: number; members: number[]; leases: Lease[] }> {
  const { rows } = await client.query<[number, string | null, number, number, number | null]>({
    name: 'read-leases',
    text: /* sql */ `WITH locks AS MATERIALIZED (
        SELECT classid, objid, pid FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 2 AND granted
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      )
      SELECT pg_backend_pid(),
        (SELECT string_agg(pid::text, ',' ORDER BY pid) FROM locks WHERE classid = 'topics'::regclass AND objid = $1::int::oid),
        partition, lease_id, (SELECT min(pid) FROM locks WHERE classid = 'partitions'::regclass AND objid = lease_id::oid)
      FROM topics JOIN partitions USING (topic_id) WHERE topic_id = $1 ORDER BY partition`,
    values: [topicId],
    rowMode: 'array',
  })
  const first = rows[0]
  if (first === undefined) throw new UnavailableError(`Topic ${topic} was removed while it was read.`, { topic })
  const members = (first[1] ?? '').split(',').map(Number)
  return { self: first[0], members, leases: rows.map(([, , partition, leaseId, holder]) => ({ partition, leaseId, holder })) }
}

async function takeLeases(client: pg.Client, wanted: readonly Lease[]): Promise<Lease[]> {
  if (wanted.length === 0) return []
  const { rows } = await client.query<{ lease_id: number }>(
    /* sql */ `SELECT lease_id FROM unnest($1::int[]) AS wanted (lease_id)
    WHERE pg_try_advisory_lock('partitions'::regclass::oid::bigint::bit(32)::int, lease_id)`,
    [wanted.map((lease) => lease.leaseId)],
  )
  const taken = new Set(rows.map((row) => row.lease_id))
  return wanted.filter((lease) => taken.has(lease.leaseId))
}

async function releaseLeases(client: pg.Client, leases: readonly Held[]): Promise<void> {
  if (leases.length === 0) return
  await client.query(
    /* sql */ `SELECT pg_advisory_unlock('partitions'::regclass::oid::bigint::bit(32)::int, lease_id) FROM unnest($1::int[]) AS held (lease_id)`,
    [leases.map((lease) => lease.leaseId)],
  )
}

/** How many of the partitions are this member's. The shares of all members add up to the partitions. */
export function shareOf(self: number, members: readonly number[], partitions: number): number {
  const rank = members.indexOf(self)
  if (rank === -1) throw new UnavailableError('The session lost its place among the members.')
  return Math.floor(partitions / members.length) + (rank < partitions % members.length ? 1 : 0)
}

function rotate<T>(items: readonly T[], by: number): T[] {
  const turn = items.length === 0 ? 0 : by % items.length
  return [...items.slice(turn), ...items.slice(0, turn)]
}
