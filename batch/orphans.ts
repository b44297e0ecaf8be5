/**
 * Files of the lake that the store does not know, of the archive and of reports: left by a crash, or by the second of two writers. They are moved aside, never read, and
 * deleted after a grace that is longer than the oldest backup, since a restored register may know them again.
 */
import type { Lake, LakeEntry } from '#core/ports.ts'
import type { Database } from '#store/database.ts'
import { registeredPaths } from '#store/register.ts'

export type OrphanOptions = {
  readonly database: Database
  readonly lake: Lake
  readonly topics: readonly string[]
  readonly nowMs: number
  /** A younger file may still be about to be registered. */
  readonly orphanAfterMs: number
  /** Deleted when older than this. */
  readonly deleteAfterMs: number
}

export const orphanFolder = '_orphans/'
const pathsPerQuery = 1000

/** Resolves to the paths it moved aside and how many it deleted. */
export async function sweepOrphans(options: OrphanOptions): Promise<{ moved: string[]; deleted: number }> {
  const moved: string[] = []
  for (const folder of [...options.topics, 'reports']) {
    for await (const entries of chunks(options.lake.list(`${folder}/`))) {
      const old = entries.filter((entry) => entry.modifiedMs <= options.nowMs - options.orphanAfterMs)
      const registered = await registeredPaths(options.database.pool, old.map((entry) => entry.path))
      for (const { path } of old) {
        if (registered.has(path)) continue
        await options.lake.move(path, orphanFolder + path.split('/').map((segment) => segment.replace(/^_+/, 'unfinished.')).join('/'))
        moved.push(path)
      }
    }
  }
  let deleted = 0
  for await (const entry of options.lake.list(orphanFolder)) {
    if (entry.modifiedMs > options.nowMs - options.deleteAfterMs) continue
    await options.lake.remove(entry.path)
    deleted++
  }
  return { moved, deleted }
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
