/** Housekeeping beside the worker: small ledger pages become large ones, appended live rows are merged. It never holds back a flush. */
import type { Database } from '#store/database.ts'
import { mergeSmallPages } from '#store/ledger-pages.ts'
import { MergeYields, mergeLiveRows } from '#store/live-rows.ts'
import { TidemarkError } from '#core/errors.ts'
import { delay } from './delay.ts'
import type { SpeedLogger } from './worker.ts'

const intervalMs = 5_000

/** Runs until aborted; a database that is away is asked again at the next turn. */
export async function maintainLedger(database: Database, logger: SpeedLogger, signal: AbortSignal): Promise<void> {
  const yields = new MergeYields()
  while (!signal.aborted) {
    try {
      const rows = await mergeLiveRows(database, { yields })
      const pages = await mergeSmallPages(database)
      if (rows > 0 || pages > 0) {
        logger.debug({ rows, pages }, 'merged live rows and ledger pages')
        continue
      }
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError && thrown.retryable)) throw thrown
    }
    await delay(intervalMs, signal)
  }
}
