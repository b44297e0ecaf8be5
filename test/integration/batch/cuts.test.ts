/** What lies between two cuts: the files of the archive, and the counts that the cross-check compares beside the figures. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { cutEpoch } from '#store/epochs.ts'
import { listFiles } from '#store/register.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { checkExact, readMerged } from '#test/lab/merged.ts'
import { sale } from '#test/lab/sale.ts'
import type { MeantAppend } from '#test/lab/shop-stream.ts'
import { StepWorker } from '#test/lab/step-worker.ts'

let lab: Lab

beforeAll(async () => {
  lab = await openLab({ partitions: 2 })
})
beforeEach(() => lab.clear())
afterAll(() => lab[Symbol.asyncDispose]())

async function count(records: readonly MeantAppend[]): Promise<void> {
  await lab.append(records)
  const worker = await StepWorker.open(lab, [0, 1])
  await worker.readAll()
  await worker.flush()
}

test('an archiver that comes after several cuts writes files of one epoch each', async () => {
  for (const epoch of [1, 2, 3]) {
    await count([0, 1, 2].flatMap((n) => [0, 1].map((partition) => sale({ id: `${epoch}-${n}-${partition}`, partition }))))
    if (epoch < 3) await cutEpoch(lab.database, lab.decoder.logicVersion)
  }
  const { crossCheck } = await runLabBatch(lab, { fileOffsetsMax: 1000 })
  const files = await listFiles(lab.database.pool, 0, 3)
  expect(files.map(({ partition, epoch, fromOffset, toOffset }) => [partition, epoch, fromOffset, toOffset])).toEqual(
    [0, 1].flatMap((partition) => [1, 2, 3].map((epoch) => [partition, epoch, (epoch - 1) * 3, epoch * 3])),
  )
  expect(crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
})

test('an error that cancels in every figure is seen by the counts', async () => {
  /** The same cell of every view, another customer: a conflict that moves no figure. */
  const withUser = (plain: MeantAppend, user: string): MeantAppend => {
    const line = Buffer.from(plain.value).toString().replace(',7,', `,${user},`)
    return { ...plain, value: Buffer.from(line), meant: plain.meant!.map((fact) => ({ ...fact, fields: line })) }
  }
  await count([sale({ id: 'x', partition: 1 })])
  await count([withUser(sale({ id: 'x', partition: 0 }), '8')])
  const before = await readMerged(lab)
  expect(before.letters).toMatchObject([{ partition: 0, reason: 'conflict' }])
  const { crossCheck } = await runLabBatch(lab)
  expect(crossCheck.summary).toMatchObject({ result: 'corrected', keysDiffering: 0, corrections: 2, correctionsByReason: { conflict: 2 } })
  const after = await checkExact(lab)
  expect(after.views).toEqual(before.views)
  expect(after.letters).toMatchObject([{ partition: 1, reason: 'conflict' }])
})

test('a hash sum that is wrong over the same positions holds the batch', async () => {
  await count([sale({ id: 'a', partition: 0 }), sale({ id: 'b', partition: 1 })])
  await lab.database.pool.query('UPDATE live_counts SET hash_lo_sum = hash_lo_sum + 1 WHERE partition = 1')
  await expect(runLabBatch(lab)).rejects.toMatchObject({ code: 'held', details: { result: 'held', unexplainedCounts: [{ partition: 1 }], unexplainedEvents: [], unexplainedKeys: [] } })
  await checkExact(lab)
})
