/** Erasures on record: the SHA-256 of the person's id, when, and how much was blanked. The id itself is kept nowhere. */
import { createHash } from 'node:crypto'
import { namesUser } from '#core/names-user.ts'
import type { Database, Queryable } from './database.ts'
import { inTransaction, run } from './database.ts'
import { bytesErased } from './dead-letters.ts'
import type { ArchiveFile } from './register.ts'
import { swapFiles } from './register.ts'

const lettersPerPage = 500

export function hashOfUser(userId: string): string {
  return createHash('sha256').update(userId).digest('hex')
}

export async function beginErasure(queryable: Queryable, userId: string): Promise<number> {
  const [row] = await run<{ erasure: bigint }>(queryable, 'INSERT INTO erasures (user_sha256) VALUES ($1) RETURNING erasure', [hashOfUser(userId)])
  return Number(row!.erasure)
}

export async function finishErasure(queryable: Queryable, erasure: number): Promise<void> {
  await run(queryable, 'UPDATE erasures SET finished_at = clock_timestamp() WHERE erasure = $1', [erasure])
}

/** Puts a file without the person in the place of one with them. Throws ConflictError where the register has changed meanwhile. */
export async function swapErased(database: Database, erasure: number, old: ArchiveFile, blanked: ArchiveFile, records: number): Promise<void> {
  await inTransaction(database, {}, async (client) => {
    await swapFiles(client, [old], blanked, 'erased')
    await client.query('UPDATE erasures SET files = files + 1, records = records + $2 WHERE erasure = $1', [erasure, records])
  })
}

/** Dead letters whose bytes carry the person's id. */
export async function findLettersOf(queryable: Queryable, userId: string): Promise<bigint[]> {
  const found: bigint[] = []
  for (let after = 0n; ; ) {
    const letters = await run<{ id: bigint; bytes: Buffer }>(queryable, `SELECT id, bytes FROM dead_letters WHERE id > $1 AND bytes <> '' ORDER BY id LIMIT ${lettersPerPage}`, [after])
    if (letters.length === 0) return found
    for (const { id, bytes } of letters) if (namesUser(bytes, userId)) found.push(id)
    after = letters.at(-1)!.id
  }
}

/** Blanks what the database keeps of the person beside figures, which hold no person. */
export async function eraseFromTables(database: Database, erasure: number, userId: string): Promise<{ deadLetters: number; references: number }> {
  return inTransaction(database, {}, async (client) => {
    const letters = await findLettersOf(client, userId)
    // The bytes of a record stand with the first of its letters, the headers with each.
    await client.query(
      /* sql */ `
      UPDATE dead_letters d SET bytes = '', headers = NULL, detail = d.detail || $2
      FROM (SELECT DISTINCT topic, partition, log_offset FROM dead_letters WHERE id = ANY ($1)) r
      WHERE d.topic = r.topic AND d.partition = r.partition AND d.log_offset = r.log_offset`,
      [letters, bytesErased],
    )
    const references = await client.query('DELETE FROM reference_users WHERE user_id = $1', [userId])
    await client.query(`DELETE FROM search_rejects WHERE document LIKE '{%' AND document::jsonb->>'userId' = $1`, [userId])
    await client.query('UPDATE erasures SET dead_letters = dead_letters + $2, references_removed = references_removed + $3 WHERE erasure = $1', [erasure, letters.length, references.rowCount ?? 0])
    return { deadLetters: letters.length, references: references.rowCount ?? 0 }
  })
}

export async function hasReference(queryable: Queryable, userId: string): Promise<boolean> {
  return (await run(queryable, 'SELECT FROM reference_users WHERE user_id = $1', [userId])).length > 0
}

/** Hashes of all who were erased: what is made from the log again must leave them out. */
export async function readErasedUsers(queryable: Queryable): Promise<Set<string>> {
  const rows = await run<{ user_sha256: string }>(queryable, 'SELECT DISTINCT user_sha256 FROM erasures')
  return new Set(rows.map((row) => row.user_sha256))
}

/** Files that swaps have replaced and that the lake may still hold. */
export async function readSwappedPaths(queryable: Queryable): Promise<string[]> {
  return (await run<{ path: string }>(queryable, 'SELECT path FROM swapped_files ORDER BY path')).map((row) => row.path)
}

/** Files that no publication can put in the place of another any more, since that one was blanked meanwhile. */
export async function readStalePending(queryable: Queryable): Promise<string[]> {
  const rows = await run<{ path: string }>(queryable, 'SELECT path FROM pending_files p WHERE NOT EXISTS (SELECT FROM archive_files f WHERE f.path = p.replaces)')
  return rows.map((row) => row.path)
}

export async function forgetSwapped(queryable: Queryable, path: string): Promise<void> {
  await run(queryable, 'DELETE FROM swapped_files WHERE path = $1', [path])
}
