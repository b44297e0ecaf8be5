/**
 * Imports: history from before the log, each under a partition of its own that no log knows, numbered downward from the highest. Its figures, ids, dead
 * letters and cuts follow the same law as any partition's; only its bytes are kept nowhere but in the lake, so a file goes into the register in the
 * transaction of the flush that counts it, and offsets and archive of an import always end at the same line.
 */
import type { PoolClient } from 'pg'
import { ConfigError, ConflictError } from '#core/errors.ts'
import { partitionMax } from '#core/ledger.ts'
import type { Database, Queryable } from './database.ts'
import { connect, inTransaction, run, translateError } from './database.ts'
import { lockKeys, lockPurpose } from './epochs.ts'

/** Lines are offsets of the partition, empty ones too: `fromOffset` inclusive to `toOffset` exclusive. */
export type ImportedFile = { readonly name: string; readonly fromOffset: number; readonly toOffset: number }

export type Import = {
  readonly name: string
  readonly topic: string
  readonly partition: number
  readonly source: string
  readonly logTimeMs: number
  readonly files: readonly ImportedFile[]
  /** SHA-256 of all lines below `nextOffset`, each with a line feed. */
  readonly contentSha256: string
  /** The first line that is not imported. */
  readonly nextOffset: number
  readonly accepted: number
  readonly copies: number
  readonly conflicts: number
  readonly refused: number
  readonly startedAt: string
  readonly finishedAt: string | null
}

export type ImportTerms = { readonly name: string; readonly topic: string; readonly source: string; readonly logTimeMs: number }

/** Of no line at all. */
export const emptySha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** Throws ConfigError for a name that cannot be one of a source. */
export function checkImportName(name: string, topic: string): void {
  if (!namePattern.test(name)) throw new ConfigError(`${name} cannot name an import: up to 64 letters, digits, dots, dashes and underscores, the first a letter or digit.`)
  if (name === topic) throw new ConfigError(`${name} is the name space of the ids in the log: name the import otherwise, for example after the shop that it came from.`)
}

/** The import of that name, begun now where there is none; its log time stays that of the first time. */
export async function beginImport(database: Database, terms: ImportTerms): Promise<Import> {
  checkImportName(terms.name, terms.topic)
  checkImportName(terms.source, terms.topic)
  return inTransaction(database, {}, async (client) => {
    await client.query(`SELECT pg_advisory_xact_lock(${lockKeys}${lockPurpose.imports})`)
    const before = await findImport(client, terms.name)
    if (before === null) await addImport(client, terms)
    const found = before ?? (await findImport(client, terms.name))!
    if (found.source !== terms.source) throw new ConfigError(`The import ${found.name} has its ids in the name space ${found.source}, not ${terms.source}: name another import, or leave the source out.`)
    return found
  })
}

async function addImport(client: PoolClient, { name, topic, source, logTimeMs }: ImportTerms): Promise<void> {
  const [lowest] = await run<{ partition: number | null }>(client, 'SELECT min(partition) AS partition FROM imports WHERE topic = $1', [topic])
  const partition = (lowest?.partition ?? partitionMax + 1) - 1
  const [highest] = await run<{ partition: number | null }>(
    client,
    'SELECT max(partition) AS partition FROM committed_offsets o WHERE topic = $1 AND NOT EXISTS (SELECT FROM imports i WHERE i.topic = o.topic AND i.partition = o.partition)',
    [topic],
  )
  if (partition <= (highest?.partition ?? -1)) throw new ConfigError(`The log of ${topic} has ${highest!.partition! + 1} partitions: there is none left for another import.`)
  await run(client, 'INSERT INTO imports (name, topic, partition, source, log_time_ms, content_sha256) VALUES ($1, $2, $3, $4, $5, $6)', [name, topic, partition, source, logTimeMs, emptySha256])
  await run(client, 'INSERT INTO committed_offsets (topic, partition, first_offset, next_offset) VALUES ($1, $2, 0, 0)', [topic, partition])
}

type ImportRow = {
  name: string
  topic: string
  partition: number
  source: string
  log_time_ms: bigint
  files: ImportedFile[]
  content_sha256: string
  next_offset: bigint
  accepted: bigint
  copies: bigint
  conflicts: bigint
  refused: bigint
  started_at: string
  finished_at: string | null
}

const selectImports = /* sql */ `
  SELECT i.name, i.topic, i.partition, i.source, i.log_time_ms, i.files, i.content_sha256, o.next_offset, o.accepted, o.copies, o.conflicts, o.refused,
    to_char(i.started_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS started_at, to_char(i.finished_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS finished_at
  FROM imports i JOIN committed_offsets o USING (topic, partition)`

export async function findImport(queryable: Queryable, name: string): Promise<Import | null> {
  const [row] = await run<ImportRow>(queryable, `${selectImports} WHERE i.name = $1`, [name])
  return row === undefined ? null : importOf(row)
}

/** In the order in which they began. */
export async function listImports(queryable: Queryable): Promise<Import[]> {
  return (await run<ImportRow>(queryable, `${selectImports} ORDER BY i.started_at, i.name`)).map(importOf)
}

function importOf(row: ImportRow): Import {
  return {
    name: row.name,
    topic: row.topic,
    partition: row.partition,
    source: row.source,
    logTimeMs: Number(row.log_time_ms),
    files: row.files,
    contentSha256: row.content_sha256,
    nextOffset: Number(row.next_offset),
    accepted: Number(row.accepted),
    copies: Number(row.copies),
    conflicts: Number(row.conflicts),
    refused: Number(row.refused),
    startedAt: row.started_at,
    finishedAt: row.finished_at,
  }
}

/** Partitions of the topic that no log knows. */
export async function readImportPartitions(queryable: Queryable, topic: string): Promise<Set<number>> {
  return new Set((await run<{ partition: number }>(queryable, 'SELECT partition FROM imports WHERE topic = $1', [topic])).map((row) => row.partition))
}

/**
 * Keeps the import to the caller until `releaseLocks`, or the end of the connection. Throws ConflictError where another process works on it: two would be
 * harmless, since every chunk is fenced, and each would hold the other up.
 */
export async function ownImport(database: Database, { name, partition }: Pick<Import, 'name' | 'partition'>): Promise<PoolClient> {
  const client = await connect(database)
  // The lock goes with its connection; an error there is seen at the next statement.
  client.on('error', () => undefined)
  try {
    const [lock] = await run<{ ours: boolean }>(client, `SELECT pg_try_advisory_lock(${lockKeys}$1) AS ours`, [-1 - partition])
    if (lock?.ours === true) return client
  } catch (thrown) {
    client.release(true)
    throw translateError(thrown)
  }
  client.release()
  throw new ConflictError(`The import ${name} runs already in another process: wait for it, or stop it.`, { name })
}

/** In the transaction of the flush that counts the lines up to where `files` end. */
export async function moveImport(client: Queryable, name: string, files: readonly ImportedFile[], contentSha256: string): Promise<void> {
  await run(client, 'UPDATE imports SET files = $2, content_sha256 = $3, moved_at = clock_timestamp() WHERE name = $1', [name, JSON.stringify(files), contentSha256])
}

/** The first time stays. */
export async function finishImport(queryable: Queryable, name: string): Promise<void> {
  await run(queryable, 'UPDATE imports SET finished_at = coalesce(finished_at, clock_timestamp()) WHERE name = $1', [name])
}

export async function readEpoch(queryable: Queryable): Promise<number> {
  const [row] = await run<{ epoch: bigint }>(queryable, 'SELECT epoch FROM lake_state')
  return Number(row!.epoch)
}
