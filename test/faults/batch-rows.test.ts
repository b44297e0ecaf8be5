/** Rows L16 to L20 of the fault catalogue: publishing under readers, crashes before the pointer, rolling back, losing the lake, and determinism. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { repairArchive } from '#batch/archive.ts'
import { CorruptError, InvalidRequestError, LossError } from '#core/errors.ts'
import { listBatches, readPointer, resumePublishing, rollBack } from '#store/batches.ts'
import { openDatabase } from '#store/database.ts'
import { mergeLiveRows } from '#store/live-rows.ts'
import { pruneStore } from '#store/prune.ts'
import { archiveEnds } from '#store/register.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import type { Merged } from '#test/lab/merged.ts'
import { checkExact, expectExact, readMerged } from '#test/lab/merged.ts'
import { seededRandom } from '#test/lab/random.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { LoopWorker, batchOptionsOf, expectE0, isWhole, openTraffic, plainSales, runBatchWith, sale } from './setup.ts'

const allPartitions = [0, 1, 2]
const viewNames = ['revenue', 'product_sales', 'product_city_sales', 'pace'] as const
let lab: Lab

beforeAll(async () => {
  lab = await openLab()
})
afterAll(async () => lab[Symbol.asyncDispose]())
beforeEach(async () => lab.clear())

async function count(ledgerIdsMax?: number): Promise<void> {
  const worker = await StepWorker.open(lab, allPartitions, ledgerIdsMax)
  await worker.readAll()
  await worker.flush()
}

async function published(): Promise<number> {
  return (await readPointer(lab.database.pool)).batch
}

/** The figures alone: what must not change when only the pointer does. */
function figures(merged: Merged): unknown {
  return { views: merged.views, top: merged.top, n: merged.n }
}

/** Every published row of every view, whatever versions they stand under. */
async function batchRows(): Promise<Record<string, string>> {
  const digests: Record<string, string> = {}
  for (const view of viewNames) {
    const { rows } = await lab.database.pool.query<{ digest: string; rows: bigint }>(
      `SELECT count(*) AS rows, md5(string_agg((to_jsonb(b) - 'version')::text, '|' ORDER BY (to_jsonb(b) - 'version')::text)) AS digest
       FROM publish_pointer x JOIN batch_parts p ON p.batch = x.batch AND p.view = '${view}' JOIN batch_${view} b ON b.version = p.version`,
    )
    digests[view] = `${rows[0]!.rows} ${rows[0]!.digest}`
  }
  return digests
}

test(`L16 batches are published while 100 readers ask (${isWhole ? '2 min' : 'short'}): every answer is exact for its own position, and none goes back`, async () => {
  const traffic = openTraffic(lab, 16)
  const reading = new AbortController()
  /** Position → the figures that were held against the oracle there; another answer of that position must be the same. */
  const verified = new Map<string, string>()
  let answers = 0
  const pointers = new Set<number>()
  const random = seededRandom(16)
  async function read(database: Lab['database']): Promise<void> {
    let before: Merged | null = null
    while (!reading.signal.aborted) {
      const merged = await readMerged({ ...lab, database, topic: lab.topic, oracle: lab.oracle })
      const position = JSON.stringify([...merged.n])
      const text = textOf(merged)
      if (verified.get(position) !== text) {
        expectExact(merged, lab.oracle.expect(merged.n))
        verified.set(position, text)
      }
      for (const [partition, offset] of before?.n ?? []) expect(merged.n.get(partition)).toBeGreaterThanOrEqual(offset)
      expect(merged.epoch).toBeGreaterThanOrEqual(before?.epoch ?? 0)
      before = merged
      answers++
      pointers.add(merged.batch)
      await pause(500 + random.below(1_000), undefined, { signal: reading.signal }).catch(() => undefined)
    }
  }
  // A hundred pages that ask about once a second share the connections of one server; as fast as they can they would leave the batch no processor.
  await using database = openDatabase({ url: lab.url, schema: lab.database.schema, connectionsMax: 20 })
  await using _worker = new LoopWorker(lab)
  await traffic(150)
  const readers = Promise.all(Array.from({ length: 100 }, () => read(database)))
  const failed = readers.then(() => null, (thrown: unknown) => thrown)
  const until = performance.now() + (isWhole ? 120_000 : 0)
  let batches = 0
  try {
    while (performance.now() < until || batches < 6) {
      await traffic(40)
      while ((await mergeLiveRows(lab.database)) > 0);
      await runBatchWith(lab, { full: batches++ % 4 === 3 })
      if (batches % 3 === 0) await pruneStore(lab.database, 2, 100_000)
      if ((await Promise.race([failed, Promise.resolve('reading')])) !== 'reading') break
    }
  } finally {
    reading.abort()
  }
  await readers
  await expectE0(lab)
  process.stdout.write(`L16: ${answers} answers over ${batches} batches\n`)
  expect(answers).toBeGreaterThan(100)
  expect(pointers.size).toBeGreaterThan(2)
})

function textOf({ views, top, accounts, letters }: Merged): string {
  const plain = { views: [...views].map(([view, cells]) => [view, [...cells].sort(([a], [b]) => (a < b ? -1 : 1))]), top, accounts: [...accounts], letters }
  return JSON.stringify(plain, (_key, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))
}

test('L17 a crash between writing rows and moving the pointer: the old version serves, the rows left behind are swept', async () => {
  await lab.append(plainSales(lab, 60, 'a'))
  await count()
  await runBatchWith(lab)
  for (const point of ['batch combine', 'batch publish'] as const) {
    await lab.append(plainSales(lab, 30, point))
    await count()
    const before = await readMerged(lab)
    const serving = await published()
    await expect(runLabBatch(lab, { crash: { point, manner: 'kill' } })).rejects.toThrow()
    expect(await published()).toBe(serving)
    expect(figures(await checkExact(lab))).toEqual(figures(before))
  }
  expect(await orphanRows()).toBeGreaterThan(0)
  await runBatchWith(lab)
  await pruneStore(lab.database, 7, 100_000)
  expect(await orphanRows()).toBe(0)
  await checkExact(lab)
  expect((await listBatches(lab.database.pool)).map((batch) => batch.status).filter((status) => status === 'running')).toEqual([])
})

/** Batch rows that belong to no batch that could serve. */
async function orphanRows(): Promise<number> {
  let rows = 0
  for (const view of viewNames) {
    const { rowCount } = await lab.database.pool.query(
      `SELECT FROM batch_${view} b WHERE NOT EXISTS (SELECT FROM batch_parts p JOIN batches USING (batch) WHERE p.version = b.version AND p.view = '${view}' AND status IN ('published', 'held'))`,
    )
    rows += rowCount ?? 0
  }
  return rows
}

test('L18 rolling back, one version and several, also over corrected copies: the merged figures stay to the penny', async () => {
  const originals = plainSales(lab, 30, 'a')
  await lab.append(originals)
  await count(8)
  await runBatchWith(lab)
  // Copies far beyond a window of eight ids: live, they count until the batch removes them.
  await lab.append([...originals.slice(0, 3), ...plainSales(lab, 20, 'b')])
  await count(8)
  expect((await runBatchWith(lab)).crossCheck.summary.result).toBe('corrected')
  await lab.append(plainSales(lab, 20, 'c'))
  await count()
  await runBatchWith(lab)
  await lab.append(plainSales(lab, 20, 'd'))
  await count()
  const exact = figures(await checkExact(lab))
  for (const to of [undefined, 1]) {
    await rollBack(lab.database, to)
    expect(figures(await checkExact(lab))).toEqual(exact)
    // A batch does not publish over a person's decision.
    await expect(runBatchWith(lab)).rejects.toThrow(/paused/)
    expect(figures(await checkExact(lab))).toEqual(exact)
  }
  expect(await published()).toBe(1)
  await resumePublishing(lab.database)
  expect((await runBatchWith(lab)).crossCheck.summary.result).toBe('exact')
  expect(figures(await checkExact(lab))).toEqual(exact)
  expect((await runBatchWith(lab, { full: true })).crossCheck.summary.result).toBe('exact')
  expect(figures(await checkExact(lab))).toEqual(exact)
})

test('L18 rolling back to a version whose live rows are gone is refused, and nothing changes', async () => {
  for (const name of ['a', 'b', 'c', 'd']) {
    await lab.append(plainSales(lab, 20, name))
    await count()
    await runBatchWith(lab)
  }
  const pruned = await pruneStore(lab.database, 2, 100_000)
  expect(pruned.batches.length).toBeGreaterThan(0)
  const exact = figures(await checkExact(lab))
  await expect(rollBack(lab.database, 1)).rejects.toBeInstanceOf(InvalidRequestError)
  expect(await published()).toBe(4)
  expect(figures(await checkExact(lab))).toEqual(exact)
  // The one before is kept.
  expect((await rollBack(lab.database)).batch).toBe(3)
  expect(figures(await checkExact(lab))).toEqual(exact)
})

test('L19 the lake is wiped and the log still has everything: it is written again and gives identical rows', async () => {
  await openTraffic(lab, 19)(300)
  await count()
  await runBatchWith(lab)
  await runBatchWith(lab, { full: true })
  const rows = await batchRows()
  const exact = figures(await checkExact(lab))
  const serving = await published()
  await rm(join(lab.lakeRoot, lab.topic), { recursive: true })
  await expect(runBatchWith(lab)).rejects.toBeInstanceOf(CorruptError)
  expect(await published()).toBe(serving)
  expect(figures(await checkExact(lab))).toEqual(exact)
  expect((await repairArchive(batchOptionsOf(lab), Number.MAX_SAFE_INTEGER)).length).toBeGreaterThan(0)
  expect((await runBatchWith(lab, { full: true })).crossCheck.summary.result).toBe('exact')
  expect(await batchRows()).toEqual(rows)
  expect(figures(await checkExact(lab))).toEqual(exact)
})

test('L19 the lake is wiped and the log has forgotten too: nothing is invented, the loss is named, the figures published stay', async () => {
  await lab.append(plainSales(lab, 150, 'a'))
  await count()
  await runBatchWith(lab)
  const exact = figures(await checkExact(lab))
  await lab.log.prune(lab.topic, await archiveEnds(lab.database.pool, lab.topic), Date.now() + 1_000)
  const { first } = await lab.log.bounds(lab.topic)
  expect([...first.values()].every((offset) => offset > 0)).toBe(true)
  await rm(join(lab.lakeRoot, lab.topic), { recursive: true })
  const loss: unknown = await repairArchive(batchOptionsOf(lab), Number.MAX_SAFE_INTEGER).catch((thrown: unknown) => thrown)
  expect(loss).toBeInstanceOf(LossError)
  expect((loss as LossError).message).toContain(lab.topic)
  for (const full of [false, true]) await expect(runBatchWith(lab, { full })).rejects.toBeInstanceOf(CorruptError)
  expect(figures(await checkExact(lab))).toEqual(exact)
  // What comes is counted live all the same.
  await lab.append([sale({ id: 'later' })])
  await using _worker = new LoopWorker(lab)
  await expectE0(lab)
})

test('L20 everything recomputed twice: identical rows', async () => {
  await openTraffic(lab, 20)(400)
  await count()
  await runBatchWith(lab)
  const digests = [await batchRows()]
  for (let again = 0; again < (isWhole ? 10 : 2); again++) {
    await runBatchWith(lab, { full: true, fileOffsetsMax: 10 + again })
    digests.push(await batchRows())
  }
  for (const digest of digests) expect(digest).toEqual(digests[0])
  await checkExact(lab)
})
