import { realpathSync } from 'node:fs'
import { Client } from 'pg'
import { ConfigError, messageOf } from '#core/errors.ts'
import { explainFailure } from './postgres-failure.ts'

const ANSWER_TIMEOUT_MS = 5_000
export const SUPERUSER = 'tidemark'
const DATABASE = 'tidemark'

export type ServerFiles = {
  readonly cluster: string
  readonly logFile: string
  readonly password: string
}

/** Connection string of the superuser. */
export function serverUrl(files: ServerFiles, port: number, database: string = DATABASE): string {
  // sslmode is said, so that a PGSSLMODE in the environment cannot ask for what a server on the loopback does not have.
  return `postgres://${SUPERUSER}:${files.password}@127.0.0.1:${port}/${database}?sslmode=disable`
}

/**
 * Asks the server at `port` whether it is ours: takes our password, serves our cluster. True: it is, and our database is there. A text:
 * not yet, and why. Throws what waiting cannot cure: ConfigError, UnavailableError.
 */
export async function askServer(files: ServerFiles, port: number): Promise<true | string> {
  const options = { connectionString: serverUrl(files, port, 'postgres'), connectionTimeoutMillis: ANSWER_TIMEOUT_MS, query_timeout: ANSWER_TIMEOUT_MS }
  const client = new Client(options)
  // A server that ends in the middle says so twice: to the query, and here.
  client.on('error', () => {})
  try {
    await client.connect()
    const { rows } = await client.query<{ data_directory: string }>("SELECT current_setting('data_directory') AS data_directory")
    const served = rows[0]?.data_directory ?? ''
    if (realpathSync(served) !== realpathSync(files.cluster)) return `port ${port} serves ${served}`
    const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [DATABASE])
    if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`)
    return true
  } catch (error) {
    return reasonToWait(files, error)
  } finally {
    await client.end().catch(() => {})
  }
}

function reasonToWait(files: ServerFiles, error: unknown): string {
  const { code } = error as { readonly code?: string }
  const message = messageOf(error)
  if (code === '28P01') {
    throw new ConfigError(`The database in ${files.cluster} does not take the password of the file beside it: put the right one back.`, {}, error)
  }
  // Starting, recovering or ending (57Pxx), full for the moment (53300), or not a word from the server.
  const isPassing = code === undefined || !/^[0-9A-Z]{5}$/.test(code) || code.startsWith('57P') || code === '53300'
  if (isPassing) return message
  throw explainFailure(`The database in ${files.cluster} cannot be used`, message, { code })
}
