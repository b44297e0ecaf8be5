/**
 * The epoch cut (DESIGN.md section 2). A flush holds the epoch's advisory lock shared and only then reads the epoch; a cut holds it alone,
 * reads every committed offset (the horizon), and moves the epoch on. So every delta of an epoch up to the cut's lies below the horizon and
 * every other at or above it, with any number of workers.
 */
import type { PoolClient } from 'pg'
import { SwitchingError } from '#core/errors.ts'
import type { Database, Queryable } from './database.ts'
import { inTransaction, run } from './database.ts'

/** Two-key advisory locks: the first key is the store's schema, the second one of these. */
export const lockPurpose = { epoch: 1, publish: 2, archive: 3, merge: 4, batch: 5, liveMerge: 6, migrate: 7, searchFollower: 8, imports: 9, share: 10 } as const

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
export type FlushEpoch = { readonly epoch: number; readonly xid: string; readonly logicVersion: string | null; readonly switchingBatch: number | null }

/** Second keys below 1,000 name purposes; above, running batches: whoever holds one says that the batch is alive. */
export function batchLock(batch: number): number {
  return 1_000 + batch
}

/**
 * Takes the shared lock, then reads the epoch, in two statements: a statement that waits for a lock and then reads still sees what was there
 * when it began.
 */
export async function readEpochForFlush(client: PoolClient): Promise<FlushEpoch> {
  await client.query(`SELECT pg_advisory_xact_lock_shared(${lockKeys}${lockPurpose.epoch})`)
  const { rows } = await client.query<{ epoch: bigint; xid: string; logic_version: string | null; switching_batch: bigint | null }>(
    'SELECT epoch, pg_current_xact_id() AS xid, logic_version, switching_batch FROM lake_state',
  )
  const { epoch, xid, logic_version: logicVersion, switching_batch: switchingBatch } = rows[0]!
  return { epoch: Number(epoch), xid, logicVersion, switchingBatch: switchingBatch === null ? null : Number(switchingBatch) }
}

/**
 * Ends the epoch. Durable when it returns. Flushes are short, so the lock is asked for briefly and again, rather than making every flush
 * queue behind one long wait. The epoch was written with the store's logic version; `logicVersion` is that of a store which has none yet. `also` runs in the
 * same transaction, alone. Throws SwitchingError while another batch takes a logic version into use.
 */
export async function cutEpoch(database: Database, logicVersion: string, also?: (client: PoolClient, epoch: number) => Promise<void>): Promise<Cut> {
  for (let tries = 1; ; tries++) {
    try {
      return await inTransaction(database, { lockTimeoutMs: cutLockTimeoutMs }, (client) => cutWithin(client, logicVersion, also))
    } catch (thrown) {
      const waited = (thrown as { details?: { sqlState?: unknown } }).details?.sqlState === '55P03'
      if (!waited || tries === cutTriesMax) throw thrown
    }
  }
}

async function cutWithin(client: PoolClient, ownVersion: string, also?: (client: PoolClient, epoch: number) => Promise<void>): Promise<Cut> {
  await client.query(`SELECT pg_advisory_xact_lock(${lockKeys}${lockPurpose.epoch})`)
  const [state] = await run<{ epoch: bigint; logic_version: string | null; switching_batch: bigint | null }>(client, 'SELECT epoch, logic_version, switching_batch FROM lake_state')
  const epoch = Number(state!.epoch)
  if (state!.switching_batch !== null) throw switchingError(Number(state!.switching_batch))
  const logicVersion = state!.logic_version ?? ownVersion
  await client.query('INSERT INTO cuts (epoch, logic_version) VALUES ($1, $2)', [epoch, logicVersion])
  await client.query(/* sql */ `
    INSERT INTO cut_offsets (epoch, topic, partition, next_offset, last_log_time_ms, late, refused, copies, conflicts)
    SELECT ${epoch}, topic, partition, next_offset, last_log_time_ms, late, refused, copies, conflicts FROM committed_offsets`)
  await client.query('UPDATE lake_state SET epoch = $1', [epoch + 1])
  await also?.(client, epoch)
  return { epoch, logicVersion, horizon: await readHorizon(client, epoch) }
}

export function switchingError(batch: number): SwitchingError {
  return new SwitchingError(`Batch ${batch} takes another logic version into use just now: try again in a moment.`, { batch })
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
