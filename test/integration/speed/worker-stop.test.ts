/** A worker that is told to stop while it opens its partitions, at whatever statement that is. */
import type { PoolClient } from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { runSpeedWorker } from '#speed/worker.ts'
import type { Database } from '#store/database.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { waitUntil } from '#test/wait-until.ts'

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined }
let lab: Lab

beforeAll(async () => {
  lab = await openLab({ partitions: 2 })
})
afterAll(() => lab[Symbol.asyncDispose]())
beforeEach(() => lab.clear())

/** The lab's database, which tells of each statement before it is sent. */
function watched({ pool, ...rest }: Database, onStatement: (text: string) => void): Database {
  const tell = (target: Pick<typeof pool, 'query'>): object =>
    new Proxy(target, {
      get(of, name) {
        const value: unknown = Reflect.get(of, name)
        if (name === 'connect') return async () => tell(await (value as () => Promise<PoolClient>).call(of))
        if (name !== 'query') return typeof value === 'function' ? value.bind(of) : value
        return (...given: unknown[]) => {
          onStatement(typeof given[0] === 'string' ? given[0] : ((given[0] as { text?: string }).text ?? ''))
          return Reflect.apply(value as () => unknown, of, given)
        }
      },
    })
  return { ...rest, pool: tell(pool) as typeof pool }
}

/** Runs a worker that is told to stop before the statement of this number. Resolves to the statements that were sent in all, once the worker has ended. */
async function stopBefore(statement: number): Promise<string[]> {
  const stopping = new AbortController()
  const statements: string[] = []
  const database = watched(lab.database, (text) => {
    statements.push(text)
    if (statements.length === statement) stopping.abort()
  })
  const { log, decoder, topic } = lab
  let hasEnded = false
  const running = runSpeedWorker({ database, log, decoder, topic, worker: 'stopped', ledgerIdsMax: 1_000, flushIntervalMs: 10, flushRecordsMax: 100, logger: quiet }, stopping.signal).finally(() => (hasEnded = true))
  await waitUntil(`the worker to end that was told to before its statement ${statement}`, () => hasEnded, 10_000)
  await running
  return statements
}

test('a worker ends whenever it is told to while it opens its partitions', async () => {
  const last = 'DELETE FROM stopped_partitions'
  let statements: readonly string[] = []
  for (let statement = 1; !statements.some((text) => text.startsWith(last)); statement++) statements = await stopBefore(statement)
  expect(statements.length).toBeGreaterThan(5)
})
