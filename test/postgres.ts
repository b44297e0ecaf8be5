/**
 * The PostgreSQL of the tests: the one that `TIDEMARK_TEST_DATABASE_URL` names, else an embedded one in a temporary folder. One for all
 * who ask within a vitest worker; whoever disposes last stops it. Each suite works in schemas of its own (`freshSchema`).
 */
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import pg from 'pg'

import { openEmbeddedPostgres } from '#engines/embedded-postgres.ts'

export type TestPostgres = AsyncDisposable & { readonly url: string }

/** What is written by tests need not survive the machine. */
const TEST_SETTINGS = { fsync: 'off', full_page_writes: 'off' }

let shared: { readonly opening: Promise<TestPostgres>; users: number } | null = null
const schemasGiven = new Set<string>()

export async function openTestPostgres(): Promise<TestPostgres> {
  shared ??= { opening: start(), users: 0 }
  const mine = shared
  mine.users += 1
  const leave = async (): Promise<void> => {
    mine.users -= 1
    if (mine.users > 0) return
    if (shared === mine) shared = null
    await (await mine.opening)[Symbol.asyncDispose]()
  }
  try {
    const { url } = await mine.opening
    let left: Promise<void> | null = null
    return { url, [Symbol.asyncDispose]: () => (left ??= leave()) }
  } catch (thrown) {
    if (shared === mine) shared = null
    throw thrown
  }
}

/** A name for a schema that nobody else uses, `<prefix>_<letters and digits>`. Does not make it; what is made of it goes with the server. */
export async function freshSchema(_url: string, prefix: string): Promise<string> {
  const name = `${prefix}_${randomUUID().replaceAll('-', '').slice(0, 12)}`
  schemasGiven.add(name)
  return name
}

async function start(): Promise<TestPostgres> {
  const url = process.env.TIDEMARK_TEST_DATABASE_URL
  if (url !== undefined) return { url, [Symbol.asyncDispose]: () => dropSchemas(url) }
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-test-'))
  try {
    const server = await openEmbeddedPostgres({ dataDirectory: folder, settings: TEST_SETTINGS })
    return {
      url: server.url,
      [Symbol.asyncDispose]: async () => {
        await server[Symbol.asyncDispose]()
        await rm(folder, { recursive: true, force: true })
      },
    }
  } catch (thrown) {
    await rm(folder, { recursive: true, force: true })
    throw thrown
  }
}

async function dropSchemas(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    for (const name of schemasGiven) await client.query(`DROP SCHEMA IF EXISTS ${pg.escapeIdentifier(name)} CASCADE`)
    schemasGiven.clear()
  } finally {
    await client.end()
  }
}
