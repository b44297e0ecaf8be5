/**
 * Which store this is. What lies outside the database does not go back with it when it is restored from a backup; so every outside name carries the
 * store's incarnation, and marks in the lake, each with a number that the database gave out first, tell a database that was put back: its number is
 * then behind. It takes a new incarnation, and begins its outside names anew.
 */
import { randomUUID } from 'node:crypto'
import { ConflictError } from '#core/errors.ts'
import type { Lake } from '#core/ports.ts'
import type { Database, Queryable } from './database.ts'
import { inTransaction, run } from './database.ts'

const markFolder = 'marks/'
/** Digits enough for a mark a second over a thousand years, so that names sort as numbers do. */
const markDigits = 12
const oneByte = new Uint8Array([0x0a])

export async function readIncarnation(queryable: Queryable): Promise<string> {
  const [row] = await run<{ incarnation: string }>(queryable, 'SELECT incarnation FROM lake_state')
  return row!.incarnation
}

/**
 * Sees whether the lake knows a later state of this store than the database, and takes a new incarnation if so; then leaves a newer mark. Call it before
 * anything outside is named, and every minute or so. Resolves to the incarnation, and whether it is new.
 */
export async function keepIncarnation(database: Database, lake: Lake): Promise<{ readonly incarnation: string; readonly isNew: boolean }> {
  const before = await readIncarnation(database.pool)
  const { newest, older } = await findMarks(lake, before)
  // The database's number is read after the marks were: another may leave one in between.
  const isBehind = (await run(database.pool, 'SELECT FROM lake_state WHERE incarnation = $1 AND mark < $2', [before, newest])).length === 1
  const isNew = isBehind && (await renewIncarnation(database, before))
  const [marked] = await run<{ incarnation: string; mark: bigint }>(database.pool, 'UPDATE lake_state SET mark = mark + 1 RETURNING incarnation, mark')
  const { incarnation, mark } = marked!
  await leaveMark(lake, `${markFolder}${incarnation}/${String(mark).padStart(markDigits, '0')}+${randomUUID()}`)
  if (!isNew) for (const path of older) await lake.remove(path)
  return { incarnation, isNew }
}

/** Takes a new incarnation unless another did meanwhile. Durable when it resolves. */
export async function renewIncarnation(database: Database, from: string): Promise<boolean> {
  return inTransaction(database, {}, async (client) => {
    const renewed = await client.query('UPDATE lake_state SET incarnation = gen_random_uuid(), mark = 0 WHERE incarnation = $1', [from])
    return renewed.rowCount === 1
  })
}

/** The newest mark of an incarnation, 0 where there is none, and the paths of those that are older. */
async function findMarks(lake: Lake, incarnation: string): Promise<{ newest: number; older: string[] }> {
  const found: { readonly path: string; readonly mark: number }[] = []
  for await (const { path } of lake.list(`${markFolder}${incarnation}/`)) {
    const mark = Number(/\/(\d+)\+[^/]*$/.exec(path)?.[1] ?? Number.NaN)
    if (Number.isSafeInteger(mark)) found.push({ path, mark })
  }
  const newest = found.reduce((highest, { mark }) => Math.max(highest, mark), 0)
  return { newest, older: found.filter(({ mark }) => mark < newest).map(({ path }) => path) }
}

async function leaveMark(lake: Lake, path: string): Promise<void> {
  async function* body(): AsyncGenerator<Uint8Array> {
    yield oneByte
  }
  await lake.put(path, body(), async ({ bytes }) => {
    if (bytes !== oneByte.length) throw new ConflictError(`${path} was not written whole. Run the batch again.`)
  })
}
