/**
 * Logic versions: what decoding depends on, and so every figure. The store's own changes in one transaction, that which publishes a full batch made with
 * another: from that batch's last cut to its publication no flush commits, so figures of two versions are never added up. A switch whose batch died is
 * undone by whoever meets it first.
 */
import { LogicError, OvertakenError } from '#core/errors.ts'
import type { Database, Queryable } from './database.ts'
import { inTransaction, run } from './database.ts'
import type { FlushEpoch } from './epochs.ts'
import { batchLock, lockKeys, switchingError } from './epochs.ts'

export type Logic = {
  /** Null until the first worker opens. */
  readonly version: string | null
  /** Whether any record was counted: of an empty store the version may change at will. */
  readonly isFilled: boolean
  readonly switchingBatch: number | null
}

export async function readLogic(queryable: Queryable): Promise<Logic> {
  const [state] = await run<{ logic_version: string | null; filled: boolean; switching_batch: bigint | null }>(
    queryable,
    'SELECT logic_version, EXISTS (SELECT FROM committed_offsets WHERE records > 0) AS filled, switching_batch FROM lake_state',
  )
  const { logic_version: version, filled: isFilled, switching_batch: batch } = state!
  return { version, isFilled, switchingBatch: batch === null ? null : Number(batch) }
}

/** Whether what is decoded with this version may stand beside what the store holds. */
export function isSameLogic(logic: Logic, version: string): boolean {
  return !logic.isFilled || logic.version === null || logic.version === version
}

export function otherLogic(stored: string | null, wanted: string): LogicError {
  return new LogicError(
    `This store's figures were made with "${stored}", and the settings here say "${wanted}". ` +
      'Start again with the settings of the store; or make all figures anew with these: "tidemark batch run --full".',
    { stored, wanted },
  )
}

/** In the flush's transaction, under the shared lock: no cut and no switch happens before it ends. */
export function checkFlushLogic({ logicVersion, switchingBatch }: FlushEpoch, ownVersion: string): void {
  if (switchingBatch !== null) throw switchingError(switchingBatch)
  if (logicVersion !== null && logicVersion !== ownVersion) throw otherLogic(logicVersion, ownVersion)
}

/** Before a worker opens its partitions: throws as the flush would, and undoes a switch whose batch died. */
export async function checkWorkerLogic(database: Database, ownVersion: string): Promise<void> {
  await settleSwitch(database)
  const logic = await readLogic(database.pool)
  if (!isSameLogic(logic, ownVersion)) throw otherLogic(logic.version, ownVersion)
}

/**
 * Throws SwitchingError while a batch that is alive takes a logic version into use. One that died in it is done for: the store stays with the version it has,
 * and what the batch left is nobody's.
 */
export async function settleSwitch(database: Database): Promise<void> {
  const { switchingBatch } = await readLogic(database.pool)
  if (switchingBatch === null) return
  await inTransaction(database, {}, async (client) => {
    const [lock] = await run<{ ours: boolean }>(client, `SELECT pg_try_advisory_xact_lock(${lockKeys}$1) AS ours`, [batchLock(switchingBatch)])
    if (lock?.ours !== true) throw switchingError(switchingBatch)
    await undoSwitch(client, switchingBatch)
  })
}

/** In the transaction of the last cut, which no flush is in: the batch covers its epoch, and none commits until it is published or given up. */
export async function beginSwitch(client: Queryable, batch: number, epoch: number): Promise<void> {
  const { length } = await run(client, `UPDATE batches SET epoch = $2 WHERE batch = $1 AND status = 'running' RETURNING batch`, [batch, epoch])
  if (length !== 1) throw new OvertakenError(`Batch ${batch} runs no more: this run was taken for dead. Run it again.`, { batch })
  await run(client, 'UPDATE lake_state SET switching_batch = $1', [batch])
}

/** Lets flushes go on with the version that they had. */
export async function undoSwitch(queryable: Queryable, batch: number): Promise<void> {
  await run(queryable, 'UPDATE lake_state SET switching_batch = NULL WHERE switching_batch = $1', [batch])
}
