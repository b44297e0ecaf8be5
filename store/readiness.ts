/** Whether the store can serve: the database answers, its schema is this version's, the pointer names a readable batch. */
import type { Queryable } from './database.ts'
import { run } from './database.ts'
import { knownMigrations } from './known-migrations.ts'

export type Readiness = { readonly ready: boolean; readonly migrations: 'current' | 'missing' | 'newer'; readonly missing: readonly string[]; readonly batch: number | null; readonly batchStatus: string | null }

/** Throws what the database throws where it does not answer. */
export async function readReadiness(queryable: Queryable): Promise<Readiness> {
  const [table] = await run<{ present: boolean }>(queryable, `SELECT to_regclass('migrations') IS NOT NULL AS present`)
  const applied = table!.present ? (await run<{ name: string }>(queryable, 'SELECT name FROM migrations')).map((row) => row.name) : []
  const missing = knownMigrations.filter((name) => !applied.includes(name))
  const migrations = missing.length > 0 ? 'missing' : applied.length > knownMigrations.length ? 'newer' : 'current'
  if (migrations === 'missing') return { ready: false, migrations, missing, batch: null, batchStatus: null }
  const [pointer] = await run<{ batch: bigint; status: string }>(queryable, 'SELECT x.batch, b.status FROM publish_pointer x JOIN batches b ON b.batch = x.batch')
  const batchStatus = pointer?.status ?? null
  return { ready: migrations === 'current' && batchStatus === 'published', migrations, missing, batch: pointer === undefined ? null : Number(pointer.batch), batchStatus }
}
