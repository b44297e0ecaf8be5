/** A connection to the database that stands and says nothing: what waits on it is given up in time, and nothing is taken for done or undone. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { UnavailableError } from '#core/errors.ts'
import type { Database } from '#store/database.ts'
import { connect, inTransaction, openDatabase, run } from '#store/database.ts'
import { tryFollow } from '#store/search-follower.ts'
import { ClogProxy, addressOf, urlVia } from '#test/faults/clog-proxy.ts'
import type { TestPostgres } from '#test/postgres.ts'
import { freshSchema, openTestPostgres } from '#test/postgres.ts'
import { waitUntil } from '#test/wait-until.ts'

const answerTimeoutMs = 2_000
let postgres: TestPostgres
let proxy: ClogProxy
let database: Database
let direct: Database

beforeAll(async () => {
  postgres = await openTestPostgres()
})
afterAll(async () => postgres[Symbol.asyncDispose]())
beforeEach(async () => {
  const schema = await freshSchema(postgres.url, 'unanswered')
  proxy = await ClogProxy.open(addressOf(postgres.url))
  database = openDatabase({ url: urlVia(postgres.url, proxy), schema, connectionsMax: 1, answerTimeoutMs })
  direct = openDatabase({ url: postgres.url, schema })
  await direct.pool.query(`CREATE SCHEMA ${schema}; CREATE TABLE ${schema}.done (step int)`)
})
afterEach(async () => {
  proxy.unclog()
  await database[Symbol.asyncDispose]()
  await direct[Symbol.asyncDispose]()
  await proxy[Symbol.asyncDispose]()
})

async function failureOf(work: Promise<unknown>): Promise<{ readonly thrown: unknown; readonly tookMs: number }> {
  const startedAt = performance.now()
  const thrown: unknown = await work.then(() => null, (error: unknown) => error)
  return { thrown, tookMs: performance.now() - startedAt }
}

test('a statement without an answer is given up, its connection is not used again, and the next is answered', async () => {
  await run(database.pool, 'SELECT 1')
  proxy.clog()
  const { thrown, tookMs } = await failureOf(run(database.pool, 'INSERT INTO done VALUES (1)'))
  expect(thrown).toBeInstanceOf(UnavailableError)
  expect(tookMs).toBeGreaterThanOrEqual(answerTimeoutMs - 5)
  expect(tookMs).toBeLessThan(answerTimeoutMs * 3)
  proxy.unclog()
  expect(await run(database.pool, 'SELECT 2 AS n')).toEqual([{ n: 2 }])
  expect(proxy.connections).toBe(2)
})

test('a COMMIT without an answer fails after one time-out, and may be done all the same', async () => {
  const { thrown, tookMs } = await failureOf(
    inTransaction(database, {}, async (client) => {
      await client.query('INSERT INTO done VALUES (1)')
      proxy.clog()
    }),
  )
  expect(thrown).toBeInstanceOf(UnavailableError)
  // Not twice as long: no ROLLBACK waits behind it.
  expect(tookMs).toBeLessThan(answerTimeoutMs * 1.8)
  expect(await run(direct.pool, 'SELECT step FROM done')).toEqual([])
  proxy.unclog()
  await waitUntil('the COMMIT to arrive', async () => (await run(direct.pool, 'SELECT step FROM done')).length === 1)
})

test('a session that holds a lock fails as unavailable too, whether the server is silent or gone', async () => {
  proxy.clogBefore('pg_try_advisory_lock')
  expect((await failureOf(tryFollow(database))).thrown).toBeInstanceOf(UnavailableError)
  proxy.refuse()
  expect((await failureOf(tryFollow(database))).thrown).toBeInstanceOf(UnavailableError)
  expect((await failureOf(connect(database))).thrown).toBeInstanceOf(UnavailableError)
})

test('a statement that the server ends for its length leaves the connection in use', async () => {
  await using patient = openDatabase({ url: urlVia(postgres.url, proxy), schema: direct.schema, connectionsMax: 1, statementTimeoutMs: 100 })
  const before = proxy.connections
  const { thrown } = await failureOf(inTransaction(patient, {}, async (client) => client.query('SELECT pg_sleep(5)')))
  expect(thrown).toBeInstanceOf(UnavailableError)
  expect((thrown as UnavailableError).details).toEqual({ sqlState: '57014' })
  await run(patient.pool, 'SELECT 1')
  expect(proxy.connections - before).toBe(1)
})
