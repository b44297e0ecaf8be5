/** The migrations, forward only, lead to the schema that is checked in: a change of either shows in the other's diff. */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Database } from '#store/database.ts'
import { openDatabase, run } from '#store/database.ts'
import { migrateStore } from '#store/migrate.ts'
import type { TestPostgres } from '#test/postgres.ts'
import { freshSchema, openTestPostgres } from '#test/postgres.ts'
import { readSchemaText } from './schema-text.ts'

const file = fileURLToPath(new URL('../../../store/schema.txt', import.meta.url))
const again = 'UPDATE_SCHEMA=1 npm test -- test/integration/store/schema.test.ts'
const head = `# What store/migrations add up to. Not written by hand: ${again}\n\n`

let postgres: TestPostgres
let database: Database

beforeAll(async () => {
  postgres = await openTestPostgres()
  database = await openMigrated('schema')
})

afterAll(async () => {
  await database[Symbol.asyncDispose]()
  await postgres[Symbol.asyncDispose]()
})

async function openMigrated(prefix: string): Promise<Database> {
  const opened = openDatabase({ url: postgres.url, schema: await freshSchema(postgres.url, prefix) })
  await migrateStore(opened)
  return opened
}

describe('the schema', () => {
  test('is the one that store/schema.txt says', async () => {
    const text = head + (await readSchemaText(database.pool))
    if (process.env['UPDATE_SCHEMA'] === '1') writeFileSync(file, text)
    expect(readFileSync(file, 'utf8'), `The migrations and store/schema.txt differ. Where the change is meant: ${again}`).toBe(text)
  })

  test('names no schema, so a store may have any name', async () => {
    await using other = await openMigrated('another_name')
    expect(await readSchemaText(other.pool)).toBe(await readSchemaText(database.pool))
  })

  test('shows what a migration would change', async () => {
    await using changed = await openMigrated('changed')
    const before = await readSchemaText(changed.pool)
    const changes = [
      'ALTER TABLE batches ADD COLUMN note text',
      `ALTER TABLE batches ALTER COLUMN kind SET DEFAULT 'full'`,
      'ALTER TABLE dead_letters ALTER COLUMN detail DROP NOT NULL',
      'ALTER TABLE cuts ADD CHECK (epoch > 0)',
      'CREATE INDEX by_reason ON dead_letters (reason)',
      'ALTER TABLE live_pace RESET (autovacuum_vacuum_scale_factor)',
      'CREATE VIEW days AS SELECT DISTINCT local_day FROM merged_revenue',
      `CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
    ]
    let last = before
    for (const change of changes) {
      await run(changed.pool, change)
      const text = await readSchemaText(changed.pool)
      expect(text, change).not.toBe(last)
      last = text
    }
  })

  test('is migrated once: the second time nothing is left to do', async () => {
    expect(await migrateStore(database)).toEqual([])
  })
})
