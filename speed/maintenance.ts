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
  const mergeRows = unlessUnavailable('live rows', logger, async () => mergeLiveRows(database, { yields }))
  const mergePages = unlessUnavailable('ledger pages', logger, async () => mergeSmallPages(database))
  while (!signal.aborted) {
    const rows = await mergeRows()
    const pages = await mergePages()
    if (rows > 0 || pages > 0) logger.debug({ rows, pages }, 'merged live rows and ledger pages')
    else await delay(intervalMs, signal)
  }
}

/** 0 where a retry may mend what it throws, which is told the first time. */
function unlessUnavailable(what: string, logger: SpeedLogger, merge: () => Promise<number>): () => Promise<number> {
  let isFailing = false
  return async () => {
    try {
      const merged = await merge()
      isFailing = false
      return merged
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError && thrown.retryable)) throw thrown
      if (!isFailing) logger.warn({ code: thrown.code }, `merging ${what} fails, and is tried again: ${thrown.message}`)
      isFailing = true
      return 0
    }
  }
}
