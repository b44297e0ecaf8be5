/**
 * Writes a backup: the store and the embedded log out of one snapshot of the database, then the files that the snapshot's registers name. The lake never
 * changes a file, so a copy that is made later is of the same bytes; one that is swapped meanwhile stays for its grace. All is written under another name,
 * and takes its own once it is whole.
 */
import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { ConfigError, CorruptError, messageOf } from '#core/errors.ts'
import type { Lake } from '#core/ports.ts'
import type { Database } from '#store/database.ts'
import { run } from '#store/database.ts'
import type { DumpSession } from '#store/dump.ts'
import { copyOut, listTables, openSnapshot, readSequences } from '#store/dump.ts'
import type { RegisteredFile } from '#store/registered-files.ts'
import { registeredLakeFiles } from '#store/registered-files.ts'
import { version } from '#store/version.ts'
import { checkedBytes, findRegistered } from './lake-files.ts'
import type { Manifest, TableEntry } from './manifest.ts'
import { backupFormat, lakeFile, manifestName, manifestSumName, manifestText, tableFile } from './manifest.ts'

/** Made by the migrations themselves, and rows of processes that run now. */
export const leftOut: readonly string[] = ['migrations', 'speed_workers']
const copyTriesMax = 2
const leftOutSequences: readonly string[] = ['migrations_id_seq']

export type BackupOptions = {
  readonly database: Database
  /** Schema of the embedded log in the same database; null where the log is elsewhere. */
  readonly logSchema: string | null
  readonly lake: Lake
  /** Whether the lake's files are copied, or named only. */
  readonly holdsLake: boolean
  /** Must not exist. */
  readonly directory: string
  readonly signal: AbortSignal
  /** Waited for. */
  readonly onStep: (step: string, detail: string) => void | Promise<void>
}

/** Resolves to the manifest once the backup stands whole and durable under its name. Whatever happens before leaves nothing under that name. */
export async function writeBackup(options: BackupOptions): Promise<Manifest> {
  const directory = resolve(options.directory)
  if ((await stat(directory).catch(() => null)) !== null) throw new ConfigError(`${directory} exists already, and a backup replaces nothing: name a folder that does not.`, { directory })
  const unfinished = join(dirname(directory), `${basename(directory)}.unfinished-${randomUUID().slice(0, 8)}`)
  try {
    await mkdir(dirname(directory), { recursive: true })
    await mkdir(unfinished, { mode: 0o700 })
    const manifest = await fill(unfinished, options)
    const { text, sum } = manifestText(manifest)
    await writeFile(join(unfinished, manifestName), [Buffer.from(text)])
    await writeFile(join(unfinished, manifestSumName), [Buffer.from(sum)])
    await syncFolder(unfinished)
    options.signal.throwIfAborted()
    await rename(unfinished, directory)
    await syncFolder(dirname(directory))
    return manifest
  } catch (thrown) {
    await rm(unfinished, { recursive: true, force: true }).catch(() => undefined)
    throw explained(directory, thrown)
  }
}

async function fill(directory: string, options: BackupOptions): Promise<Manifest> {
  const { database, logSchema, lake, holdsLake, signal, onStep } = options
  let stored: Omit<Manifest, 'files' | 'lake'>
  let files: RegisteredFile[]
  {
    await using snapshot = await openSnapshot(database.url)
    signal.throwIfAborted()
    // A table of millions of rows is one statement: it ends with its session.
    const stop = (): void => void snapshot.end()
    signal.addEventListener('abort', stop, { once: true })
    try {
      stored = await dumpTables(directory, snapshot, database.schema, logSchema, options)
      files = await registeredLakeFiles(snapshot.client, database.schema)
    } catch (thrown) {
      signal.throwIfAborted()
      throw thrown
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }
  if (holdsLake) await copyLake(directory, lake, files, signal, onStep)
  return { ...stored, lake: holdsLake ? 'held' : 'named', files }
}

async function dumpTables(directory: string, snapshot: DumpSession, schema: string, logSchema: string | null, { signal, onStep }: BackupOptions): Promise<Omit<Manifest, 'files' | 'lake'>> {
  const state = await readState(snapshot, schema)
  const tables: TableEntry[] = []
  const parts = [{ part: 'store' as const, schema }, ...(logSchema === null ? [] : [{ part: 'log' as const, schema: logSchema }])]
  for (const { part, schema: from } of parts) {
    await mkdir(join(directory, part), { mode: 0o700 })
    for (const table of await listTables(snapshot, from, leftOut)) {
      signal.throwIfAborted()
      await onStep('tables', `${part} ${table.name}`)
      const entry = { part, ...table, columns: [...table.columns], rows: 0, bytes: 0, sha256: '' }
      let written = { bytes: 0, sha256: '' }
      const rows = await copyOut(snapshot, from, table, async (bytes) => {
        written = await writeFile(tableFile(directory, entry), bytes)
      })
      tables.push({ ...entry, ...written, rows })
    }
    await syncFolder(join(directory, part))
  }
  const sequences: Manifest['sequences'] = []
  for (const { part, schema: of } of parts) for (const sequence of await readSequences(snapshot, of, leftOutSequences)) sequences.push({ part, ...sequence })
  return { format: backupFormat, tidemark: version, ...state, log: logSchema === null ? 'elsewhere' : 'held', tables, sequences }
}

type State = Pick<Manifest, 'madeBy' | 'createdAt' | 'postgres' | 'incarnation' | 'epoch' | 'batch' | 'logicVersion' | 'horizon' | 'committed' | 'migrations'>

async function readState({ client }: DumpSession, schema: string): Promise<State> {
  await client.query(`SET LOCAL search_path = ${schema}`)
  const [state] = await run<{ made_by: string | null; at: Date; postgres: string; incarnation: string; epoch: string; batch: string; published_epoch: string; logic_version: string | null }>(
    client,
    /* sql */ `
    SELECT l.made_by, transaction_timestamp() AS at, current_setting('server_version') AS postgres, l.incarnation, l.epoch::text AS epoch, x.batch::text AS batch,
      x.epoch::text AS published_epoch, l.logic_version
    FROM lake_state l, publish_pointer x`,
  )
  const offsets = async (statement: string): Promise<Manifest['horizon']> => {
    const byTopic: Record<string, Record<string, number>> = {}
    for (const row of await run<{ topic: string; partition: number; next_offset: string }>(client, statement)) (byTopic[row.topic] ??= {})[row.partition] = Number(row.next_offset)
    return byTopic
  }
  const { made_by: madeBy, at, postgres, incarnation, epoch, batch, logic_version: logicVersion } = state!
  const migrations = await run<{ name: string }>(client, 'SELECT name FROM migrations ORDER BY id')
  return {
    madeBy,
    createdAt: at.toISOString(),
    postgres,
    incarnation,
    epoch: Number(epoch),
    batch: Number(batch),
    logicVersion,
    horizon: await offsets(`SELECT topic, partition, next_offset::text AS next_offset FROM cut_offsets WHERE epoch = ${state!.published_epoch} ORDER BY topic, partition`),
    committed: await offsets('SELECT topic, partition, next_offset::text AS next_offset FROM committed_offsets ORDER BY topic, partition'),
    migrations: migrations.map((row) => row.name),
  }
}

async function copyLake(directory: string, lake: Lake, files: readonly RegisteredFile[], signal: AbortSignal, onStep: BackupOptions['onStep']): Promise<void> {
  const missing: string[] = []
  const folders = new Set<string>()
  for (const [done, file] of files.entries()) {
    signal.throwIfAborted()
    await onStep('lake', `${done} of ${files.length} files`)
    const target = lakeFile(directory, file.path)
    // One that is missing is enough to refuse; the others are named too.
    if (missing.length > 0 ? (await findRegistered(lake, file)) === null : !(await copyRegistered(lake, file, target))) missing.push(file.path)
    folders.add(dirname(target))
  }
  if (missing.length > 0) {
    throw new CorruptError(
      `The lake lacks ${missing.length} registered files, so no backup that holds them can be made:\n  ${missing.slice(0, 20).join('\n  ')}\nPut them back, write them again from the log with "tidemark batch repair", or say --no-lake.`,
      { missing },
    )
  }
  for (const folder of folders) await syncFolder(folder)
}

/** Whether it is there. A file that is swapped is moved aside, perhaps while it is read: then it is read once more, from where it is. */
async function copyRegistered(lake: Lake, file: RegisteredFile, target: string): Promise<boolean> {
  await mkdir(dirname(target), { recursive: true, mode: 0o700 })
  for (let tries = 1; ; tries++) {
    const found = await findRegistered(lake, file)
    if (found === null) return false
    try {
      await writeFile(target, checkedBytes(found, file))
      return true
    } catch (thrown) {
      if (tries === copyTriesMax || !(thrown instanceof CorruptError)) throw thrown
      await rm(target, { force: true })
    }
  }
}

async function writeFile(path: string, bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<{ bytes: number; sha256: string }> {
  const digest = createHash('sha256')
  let written = 0
  await using handle = await open(path, 'wx', 0o600)
  for await (const piece of bytes) {
    digest.update(piece)
    written += piece.byteLength
    await handle.writeFile(piece)
  }
  await handle.sync()
  return { bytes: written, sha256: digest.digest('hex') }
}

/** Windows has no way to sync a folder. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return
  await using handle = await open(folder, 'r')
  await handle.sync()
}

function explained(directory: string, thrown: unknown): unknown {
  const { code } = thrown as { code?: unknown }
  if (code === 'ENOSPC' || code === 'EDQUOT') return new ConfigError(`There is no room for the backup in ${dirname(directory)}: free some, or name another place.`, { directory }, thrown)
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS' || code === 'ENOTDIR' || code === 'EEXIST') return new ConfigError(`The backup cannot be written to ${directory} (${messageOf(thrown)}): name another place.`, { directory }, thrown)
  return thrown
}
