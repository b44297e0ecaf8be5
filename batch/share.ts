/** The archive under its topic's name, for people who ask the query engine themselves: what is registered up to the horizon, at the moment of telling. */
import type { PoolClient } from 'pg'
import type { QueryEngine } from '#core/ports.ts'
import { readPointer } from '#store/batches.ts'
import type { Database } from '#store/database.ts'
import { connect, run } from '#store/database.ts'
import { lockKeys, lockPurpose } from '#store/epochs.ts'
import { listFiles } from '#store/register.ts'
import { archiveColumns } from './archive-columns.ts'

export type ShareOptions = { readonly database: Database; readonly engine: QueryEngine; readonly topic: string }

const lockTimeoutMs = 120_000

/**
 * One at a time, and the register is read under the lock: else a batch that was slower than a compaction would name files again that are to leave the lake.
 * Does nothing with an engine inside this process.
 */
export async function shareArchive({ database, engine, topic }: ShareOptions): Promise<void> {
  const share = engine.share?.bind(engine)
  if (share === undefined) return
  await underShareLock(database, async (owner) => {
    const { epoch } = await readPointer(owner)
    const files = (await listFiles(owner, 0, epoch)).filter((file) => file.topic === topic && file.rows > 0)
    await share(sharedName(topic), files.map((file) => file.path), archiveColumns)
  })
}

/** So that of two who tell the query engine which files there are, the later has read the later state. */
export async function underShareLock(database: Database, work: (owner: PoolClient) => Promise<void>): Promise<void> {
  const owner = await connect(database)
  owner.on('error', () => undefined)
  try {
    await run(owner, `SET lock_timeout = ${lockTimeoutMs}`)
    await run(owner, `SELECT pg_advisory_lock(${lockKeys}${lockPurpose.share})`)
    await work(owner)
  } finally {
    // The lock goes with its connection.
    owner.release(true)
  }
}

/** Topics may hold dots and dashes, which a table's name may not. */
export function sharedName(topic: string): string {
  return topic.replaceAll(/[^A-Za-z0-9_]/g, '_')
}
