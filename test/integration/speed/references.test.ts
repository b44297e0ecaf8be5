/** The topics users and products: the newest record of each id, whoever reads them, in any order, again, and from the lake. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { openDecoder } from '#core/decode.ts'
import type { ReferenceTopic } from '#core/decode-reference.ts'
import { referenceTopics } from '#core/decode-reference.ts'
import type { EventLog, LogBatch, LogRecord } from '#core/ports.ts'
import { allRows } from '#batch/recompute.ts'
import { archiveColumns } from '#batch/archive-columns.ts'
import { archiveCommitted, repairArchive } from '#batch/archive.ts'
import { planCompaction } from '#batch/compact.ts'
import { readLakeRange } from '#batch/lake-range.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { catchUpReferences } from '#speed/references.ts'
import { acceptLoss } from '#store/accept-loss.ts'
import { run } from '#store/database.ts'
import { listLetters } from '#store/dead-letters.ts'
import { answerRevenue } from '#store/answer-revenue.ts'
import { answerTopProducts } from '#store/answer-products.ts'
import type { ArchiveFile } from '#store/register.ts'
import { listFiles } from '#store/register.ts'
import { openStoreLog } from '#store/store-log.ts'
import type { Lab } from '#test/lab.ts'
import { keyOf, openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { logMethods } from '#test/lab/log-methods.ts'
import { seededRandom } from '#test/lab/random.ts'
import { sale } from '#test/lab/sale.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { batchOptionsOf } from '../../faults/setup.ts'
import { lawSeeds } from '../laws/seeds.ts'

const partitions = 3
const never = new AbortController().signal
let shared: Lab
let lab: Lab
let rounds = 0

beforeAll(async () => {
  shared = await openLab({ partitions: 1 })
})
afterAll(() => shared[Symbol.asyncDispose]())
beforeEach(async () => {
  await shared.clear()
  lab = { ...shared, log: openStoreLog(shared.database, ownTopics(shared.log, ++rounds)) }
  for (const topic of referenceTopics) await lab.log.create(topic, partitions)
})

/** The lab's log outlives a test, and these topics have fixed names. */
function ownTopics(log: EventLog, round: number): EventLog {
  const nameOf = (topic: string): string => ((referenceTopics as readonly string[]).includes(topic) ? `${topic}-${round}` : topic)
  return {
    ...logMethods(log),
    create: (topic, count) => log.create(nameOf(topic), count),
    append: (topic, records) => log.append(nameOf(topic), records),
    read: (topic, from, options) => log.read(nameOf(topic), from, options),
    bounds: (topic) => log.bounds(nameOf(topic)),
    prune: (topic, below, beforeMs) => log.prune(nameOf(topic), below, beforeMs),
  }
}

async function send(topic: ReferenceTopic, partition: number, value: unknown, logTimeMs = 1_700_000_000_000): Promise<void> {
  await lab.log.append(topic, [{ key: keyOf(partition, partitions), value: Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), logTimeMs }])
}

function catchUp(extra: Partial<Parameters<typeof catchUpReferences>[0]> = {}): Promise<number> {
  return catchUpReferences({ database: lab.database, log: lab.log, topics: referenceTopics, logicVersion: lab.decoder.logicVersion, ...extra }, never)
}

async function products(): Promise<Record<string, string>> {
  const rows = await run<{ product_id: string; name: string }>(lab.database.pool, 'SELECT product_id, name FROM reference_products ORDER BY product_id')
  return Object.fromEntries(rows.map((row) => [row.product_id, row.name]))
}

async function positions(topic: string): Promise<[number, number][]> {
  const rows = await run<{ partition: number; next_offset: bigint }>(lab.database.pool, 'SELECT partition, next_offset FROM committed_offsets WHERE topic = $1 ORDER BY partition', [topic])
  return rows.map((row) => [row.partition, Number(row.next_offset)])
}

test.each(lawSeeds)('the newest record of each product stands, in any order of readers, crashes and replays (seed %i)', async (seed) => {
  const random = seededRandom(seed)
  const newest = new Map<string, { readonly name: string; readonly at: readonly [number, number, number] }>()
  const ends = [0, 0, 0]
  let timeMs = 1_700_000_000_000
  for (let step = 0; step < 40; step++) {
    const [partition, id] = [random.below(partitions), `p${random.below(5)}`]
    if (random.chance(0.5)) timeMs += 1_000
    await send('products', partition, { productId: id, name: `name ${step}` }, timeMs)
    const at = [timeMs, partition, ends[partition]!++] as const
    const known = newest.get(id)
    if (known === undefined || known.at[0] < at[0] || (known.at[0] === at[0] && (known.at[1] < at[1] || (known.at[1] === at[1] && known.at[2] < at[2])))) newest.set(id, { name: `name ${step}`, at })
    const what = random.below(6)
    if (what === 0) await catchUp()
    // A flush that fails leaves nothing; one that is thought to have failed leaves all.
    if (what === 1) await catchUp({ faults: { beforeCommit: () => Promise.reject(new Error('crash')) } }).catch(() => undefined)
    if (what === 2) await catchUp({ faults: { afterCommit: () => Promise.reject(new Error('crash')) } }).catch(() => undefined)
    if (what === 3) await Promise.allSettled([catchUp(), catchUp()])
    if (what === 4) await run(lab.database.pool, 'DELETE FROM committed_offsets WHERE topic = $1 AND partition = $2', ['products', partition])
  }
  await catchUp()
  expect(await products()).toEqual(Object.fromEntries([...newest].map(([id, { name }]) => [id, name])))
  expect(await positions('products')).toEqual(ends.flatMap((end, partition) => (end === 0 ? [] : [[partition, end]])))
})

test('two that read the same records at once: the fence lets one go on', async () => {
  await send('users', 0, { userId: 'u', name: 'Ada' })
  const other = async (): Promise<void> => void (await catchUp())
  await expect(catchUp({ faults: { beforeBegin: other } })).rejects.toThrow('Another worker moved an offset of users')
  expect(await catchUp()).toBe(0)
  const [account] = await run<{ accepted: bigint }>(lab.database.pool, `SELECT sum(accepted)::bigint AS accepted FROM committed_offsets WHERE topic = 'users'`)
  expect(account!.accepted).toBe(1n)
})

test('what is refused is a dead letter, and its neighbours are kept', async () => {
  await send('products', 1, { productId: 'a', name: 'A' })
  await send('products', 1, '{"productId":"b"}')
  await send('products', 1, { productId: 'c', name: 'C' })
  await catchUp()
  expect(await products()).toEqual({ a: 'A', c: 'C' })
  expect(await listLetters(lab.database.pool, { topic: 'products', limit: 10 })).toMatchObject([
    { topic: 'products', partition: 1, offset: 1, index: 0, reason: 'missing-field', detail: 'name', text: '{"productId":"b"}' },
  ])
})

test('their records are archived whole, read back from the lake, and repaired from the log; the figures stay exact beside them', async () => {
  await send('products', 0, { productId: 'P1', name: 'From the list', category: 'Home', brand: 'Acme', extra: '☃' })
  await send('products', 0, 'no record')
  await send('users', 2, { userId: '7', name: 'Ada', email: 'ada@example.com', city: 'London' })
  await catchUp()
  await lab.append([sale({ id: '1' })])
  const worker = await StepWorker.open(lab, [0])
  await worker.readAll()
  await worker.flush()
  expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
  const files = (await listFiles(lab.database.pool, 0, 99)).filter(({ topic }) => topic !== lab.topic)
  expect(files.map(({ topic, partition, rows, accepted, refused, path }) => [topic, partition, rows, accepted, refused, path.split('/')[0]])).toEqual([
    ['products', 0, 2, 1, 1, 'products'],
    ['users', 2, 1, 1, 0, 'users'],
  ])
  expect(await columnsOf(files[0]!, 'product_id, product_name, category, brand, reason')).toEqual([
    ['P1', 'From the list', 'Home', 'Acme', null],
    [null, null, null, null, 'unreadable'],
  ])
  expect(await columnsOf(files[1]!, 'user_id, city, kind')).toEqual([['7', 'London', 'user']])
  for (const file of files) expect(await recordsInLake(file)).toEqual(await recordsInLog(file))
  await lab.lake.remove(files[0]!.path)
  const repaired = await repairArchive({ database: lab.database, log: lab.log, lake: lab.lake, engine: lab.engine, codec: parquetCodec, decoder: lab.decoder, fileOffsetsMax: 100, signal: never }, 99)
  expect(repaired).toHaveLength(1)
  // Of reference records nothing counts.
  expect((await run<{ events: bigint }>(lab.database.pool, 'SELECT sum(events)::bigint AS events FROM live_counts'))[0]!.events).toBe(1n)
})

async function columnsOf(file: ArchiveFile, columns: string): Promise<(readonly unknown[])[]> {
  await lab.engine.attach('reference_file', [file.path], archiveColumns)
  return allRows(lab.engine.query(`SELECT ${columns} FROM reference_file ORDER BY log_offset`))
}

async function collect(batches: AsyncIterable<LogBatch>): Promise<LogRecord[]> {
  const records: LogRecord[] = []
  for await (const batch of batches) records.push(...batch.records.map((record) => ({ ...record, value: Buffer.from(record.value) })))
  return records
}

async function recordsInLake({ topic, partition, fromOffset, toOffset }: ArchiveFile): Promise<LogRecord[]> {
  return collect((await readLakeRange({ queryable: lab.database.pool, lake: lab.lake, engine: lab.engine }, topic, partition, fromOffset, toOffset))!)
}

function recordsInLog({ topic, partition, fromOffset, toOffset }: ArchiveFile): Promise<LogRecord[]> {
  return collect(lab.log.read(topic, new Map([[partition, fromOffset]]), { to: new Map([[partition, toOffset]]), signal: never }))
}

test('a product is called what its list says, else what its newest sale says', async () => {
  await lab.append([sale({ id: '1', product: 'P1', quantity: 2 }), sale({ id: '2', product: 'P2' })])
  const worker = await StepWorker.open(lab, [0])
  await worker.readAll()
  await worker.flush()
  await send('products', 0, { productId: 'P1', name: 'From the list' })
  await catchUp()
  const { rows } = await answerTopProducts(lab.database.pool, { period: { fromDay: null, toDay: null }, n: 5, by: 'units' }, { ledgerIdsMax: 1_000 })
  expect(rows.map(({ productId, productName, unitsSold }) => [productId, productName, Number(unitsSold)])).toEqual([
    ['P1', 'From the list', 2],
    ['P2', 'Product P2', 1],
  ])
})

test('the receipts of figures say nothing of users and products', async () => {
  await lab.append([sale({ id: '1', loggedAt: '2025-03-01T12:00:00Z' })])
  const worker = await StepWorker.open(lab, [0])
  await worker.readAll()
  await worker.flush()
  await send('products', 0, 'no record')
  await send('users', 0, { userId: 'u' })
  await lab.log.prune('users', new Map([[0, 1]]), Date.now())
  await run(lab.database.pool, `INSERT INTO committed_offsets (topic, partition, first_offset, next_offset) VALUES ('users', 0, 0, 0)`)
  await expect(catchUp()).rejects.toThrow('Partition 0 of users')
  expect(await run(lab.database.pool, 'SELECT topic FROM stopped_partitions')).toEqual([{ topic: 'users' }])
  const { receipt } = await answerRevenue(lab.database.pool, { by: [], period: { fromDay: null, toDay: null } }, { ledgerIdsMax: 1_000 })
  expect(receipt).toMatchObject({ complete: true, missing: [], refusedEvents: 0, asOf: '2025-03-01T12:00:00.000Z', position: { [lab.topic]: { 0: 1 } } })
  expect(Object.keys(receipt.position)).toEqual([lab.topic])
})

test('a range that the log lost stops its partition, is named, and is given up like any other; the partitions and the topic beside it go on', async () => {
  await send('users', 0, { userId: 'u0' })
  await send('users', 1, { userId: 'u1' })
  await catchUp()
  await send('users', 0, { userId: 'lost' })
  await lab.log.prune('users', new Map([[0, 2]]), Date.now())
  await send('users', 0, { userId: 'behind it' })
  await send('users', 1, { userId: 'beside it' })
  await send('products', 0, { productId: 'p', name: 'P' })
  await expect(catchUp()).rejects.toThrow(/^Partition 0 of users begins at 2, but reading stands at 1.*"tidemark batch accept-loss 0:1-2 --topic users"/)
  const users = async (): Promise<string[]> => (await run<{ user_id: string }>(lab.database.pool, 'SELECT user_id FROM reference_users ORDER BY user_id')).map((row) => row.user_id)
  expect(await users()).toEqual(['beside it', 'u0', 'u1'])
  expect(await products()).toEqual({ p: 'P' })
  expect(await run(lab.database.pool, 'SELECT topic, partition, from_offset, to_offset, what FROM stopped_partitions')).toEqual([{ topic: 'users', partition: 0, from_offset: 1n, to_offset: 2n, what: 'gap' }])
  await acceptLoss(lab.database, lab.log, { topic: 'users', partition: 0, from: 1, to: 2 }, never)
  await catchUp()
  expect(await users()).toEqual(['behind it', 'beside it', 'u0', 'u1'])
  expect(await run(lab.database.pool, 'SELECT FROM stopped_partitions')).toEqual([])
})

test('their small files are merged whatever logic the figures are made with: no setting changes what they say', async () => {
  for (const userId of ['u0', 'u1']) {
    await send('users', 0, { userId })
    await catchUp()
    await archiveCommitted(batchOptionsOf(lab))
  }
  await lab.append([sale({ id: 'a' })])
  const worker = await StepWorker.open(lab, [0])
  await worker.readAll()
  await worker.flush()
  await runLabBatch({ ...lab, topic: lab.topic, oracle: lab.oracle, decoder: openDecoder({ zone: 'Pacific/Auckland', currency: 'GBP' }) }, { full: true })
  const merges = await planCompaction({ database: lab.database, fileOffsetsMax: 50 })
  expect(merges.map((files) => files.map(({ topic, fromOffset }) => [topic, fromOffset]))).toEqual([[['users', 0], ['users', 1]]])
})
