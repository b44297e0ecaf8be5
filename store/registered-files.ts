/** Every file of the lake that the store counts on: what a backup must hold, and what must be there for the store to be whole. */
import type { Queryable } from './database.ts'
import { run } from './database.ts'

export type RegisteredFile = { readonly path: string; readonly bytes: number; readonly sha256: string }

/** Tables that register files, with the SELECT of those in a schema. */
export const registers: Readonly<Record<string, (schema: string) => string>> = {
  // A range without records has a row and no file.
  archive_files: (schema) => `SELECT path, bytes, sha256 FROM ${schema}.archive_files WHERE rows > 0`,
  // A person may accept a held batch still. What replaces a file that was rewritten meanwhile can be published no more.
  pending_files: (schema) => /* sql */ `
    SELECT p.path, (p.file->>'bytes')::bigint AS bytes, p.file->>'sha256' AS sha256 FROM ${schema}.pending_files p JOIN ${schema}.batches b USING (batch)
    WHERE b.status = 'held' AND (p.file->>'rows')::bigint > 0 AND EXISTS (SELECT FROM ${schema}.archive_files f WHERE f.path = p.replaces)`,
  report_files: (schema) => `SELECT path, bytes, sha256 FROM ${schema}.report_files`,
}

/** Tables that know files and do not need them: replaced ones, which go after a grace. */
export const notRegisters: readonly string[] = ['archive_swaps', 'swapped_files']

/** By path. Of a store of an older version, too: a register that it has not yet is empty. */
export async function registeredLakeFiles(queryable: Queryable, schema: string): Promise<RegisteredFile[]> {
  const present = await run<{ name: string }>(queryable, 'SELECT tablename AS name FROM pg_tables WHERE schemaname = $1 AND tablename = ANY ($2)', [schema, Object.keys(registers)])
  const selects = present.map(({ name }) => registers[name]!(schema))
  if (selects.length === 0) return []
  const rows = await run<{ path: string; bytes: string; sha256: string }>(queryable, `SELECT path, bytes::text AS bytes, sha256 FROM (${selects.join(' UNION ALL ')}) files ORDER BY path COLLATE "C"`)
  return rows.map(({ path, bytes, sha256 }) => ({ path, bytes: Number(bytes), sha256 }))
}
