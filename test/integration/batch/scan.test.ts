/** A query engine that reads other files than it was given, as one with a stale listing does: what was read is held against the register (row L15). */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { runBatch } from '#batch/run.ts'
import { CorruptError } from '#core/errors.ts'
import type { QueryEngine } from '#core/ports.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { readPointer } from '#store/batches.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { checkExact } from '#test/lab/merged.ts'
import { sale } from '#test/lab/sale.ts'
import { StepWorker } from '#test/lab/step-worker.ts'

let lab: Lab

beforeAll(async () => {
  lab = await openLab({ partitions: 2 })
})
beforeEach(() => lab.clear())
afterAll(() => lab[Symbol.asyncDispose]())

/** The lab's engine, which takes `choose` of the new files for all of them. */
function misled(choose: (paths: readonly string[]) => readonly string[]): QueryEngine {
  const { engine } = lab
  return {
    attach: async (table, paths, columns) => engine.attach(table, table === 'new_events' ? choose(paths) : paths, columns),
    detach: async (table) => engine.detach(table),
    query: (select) => engine.query(select),
    materialize: async (select, into) => engine.materialize(select, into),
    [Symbol.asyncDispose]: async () => undefined,
  }
}

test.each<[string, (paths: readonly string[]) => readonly string[]]>([
  ['misses the newest file', (paths) => paths.slice(0, -1)],
  ['sees no file', () => []],
  ['sees one file in the place of another', (paths) => [...paths.slice(0, -1), paths[0]!]],
  ['sees a file twice', (paths) => [...paths, paths[0]!]],
])('where the engine %s, nothing is published and the files are named', async (_what, choose) => {
  await lab.append([0, 1].flatMap((partition) => ['1', '2'].map((id) => sale({ id: `${partition}-${id}`, partition }))))
  const worker = await StepWorker.open(lab, [0, 1])
  await worker.readAll()
  await worker.flush()
  const { database, log, lake, decoder, topic } = lab
  const running = runBatch({ database, log, lake, engine: misled(choose), codec: parquetCodec, decoder, topic, fileOffsetsMax: 1, signal: new AbortController().signal })
  await expect(running).rejects.toBeInstanceOf(CorruptError)
  await expect(running).rejects.toThrow(/Reading the archive of epoch:partition 1:\d gave other .* than registered\. Nothing was published\. Files: .*parquet/)
  expect(await readPointer(lab.database.pool)).toMatchObject({ batch: 0 })
  await checkExact(lab)
  expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
})
