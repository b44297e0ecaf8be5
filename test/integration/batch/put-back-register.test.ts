/** A database that was put back may know files again that were moved aside meanwhile: whoever reads them takes them back first. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { archiveCommitted, repairArchive } from '#batch/archive.ts'
import { compactArchive } from '#batch/compact.ts'
import { eraseUser } from '#batch/erase.ts'
import { asideOf } from '#batch/orphans.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { listFiles } from '#store/register.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { checkExact } from '#test/lab/merged.ts'
import { sale } from '#test/lab/sale.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { batchOptionsOf } from '../../faults/setup.ts'

let lab: Lab
beforeAll(async () => {
  lab = await openLab({ partitions: 1 })
})
afterAll(() => lab[Symbol.asyncDispose]())
beforeEach(async () => {
  await lab.clear()
  for (const id of ['a', 'b']) {
    await lab.append([sale({ id })])
    const worker = await StepWorker.open(lab, [0])
    await worker.readAll()
    await worker.flush()
    await archiveCommitted(batchOptionsOf(lab))
  }
  await runLabBatch(lab)
  for (const { path } of await listFiles(lab.database.pool, 0, 10)) await lab.lake.move(path, asideOf(path))
})

const signal = new AbortController().signal

test('a full batch', async () => {
  await runLabBatch(lab, { full: true })
  await checkExact(lab)
})
test('a compaction', async () => {
  const { database, lake, engine } = lab
  const { merged } = await compactArchive({ database, lake, engine, codec: parquetCodec, fileOffsetsMax: 50, signal })
  expect(merged).toHaveLength(1)
})
test('an erasure', async () => {
  const { database, lake, engine, topic } = lab
  const erased = await eraseUser({ database, lake, engine, codec: parquetCodec, topics: [topic], sharedTopic: topic, orphanAfterMs: 3_600_000, signal }, '7')
  expect(erased.records).toBe(2)
})

test('a repair, which then has nothing to write', async () => {
  expect(await repairArchive(batchOptionsOf(lab), 10)).toEqual([])
  await checkExact(lab)
})
