/**
 * The epoch cut (DESIGN.md section 2). A flush holds the epoch's advisory lock shared and only then reads the epoch; a cut holds it alone,
 * reads every committed offset (the horizon), and moves the epoch on. So every delta of an epoch up to the cut's lies below the horizon and
 * every other at or above it, with any number of workers.
 */
import type { PoolClient } from 'pg'
import type { Database, Queryable } from './database.ts'
import { inTransaction, run } from './database.ts'

/** Two-key advisory locks: the first key is the store's schema, the second one of these. */
export const lockPurpose = { epoch: 1, publish: 2, archive: 3, merge: 4, batch: 5, liveMerge: 6, migrate: 7, searchFollower: 8 } as const

const cutLockTimeoutMs = 2_000
const cutTriesMax = 30

/** `hashtext` of the schema: stores in one database must not wait for each other. */
export const lockKeys = `hashtext(current_schema()::text), `

export type TopicPartition = { readonly topic: string; readonly partition: number }
export type HorizonEntry = TopicPartition & { readonly nextOffset: number; readonly lastLogTimeMs: number | null }

export type Cut = {
  /** The epoch that the cut ended. */
  readonly epoch: number
  readonly logicVersion: string
  readonly horizon: readonly HorizonEntry[]
}

/** `xid` is the flush's transaction, which its rows carry. */
export type FlushEpoch = { readonly epoch: number; readonly xid: string }

/**
 * Takes the shared lock, then reads the epoch, in two statements: a statement that waits for a lock and then reads still sees what was there
 * when it began.
 */
export async function readEpochForFlush(client: PoolClient): Promise<FlushEpoch> {
  await client.query(`SELECT pg_advisory_xact_lock_shared(${lockKeys}${lockPurpose.epoch})`)
  const { rows } = await client.query<{ epoch: bigint; xid: string }>('SELECT epoch, pg_current_xact_id() AS xid FROM lake_state')
  return { epoch: Number(rows[0]!.epoch), xid: rows[0]!.xid }
}

/**
 * Ends the epoch. Durable when it returns. Flushes are short, so the lock is asked for briefly and again, rather than making every flush
 * queue behind one long wait.
 */
export async function cutEpoch(database: Database, logicVersion: string): Promise<Cut> {
  for (let tries = 1; ; tries++) {
    try {
      return await inTransaction(database, { lockTimeoutMs: cutLockTimeoutMs }, (client) => cutWithin(client, logicVersion))
    } catch (thrown) {
      const waited = (thrown as { details?: { sqlState?: unknown } }).details?.sqlState === '55P03'
      if (!waited || tries === cutTriesMax) throw thrown
    }
  }
}

async function cutWithin(client: PoolClient, logicVersion: string): Promise<Cut> {
  await client.query(`SELECT pg_advisory_xact_lock(${lockKeys}${lockPurpose.epoch})`)
  const [state] = await run<{ epoch: bigint }>(client, 'SELECT epoch FROM lake_state')
  const epoch = Number(state!.epoch)
  await client.query('INSERT INTO cuts (epoch, logic_version) VALUES ($1, $2)', [epoch, logicVersion])
  await client.query(/* sql */ `
    INSERT INTO cut_offsets (epoch, topic, partition, next_offset, last_log_time_ms)
    SELECT ${epoch}, topic, partition, next_offset, last_log_time_ms FROM committed_offsets`)
  await client.query('UPDATE lake_state SET epoch = $1', [epoch + 1])
  return { epoch, logicVersion, horizon: await readHorizon(client, epoch) }
}

/** The horizon that a cut stored; empty for epoch 0, the cut below everything. */
export async function readHorizon(queryable: Queryable, epoch: number): Promise<HorizonEntry[]> {
  const rows = await run<{ topic: string; partition: number; next_offset: bigint; last_log_time_ms: bigint | null }>(
    queryable,
    'SELECT topic, partition, next_offset, last_log_time_ms FROM cut_offsets WHERE epoch = $1 ORDER BY topic, partition',
    [epoch],
  )
  return rows.map((row) => ({
    topic: row.topic,
    partition: row.partition,
    nextOffset: Number(row.next_offset),
    lastLogTimeMs: row.last_log_time_ms === null ? null : Number(row.last_log_time_ms),
  }))
}
