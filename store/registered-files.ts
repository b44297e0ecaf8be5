/** Every file of the lake that the store counts on: what a backup must hold, and what must be there for the store to be whole. */
import type { Queryable } from './database.ts'
import { run } from './database.ts'

export type RegisteredFile = { readonly path: string; readonly bytes: number; readonly sha256: string }

/** Tables that register files, with the rows that stand for one. */
export const registers: Readonly<Record<string, string>> = {
  // A range without records has a row and no file.
  archive_files: 'rows > 0',
  report_files: 'true',
}

/** Tables that know files and do not need them: replaced ones, which go after a grace, and those that no batch has published yet. */
export const notRegisters: readonly string[] = ['archive_swaps', 'pending_files', 'swapped_files']

/** By path. Of a store of an older version, too: a register that it has not yet is empty. */
export async function registeredLakeFiles(queryable: Queryable, schema: string): Promise<RegisteredFile[]> {
  const present = await run<{ name: string }>(queryable, 'SELECT tablename AS name FROM pg_tables WHERE schemaname = $1 AND tablename = ANY ($2)', [schema, Object.keys(registers)])
  const selects = present.map(({ name }) => `SELECT path, bytes, sha256 FROM ${schema}.${name} WHERE ${registers[name]!}`)
  if (selects.length === 0) return []
  const rows = await run<{ path: string; bytes: string; sha256: string }>(queryable, `SELECT path, bytes::text AS bytes, sha256 FROM (${selects.join(' UNION ALL ')}) files ORDER BY path COLLATE "C"`)
  return rows.map(({ path, bytes, sha256 }) => ({ path, bytes: Number(bytes), sha256 }))
}
