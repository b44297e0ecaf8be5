/**
 * Files that a batch wrote anew and that its publication will put in the place of registered ones. Until then nobody reads them, and the sweeper of orphans
 * leaves them alone; those of a batch that is given up are orphans like any other.
 */
import type { Queryable } from './database.ts'
import { run } from './database.ts'
import type { ArchiveFile } from './register.ts'

export type PendingFile = { readonly replaces: string; readonly file: ArchiveFile }

export async function addPendingFile(queryable: Queryable, batch: number, { replaces, file }: PendingFile): Promise<void> {
  const text = JSON.stringify(file, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value))
  await run(queryable, 'INSERT INTO pending_files (path, batch, replaces, file) VALUES ($1, $2, $3, $4)', [file.path, batch, replaces, text])
}

/** In the order of their ranges. */
export async function readPendingFiles(queryable: Queryable, batch: number): Promise<PendingFile[]> {
  const rows = await run<{ replaces: string; file: ArchiveFile }>(
    queryable,
    `SELECT replaces, file FROM pending_files WHERE batch = $1 ORDER BY file->>'topic', (file->>'partition')::int, (file->>'fromOffset')::bigint`,
    [batch],
  )
  return rows.map(({ replaces, file }) => ({ replaces, file: { ...file, ...sumsOf(file) } }))
}

/** In JSON they are digits. */
function sumsOf(file: ArchiveFile): Pick<ArchiveFile, 'hashHiSum' | 'hashLoSum' | 'quantitySum' | 'totalMinorSum'> {
  const { hashHiSum, hashLoSum, quantitySum, totalMinorSum } = file
  return { hashHiSum: BigInt(hashHiSum), hashLoSum: BigInt(hashLoSum), quantitySum: BigInt(quantitySum), totalMinorSum: BigInt(totalMinorSum) }
}

export async function dropPendingFiles(queryable: Queryable, batch: number): Promise<void> {
  await run(queryable, 'DELETE FROM pending_files WHERE batch = $1', [batch])
}

/** Registered files whose columns were decoded with another logic version than this. */
export async function pathsOfOtherLogic(queryable: Queryable, logicVersion: string): Promise<Set<string>> {
  const rows = await run<{ path: string }>(
    queryable,
    'SELECT path FROM archive_files WHERE coalesce(logic_version, (SELECT logic_version FROM lake_state)) <> $1',
    [logicVersion],
  )
  return new Set(rows.map((row) => row.path))
}
