/** The store as the doctor reaches it: by its URL, or through the running PostgreSQL of the data folder. It is never started and never migrated. */
import { ConfigError } from '#core/errors.ts'
import type { EmbeddedPostgresFacts } from '#engines/postgres-inspect.ts'
import { inspectEmbeddedPostgres } from '#engines/postgres-inspect.ts'
import type { Database } from '#store/database.ts'
import { openDatabase } from '#store/database.ts'
import type { Readiness } from '#store/readiness.ts'
import { readReadiness } from '#store/readiness.ts'
import type { StoreStatus } from '#store/status.ts'
import { readStatus } from '#store/status.ts'
import type { Settings } from '../settings.ts'

export type StoreAccess = {
  /** null where a URL names the database. */
  readonly embedded: EmbeddedPostgresFacts | null
  /** null while the data folder's own PostgreSQL does not run. */
  readonly database: Database | null
  /** Throws what the database throws. Asked once for all. */
  readonly readiness: () => Promise<Readiness | null>
  /** null where there is no store of this version to ask. */
  readonly status: () => Promise<StoreStatus | null>
}

const statementTimeoutMs = 8_000
const programTimeoutMs = 5_000

/** Opens, without asking the database anything yet. Throws ConfigError where the data folder's PostgreSQL cannot be used. */
export async function reachStore({ databaseUrl, dataDirectory, schema }: Settings, resources: AsyncDisposableStack): Promise<StoreAccess> {
  const embedded = databaseUrl === '' ? await inspectEmbeddedPostgres(dataDirectory, programTimeoutMs) : null
  const url = embedded === null ? databaseUrl : embedded.server?.url
  if (url === undefined) return { embedded, database: null, readiness: async () => null, status: async () => null }
  if (!URL.canParse(url)) throw new ConfigError('DATABASE_URL is no URL: postgres://user:password@host:5432/database is expected.')
  const database = resources.use(openDatabase({ url, schema, connectionsMax: 3, applicationName: 'tidemark doctor', statementTimeoutMs }))
  let readiness: Promise<Readiness> | null = null
  let status: Promise<StoreStatus | null> | null = null
  const ready = (): Promise<Readiness> => (readiness ??= readReadiness(database.pool))
  return { embedded, database, readiness: ready, status: () => (status ??= ready().then((found) => (found.migrations === 'missing' ? null : readStatus(database.pool)))) }
}
