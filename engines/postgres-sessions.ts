/**
 * Sessions of the PostgreSQL log: how they are opened, bounded and ended, and what their failures mean. Each has the log's schema
 * alone on its search path, and gives up its locks when it stops in the middle of a transaction.
 */
import { AssertionError } from 'node:assert'

import pg from 'pg'

import { ConfigError, CorruptError, TidemarkError, UnavailableError, messageOf } from '#core/errors.ts'

import { unlessAborted } from './waiting.ts'

const CONNECT_MS_MAX = 10_000
/** A process that was stopped inside an append must not stop the others' appends for longer. */
const IDLE_IN_TRANSACTION_MS_MAX = 10_000
const LOCK_WAIT_MS_MAX = 20_000
const STATEMENT_MS_MAX = 60_000

/** How long a session may be silent before the server asks whether its peer still exists, and the time between further questions. */
const KEEPALIVE_SECONDS = { idle: 5, interval: 2 } as const

export type SessionOptions = {
  readonly connectionString: string
  readonly schema: string
  /** Longest wait for an answer before the session counts as dead. */
  readonly answerMsMax?: number
}

export function sessionConfig({ connectionString, schema, answerMsMax = STATEMENT_MS_MAX }: SessionOptions): pg.ClientConfig {
  let url: URL
  try {
    url = new URL(connectionString)
  } catch (cause) {
    throw new ConfigError('The database address is no URL. Write postgres://user:password@host:port/database.', {}, cause)
  }
  const settings = [
    `search_path=${schema}`,
    'default_transaction_isolation=read\\ committed',
    `lock_timeout=${LOCK_WAIT_MS_MAX}`,
    `idle_in_transaction_session_timeout=${IDLE_IN_TRANSACTION_MS_MAX}`,
    'jit=off', // Every statement here is short.
    `tcp_keepalives_idle=${KEEPALIVE_SECONDS.idle}`,
    `tcp_keepalives_interval=${KEEPALIVE_SECONDS.interval}`,
  ]
  // What stands in the address wins over a separate `options`, so ours join it there.
  const options = [url.searchParams.get('options'), ...settings.map((setting) => `-c ${setting}`)].filter((part) => part !== null)
  url.searchParams.set('options', options.join(' '))
  return {
    connectionString: url.href,
    connectionTimeoutMillis: CONNECT_MS_MAX,
    query_timeout: answerMsMax,
    keepAlive: true,
    application_name: 'tidemark-log',
  }
}

export function openPool(options: SessionOptions, connectionsMax: number): pg.Pool {
  const pool = new pg.Pool({ ...sessionConfig(options), max: connectionsMax })
  // A session that dies between statements reports it here; whoever uses it gets the error from the statement.
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  return pool
}

/**
 * Runs `work` on a session of the pool. A failure or an abort closes the session, so that nothing of an unfinished transaction or
 * answer stays behind; on an abort it does not wait for the answer, and throws the signal's reason.
 */
export async function onSession<T>(pool: pg.Pool, task: string, work: (client: pg.PoolClient) => Promise<T>, signal?: AbortSignal): Promise<T> {
  const connecting = pool.connect()
  try {
    const client = await unlessAborted(connecting, signal, () => void connecting.then((late) => late.release(), () => {}))
    try {
      const result = await unlessAborted(work(client), signal)
      client.release()
      return result
    } catch (thrown) {
      client.release(true)
      throw thrown
    }
  } catch (thrown) {
    if (signal?.aborted === true) throw signal.reason
    throw translate(thrown, task)
  }
}

/** SQLSTATE, or its class of two characters → what the caller must do. The more specific one counts. */
const CONFIG_STATES: ReadonlyMap<string, string> = new Map([
  ['28', 'Check the user and password in the address.'],
  ['3D000', 'Create the database, or correct its name in the address.'],
  ['42501', 'Grant the rights that are missing, or use the owner of the schema.'],
  ['3F000', "The log's schema was dropped: start the process again to make a new one."],
  ['42P01', "The log's tables were dropped: start the process again to make new ones."],
])
const PASSING_STATES: ReadonlySet<string> = new Set(['08', '25006', '25P03', '40', '53', '55P03', '57', '58'])
const CORRUPT_STATES: ReadonlySet<string> = new Set(['XX001', 'XX002'])

/** The typed error for whatever a driver threw. Our own mistakes, which PostgreSQL may be the one to find, stay as they are. */
export function translate(thrown: unknown, task: string): Error {
  if (thrown instanceof TidemarkError || thrown instanceof AssertionError || thrown instanceof TypeError || thrown instanceof RangeError) return thrown
  const message = `The event log could not ${task}: ${messageOf(thrown)}.`
  if (!(thrown instanceof pg.DatabaseError)) return new UnavailableError(`${message} Is PostgreSQL reachable?`, {}, thrown)
  const state = thrown.code ?? ''
  const stateClass = state.slice(0, 2)
  const fix = CONFIG_STATES.get(state) ?? CONFIG_STATES.get(stateClass)
  if (fix !== undefined) return new ConfigError(`${message} ${fix}`, { state }, thrown)
  if (PASSING_STATES.has(state) || PASSING_STATES.has(stateClass)) return new UnavailableError(message, { state }, thrown)
  if (CORRUPT_STATES.has(state)) return new CorruptError(`${message} Restore the database from a backup.`, { state }, thrown)
  return thrown
}
