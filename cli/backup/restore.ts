/**
 * Puts a backup back, into a place that holds no store. The backup is checked whole first. The store is then loaded beside its place, in schemas of other
 * names, at the level of migration that it was written at; migrated up; and the lake's files are put where they are missing. Only then do the schemas take
 * their names, both in one transaction: whatever happens before leaves no store behind, and the same command may be given again.
 *
 * The store takes a new incarnation: what lies outside (search indices, folders of batches, pages and tags that readers hold) may know a later state of the
 * old one.
 */
import { createReadStream } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { ConfigError, ConflictError, CorruptError } from '#core/errors.ts'
import type { Lake } from '#core/ports.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'
import type { Database } from '#store/database.ts'
import { openDatabase, run } from '#store/database.ts'
import type { DumpSession } from '#store/dump.ts'
import { copyIn, emptyTables, inLoadOrder, listTables, openLoader, setSequence } from '#store/dump.ts'
import { readIncarnation, renewIncarnation } from '#store/incarnation.ts'
import { knownMigrations } from '#store/known-migrations.ts'
import { migrateStore, refusalOfNewer } from '#store/migrate.ts'
import { readPointer } from '#store/batches.ts'
import { checkLogic } from '#store/partitions.ts'
import { checkTiling } from '#store/register.ts'
import { registeredLakeFiles } from '#store/registered-files.ts'
import type { LakeFaults } from './lake-files.ts'
import { checkFile, compareWithLake } from './lake-files.ts'
import type { Manifest, TableEntry } from './manifest.ts'
import { damaged, lakeFile, readManifest, tableFile } from './manifest.ts'
import { leftOut } from './write.ts'

const chunkBytes = 1024 * 1024
const insufficientPrivilege = '42501'

export type RestoreOptions = {
  /** What `tidemark backup` wrote. */
  readonly directory: string
  /** Of that folder, from `checkBackup`. */
  readonly manifest: Manifest
  /** Of the database that is restored into. */
  readonly url: string
  readonly schema: string
  /** Schema of the embedded log in the same database; null where the log is elsewhere. */
  readonly logSchema: string | null
  /** The log that stands in its place already goes on: only the store is put back. */
  readonly keepsLog: boolean
  readonly lake: Lake
  /** Of this Tidemark and its settings. */
  readonly decoderVersion: string
  readonly signal: AbortSignal
  readonly onStep: (step: string, detail: string) => void
}

export type Restored = {
  readonly incarnation: string
  readonly migrated: readonly string[]
  /** Files of the lake that were put there; the others stood there. */
  readonly filesPut: number
  readonly lake: LakeFaults
  /** What is wrong with the register itself, as it was when the backup was made; null where its ranges tile. */
  readonly registerFault: string | null
}

/** Reads the whole backup and compares every file with its checksum. Throws CorruptError naming the file, ConfigError where a newer Tidemark is needed. */
export async function checkBackup(directory: string, signal: AbortSignal, onStep: RestoreOptions['onStep']): Promise<Manifest> {
  const manifest = await readManifest(directory)
  const newer = refusalOfNewer('This backup', manifest.migrations, manifest.madeBy ?? manifest.tidemark)
  if (newer !== null) throw new ConfigError(newer, { directory })
  const places = [
    ...manifest.tables.map((table) => ({ file: tableFile(directory, table), ...table })),
    ...(manifest.lake === 'held' ? manifest.files.map((file) => ({ file: lakeFile(directory, file.path), ...file })) : []),
  ]
  for (const [done, { file, bytes, sha256 }] of places.entries()) {
    signal.throwIfAborted()
    onStep('check', `${done} of ${places.length} files`)
    await checkFile(file, bytes, sha256, signal)
  }
  return manifest
}

/** Of a backup that was checked. Throws ConfigError where the place is not empty, or the backup needs something that is not there. */
export async function restoreBackup(options: RestoreOptions): Promise<Restored> {
  const { directory, manifest, url, schema, logSchema, keepsLog, signal, onStep } = options
  checkPrefix(manifest)
  if (logSchema !== null && !keepsLog && manifest.log !== 'held') {
    throw new ConfigError('The log of this store was elsewhere when the backup was made, and is not in it: set LOG_URL to that log.', { directory })
  }
  const holdsLog = logSchema !== null && !keepsLog
  const loading = loadingName(schema)
  const logLoading = logSchema === null ? null : loadingName(logSchema)
  await using session = await openLoader(url)
  await using database = openDatabase({ url, schema: loading, connectionsMax: 2, applicationName: 'tidemark restore' })
  signal.throwIfAborted()
  const stop = (): void => void session.end()
  signal.addEventListener('abort', stop, { once: true })
  try {
    // Of two restorings at once the second finds the place taken.
    await holdPlace(session, schema)
    await checkEmpty(session, schema, logSchema, keepsLog)
    await dropSchemas(session, [loading, logLoading])
    const migrated = await loadStore(session, database, options)
    if (holdsLog) await loadLog(session, logLoading!, options)
    else if (logSchema !== null) await checkLogReaches(database, await readLogEnds(session, logSchema))
    onStep('lake', 'comparing')
    const filesPut = await putFiles(options)
    const lake = await compareWithLake(options.lake, await registeredLakeFiles(database.pool, loading), { deep: false, signal, onFile: (done) => onStep('lake', `${done} of ${manifest.files.length} files compared`) })
    const registerFault = await findRegisterFault(database)
    const incarnation = await readIncarnation(database.pool)
    signal.throwIfAborted()
    await takePlaces(session, schema, holdsLog ? logSchema : null)
    return { incarnation, migrated, filesPut, lake, registerFault }
  } catch (thrown) {
    await dropAfterFailure(url, [loading, logLoading])
    signal.throwIfAborted()
    if ((thrown as { code?: unknown }).code === insufficientPrivilege) throw new ConfigError(`The user of DATABASE_URL may not make the schema ${schema}: GRANT CREATE ON DATABASE … TO it, and restore again.`, { schema }, thrown)
    throw thrown
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** The migrations of the backup must be the first of ours, in their order. */
function checkPrefix({ migrations, madeBy, tidemark }: Manifest): void {
  if (migrations.length > 0 && migrations.every((name, at) => name === knownMigrations[at])) return
  throw new ConfigError(`The migrations of this backup (${migrations.join(', ')}) are not the first of this Tidemark's. Restore it with Tidemark ${madeBy ?? tidemark}.`)
}

async function holdPlace({ client }: DumpSession, schema: string): Promise<void> {
  const [lock] = await run<{ ours: boolean }>(client, `SELECT pg_try_advisory_lock(hashtextextended('tidemark restore: ' || $1, 0)) AS ours`, [schema])
  if (lock?.ours !== true) throw new ConflictError(`A backup is being restored into schema ${schema} by another process: let it end.`)
}

async function checkEmpty(session: DumpSession, schema: string, logSchema: string | null, keepsLog: boolean): Promise<void> {
  const tables = await run(session.client, 'SELECT FROM pg_tables WHERE schemaname = $1 LIMIT 1', [schema])
  if (tables.length > 0) {
    throw new ConfigError(
      `There is a store in schema ${schema} already, and a backup is restored into an empty place only. Name another folder with --data, or another TIDEMARK_SCHEMA; or take the store away first ("tidemark reset" removes that of a data folder, DROP SCHEMA ${schema} CASCADE that of a database).`,
      { schema },
    )
  }
  if (logSchema === null || keepsLog) return
  const ends = await readLogEnds(session, logSchema)
  if (ends.some(({ next }) => next > 0)) {
    throw new ConfigError(
      `There is a log in schema ${logSchema} already. Say --keep-log to put back the store alone, which then counts again from that log what it lacks; or take the log away first.`,
      { schema: logSchema },
    )
  }
}

type LogEnd = { readonly topic: string; readonly partition: number; readonly next: number }

async function readLogEnds({ client }: DumpSession, logSchema: string): Promise<LogEnd[]> {
  const [table] = await run<{ present: boolean }>(client, 'SELECT to_regclass($1) IS NOT NULL AS present', [`${logSchema}.partitions`])
  if (table?.present !== true) return []
  const rows = await run<{ topic: string; partition: number; next: string }>(
    client,
    `SELECT t.name AS topic, p.partition, p.next_offset::text AS next FROM ${logSchema}.partitions p JOIN ${logSchema}.topics t USING (topic_id)`,
  )
  return rows.map(({ topic, partition, next }) => ({ topic, partition, next: Number(next) }))
}

/** A log that ends before the store's positions is an older one: what is appended to it would never be counted. No log holds what was imported. */
async function checkLogReaches({ pool }: Database, ends: readonly LogEnd[]): Promise<void> {
  const counted = await run<{ topic: string; partition: number; next: bigint }>(
    pool,
    /* sql */ `
    SELECT o.topic, o.partition, o.next_offset - coalesce(b.base, 0) AS next FROM committed_offsets o LEFT JOIN log_bases b USING (topic, partition)
    WHERE NOT EXISTS (SELECT FROM imports i WHERE i.topic = o.topic AND i.partition = o.partition) ORDER BY 1, 2`,
  )
  for (const { topic, partition, next } of counted) {
    const end = ends.find((one) => one.topic === topic && one.partition === partition)?.next ?? 0
    if (end < Number(next)) {
      throw new ConfigError(`The log that is there ends at ${end} in ${topic} partition ${partition}, before the ${next} that the backup had counted: it is an older log. Restore without --keep-log into an empty place.`)
    }
  }
}

async function loadStore(session: DumpSession, database: Database, options: RestoreOptions): Promise<string[]> {
  const { manifest, onStep } = options
  onStep('tables', 'making the schema')
  await migrateStore(database, { upTo: manifest.migrations.at(-1)! })
  await loadTables(session, database.schema, 'store', options)
  onStep('migrate', '')
  const migrated = await migrateStore(database)
  await checkLogic(database, options.decoderVersion)
  await renewIncarnation(database, manifest.incarnation)
  return migrated
}

async function loadLog(session: DumpSession, logSchema: string, options: RestoreOptions): Promise<void> {
  await using _made = await openPostgresLog({ connectionString: options.url, schema: logSchema })
  await loadTables(session, logSchema, 'log', options)
}

async function loadTables(session: DumpSession, schema: string, part: TableEntry['part'], { directory, manifest, signal, onStep }: RestoreOptions): Promise<void> {
  const entries = manifest.tables.filter((table) => table.part === part)
  const made = await listTables(session, schema, leftOut)
  for (const { name, columns } of entries) {
    const table = made.find((one) => one.name === name)
    const unknown = table === undefined ? columns : columns.filter((column) => !table.columns.includes(column))
    if (unknown.length > 0) throw new CorruptError(`The backup has ${part} ${name} with ${unknown.join(', ')}, which migration ${manifest.migrations.at(-1)} does not make. Restore it with Tidemark ${manifest.tidemark}.`)
  }
  await emptyTables(session, schema, made)
  for (const table of await inLoadOrder(session, schema, made)) {
    const entry = entries.find((one) => one.name === table.name)
    if (entry === undefined) continue
    signal.throwIfAborted()
    onStep('tables', `${part} ${entry.name}, ${entry.rows} rows`)
    const file = tableFile(directory, entry)
    const rows = await copyIn(session, schema, entry, createReadStream(file, { highWaterMark: chunkBytes }))
    if (rows !== entry.rows) throw damaged(file, `it has ${rows} rows where ${entry.rows} were written`)
  }
  for (const sequence of manifest.sequences) if (sequence.part === part) await setSequence(session, schema, sequence)
}

/** Puts the backup's files where the lake lacks them. One that stands there with another length is not ours to replace: that is told, with the missing ones. */
async function putFiles({ directory, lake, manifest, signal, onStep }: RestoreOptions): Promise<number> {
  if (manifest.lake !== 'held') return 0
  let put = 0
  for (const [done, { path, bytes }] of manifest.files.entries()) {
    signal.throwIfAborted()
    onStep('lake', `${done} of ${manifest.files.length} files`)
    if ((await lake.stat(path)) !== null) continue
    await lake.put(path, createReadStream(lakeFile(directory, path), { highWaterMark: chunkBytes }), async (file) => {
      if (file.bytes !== bytes) throw new ConflictError(`${path} was not written whole. Restore again.`, { path })
    })
    put++
  }
  return put
}

/** The only copy of a store may be of one with a hole in its register: it is put back as it was, and told. */
export async function findRegisterFault({ pool }: Database): Promise<string | null> {
  try {
    await checkTiling(pool, (await readPointer(pool)).epoch)
    return null
  } catch (thrown) {
    if (thrown instanceof CorruptError) return thrown.message
    throw thrown
  }
}

async function takePlaces(session: DumpSession, schema: string, logSchema: string | null): Promise<void> {
  const { client } = session
  await run(client, 'BEGIN; SET LOCAL synchronous_commit = on')
  // One that somebody filled meanwhile is not dropped: that is refused, and nothing is restored.
  await run(client, `DROP SCHEMA IF EXISTS ${schema} RESTRICT`)
  await run(client, `ALTER SCHEMA ${loadingName(schema)} RENAME TO ${schema}`)
  if (logSchema !== null) {
    if ((await readLogEnds(session, logSchema)).some(({ next }) => next > 0)) throw new ConflictError(`Somebody wrote to the log in schema ${logSchema} meanwhile. Stop that, and restore again.`)
    await run(client, `DROP SCHEMA IF EXISTS ${logSchema} CASCADE`)
    await run(client, `ALTER SCHEMA ${loadingName(logSchema)} RENAME TO ${logSchema}`)
  }
  await run(client, 'COMMIT')
}

function loadingName(schema: string): string {
  return `${schema}_restoring`
}

async function dropSchemas({ client }: DumpSession, schemas: readonly (string | null)[]): Promise<void> {
  for (const name of schemas) if (name !== null) await run(client, `DROP SCHEMA IF EXISTS ${name} CASCADE`)
}

/** By a session of its own, since the other may have ended for it. What stays when the database is gone is dropped by the next try. */
async function dropAfterFailure(url: string, schemas: readonly (string | null)[]): Promise<void> {
  await setImmediate()
  await openLoader(url).then(
    async (session) => {
      await dropSchemas(session, schemas).catch(() => undefined)
      await session.end()
    },
    () => undefined,
  )
}
