/** Brings a store's schema up to this version: plain SQL files, forward only, run by node-pg-migrate under its advisory lock. */
import { fileURLToPath } from 'node:url'
import { runner } from 'node-pg-migrate'
import pg from 'pg'
import { ConfigError } from '#core/errors.ts'
import type { Database, Queryable } from './database.ts'
import { run, translateError } from './database.ts'
import { lockPurpose } from './epochs.ts'
import { knownMigrations } from './known-migrations.ts'
import { version } from './version.ts'

const directory = fileURLToPath(new URL('./migrations', import.meta.url))
const migrationsTable = 'migrations'

/**
 * Throws ConfigError where the store was made by a newer Tidemark, naming the version to use. Resolves to the names of the migrations that ran. With `upTo`,
 * the name of a migration, it ends with that one: for a backup that an older Tidemark made.
 */
export async function migrateStore(database: Database, options: { readonly upTo?: string } = {}): Promise<string[]> {
  const wanted = knownMigrations.slice(0, options.upTo === undefined ? knownMigrations.length : knownMigrations.indexOf(options.upTo) + 1)
  const client = new pg.Client({ connectionString: database.url, application_name: 'tidemark migrate' })
  await client.connect().catch((cause: unknown) => {
    throw translateError(cause)
  })
  try {
    await client.query(`CREATE SCHEMA IF NOT EXISTS ${database.schema}`).catch((thrown: unknown) => {
      // Two at once: IF NOT EXISTS looks before it leaps.
      if ((thrown as { code?: string }).code !== '23505') throw thrown
    })
    const applied = await appliedMigrations(database)
    await refuseNewer(database.pool, applied)
    if (applied.length >= wanted.length) return []
    await client.query('SELECT pg_advisory_lock(hashtext($1), $2)', [database.schema, lockPurpose.migrate])
    // Another may have been here meanwhile.
    const left = wanted.length - (await appliedMigrations(database)).length
    if (left <= 0) return []
    const ran = await runner({
      dbClient: client,
      dir: directory,
      direction: 'up',
      schema: database.schema,
      migrationsSchema: database.schema,
      migrationsTable,
      // Its lock is one for the whole database and refuses instead of waiting; ours is the store's.
      noLock: true,
      count: left,
      checkOrder: true,
      logger: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
    })
    await noteVersion(database.pool)
    return ran.map((migration) => migration.name)
  } catch (thrown) {
    throw translateError(thrown)
  } finally {
    await client.end()
  }
}

/** In the order in which they ran; none where there is no store yet. */
export async function appliedMigrations({ pool, schema }: Database): Promise<string[]> {
  const table = `${schema}.${migrationsTable}`
  const [found] = await run<{ present: boolean }>(pool, 'SELECT to_regclass($1) IS NOT NULL AS present', [table])
  if (found?.present !== true) return []
  return (await run<{ name: string }>(pool, `SELECT name FROM ${table} ORDER BY id`)).map((row) => row.name)
}

/** The version of the Tidemark that brought the store's schema to where it is; null where none recorded it yet. */
export async function readMadeBy(queryable: Queryable): Promise<string | null> {
  // A store of before has no such column.
  const [row] = await run<{ made_by: string | null }>(queryable, `SELECT to_jsonb(l) ->> 'made_by' AS made_by FROM lake_state l`)
  return row?.made_by ?? null
}

/** Why a store, or a backup of one, with such migrations cannot be used, and which Tidemark can; null where it can. */
export function refusalOfNewer(what: string, applied: readonly string[], madeBy: string | null): string | null {
  const unknown = applied.filter((name) => !knownMigrations.includes(name))
  if (unknown.length === 0) return null
  const [by, use] = madeBy === null ? ['a newer Tidemark', 'the version that made it'] : [`Tidemark ${madeBy}`, `Tidemark ${madeBy}`]
  return `${what} was made by ${by}, which knows more than this ${version} (it has ${unknown.join(', ')}). Use ${use}, or a newer one.`
}

async function refuseNewer(queryable: Queryable, applied: readonly string[]): Promise<void> {
  if (refusalOfNewer('', applied, null) === null) return
  const madeBy = await readMadeBy(queryable).catch(() => null)
  throw new ConfigError(refusalOfNewer('This store', applied, madeBy)!, { madeBy })
}

async function noteVersion(queryable: Queryable): Promise<void> {
  const [column] = await run(queryable, `SELECT FROM pg_attribute WHERE attrelid = 'lake_state'::regclass AND attname = 'made_by'`)
  if (column !== undefined) await run(queryable, 'UPDATE lake_state SET made_by = $1', [version])
}
