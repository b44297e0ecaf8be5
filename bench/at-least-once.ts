/**
 * What our worker would be without exactly-once, for P4 alone: the figures are committed first and the offsets by themselves afterwards, whatever stands there,
 * so that a crash between the two counts again. `no-pages` leaves out what a restart is told by as well: the ledger's pages and their sums.
 */
import type { PoolClient } from 'pg'
import type { Database } from '#store/database.ts'

export type WorkMode = 'exactly-once' | 'offsets-apart' | 'no-pages'

type Statement = { readonly name?: string; readonly text: string; readonly values?: unknown[] }
type Asked = (statement: Statement) => Promise<unknown>

/** A database whose flushes are taken apart on the way. */
export function withOffsetsApart(database: Database, mode: Exclude<WorkMode, 'exactly-once'>): Database {
  const pool = new Proxy(database.pool, {
    get(target, property) {
      if (property === 'connect') return async () => taken(await target.connect(), mode)
      const value = Reflect.get(target, property, target) as unknown
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
  return { ...database, pool, [Symbol.asyncDispose]: () => database[Symbol.asyncDispose]() }
}

function taken(client: PoolClient, mode: WorkMode): PoolClient {
  const later: Statement[] = []
  const ask = client.query.bind(client) as unknown as Asked
  const query = async (first: unknown, values?: unknown[]): Promise<unknown> => {
    const statement: Statement = typeof first === 'string' ? { text: first, ...(values === undefined ? {} : { values }) } : (first as Statement)
    const { text, name } = statement
    if (text.includes('WITH moves AS')) {
      later.push(statement)
      return { rowCount: (statement.values![1] as unknown[]).length, rows: [] }
    }
    if (mode === 'no-pages' && (name === 'store_ledger_page' || text.includes('INTO live_counts'))) return { rowCount: 1, rows: [] }
    const result: unknown = await ask(statement)
    if (/^\s*COMMIT/i.test(text)) for (const move of later.splice(0)) await moveApart(ask, move)
    return result
  }
  return new Proxy(client, {
    get(target, property) {
      // A stream of COPY is handed on as it is: it is no promise.
      if (property === 'query') return (first: unknown, values?: unknown[]) => (isStream(first) ? target.query(first as never) : query(first, values))
      const value = Reflect.get(target, property, target) as unknown
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

/** Committed as a flush is: without waiting for the disk. */
async function moveApart(ask: Asked, move: Statement): Promise<void> {
  await ask({ text: 'BEGIN; SET LOCAL synchronous_commit = off' })
  await ask(move)
  await ask({ text: 'COMMIT' })
}

function isStream(first: unknown): boolean {
  return typeof first === 'object' && first !== null && 'submit' in first
}
