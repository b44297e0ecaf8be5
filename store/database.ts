/** The connection to PostgreSQL, where the layers meet: pool, transactions, value types, and what each SQLSTATE asks of the caller. */
import pg from 'pg'
import { ConflictError, TidemarkError, UnavailableError, messageOf } from '#core/errors.ts'

export type Database = {
  readonly pool: pg.Pool
  readonly schema: string
  readonly url: string
} & AsyncDisposable

/** What a statement can be sent to: the pool, or the client of a transaction. */
export type Queryable = Pick<pg.ClientBase, 'query'>

export type DatabaseOptions = {
  readonly url: string
  /** All tables live in this schema; a store is a schema. */
  readonly schema?: string
  readonly connectionsMax?: number
  readonly applicationName?: string
  /** A statement that runs longer is ended by the server; 0 for none. */
  readonly statementTimeoutMs?: number
  /** A statement that has no answer after so long is given up with its connection; by default a little after the server would have ended it. */
  readonly answerTimeoutMs?: number
}

const oid = { int8: 20, date: 1082, numeric: 1700 }
const types: pg.CustomTypesConfig = {
  getTypeParser: ((id: number, format?: 'text' | 'binary') => {
    if (format !== 'binary') {
      if (id === oid.int8) return BigInt
      // A date has no zone; the driver would make it a Date at local midnight.
      if (id === oid.date || id === oid.numeric) return String
    }
    return pg.types.getTypeParser(id, format)
  }) as pg.CustomTypesConfig['getTypeParser'],
}

const connectTimeoutMs = 10_000
/** A stopped process must not hold locks that others wait for. */
const idleInTransactionTimeoutMs = 5_000
/**
 * What lies between may swallow every byte and keep the connection: then neither keep-alive nor the server's own time-outs are heard of, and only a clock of
 * ours ends the wait. It comes after the server's, so that a statement that is merely slow is ended where it runs.
 */
const answerMarginMs = 5_000
/** Where the server bounds nothing: longer than any statement of a batch, which stages a year of a large shop in minutes. */
const answerTimeoutMsMax = 15 * 60_000
/** What the driver says when a statement had no answer in time; it has no code. */
const unansweredMessage = 'Query read timeout'

export function openDatabase(options: DatabaseOptions): Database {
  const schema = options.schema ?? 'tidemark'
  if (!/^[a-z_][a-z0-9_]{0,50}$/.test(schema)) throw new RangeError(`${schema} cannot be a schema name: lower-case letters, digits and _`)
  const statementTimeoutMs = options.statementTimeoutMs ?? 0
  const settings = [
    `search_path=${schema},public`,
    `idle_in_transaction_session_timeout=${idleInTransactionTimeoutMs}`,
    `statement_timeout=${statementTimeoutMs}`,
    'timezone=UTC',
    'jit=off',
    'tcp_keepalives_idle=10',
    'tcp_keepalives_interval=5',
    'tcp_keepalives_count=3',
  ]
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.connectionsMax ?? 10,
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: options.answerTimeoutMs ?? (statementTimeoutMs > 0 ? statementTimeoutMs + answerMarginMs : answerTimeoutMsMax),
    keepAlive: true,
    // A host that vanishes without a word is noticed in seconds, not in the system's two hours.
    keepAliveInitialDelayMillis: 10_000,
    application_name: options.applicationName ?? 'tidemark',
    options: settings.map((setting) => `-c ${setting}`).join(' '),
    types,
  })
  // An idle connection that the server ends is no error of ours: the pool opens another.
  pool.on('error', () => undefined)
  return {
    pool,
    schema,
    url: options.url,
    async [Symbol.asyncDispose]() {
      await pool.end()
    },
  }
}

/** A connection of its own for whoever keeps a session lock; to be released by the caller, with `releaseLocks` where the next one may come at once. */
export async function connect({ pool }: Database): Promise<pg.PoolClient> {
  return pool.connect().catch((cause: unknown) => {
    throw translateError(cause)
  })
}

/** Resolves when others may have the session locks: a connection that is only closed keeps them until the server has seen it. */
export async function releaseLocks(owner: pg.PoolClient): Promise<void> {
  await owner.query('SELECT pg_advisory_unlock_all()').catch(() => undefined)
  owner.release(true)
}

export type TransactionOptions = {
  readonly isolation?: 'READ COMMITTED' | 'REPEATABLE READ'
  /** Cuts, registrations and publications are durable when they return; flushes may vanish as a whole and are read again. */
  readonly durable?: boolean
  readonly lockTimeoutMs?: number
}

/** Runs `work` in one transaction. A failure rolls back; a connection in doubt is thrown away, never reused. */
export async function inTransaction<T>(database: Database, options: TransactionOptions, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await connect(database)
  // An error event without a listener would end the process; the query in flight rejects with the same error.
  const ignore = (): void => undefined
  client.on('error', ignore)
  let broken = false
  try {
    const begin = [`BEGIN ISOLATION LEVEL ${options.isolation ?? 'READ COMMITTED'}`]
    if (options.durable === false) begin.push('SET LOCAL synchronous_commit = off')
    if (options.lockTimeoutMs !== undefined) begin.push(`SET LOCAL lock_timeout = ${options.lockTimeoutMs}`)
    await client.query(begin.join('; '))
    const result = await work(client)
    await client.query('COMMIT')
    return result
  } catch (thrown) {
    // Behind a statement without an answer, a ROLLBACK would wait as long again; what became of a COMMIT is not known then.
    broken = isUnanswered(thrown)
    if (!broken) {
      await client.query('ROLLBACK').catch(() => {
        broken = true
      })
    }
    throw translateError(thrown)
  } finally {
    client.off('error', ignore)
    client.release(broken)
  }
}

function isUnanswered(thrown: unknown): boolean {
  const cause = thrown instanceof TidemarkError ? thrown.cause : thrown
  return cause instanceof Error && cause.message === unansweredMessage
}

/** Classes of SQLSTATE after which the same work, from the beginning, may succeed: connection, rollback, resources, operator, system. */
const passingClass = /^(08|40|53|57|58)/
/** Single states and socket errors of that kind. */
const passing = new Set([
  '55P03', // lock not available within lock_timeout
  '25P03', // idle in transaction for too long
  '25006', // read-only: a standby, or a disk that filled up
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
  'ERR_STREAM_PREMATURE_CLOSE',
])

/** Driver errors as ours; anything else as it is. */
export function translateError(thrown: unknown): unknown {
  if (thrown instanceof TidemarkError || !(thrown instanceof Error)) return thrown
  // Whoever asked for it to end knows why.
  if (thrown.name === 'AbortError' || thrown.name === 'TimeoutError') return thrown
  const code = (thrown as { code?: unknown }).code
  if (typeof code === 'string') {
    if (passing.has(code) || (code.length === 5 && passingClass.test(code))) return new UnavailableError(`The database could not do this now (${code}): ${thrown.message}`, { sqlState: code }, thrown)
    if (code === '23505') return new ConflictError(`Somebody else wrote this first: ${thrown.message}`, { sqlState: code }, thrown)
    return thrown
  }
  return /terminated|ended|timeout|not queryable|connection error/i.test(thrown.message)
    ? new UnavailableError(`The connection to the database was lost: ${messageOf(thrown)}`, {}, thrown)
    : thrown
}

/** One statement outside a transaction, with errors translated. */
export async function run<Row extends pg.QueryResultRow>(queryable: Queryable, text: string, values: readonly unknown[] = []): Promise<Row[]> {
  try {
    const result = await queryable.query<Row>(text, [...values])
    return result.rows
  } catch (thrown) {
    throw translateError(thrown)
  }
}
