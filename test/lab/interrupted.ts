/** A database in whose transactions something else happens before each statement, as it may at any time: interleavings made certain. */
import type pg from 'pg'
import type { Database } from '#store/database.ts'

/** The same database; `before` runs before every statement of its transactions, and on other connections. */
export function interrupted(database: Database, before: (statement: string) => Promise<void>): Database {
  const pool = redirect(database.pool, 'connect', async () => {
    const client = await database.pool.connect()
    return redirect(client, 'query', async (statement: string, values?: unknown[]) => {
      await before(statement)
      return client.query(statement, values)
    })
  })
  return { ...database, pool }
}

/** The object with one method replaced; every other one is its own. */
function redirect<T extends pg.Pool | pg.PoolClient>(object: T, method: string, replacement: unknown): T {
  return new Proxy(object, {
    get(target, name) {
      if (name === method) return replacement
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
