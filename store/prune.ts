/**
 * Retention: the published batch and the last `keepBatches` stay readable, with everything that rolling back to them needs. Older row versions, and live
 * and correction rows at or below the oldest kept horizon, go. Every rule, of tables and of the lake, stands in docs/decisions/0017.
 */
import { views } from '#core/views/all.ts'
import type { Database } from './database.ts'
import { inTransaction, run } from './database.ts'
import { dropOldPages } from './ledger-pages.ts'
import { notePruned } from './search-indices.ts'

export type Pruned = { readonly batches: readonly number[]; readonly oldestEpoch: number; readonly liveRows: number; readonly pages: number }

/** Locks the pointer, so it neither meets a publication nor a roll-back half-way. */
export async function pruneStore(database: Database, keepBatches: number, ledgerIdsMax: number): Promise<Pruned> {
  return inTransaction(database, {}, async (client) => {
    await client.query('SELECT FROM publish_pointer FOR UPDATE')
    const kept = await run<{ batch: bigint; epoch: bigint }>(
      client,
      /* sql */ `
      SELECT b.batch, b.epoch FROM batches b JOIN publish_pointer x ON x.batch = b.batch
      UNION
      (SELECT batch, epoch FROM batches WHERE status = 'published' ORDER BY epoch DESC LIMIT $1)`,
      [keepBatches],
    )
    const oldestEpoch = Math.min(...kept.map((row) => Number(row.epoch)))
    const gone = await run<{ batch: bigint }>(
      client,
      /* sql */ `
      UPDATE batches SET status = 'pruned' WHERE status = 'published' AND batch <> ALL ($1) RETURNING batch`,
      [kept.map((row) => row.batch)],
    )
    const versions = await run<{ view: string; version: bigint }>(
      client,
      /* sql */ `
      DELETE FROM batch_parts WHERE batch IN (SELECT batch FROM batches WHERE status IN ('pruned', 'failed', 'superseded', 'dropped')) RETURNING view, version`,
    )
    // Of runs that ended on the way and could not tidy up: their files are orphans from now on.
    for (const table of ['pending_files', 'staged_pages', 'staged_letters']) {
      await client.query(`DELETE FROM ${table} WHERE batch IN (SELECT batch FROM batches WHERE status NOT IN ('running', 'held'))`)
    }
    await notePruned(client, oldestEpoch)
    let liveRows = 0
    for (const view of views) {
      const unused = [...new Set(versions.filter((part) => part.view === view.name).map((part) => part.version))]
      await client.query(`DELETE FROM batch_${view.name} b WHERE version = ANY ($1) AND NOT EXISTS (SELECT FROM batch_parts p WHERE p.version = b.version)`, [unused])
      liveRows += (await client.query(`DELETE FROM live_${view.name} WHERE epoch <= $1`, [oldestEpoch])).rowCount ?? 0
      await client.query(`DELETE FROM correction_${view.name} WHERE epoch <= $1`, [oldestEpoch])
    }
    await client.query('DELETE FROM live_runs WHERE epoch <= $1', [oldestEpoch])
    const pages = await dropOldPages(client, ledgerIdsMax, oldestEpoch)
    return { batches: gone.map((row) => Number(row.batch)), oldestEpoch, liveRows, pages }
  })
}
