/**
 * Files of the lake that the store does not know, of the archive and of reports: left by a crash, or by the second of two writers. They are moved aside, never read, and
 * deleted after a grace that is longer than the oldest backup, since a restored register may know them again.
 */
import type { Lake, LakeEntry } from '#core/ports.ts'
import type { Database } from '#store/database.ts'
import { TidemarkError } from '#core/errors.ts'
import { readStatuses } from '#store/batches.ts'
import { readIncarnation } from '#store/incarnation.ts'
import { registeredPaths } from '#store/register.ts'
import { forgetSwapped, oldestRunningMs, readSwapped } from '#store/swaps.ts'

export type OrphanOptions = {
  readonly database: Database
  readonly lake: Lake
  readonly topics: readonly string[]
  readonly nowMs: number
  /** A younger file may still be about to be registered. */
  readonly orphanAfterMs: number
  /** Deleted when older than this. */
  readonly deleteAfterMs: number
  /** Tells people's table in the query engine what is registered now, before files that it may still name leave their places. */
  readonly share?: () => Promise<void>
}

export const orphanFolder = '_orphans/'
const pathsPerQuery = 1000

export type Swept = {
  readonly moved: string[]
  readonly deleted: number
  /** Files that were swapped for others and stay where they are for now: somebody may still read them. */
  readonly waiting: number
}

/** Resolves to the paths it moved aside and how many it deleted. */
export async function sweepOrphans(options: OrphanOptions): Promise<Swept> {
  const { database, lake } = options
  const grace = await openGrace(options)
  const moved: string[] = []
  let waiting = 0
  for (const folder of [...options.topics, 'reports']) {
    for await (const entries of chunks(lake.list(`${folder}/`))) {
      const old = entries.filter((entry) => entry.modifiedMs <= options.nowMs - options.orphanAfterMs)
      const paths = old.map((entry) => entry.path)
      const registered = await registeredPaths(database.pool, paths)
      const swapped = await readSwapped(database.pool, paths)
      for (const { path } of old) {
        if (registered.has(path)) continue
        if (!(await grace(swapped.get(path)))) {
          waiting++
          continue
        }
        await lake.move(path, asideOf(path))
        moved.push(path)
      }
    }
  }
  return { moved, deleted: await deleteOrphans(options), waiting }
}

/**
 * Whether a file may leave its place, by when a swap took it out of the register; one that was never registered may. Its own time is that of its writing. A
 * batch that began before the swap reads it for as long as it runs, and people's table in the query engine names it until it is told anew.
 */
async function openGrace({ database, nowMs, orphanAfterMs, share }: OrphanOptions): Promise<(swappedMs: number | undefined) => Promise<boolean>> {
  const until = Math.min(nowMs, (await oldestRunningMs(database.pool)) ?? nowMs) - orphanAfterMs
  let isTold: boolean | null = null
  return async (swappedMs) => {
    if (swappedMs === undefined) return true
    if (swappedMs > until) return false
    isTold ??= await (share ?? (() => Promise.resolve()))().then(
      () => true,
      (thrown: unknown) => {
        if (thrown instanceof TidemarkError) return false
        throw thrown
      },
    )
    return isTold
  }
}

export function asideOf(path: string): string {
  return orphanFolder + path.split('/').map((segment) => segment.replace(/^_+/, 'unfinished.')).join('/')
}

/** What the register knows again, after the database was put back, waits for whoever needs it next. */
async function deleteOrphans({ database, lake, nowMs, deleteAfterMs }: OrphanOptions): Promise<number> {
  let deleted = 0
  for await (const entries of chunks(lake.list(orphanFolder))) {
    const old = entries.filter((entry) => entry.modifiedMs <= nowMs - deleteAfterMs)
    const paths = old.map((entry) => entry.path.slice(orphanFolder.length))
    const registered = await registeredPaths(database.pool, paths)
    const swapped = await readSwapped(database.pool, paths)
    for (const [at, { path }] of old.entries()) {
      if (registered.has(paths[at]!) || (swapped.get(paths[at]!) ?? 0) > nowMs - deleteAfterMs) continue
      await lake.remove(path)
      if (swapped.has(paths[at]!)) await forgetSwapped(database.pool, [paths[at]!])
      deleted++
    }
  }
  return deleted
}

/**
 * What batches wrote on their way and nobody needs any more: of batches that are neither running, held nor kept at once, of other incarnations, and of numbers
 * that this store does not know, after the grace of orphans. Resolves to how many files it removed.
 */
export async function sweepBatchFolders({ database, lake, nowMs, deleteAfterMs }: Pick<OrphanOptions, 'database' | 'lake' | 'nowMs' | 'deleteAfterMs'>): Promise<number> {
  let removed = 0
  const incarnation = await readIncarnation(database.pool)
  for await (const entries of chunks(lake.list('batches/'))) {
    // After the listing: a batch has its row before its first file.
    const statuses = await readStatuses(database.pool)
    for (const { path, modifiedMs } of entries) {
      const [, of, batch] = path.split('/')
      const status = of === incarnation ? statuses.get(Number(batch)) : undefined
      const isDue = status === undefined ? modifiedMs <= nowMs - deleteAfterMs : !['running', 'held', 'published'].includes(status)
      if (!isDue) continue
      await lake.remove(path)
      removed++
    }
  }
  return removed
}

async function* chunks(entries: AsyncIterable<LakeEntry>): AsyncGenerator<LakeEntry[]> {
  let chunk: LakeEntry[] = []
  for await (const entry of entries) {
    chunk.push(entry)
    if (chunk.length < pathsPerQuery) continue
    yield chunk
    chunk = []
  }
  if (chunk.length > 0) yield chunk
}
