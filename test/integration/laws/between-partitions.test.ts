/**
 * Copies and conflicts that stand in several partitions. A producer that keys by order never makes them, and several workers do not see each other's ids. The
 * law then holds from the next published batch on: the first by (epoch, partition, offset) counts, and whatever was counted beside it is taken back and named.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rollBack, resumePublishing } from '#store/batches.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { expectExact, expectFigures, readMerged } from '#test/lab/merged.ts'
import { seededRandom } from '#test/lab/random.ts'
import { sale } from '#test/lab/sale.ts'
import { ShopStream, intentKinds } from '#test/lab/shop-stream.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import type { Account, Order, Place } from '#test/oracle.ts'
import { lawLimits, lawRuns, lawSeeds } from './seeds.ts'

const partitions = 3
let lab: Lab

beforeAll(async () => {
  lab = await openLab({ partitions })
})
afterAll(() => lab[Symbol.asyncDispose]())

/** First by the horizon it lies below, then by position: what DESIGN.md section 3 says, from the vectors that were published. */
function orderBy(horizons: readonly ReadonlyMap<number, number>[]): Order {
  const epochOf = (place: Place): number => {
    const epoch = horizons.findIndex((horizon) => place.offset < (horizon.get(place.partition) ?? 0))
    return epoch < 0 ? horizons.length : epoch
  }
  return (a, b) => epochOf(a) - epochOf(b) || a.partition - b.partition || a.offset - b.offset || a.index - b.index
}

/**
 * Which events were accepted, and how many were not. Whether one of those is called a copy or a conflict is settled where a batch corrects its id; a later copy is
 * judged by the ledger again, which may still know the event that was taken back.
 */
function expectCounted(accounts: ReadonlyMap<number, Account>, expected: ReadonlyMap<number, Account>): void {
  const counted = (all: ReadonlyMap<number, Account>): unknown => [...all].map(([partition, { records, accepted, copies, conflicts, refused }]) => ({ partition, records, accepted, notCounted: copies + conflicts, refused }))
  expect(counted(accounts)).toEqual(counted(expected))
}

const rounds = fc.array(
  fc.record({
    kinds: fc.array(fc.constantFrom(...intentKinds, 'copy' as const, 'copy' as const, 'conflict' as const), { minLength: 1, maxLength: 25, size: 'max' }),
    /** Partition → worker that reads it. */
    owners: fc.tuple(fc.nat(2), fc.nat(2), fc.nat(2)),
    reads: fc.array(fc.tuple(fc.nat(partitions - 1), fc.integer({ min: 1, max: 6 })), { maxLength: 12 }),
    rollsBack: fc.boolean(),
  }),
  { minLength: 1, maxLength: 4, size: 'max' },
)

test('a batch that puts another copy first settles what every other copy is beside it', async () => {
  await lab.clear()
  // Read in the order of partitions 2, 1, 0, by three workers and then by one more: positions say otherwise.
  await lab.append([
    sale({ id: '1', partition: 2, city: 'Leeds' }),
    sale({ id: '1', partition: 2, city: 'Leeds' }),
    sale({ id: '1', partition: 2, city: 'London' }),
    sale({ id: '1', partition: 1, city: 'London' }),
    sale({ id: '1', partition: 0, city: 'London' }),
    sale({ id: '1', partition: 0, city: 'Leeds' }),
    sale({ id: '1', partition: 0, city: 'London' }),
  ])
  for (const partition of [2, 1, 0]) {
    const worker = await StepWorker.open(lab, [partition])
    await worker.readAll()
    await worker.flush()
  }
  const { crossCheck } = await runLabBatch(lab)
  expect(crossCheck.summary).toMatchObject({ result: 'corrected', corrections: 2, correctionsByReason: { conflict: 1, copy: 1 } })
  const merged = await readMerged(lab)
  expectExact(merged, lab.oracle.expect(merged.n))
  expect(merged.letters.map(({ partition, offset }) => `${partition}:${offset}`)).toEqual(['0:1', '2:0', '2:1'])
})

test('of a conflict between partitions that one worker read in the other order, the first counts from the next batch on', async () => {
  await lab.clear()
  await lab.append([sale({ id: '1', partition: 1, city: 'Leeds' }), sale({ id: '1', partition: 0, city: 'London' }), sale({ id: '1', partition: 1, city: 'Leeds' })])
  const worker = await StepWorker.open(lab, [0, 1, 2])
  await worker.read(1, 1)
  await worker.readAll()
  await worker.flush()
  const before = await readMerged(lab)
  expect([...before.views.get('revenue')!.keys()]).toEqual(['["2025-03-01","Leeds","Home","GBP"]'])
  await runLabBatch(lab)
  const merged = await readMerged(lab)
  expectExact(merged, lab.oracle.expect(merged.n))
  expect(merged.letters).toEqual([
    { partition: 1, offset: 0, index: 0, reason: 'conflict' },
    { partition: 1, offset: 1, index: 0, reason: 'conflict' },
  ])
})

describe.each(lawSeeds)('seed %i', (seed) => {
  test('each published batch settles what stands between partitions, and names it', async () => {
    let corrections = 0
    await fc.assert(
      fc.asyncProperty(rounds, fc.nat(), async (plan, streamSeed) => {
        await lab.clear()
        const random = seededRandom(streamSeed)
        const shop = new ShopStream(lab.topic, partitions, true)
        const horizons: ReadonlyMap<number, number>[] = []
        for (const { kinds, owners, reads, rollsBack } of plan) {
          const records = kinds.map((kind) => shop.next(kind, random)).filter((record) => record !== null)
          if (records.length > 0) await lab.append(records)
          const workers = await Promise.all([0, 1, 2].map(async (worker) => StepWorker.open(lab, [0, 1, 2].filter((partition) => owners[partition] === worker))))
          for (const [partition, count] of reads) {
            await workers[owners[partition]!]!.read(partition, count)
            await workers[owners[partition]!]!.flush()
          }
          for (const worker of workers) {
            await worker.readAll()
            await worker.flush()
          }
          const { crossCheck } = await runLabBatch(lab)
          corrections += crossCheck.summary.corrections
          const merged = await readMerged(lab)
          horizons.push(merged.n)
          const expected = lab.oracle.expect(merged.n, orderBy(horizons))
          expectFigures(merged, expected)
          expectCounted(merged.accounts, expected.accounts)
          if (rollsBack && horizons.length > 1) {
            await rollBack(lab.database)
            const rolledBack = await readMerged(lab)
            expect(rolledBack.views).toEqual(merged.views)
            await resumePublishing(lab.database)
          }
        }
      }),
      { seed, numRuns: lawRuns(12), ...lawLimits },
    )
    expect(corrections).toBeGreaterThan(0)
  }, 120_000)
})
