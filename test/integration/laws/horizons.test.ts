/**
 * The law of DESIGN.md section 1, wherever the horizon lies: answer = batch view (below H) + real-time view (from H up to N) = f (distinct accepted events
 * below N). Once exhaustively, for every horizon vector of a small stream, and then for random streams, flushes and horizons.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { checkExact, readMerged } from '#test/lab/merged.ts'
import { seededRandom } from '#test/lab/random.ts'
import { sale } from '#test/lab/sale.ts'
import type { IntentKind, MeantAppend } from '#test/lab/shop-stream.ts'
import { ShopStream, intentKinds } from '#test/lab/shop-stream.ts'
import { StepWorker, readLog } from '#test/lab/step-worker.ts'
import { lawLimits, lawRuns, lawSeeds } from './seeds.ts'

let lab: Lab

beforeAll(async () => {
  lab = await openLab({ partitions: 2 })
})
afterAll(() => lab[Symbol.asyncDispose]())

/** A sale, its copy, a conflict, a late one and rubbish in each of two partitions. */
const small = [0, 1].flatMap((partition) => [
  sale({ partition, id: `${partition}1`, city: 'London', unitMinor: 1001n }),
  sale({ partition, id: `${partition}2`, at: '2024-11-30 23:59:59', loggedAt: '2025-03-01T11:00:00Z', city: 'Leeds' }),
  sale({ partition, id: `${partition}1`, city: 'London', unitMinor: 1001n }),
  sale({ partition, id: `${partition}2`, at: '2024-11-30 23:59:59', loggedAt: '2025-03-01T11:00:00Z', city: 'London' }),
])
const perPartition = small.length / 2
const horizons = Array.from({ length: perPartition + 1 }, (_, a) => Array.from({ length: perPartition + 1 }, (_, b) => [a, b] as const)).flat()

test.each(horizons)('a small stream cut at (%i, %i)', async (a, b) => {
  await lab.clear()
  await lab.append(small)
  const worker = await StepWorker.open(lab, [0, 1])
  if (a > 0) await worker.read(0, a)
  if (b > 0) await worker.read(1, b)
  await worker.flush()
  await checkExact(lab)
  const { crossCheck } = await runLabBatch(lab)
  expect(crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
  await worker.readAll()
  await worker.flush()
  const { n } = await checkExact(lab)
  expect([...n]).toEqual([
    [0, perPartition],
    [1, perPartition],
  ])
})

type Step = { readonly do: 'produce'; readonly kinds: readonly IntentKind[] } | { readonly do: 'read'; readonly partition: number; readonly records: number } | { readonly do: 'flush' | 'batch' | 'reopen' }

const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('produce' as const), kinds: fc.array(fc.constantFrom(...intentKinds), { minLength: 1, maxLength: 12 }) }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('read' as const), partition: fc.nat(1), records: fc.integer({ min: 1, max: 9 }) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('flush' as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('batch' as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen' as const) }) },
  ),
  { minLength: 4, maxLength: 24, size: 'max' },
)

async function play(plan: readonly Step[], seed: number): Promise<{ readonly worker: StepWorker; readonly records: readonly MeantAppend[] }> {
  await lab.clear()
  const random = seededRandom(seed)
  const shop = new ShopStream(lab.topic, lab.partitions, false)
  const sent: MeantAppend[] = []
  let worker = await StepWorker.open(lab, [0, 1])
  for (const step of plan) {
    if (step.do === 'produce') {
      const records = step.kinds.map((kind) => shop.next(kind, random)).filter((record) => record !== null)
      if (records.length > 0) await lab.append(records)
      sent.push(...records)
    } else if (step.do === 'read') await worker.read(step.partition, step.records)
    else if (step.do === 'flush') {
      await worker.flush()
      await checkExact(lab)
    } else if (step.do === 'reopen') worker = await StepWorker.open(lab, [0, 1])
    else {
      const { crossCheck } = await runLabBatch(lab)
      expect(crossCheck.summary.result).toBe('exact')
      await checkExact(lab)
    }
  }
  await worker.readAll()
  await worker.flush()
  await checkExact(lab)
  return { worker, records: sent }
}

describe.each(lawSeeds)('random streams, flushes and horizons, seed %i', (seed) => {
  test('are exact after each flush and each batch, and the batch alone says what the speed layer alone says', async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(), async (plan, streamSeed) => {
        await play(plan, streamSeed)
        const mixed = await readMerged(lab)
        await runLabBatch(lab, { full: true })
        const batchAlone = await checkExact(lab)
        expect(batchAlone.views).toEqual(mixed.views)
        const { rows } = await lab.database.pool.query('SELECT FROM live_revenue, publish_pointer x WHERE live_revenue.epoch > x.epoch')
        expect(rows).toEqual([])
        // The pointer on the empty batch: every figure from the live rows.
        await lab.database.pool.query('UPDATE publish_pointer SET batch = 0, epoch = 0')
        const speedAlone = await checkExact(lab)
        expect(speedAlone.views).toEqual(mixed.views)
      }),
      { seed, numRuns: lawRuns(12), ...lawLimits },
    )
  })

  test('replayed twice from the start, change nothing', async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(), async (plan, streamSeed) => {
        const { worker, records } = await play(plan, streamSeed)
        const before = await readMerged(lab)
        for (let time = 0; time < 2; time++) {
          for (const [partition, end] of before.n) if (end > 0) for (const batch of await readLog(lab, partition, 0, end)) worker.redeliver(batch)
          await worker.flush()
        }
        expect(worker.skippedReplays).toBe(2 * [...before.n.values()].reduce((sum, end) => sum + end, 0))
        expect(await readMerged(lab)).toEqual(before)
        // All records appended once more, as by a producer that retries: other positions, the same facts.
        if (records.length > 0) await lab.append(records)
        await worker.readAll()
        await worker.flush()
        expect((await checkExact(lab)).views).toEqual(before.views)
      }),
      { seed, numRuns: lawRuns(8), ...lawLimits },
    )
  })
})
