/** A topic that was deleted and made anew: positions look plausible, and other records stand there. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { LossError } from '#core/errors.ts'
import { partitionOfKey } from '#engines/log-partitioner.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { checkExact, readMerged } from '#test/lab/merged.ts'
import { sale } from '#test/lab/sale.ts'
import { StepWorker } from '#test/lab/step-worker.ts'

let lab: Lab

beforeAll(async () => {
  lab = await openLab({ partitions: 2 })
})
beforeEach(async () => {
  await lab.clear()
  await lab.append([0, 1].flatMap((partition) => ['1', '2'].map((id) => sale({ id: `${partition}-${id}`, partition }))))
  const worker = await StepWorker.open(lab, [0, 1])
  await worker.readAll()
  await worker.flush()
})
afterAll(() => lab[Symbol.asyncDispose]())

test('is found by the last record that was counted, named, and nothing is added', async () => {
  // The same store, read on from a topic whose second partition now holds others at the same offsets.
  const before = await readMerged(lab)
  const other = await otherTopic([sale({ id: '0-1' }), sale({ id: '0-2' }), sale({ id: 'x', partition: 1 }), sale({ id: 'y', partition: 1 }), sale({ id: 'z', partition: 1 })])
  await expect(StepWorker.open(other, [0])).resolves.toBeInstanceOf(StepWorker)
  const opening = StepWorker.open(other, [0, 1])
  await expect(opening).rejects.toBeInstanceOf(LossError)
  await expect(opening).rejects.toThrow(/Partition 1 of .* holds another record at 1 /)
  expect(await readMerged(other)).toEqual(before)
  await checkExact(other)
})

test('is found by an end below what was counted', async () => {
  const other = await otherTopic([sale({ id: '0-1' }), sale({ id: '1-1', partition: 1 }), sale({ id: '1-2', partition: 1 })])
  await expect(StepWorker.open(other, [0, 1])).rejects.toThrow(/Partition 0 of .* ends at 1, but 2 was committed/)
})

function keyOf(partition: number): string {
  for (let n = 0; ; n++) if (partitionOfKey(`key-${n}`, lab.partitions) === partition) return `key-${n}`
}

/** The lab with its topic's records replaced by these; the store knows no difference. */
async function otherTopic(records: Parameters<Lab['append']>[0]): Promise<Lab> {
  const anew = `${lab.topic}-anew`
  await lab.log.create(anew, lab.partitions)
  const keys = Array.from({ length: lab.partitions }, (_, partition) => keyOf(partition))
  await lab.log.append(anew, records.map(({ partition, value, logTimeMs }) => ({ key: keys[partition]!, value, logTimeMs })))
  await lab.database.pool.query('UPDATE committed_offsets SET topic = $1 WHERE topic = $2', [anew, lab.topic])
  await lab.database.pool.query('UPDATE ledger_pages SET topic = $1 WHERE topic = $2', [anew, lab.topic])
  return Object.create(lab, { topic: { value: anew } }) as Lab
}
