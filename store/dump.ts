/**
 * Tables of a schema as streams of COPY, all of one snapshot, and back: for a machine that has PostgreSQL's server and not its pg_dump. Rows come in COPY's
 * binary form, which every PostgreSQL since 7.4 reads back for the types of our tables; columns go by name, so their order may change between versions.
 */
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import pg from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import { CorruptError } from '#core/errors.ts'
import { run, translateError } from './database.ts'

export type DumpedTable = { readonly name: string; readonly columns: readonly string[] }
/** `called` is whether `last` was given out already. */
export type DumpedSequence = { readonly name: string; readonly last: string; readonly called: boolean }

export type DumpSession = {
  readonly client: pg.Client
  /** Of this session alone: its COPYs may take hours, each piece of one no longer than `silenceMs`. */
  readonly end: () => Promise<void>
} & AsyncDisposable

const connectTimeoutMs = 10_000
/** The checks at the end of a table's COPY answer once they are through. */
const silenceMs = 15 * 60_000
const idleInTransactionTimeoutMs = 10 * 60_000

/** A session that sees one moment of the whole database until it is closed, and changes nothing. */
export async function openSnapshot(url: string): Promise<DumpSession> {
  return openSession(url, 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
}

export async function openLoader(url: string): Promise<DumpSession> {
  return openSession(url, 'SET synchronous_commit = off')
}

async function openSession(url: string, first: string): Promise<DumpSession> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: connectTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    application_name: 'tidemark backup',
    options: `-c idle_in_transaction_session_timeout=${idleInTransactionTimeoutMs} -c statement_timeout=0 -c timezone=UTC -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3`,
  })
  // Told to the statement in flight as well.
  client.on('error', () => undefined)
  const end = async (): Promise<void> => client.end().catch(() => undefined)
  try {
    await client.connect()
    const { stream } = (client as unknown as { connection: { stream: Socket } }).connection
    stream.setTimeout(silenceMs, () => stream.destroy(new Error(`connection timeout: the database said nothing for ${silenceMs / 60_000} minutes`)))
    await client.query(first)
  } catch (thrown) {
    await end()
    throw translateError(thrown)
  }
  return { client, end, [Symbol.asyncDispose]: end }
}

/** The schema's lasting tables but these; what an unlogged one holds is gone after a crash anyhow. */
export async function listTables({ client }: DumpSession, schema: string, but: readonly string[]): Promise<DumpedTable[]> {
  return run<{ name: string; columns: string[] }>(
    client,
    /* sql */ `
    SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE n.nspname = $1 AND c.relkind = 'r' AND c.relpersistence = 'p' AND c.relname <> ALL ($2)
      AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    GROUP BY c.relname ORDER BY c.relname`,
    [schema, but],
  )
}

/** Sequences go on outside of transactions: read after the tables they are never behind what the tables hold. */
export async function readSequences({ client }: DumpSession, schema: string, but: readonly string[]): Promise<DumpedSequence[]> {
  const names = await run<{ name: string }>(client, 'SELECT sequencename AS name FROM pg_sequences WHERE schemaname = $1 AND sequencename <> ALL ($2) ORDER BY 1', [schema, but])
  const sequences: DumpedSequence[] = []
  for (const { name } of names) {
    const [row] = await run<{ last: string; called: boolean }>(client, `SELECT last_value::text AS last, is_called AS called FROM ${quoted(schema, name)}`)
    sequences.push({ name, ...row! })
  }
  return sequences
}

/** The table's rows go through `write`, which is given the stream of COPY. Resolves to how many. */
export async function copyOut({ client }: DumpSession, schema: string, { name, columns }: DumpedTable, write: (bytes: Readable) => Promise<void>): Promise<number> {
  const stream = client.query(copyTo(`COPY ${quoted(schema, name)} (${columnList(columns)}) TO STDOUT (FORMAT binary)`))
  // A failure before anybody reads is only told to who listens, and would leave the reader waiting for ever.
  stream.on('error', (error) => stream.destroy(error))
  try {
    await write(stream)
    // The command's tag, which has the count, is read with the next answer at the latest.
    await client.query('SELECT')
  } catch (thrown) {
    throw translateError(thrown)
  }
  return stream.rowCount
}

/** Adds the rows of one `copyOut`. Resolves to how many. */
export async function copyIn({ client }: DumpSession, schema: string, { name, columns }: DumpedTable, bytes: AsyncIterable<Uint8Array>): Promise<number> {
  const stream = client.query(copyFrom(`COPY ${quoted(schema, name)} (${columnList(columns)}) FROM STDIN (FORMAT binary)`))
  try {
    await pipeline(bytes, stream)
  } catch (thrown) {
    const translated = translateError(thrown)
    if (translated !== thrown || !(thrown instanceof Error) || !('code' in thrown)) throw translated
    throw new CorruptError(`The database does not take the rows of ${name}: ${thrown.message}`, { table: name }, thrown)
  }
  return stream.rowCount
}

/** Empties the schema's tables, so that what migrations put there does not stand beside what is loaded. */
export async function emptyTables({ client }: DumpSession, schema: string, tables: readonly DumpedTable[]): Promise<void> {
  if (tables.length > 0) await run(client, `TRUNCATE ${tables.map(({ name }) => quoted(schema, name)).join(', ')}`)
}

export async function setSequence({ client }: DumpSession, schema: string, { name, last, called }: DumpedSequence): Promise<void> {
  await run(client, 'SELECT setval($1::regclass, $2::bigint, $3)', [quoted(schema, name), last, called])
}

/** The tables in an order in which each comes after those that it refers to. */
export async function inLoadOrder({ client }: DumpSession, schema: string, tables: readonly DumpedTable[]): Promise<DumpedTable[]> {
  const references = await run<{ from: string; to: string }>(
    client,
    /* sql */ `
    SELECT f.relname AS from, t.relname AS to FROM pg_constraint k JOIN pg_class f ON f.oid = k.conrelid JOIN pg_class t ON t.oid = k.confrelid
    JOIN pg_namespace n ON n.oid = f.relnamespace WHERE k.contype = 'f' AND n.nspname = $1 AND f.oid <> t.oid`,
    [schema],
  )
  const ordered: DumpedTable[] = []
  const waiting = new Map(tables.map((table) => [table.name, table]))
  while (waiting.size > 0) {
    const ready = [...waiting.values()].filter(({ name }) => !references.some((reference) => reference.from === name && waiting.has(reference.to)))
    if (ready.length === 0) throw new CorruptError(`The tables ${[...waiting.keys()].join(', ')} refer to each other in a circle.`)
    for (const table of ready) {
      ordered.push(table)
      waiting.delete(table.name)
    }
  }
  return ordered
}

export function quoted(schema: string, name: string): string {
  return `${pg.escapeIdentifier(schema)}.${pg.escapeIdentifier(name)}`
}

function columnList(columns: readonly string[]): string {
  return columns.map((column) => pg.escapeIdentifier(column)).join(', ')
}
