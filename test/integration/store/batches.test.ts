/** The pointer's rules, each alone: what publishing refuses, and what pruning leaves for a roll-back. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { ConflictError } from '#core/errors.ts'
import { beginBatch, combineParts, listBatches, newStage, publishBatch, readPointer, resumePublishing, rollBack } from '#store/batches.ts'
import { noCorrections } from '#store/corrections.ts'
import { cutEpoch } from '#store/epochs.ts'
import { pruneStore } from '#store/prune.ts'
import { views } from '#core/views/all.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { checkExact } from '#test/lab/merged.ts'
import { sale } from '#test/lab/sale.ts'
import { StepWorker } from '#test/lab/step-worker.ts'

let lab: Lab

beforeAll(async () => {
  lab = await openLab({ partitions: 1 })
})
beforeEach(() => lab.clear())
afterAll(() => lab[Symbol.asyncDispose]())

async function count(id: string): Promise<void> {
  await lab.append([sale({ id })])
  const worker = await StepWorker.open(lab, [0])
  await worker.readAll()
  await worker.flush()
}

test('a batch that was checked against another base than serves now is refused, also where its horizon is the later one', async () => {
  await count('1')
  const engine = await lab.secondEngine()
  const checked = Promise.withResolvers<void>()
  const published = Promise.withResolvers<void>()
  const first = runLabBatch(lab, {
    before: async (step) => {
      if (step !== 'publish') return
      checked.resolve()
      await published.promise
    },
  })
  await checked.promise
  await count('2')
  // The second is cut after the first and begins before it is published, so both stand on the empty batch.
  const second = runLabBatch(lab, {
    engine,
    before: async (step) => {
      if (step !== 'publish') return
      published.resolve()
      await first
    },
  })
  await expect(second).rejects.toThrow(ConflictError)
  await expect(second).rejects.toThrow(/was checked against batch 0, but 1 is published now/)
  expect(await readPointer(lab.database.pool)).toMatchObject({ batch: 1, epoch: 1 })
  expect((await listBatches(lab.database.pool)).map(({ status }) => status)).toEqual(['superseded', 'published', 'published'])
  await checkExact(lab)
  await runLabBatch(lab)
  await checkExact(lab)
})

test('a batch of an earlier cut is refused although it stands on the batch that serves: a horizon never goes back', async () => {
  await count('1')
  const stale = await cutEpoch(lab.database, lab.decoder.logicVersion)
  await count('2')
  await runLabBatch(lab)
  const serving = await readPointer(lab.database.pool)
  expect(serving).toMatchObject({ batch: 1, epoch: 2 })
  const owner = await lab.database.pool.connect()
  try {
    // It was cut, and stood still until another batch was published.
    const batch = await beginBatch(lab.database, owner, stale.epoch, 'incremental', lab.decoder.logicVersion)
    expect(batch).toMatchObject({ epoch: 1, baseBatch: 1 })
    const stages = new Map<string, number>()
    for (const view of views) stages.set(view.name, await newStage(lab.database.pool, batch.batch, view))
    await combineParts(lab.database, batch, stages)
    const publishing = publishBatch(lab.database, { batch, corrections: noCorrections, eventsRead: 0, eventsCounted: 0, crossCheck: {} })
    await expect(publishing).rejects.toThrow(/a horizon never goes back/)
  } finally {
    owner.release(true)
  }
  expect(await readPointer(lab.database.pool)).toEqual(serving)
  await checkExact(lab)
})

test('pruning leaves all that a roll-back to any kept batch needs', async () => {
  for (const id of ['1', '2', '3', '4']) {
    await count(id)
    await runLabBatch(lab)
  }
  await count('5')
  const pruned = await pruneStore(lab.database, 3, 1000)
  await checkExact(lab)
  for (const to of [3, 2]) {
    expect(await rollBack(lab.database)).toMatchObject({ batch: to })
    await checkExact(lab)
  }
  await expect(rollBack(lab.database)).rejects.toThrow(/No earlier batch is kept/)
  expect(pruned).toMatchObject({ batches: [0, 1], oldestEpoch: 2 })
  await resumePublishing(lab.database)
  expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
})
