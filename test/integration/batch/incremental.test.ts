/**
 * A batch that reads only what is new gives the rows of one that reads everything. Copies and conflicts come after months, from other partitions, and beyond the
 * window of the ledger; files are small, so that most of them hold none of an id's copies.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { archiveColumns } from '#batch/archive-columns.ts'
import { filesWithCopies } from '#batch/recompute.ts'
import { views } from '#core/views/all.ts'
import { listFiles } from '#store/register.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { expectFigures, readMerged } from '#test/lab/merged.ts'
import { seededRandom } from '#test/lab/random.ts'
import { sale } from '#test/lab/sale.ts'
import type { MeantAppend } from '#test/lab/shop-stream.ts'
import { ShopStream, intentKinds } from '#test/lab/shop-stream.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { lawLimits, lawRuns, lawSeeds } from '../laws/seeds.ts'

const partitions = 3
const everyPartition = [0, 1, 2]
const fileOffsetsMax = 4
let lab: Lab

beforeAll(async () => {
  lab = await openLab({ partitions })
})
afterAll(() => lab[Symbol.asyncDispose]())

/** Appends, and counts with ledgers that reach back no further than `idsMax`. */
async function count(records: readonly MeantAppend[], idsMax?: number): Promise<void> {
  if (records.length > 0) await lab.append(records)
  const worker = await StepWorker.open(lab, everyPartition, idsMax)
  await worker.readAll()
  await worker.flush()
}

/** Of every row that a batch is made of, by view. */
async function digestOfBatch(batch: number): Promise<Record<string, string>> {
  const digests: Record<string, string> = {}
  for (const { name } of views) {
    const { rows } = await lab.database.pool.query<{ digest: string; rows: bigint }>(
      /* sql */ `SELECT md5(string_agg(r.row, '|' ORDER BY r.row)) AS digest, count(*) AS rows
      FROM (SELECT (to_jsonb(b) - 'version')::text AS row FROM batch_${name} b JOIN batch_parts p ON p.version = b.version WHERE p.batch = $1 AND p.view = '${name}') r`,
      [batch],
    )
    digests[name] = `${rows[0]!.rows} rows ${rows[0]!.digest}`
  }
  return digests
}

describe('an incremental batch', () => {
  test.each(lawSeeds)('gives the rows of a full one, to the byte (seed %i)', async (seed) => {
    const rounds = fc.array(fc.record({ kinds: fc.array(fc.constantFrom(...intentKinds, 'copy' as const, 'copy' as const, 'conflict' as const, 'pause' as const), { minLength: 1, maxLength: 25, size: 'max' }) }), { minLength: 2, maxLength: 5, size: 'max' })
    await fc.assert(
      fc.asyncProperty(rounds, fc.nat(), async (plan, streamSeed) => {
        await lab.clear()
        const random = seededRandom(streamSeed)
        const stream = new ShopStream(lab.topic, partitions, true)
        let batch = 0
        for (const { kinds } of plan) {
          const records = kinds.map((kind) => stream.next(kind, random)).filter((record) => record !== null)
          await count(records.filter((record) => record.value.length < 200_000), 1_000)
          batch = (await runLabBatch(lab, { fileOffsetsMax })).batch.batch
        }
        const full = await runLabBatch(lab, { full: true, fileOffsetsMax })
        expect(await digestOfBatch(batch)).toEqual(await digestOfBatch(full.batch.batch))
      }),
      { seed, numRuns: lawRuns(4), ...lawLimits },
    )
  })

  test('a copy of every age and from every partition is found, in its file and in no other', async () => {
    await lab.clear()
    const months = ['2020-03', '2021-07', '2022-11', '2024-02', '2025-01']
    for (const [at, month] of months.entries()) {
      const records = Array.from({ length: 24 }, (_, n) => sale({ id: `${month}-${n}`, partition: n % partitions, at: `${month}-10 10:00:00` }))
      await count(records)
      if (at === 2) await count([sale({ id: 'middle', partition: 1, at: `${month}-12 10:00:00` })])
      await runLabBatch(lab, { fileOffsetsMax })
    }
    const old = await listFiles(lab.database.pool, 0, 99)
    expect(old.length).toBeGreaterThan(25)
    // Beyond the window of the ledgers that count them: the batch alone can know them.
    const again = [sale({ id: '2020-03-5', partition: 0, at: '2020-03-10 10:00:00' }), sale({ id: '2025-01-1', partition: 2, at: '2025-01-10 10:00:00' })]
    await lab.append([...again, sale({ id: 'middle', partition: 2, at: '2022-11-12 10:00:00', city: 'Leeds' }), sale({ id: 'new', partition: 0, at: '2025-02-01 10:00:00' })].map((record) => ({ ...record, logTimeMs: Date.parse('2025-02-02T00:00:00Z') })))
    const worker = await StepWorker.open(lab, everyPartition, 1)
    await worker.readAll()
    await worker.flush()
    const { batch } = await runLabBatch(lab, { fileOffsetsMax })
    expect(batch).toMatchObject({ eventsRead: 4, eventsCounted: 1 })
    await lab.engine.attach('new_events', (await listFiles(lab.database.pool, 5, 99)).map((file) => file.path), archiveColumns)
    const searched = await filesWithCopies(lab.engine, old)
    const holds = (partition: number, offset: number, epoch: number) => (file: (typeof old)[number]): boolean =>
      file.partition === partition && file.epoch === epoch && file.fromOffset <= offset && offset < file.toOffset
    expect(searched).toHaveLength(3)
    for (const [partition, offset, epoch] of [[2, 1, 1], [1, 24, 3], [1, 33, 5]] as const) expect(searched.filter(holds(partition, offset, epoch))).toHaveLength(1)
    const merged = await readMerged(lab)
    expectFigures(merged, lab.oracle.expect(merged.n))
  })
})
