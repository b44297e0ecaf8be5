/** What batches leave behind: rows of runs that ended on the way, and folders of the lake that no kept batch needs. */
import { Readable } from 'node:stream'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { sweepBatchFolders } from '#batch/orphans.ts'
import { beginBatch, listBatches, resumePublishing, rollBack } from '#store/batches.ts'
import { connect, releaseLocks } from '#store/database.ts'
import { cutEpoch } from '#store/epochs.ts'
import { readIncarnation } from '#store/incarnation.ts'
import { addPendingFile } from '#store/pending-files.ts'
import { pruneStore } from '#store/prune.ts'
import type { ArchiveFile } from '#store/register.ts'
import { listFiles, registeredPaths } from '#store/register.ts'
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

async function sell(id: string): Promise<void> {
  await lab.append([sale({ id })])
  const worker = await StepWorker.open(lab, [0])
  await worker.readAll()
  await worker.flush()
}

async function foldersOf(incarnation: string): Promise<number[]> {
  const found = new Set<number>()
  for await (const { path } of lab.lake.list(`batches/${incarnation}/`)) found.add(Number(path.split('/')[2]))
  return [...found].sort((a, b) => a - b)
}

test('folders of batches that are pruned, dropped or failed go at once, of kept ones never, and of unknown ones after the grace', async () => {
  for (const id of ['a', 'b', 'c', 'd']) {
    await sell(id)
    await runLabBatch(lab)
  }
  await sell('e')
  await expect(runLabBatch(lab, { crash: { point: 'batch combine', manner: 'throw' } })).rejects.toThrow('crash')
  await pruneStore(lab.database, 2, 1_000)
  const incarnation = await readIncarnation(lab.database.pool)
  const empty = async function* (): AsyncGenerator<Uint8Array> {
    yield* Readable.from([Buffer.from('x')])
  }
  await lab.lake.put(`batches/${incarnation}/99/part.parquet`, empty(), async () => undefined)
  await lab.lake.put(`batches/before-${lab.topic}/1/part.parquet`, empty(), async () => undefined)
  const dayMs = 86_400_000
  const sweep = (nowMs: number) => sweepBatchFolders({ database: lab.database, lake: lab.lake, nowMs, deleteAfterMs: 35 * dayMs })
  expect(await foldersOf(incarnation)).toEqual([1, 2, 3, 4, 5, 99])
  await sweep(Date.now())
  // 3 and 4 are kept; 5 failed; 99 is nobody's, or of a database that was put back.
  expect(await foldersOf(incarnation)).toEqual([3, 4, 99])
  expect(await foldersOf(`before-${lab.topic}`)).toEqual([1])
  await sweep(Date.now() + 36 * dayMs)
  expect(await foldersOf(incarnation)).toEqual([3, 4])
  expect(await foldersOf(`before-${lab.topic}`)).toEqual([])
  await rollBack(lab.database, 3)
  await checkExact(lab)
  await resumePublishing(lab.database)
  await runLabBatch(lab)
  await checkExact(lab)
})

test('a file that waits for the publication of a run is no orphan while it runs, and is one once it has ended', async () => {
  await sell('a')
  await runLabBatch(lab)
  const [file] = (await listFiles(lab.database.pool, 0, 9)) as [ArchiveFile]
  const { epoch } = await cutEpoch(lab.database, lab.decoder.logicVersion)
  const owner = await connect(lab.database)
  const { batch } = await beginBatch(lab.database, owner, epoch, 'full', lab.decoder.logicVersion)
  await addPendingFile(lab.database.pool, batch, { replaces: file.path, file: { ...file, path: 'pending' } })
  await pruneStore(lab.database, 2, 1_000)
  expect(await registeredPaths(lab.database.pool, ['pending', file.path])).toEqual(new Set(['pending', file.path]))
  // The run is gone without a word; the next says so.
  await releaseLocks(owner)
  await runLabBatch(lab)
  expect((await listBatches(lab.database.pool)).find((one) => one.batch === batch)).toMatchObject({ status: 'failed' })
  await pruneStore(lab.database, 2, 1_000)
  expect(await registeredPaths(lab.database.pool, ['pending', file.path])).toEqual(new Set([file.path]))
})
