/** A store put back: every row of every table as it was at the copy, sequences too. What lies outside the database stays as it is now. */
import type { Database } from '#store/database.ts'

export type StoreCopy = { putBack(): Promise<void> }

const identity = 'OVERRIDING SYSTEM VALUE'

/** Copies the store beside itself, as a backup of the database would. Nothing may run while it is put back. */
export async function copyStore({ pool, schema }: Database): Promise<StoreCopy> {
  const copy = `${schema}_copy_${Math.random().toString(36).slice(2, 10)}`
  const { rows: tables } = await pool.query<{ name: string; columns: string }>(
    `SELECT table_name AS name, string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position) AS columns
     FROM information_schema.columns JOIN pg_tables ON tablename = table_name AND schemaname = table_schema
     WHERE table_schema = $1 AND table_name <> 'migrations' GROUP BY table_name`,
    [schema],
  )
  await pool.query([`CREATE SCHEMA ${copy}`, ...tables.map(({ name }) => `CREATE TABLE ${copy}.${name} AS SELECT * FROM ${schema}.${name}`)].join(';'))
  const { rows: sequences } = await pool.query<{ name: string; last: bigint | null }>(`SELECT sequencename AS name, last_value AS last FROM pg_sequences WHERE schemaname = $1`, [schema])
  return {
    async putBack() {
      const statements = ['BEGIN', 'SET LOCAL session_replication_role = replica']
      for (const { name, columns } of tables) {
        statements.push(`DELETE FROM ${schema}.${name}`, `INSERT INTO ${schema}.${name} (${columns}) ${identity} SELECT ${columns} FROM ${copy}.${name}`)
      }
      for (const { name, last } of sequences) statements.push(`SELECT setval('${schema}.${name}', ${last ?? 1}, ${last !== null})`)
      await pool.query([...statements, 'COMMIT'].join(';'))
    },
  }
}
