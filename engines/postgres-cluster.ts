// Sets a database cluster up, once. Everything happens in a folder beside the final place and is renamed there when it is whole and
// synced, so that a crash leaves either nothing or a cluster.
import { randomBytes, randomUUID } from 'node:crypto'
import { execFile } from 'node:child_process'
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, parse } from 'node:path'
import { promisify } from 'node:util'
import { ConfigError } from '#core/errors.ts'
import { SERVER_ACCOUNT, commandAs, commandWithName, findNamedAccount, giveTo, isRoot } from './postgres-account.ts'
import type { Command } from './postgres-account.ts'
import type { PostgresBinaries } from './postgres-binaries.ts'
import { SUPERUSER } from './postgres-connection.ts'
import { explainFailure } from './postgres-failure.ts'

const MAJOR_VERSION = '18'
const INIT_DEADLINE_MS = 120_000

const runFile = promisify(execFile)

/** The environment of every program of PostgreSQL: none of ours (PGDATA, PGOPTIONS, LC_ALL …) may change what it does. */
export function postgresEnvironment(): NodeJS.ProcessEnv {
  const { PATH, SystemRoot, TEMP } = process.env
  return { PATH, LC_ALL: 'C', TZ: 'UTC', ...(process.platform === 'win32' ? { SystemRoot, TEMP } : {}) }
}

/** The password of the superuser, made at the first call; file mode 0600, whole or not there at all. */
export function readPassword(file: string, cluster: string): string {
  if (existsSync(file)) return readFileSync(file, 'utf8').trim()
  if (existsSync(cluster)) {
    throw new ConfigError(`${file}, the password of the database beside it, is missing: put it back from a backup, or begin anew with \`./tidemark reset --yes\`.`, { file })
  }
  const draft = `${file}.draft`
  rmSync(draft, { force: true })
  const descriptor = openSync(draft, 'wx', 0o600)
  writeFileSync(descriptor, `${randomBytes(24).toString('hex')}\n`)
  fsyncSync(descriptor)
  closeSync(descriptor)
  renameSync(draft, file)
  syncFolder(dirname(file))
  return readFileSync(file, 'utf8').trim()
}

/** True when `cluster` holds a database of our version. Throws ConfigError for anything else that is not empty. */
export function isInitialised(cluster: string): boolean {
  if (!existsSync(cluster) || readdirSync(cluster).length === 0) return false
  const versionFile = join(cluster, 'PG_VERSION')
  const version = existsSync(versionFile) ? readFileSync(versionFile, 'utf8').trim() : undefined
  if (version === MAJOR_VERSION) return true
  throw new ConfigError(
    version === undefined
      ? `${cluster} is not empty and not a database: move it away, or choose another folder with --data.`
      : `The database in ${cluster} was written by PostgreSQL ${version}, this is ${MAJOR_VERSION}: use the version of Tidemark that wrote it, or another folder with --data.`,
    { cluster, version },
  )
}

/** Sets the cluster up in `cluster`. Called under the server's lock; removes what a crashed attempt left. */
export async function initialiseCluster(binaries: PostgresBinaries, cluster: string, password: string): Promise<void> {
  const parent = dirname(cluster)
  for (const name of readdirSync(parent)) {
    if (name.startsWith('postgres.init-')) rmSync(join(parent, name), { recursive: true, force: true })
  }
  const draft = join(parent, `postgres.init-${randomUUID()}`)
  mkdirSync(draft, { mode: 0o700 })
  try {
    writeFileSync(join(draft, 'password'), password, { mode: 0o600 })
    await initialiseDraft(binaries, draft)
    renameSync(join(draft, 'cluster'), cluster)
    syncFolder(parent)
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

async function initialiseDraft(binaries: PostgresBinaries, draft: string): Promise<void> {
  const cluster = join(draft, 'cluster')
  const locale = ['--locale=C', '--encoding=UTF8']
  const access = ['--username', SUPERUSER, '--auth=scram-sha-256', `--pwfile=${join(draft, 'password')}`]
  const options = ['-D', cluster, ...locale, ...access, '--no-instructions']
  if (!isRoot()) return runInitdb(commandWithName(binaries.initdb, options) ?? { file: binaries.initdb, args: options }, draft)
  const named = findNamedAccount()
  giveTo(named, draft)
  await runInitdb(commandAs(named, binaries, draft, binaries.initdb, [...options, '--no-sync']), draft)
  giveTo(SERVER_ACCOUNT, draft)
  // Last, so that the change of owner is on the disk as well.
  await runInitdb(commandAs(SERVER_ACCOUNT, binaries, draft, binaries.initdb, ['-D', cluster, '--sync-only']), draft)
}

async function runInitdb({ file, args, ...identity }: Command, draft: string): Promise<void> {
  try {
    await runFile(file, args, { ...identity, env: postgresEnvironment(), cwd: parse(draft).root, timeout: INIT_DEADLINE_MS, windowsHide: true })
  } catch (error) {
    const { stdout = '', stderr = '', message } = error as Error & { readonly stdout?: string; readonly stderr?: string }
    throw explainFailure(`PostgreSQL could not set up its files in ${dirname(draft)}`, `${stdout}\n${stderr.trim() === '' ? message : stderr}`, { draft })
  }
}

function syncFolder(folder: string): void {
  // Windows has no handle on a folder to sync.
  if (process.platform === 'win32') return
  const descriptor = openSync(folder, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
