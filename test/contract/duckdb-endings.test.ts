/** DuckDB's own streaming results end without a word where the query fails behind the rows that it has buffered; ours must throw there. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { QueryEngine } from '#core/ports.ts'
import { openDiskLake } from '#engines/disk-lake.ts'
import { openDuckDb } from '#engines/duckdb.ts'

const rows = 1_000_000
let root: string
let engine: QueryEngine
const stack = new AsyncDisposableStack()

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidemark-endings-'))
  stack.defer(() => rm(root, { recursive: true, force: true }))
  const lake = stack.use(await openDiskLake({ root }))
  engine = stack.use(await openDuckDb({ lake }))
})
afterAll(() => stack.disposeAsync())

/** Numbers from 0, of which the query can read all but one. */
function selectFailingAt(row: number): string {
  return `SELECT CAST(CASE WHEN i = ${row} THEN 'x' ELSE '1' END AS bigint) AS one FROM range(${rows}) r(i)`
}

async function count(select: string): Promise<number> {
  let seen = 0
  for await (const batch of engine.query(select)) seen += batch.rows.length
  return seen
}

test.each([0, 250_000, rows - 1])('a query that fails at row %i of a million throws, and gives no rows as if they were all', async (row) => {
  await expect(count(selectFailingAt(row))).rejects.toThrow(/Could not convert string 'x'/)
})

test('a query that does not fail gives every row', async () => {
  expect(await count(selectFailingAt(rows))).toBe(rows)
})
