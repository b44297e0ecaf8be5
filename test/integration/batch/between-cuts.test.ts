/** Archiving between cuts: what is counted goes to the lake tagged with the epoch that is being written, and whatever cut, batch or crash follows fits to it. */
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { ArchiveOptions } from '#batch/archive.ts'
import { archiveCommitted } from '#batch/archive.ts'
import { diskLakeFaultPoints } from '#engines/disk-lake.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { readArchiveTotals } from '#store/archive-totals.ts'
import { readPointer } from '#store/batches.ts'
import { cutEpoch } from '#store/epochs.ts'
import type { ArchiveFile } from '#store/register.ts'
import { checkTiling, listFiles, readArchiveBacklog } from '#store/register.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { checkExact } from '#test/lab/merged.ts'
import { seededRandom } from '#test/lab/random.ts'
import { sale } from '#test/lab/sale.ts'
import { ShopStream, intentKinds } from '#test/lab/shop-stream.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { lawLimits, lawRuns, lawSeeds } from '../laws/seeds.ts'

const partitions = 2
const everyPartition = [0, 1]
let lab: Lab

beforeAll(async () => {
  lab = await openLab({ partitions })
})
beforeEach(() => lab.clear())
afterAll(() => lab[Symbol.asyncDispose]())

function archive(overrides: Partial<ArchiveOptions> = {}): Promise<ArchiveFile[]> {
  const { database, log, lake, decoder } = lab
  return archiveCommitted({ database, log, lake, codec: parquetCodec, decoder, fileOffsetsMax: 50, signal: new AbortController().signal, ...overrides })
}

/** Counts so many more sales in each partition. */
async function count(records: number, prefix: string): Promise<void> {
  await lab.append(Array.from({ length: records * partitions }, (_, n) => sale({ id: `${prefix}-${n}`, partition: n % partitions })))
  const worker = await StepWorker.open(lab, everyPartition)
  await worker.readAll()
  await worker.flush()
}

const cut = async (): Promise<number> => (await cutEpoch(lab.database, lab.decoder.logicVersion)).epoch

async function ranges(): Promise<(readonly [number, number, number, number])[]> {
  return (await listFiles(lab.database.pool, 0, 99)).map(({ partition, epoch, fromOffset, toOffset }) => [partition, epoch, fromOffset, toOffset])
}

test('what is counted and no cut has ended is archived as of the epoch being written, once; a batch has the rest to do', async () => {
  await count(5, 'a')
  expect(await readArchiveBacklog(lab.database.pool)).toBe(5)
  expect(await archive()).toHaveLength(2)
  expect(await readArchiveBacklog(lab.database.pool)).toBe(0)
  expect(await archive()).toEqual([])
  await count(3, 'b')
  const { files } = await runLabBatch(lab)
  expect(files.map(({ fromOffset, toOffset }) => [fromOffset, toOffset])).toEqual([
    [5, 8],
    [5, 8],
  ])
  await count(2, 'c')
  await archive({ fileOffsetsMax: 1 })
  expect(await ranges()).toEqual(everyPartition.flatMap((partition) => [[partition, 1, 0, 5], [partition, 1, 5, 8], [partition, 2, 8, 9], [partition, 2, 9, 10]]))
  expect((await readArchiveTotals(lab.database.pool)).map(({ kind, runs, files: all, rows, last }) => [kind, runs, all, rows, last.rows])).toEqual([
    ['batch', 1, 2, 6, 6],
    ['committed', 2, 6, 14, 4],
  ])
  expect((await runLabBatch(lab)).files).toEqual([])
  await checkExact(lab)
})

describe('a file is written, and before it is registered', () => {
  test('flushes and a cut come: it belongs to the epoch that the cut ended, and lies below its horizon', async () => {
    await count(5, 'a')
    let done = false
    await archive({
      beforeRegister: async () => {
        if (done) return
        done = true
        await count(4, 'b')
        await cut()
        await count(3, 'c')
      },
    })
    await archive()
    await checkTiling(lab.database.pool, 1)
    expect(await ranges()).toEqual(everyPartition.flatMap((partition) => [[partition, 1, 0, 5], [partition, 1, 5, 9], [partition, 2, 9, 12]]))
    expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
    await checkExact(lab)
  })

  test('the database loses flushes in a crash and a cut comes to lie within the range: it is an orphan, and no file straddles the cut', async () => {
    await count(9, 'a')
    let done = false
    await archive({
      beforeRegister: async () => {
        if (done) return
        done = true
        // What an unsynced flush leaves of itself: nothing. Six are counted, then a cut, then the rest again.
        await lab.database.pool.query('UPDATE committed_offsets SET next_offset = 6')
        await cut()
        await lab.database.pool.query('UPDATE committed_offsets SET next_offset = 9')
      },
    })
    expect(await ranges()).toEqual(everyPartition.flatMap((partition) => [[partition, 1, 0, 6], [partition, 2, 6, 9]]))
    await checkTiling(lab.database.pool, 1)
  })

  test('a batch archives the same range: one of the two files is registered', async () => {
    await count(5, 'a')
    let batch: Promise<unknown> | null = null
    await archive({ beforeRegister: async () => void (await (batch ??= runLabBatch(lab))) })
    expect(await ranges()).toEqual(everyPartition.map((partition) => [partition, 1, 0, 5]))
    expect((await readPointer(lab.database.pool)).batch).toBe(1)
    await checkExact(lab)
  })
})

test.each(diskLakeFaultPoints)('a crash once the file is %s leaves a register that tiles, and the range is archived later', async (point) => {
  await count(5, 'a')
  lab.lakeFault = (at) => {
    if (at !== point) return
    lab.lakeFault = null
    throw new Error('crash')
  }
  await expect(archive()).rejects.toThrow('crash')
  await count(2, 'b')
  await archive()
  await cut()
  await checkTiling(lab.database.pool, 1)
  expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
})

test.each(lawSeeds)('archiving whenever, between any flushes, cuts and batches, leaves tiles and figures exact (seed %i)', async (seed) => {
  const steps = fc.array(
    fc.oneof(
      { weight: 4, arbitrary: fc.record({ do: fc.constant('count' as const), kinds: fc.array(fc.constantFrom(...intentKinds), { minLength: 1, maxLength: 8, size: 'max' }) }) },
      { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('archive' as const, 'both' as const), fileOffsetsMax: fc.integer({ min: 1, max: 9 }) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('cut' as const, 'batch' as const) }) },
    ),
    { minLength: 3, maxLength: 14, size: 'max' },
  )
  await fc.assert(
    fc.asyncProperty(steps, fc.nat(), async (plan, streamSeed) => {
      await lab.clear()
      const random = seededRandom(streamSeed)
      const stream = new ShopStream(lab.topic, partitions, false)
      let epoch = 0
      for (const step of plan) {
        if (step.do === 'count') {
          const records = step.kinds.map((kind) => stream.next(kind, random)).filter((record) => record !== null && record.value.length < 200_000)
          if (records.length === 0) continue
          await lab.append(records as NonNullable<(typeof records)[number]>[])
          const worker = await StepWorker.open(lab, everyPartition)
          await worker.readAll()
          await worker.flush()
        } else if (step.do === 'archive') await archive({ fileOffsetsMax: step.fileOffsetsMax })
        else if (step.do === 'both') {
          // A cut beside it falls before, between or after its steps, as it comes.
          const [, ended] = await Promise.all([archive({ fileOffsetsMax: step.fileOffsetsMax }), cut(), archive({ fileOffsetsMax: 50 })])
          epoch = ended
        } else if (step.do === 'cut') epoch = await cut()
        else epoch = (await runLabBatch(lab)).batch.epoch
      }
      expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
      for (let ended = 1; ended <= epoch + 1; ended++) await checkTiling(lab.database.pool, ended)
      await checkExact(lab)
    }),
    { seed, numRuns: lawRuns(4), ...lawLimits },
  )
})
