/** Brings a store's schema up to this version: plain SQL files, forward only, run by node-pg-migrate under its advisory lock. */
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { runner } from 'node-pg-migrate'
import pg from 'pg'
import { ConfigError } from '#core/errors.ts'
import type { Database } from './database.ts'
import { run, translateError } from './database.ts'
import { lockPurpose } from './epochs.ts'

const directory = fileURLToPath(new URL('./migrations', import.meta.url))
const migrationsTable = 'migrations'

/** Throws ConfigError where the store was made by a newer Tidemark. Resolves to the names of the migrations that ran. */
export async function migrateStore(database: Database): Promise<string[]> {
  const known = readdirSync(directory)
    .filter((name) => name.endsWith('.sql'))
    .map((name) => name.slice(0, -'.sql'.length))
    .sort()
  const client = new pg.Client({ connectionString: database.url, application_name: 'tidemark migrate' })
  await client.connect().catch((cause: unknown) => {
    throw translateError(cause)
  })
  try {
    await client.query(`CREATE SCHEMA IF NOT EXISTS ${database.schema}`).catch((thrown: unknown) => {
      // Two at once: IF NOT EXISTS looks before it leaps.
      if ((thrown as { code?: string }).code !== '23505') throw thrown
    })
    const [table] = (
      await client.query<{ present: boolean }>('SELECT to_regclass($1) IS NOT NULL AS present', [`${database.schema}.${migrationsTable}`])
    ).rows
    const applied = table?.present === true ? await run<{ name: string }>(database.pool, `SELECT name FROM ${migrationsTable} ORDER BY id`) : []
    const unknown = applied.filter((row) => !known.includes(row.name)).map((row) => row.name)
    if (unknown.length > 0) {
      throw new ConfigError(`This store was made by a newer Tidemark (it has ${unknown.join(', ')}). Start the version that made it, or a newer one.`)
    }
    if (applied.length === known.length) return []
    await client.query('SELECT pg_advisory_lock(hashtext($1), $2)', [database.schema, lockPurpose.migrate])
    const ran = await runner({
      dbClient: client,
      dir: directory,
      direction: 'up',
      schema: database.schema,
      migrationsSchema: database.schema,
      migrationsTable,
      // Its lock is one for the whole database and refuses instead of waiting; ours is the store's.
      noLock: true,
      count: Infinity,
      checkOrder: true,
      logger: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
    })
    return ran.map((migration) => migration.name)
  } catch (thrown) {
    throw translateError(thrown)
  } finally {
    await client.end()
  }
}
