// A real PostgreSQL in a folder, shared by every process that opens the folder. There is no process in between: whoever comes
// first starts the server, everyone notes that he uses it, and whoever leaves last stops it, all under one short lock. Any of them
// may be killed at any moment, the server too: the next to come finds what is there, joins it or starts it again. The server
// runs in a session of its own, so Ctrl-C ends us in our order (first our work, then the database), and `kill -9` of us does
// not touch it.
//
//     <data>/postgres/            the cluster                 <data>/postgres.log        what the server prints, bounded
//     <data>/postgres.password    its superuser's, mode 0600  <data>/postgres.users/     a note per opening
//     <data>/postgres.lock/       the lock
import { accessSync, constants, existsSync, mkdirSync, realpathSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { ConfigError, UnavailableError, messageOf } from '#core/errors.ts'
import { LockTimeoutError, acquireFileLock } from './file-lock.mjs'
import { accountFor } from './postgres-account.ts'
import { findPostgresBinaries } from './postgres-binaries.ts'
import type { PostgresBinaries } from './postgres-binaries.ts'
import { initialiseCluster, isInitialised, readPassword } from './postgres-cluster.ts'
import { serverUrl } from './postgres-connection.ts'
import type { ServerFiles } from './postgres-connection.ts'
import { boundOutput } from './postgres-output.ts'
import { joinOrStartServer, stopServer } from './postgres-server.ts'
import type { PostgresSettings } from './postgres-settings.ts'
import { addUser, listUsers, removeUser } from './postgres-users.ts'

/** Longer than the longest that anyone may hold it: setting up, then starting. */
const LOCK_WAIT_MS = 300_000

export type EmbeddedPostgresOptions = {
  /** Made when missing. One folder is one database. */
  readonly dataDirectory: string
  /** Beside and over `POSTGRES_SETTINGS`; they count for whoever starts the server, those who join take it as it is. */
  readonly settings?: PostgresSettings | undefined
  /** Told one line for each step that takes long. */
  readonly log?: ((line: string) => void) | undefined
}

export type EmbeddedPostgres = AsyncDisposable & {
  /** Connection string of the superuser to the database `tidemark`, password included: not for logs. */
  readonly url: string
  readonly port: number
  /** Process id of the server. */
  readonly pid: number
  /** Whether this opening started the server. */
  readonly owner: boolean
  /**
   * Starts the server again if it has died, on the same port unless that is taken; at no cost but a question when it runs.
   * `url`, `port` and `pid` then say where it is.
   */
  ensureRunning(): Promise<void>
}

/**
 * Opens the PostgreSQL of a data directory: sets it up, starts it, or joins the one that runs. Disposing leaves it, and stops it if
 * nobody else uses it. Throws ConfigError where a person must act (disk full, permissions, another version; the message has the
 * fix and PostgreSQL's own words), UnavailableError where trying again may help.
 */
export async function openEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { settings = {}, log = () => {} } = options
  const binaries = findPostgresBinaries()
  const places = makePlaces(options.dataDirectory)
  // Asked before anything is written: it explains better than a failing write why the files of somebody else cannot be used.
  accountFor(places.cluster)
  const usersDirectory = places.users
  let opening = await underLock(places, log, async () => {
    const user = addUser(usersDirectory)
    try {
      const files = await prepareFiles(binaries, places, log)
      return { user, files, ...(await joinOrStartServer(binaries, files, settings, log)) }
    } catch (error) {
      removeUser(usersDirectory, user)
      throw error
    }
  })
  const outputBound = boundOutput(opening.files.logFile)
  let closing: Promise<void> | undefined

  return {
    get url() {
      return serverUrl(opening.files, opening.server.port)
    },
    get port() {
      return opening.server.port
    },
    get pid() {
      return opening.server.pid
    },
    get owner() {
      return opening.owner
    },
    ensureRunning: () =>
      underLock(places, log, async () => {
        if (closing !== undefined) throw new UnavailableError(`The database in ${places.cluster} is being closed by this process.`)
        opening = { ...opening, ...(await joinOrStartServer(binaries, opening.files, settings, log)) }
      }),
    [Symbol.asyncDispose]: () => {
      closing ??= underLock(places, log, async () => {
        outputBound[Symbol.dispose]()
        removeUser(usersDirectory, opening.user)
        if (listUsers(usersDirectory).length === 0) await stopServer(binaries, opening.files, log)
      })
      return closing
    },
  }
}

/** The process ids that have the database of this folder open now, one per opening. */
export async function embeddedPostgresUsers(dataDirectory: string): Promise<readonly number[]> {
  if (!existsSync(join(dataDirectory, 'postgres.users'))) return []
  const places = makePlaces(dataDirectory)
  return underLock(places, () => {}, async () => listUsers(places.users))
}

/** Removes the database of this folder for good, stopping a server that was left running. Throws ConfigError while anyone uses it. */
export async function removeEmbeddedPostgres(dataDirectory: string, log: (line: string) => void = () => {}): Promise<void> {
  if (!existsSync(dataDirectory)) return
  const places = makePlaces(dataDirectory)
  await underLock(places, log, async () => {
    const users = listUsers(places.users)
    if (users.length > 0) {
      throw new ConfigError(`The database in ${places.cluster} is in use by process ${users.join(', ')}: stop it first.`, { users })
    }
    if (existsSync(places.passwordFile) && isInitialised(places.cluster)) {
      await stopServer(findPostgresBinaries(), filesOf(places), log)
    }
    for (const path of [places.cluster, places.passwordFile, places.logFile, `${places.logFile}.1`]) rmSync(path, { recursive: true, force: true })
  })
}

type Places = {
  readonly cluster: string
  readonly passwordFile: string
  readonly logFile: string
  readonly users: string
  readonly lock: string
}

function makePlaces(dataDirectory: string): Places {
  try {
    mkdirSync(dataDirectory, { recursive: true })
    const root = realpathSync(resolve(dataDirectory))
    accessSync(root, constants.W_OK)
    const at = (name: string) => join(root, name)
    return { cluster: at('postgres'), passwordFile: at('postgres.password'), logFile: at('postgres.log'), users: at('postgres.users'), lock: at('postgres.lock') }
  } catch (error) {
    throw new ConfigError(`The data folder ${dataDirectory} cannot be used (${messageOf(error)}): choose another with --data.`, { dataDirectory }, error)
  }
}

function filesOf(places: Places): ServerFiles {
  return { cluster: places.cluster, logFile: places.logFile, password: readPassword(places.passwordFile, places.cluster) }
}

async function prepareFiles(binaries: PostgresBinaries, places: Places, log: (line: string) => void): Promise<ServerFiles> {
  const isNew = !isInitialised(places.cluster)
  if (isNew) rmSync(places.cluster, { recursive: true, force: true })
  const files = filesOf(places)
  if (isNew) {
    log(`Setting up a database in ${places.cluster}`)
    await initialiseCluster(binaries, places.cluster, files.password)
  }
  return files
}

async function underLock<T>(places: Places, log: (line: string) => void, work: () => Promise<T>): Promise<T> {
  const onWait = (holder: number) => {
    if (holder !== process.pid) log(`Waiting for process ${holder}, which is starting or stopping the database`)
  }
  try {
    const lock = await acquireFileLock(places.lock, { waitMs: LOCK_WAIT_MS, onWait })
    try {
      return await work()
    } finally {
      lock.release()
    }
  } catch (error) {
    if (error instanceof LockTimeoutError) throw new UnavailableError(`${places.cluster}: ${error.message}. If it hangs, end it and try again.`, { holder: error.holder }, error)
    throw error
  }
}
