/** How old the figures are, in three steps. The age counts only while the log holds something newer: a quiet shop is not a late one. */

export type Freshness = 'fresh' | 'quiet' | 'delayed' | 'stale'

/** The target is two seconds at the 99th percentile; five times that is worth a glance. */
export const delayedAfterMs = 10_000
/** No batch, flush or restart takes this long: something is wrong. */
export const staleAfterMs = 60_000

export function judgeFreshness(ageMs: number, caughtUp: boolean): Freshness {
  if (ageMs < delayedAfterMs) return 'fresh'
  if (caughtUp) return 'quiet'
  return ageMs < staleAfterMs ? 'delayed' : 'stale'
}

type PartitionEnd = { readonly nextOffset: number | string; readonly logEnd?: number | string | null }

/** True only where every partition's end is known and reached. */
export function isCaughtUp(partitions: readonly PartitionEnd[]): boolean {
  return partitions.every(({ nextOffset, logEnd }) => logEnd !== undefined && logEnd !== null && BigInt(nextOffset) >= BigInt(logEnd))
}
