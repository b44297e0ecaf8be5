/** The order at the epoch's lock, made certain: who holds it, who waits, and in which order. */
import { cutEpoch } from '#store/epochs.ts'
import type { Lab } from '#test/lab.ts'
import { waitUntil } from '#test/wait-until.ts'

/** Resolves when so many cuts and flushes wait for the epoch's lock. */
export async function whenWaiting(lab: Lab, waiting: number): Promise<void> {
  await waitUntil(`${waiting} wait for the epoch's lock`, async () => {
    const { rowCount } = await lab.database.pool.query(`SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND classid = hashtext($1)::oid AND objid = 1`, [lab.database.schema])
    return rowCount! >= waiting
  })
}

/** Runs a cut, and `flush` so that it waits for that cut: both queue behind a third who holds the lock as a flush does. */
export async function cutBefore<T>(lab: Lab, flush: () => Promise<T>): Promise<{ readonly epoch: number; readonly flushed: T }> {
  const { pool, schema } = lab.database
  const holder = await pool.connect()
  try {
    await holder.query('BEGIN')
    await holder.query('SELECT pg_advisory_xact_lock_shared(hashtext($1), 1)', [schema])
    const cut = cutEpoch(lab.database, lab.decoder.logicVersion)
    await whenWaiting(lab, 1)
    const flushing = flush()
    await whenWaiting(lab, 2)
    await holder.query('COMMIT')
    const [{ epoch }, flushed] = await Promise.all([cut, flushing])
    return { epoch, flushed }
  } finally {
    holder.release()
  }
}

/** Starts a cut while the caller holds the lock as a flush; it is certain to wait. */
export async function startWaitingCut(lab: Lab): Promise<{ readonly cut: ReturnType<typeof cutEpoch> }> {
  const cut = cutEpoch(lab.database, lab.decoder.logicVersion)
  await whenWaiting(lab, 1)
  return { cut }
}
