/** Interleavings that a review of the design found, one test each. Each is driven step by step, so that the order is the one that its name says. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { archiveUpTo } from '#batch/archive.ts'
import { acceptHeldBatch, runBatchToPublication } from '#batch/run.ts'
import { ConflictError, FencedError, HeldError, OvertakenError, UnavailableError } from '#core/errors.ts'
import { writeIdKey } from '#core/id-key.ts'
import { Ledger } from '#core/ledger.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { listBatches, readPointer, resumePublishing, rollBack } from '#store/batches.ts'
import { cutEpoch } from '#store/epochs.ts'
import { openPartitions } from '#store/partitions.ts'
import { pruneStore } from '#store/prune.ts'
import { listFiles } from '#store/register.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import type { BatchCrashPoint } from '#test/lab/crash.ts'
import { CrashError, batchCrashPoints, crashManners, runLabBatch } from '#test/lab/crash.ts'
import { cutBefore, startWaitingCut } from '#test/lab/epoch-lock.ts'
import { checkExact, readMerged } from '#test/lab/merged.ts'
import { sale } from '#test/lab/sale.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import type { Place } from '#test/oracle.ts'

let lab: Lab

beforeAll(async () => {
  lab = await openLab()
})
beforeEach(() => lab.clear())
afterAll(() => lab[Symbol.asyncDispose]())

/** A worker of all partitions that reads all there is and flushes. */
async function countAll(partitions: readonly number[] = [0, 1, 2]): Promise<StepWorker> {
  const worker = await StepWorker.open(lab, partitions)
  await worker.readAll()
  await worker.flush()
  return worker
}

/** Something that a step waits for, let go from outside. */
function gate(): { readonly reached: Promise<void>; readonly pass: () => Promise<void>; readonly open: () => void } {
  const reached = Promise.withResolvers<void>()
  const opened = Promise.withResolvers<void>()
  return {
    reached: reached.promise,
    pass: async () => {
      reached.resolve()
      await opened.promise
    },
    open: () => opened.resolve(),
  }
}

async function grossOf(city: string): Promise<bigint> {
  const { rows } = await lab.database.pool.query<{ gross: bigint }>('SELECT coalesce(sum(gross_minor), 0)::bigint AS gross FROM merged_revenue WHERE city = $1', [city])
  return rows[0]!.gross
}

describe('a sale of this month and a late one of another in one range, with a crash in the archive', () => {
  const archivePoints: readonly BatchCrashPoint[] = batchCrashPoints.filter((point) => point.startsWith('lake ') || point === 'batch archive' || point === 'batch register')
  const crashes = archivePoints.flatMap((point) => crashManners.map((manner) => [point, manner] as const))

  test.each(crashes)('at %s by %s: counted once, each in its month', async (point, manner) => {
    await lab.append([sale({ id: '1', at: '2025-03-10 10:00:00' }), sale({ id: '2', at: '2025-01-31 23:30:00', loggedAt: '2025-03-10T12:00:00Z' })])
    await countAll()
    await expect(runLabBatch(lab, { crash: { point, manner } })).rejects.toThrow(CrashError)
    await checkExact(lab)

    await runLabBatch(lab)
    await checkExact(lab)
    const [file, ...more] = await listFiles(lab.database.pool, 0, 99)
    expect(more).toEqual([])
    expect(file).toMatchObject({ fromOffset: 0, toOffset: 2, accepted: 2, months: ['2025-01-01', '2025-03-01'] })
    const { rows } = await lab.database.pool.query(`SELECT count(DISTINCT month)::int AS months FROM batch_parts, publish_pointer x WHERE batch_parts.batch = x.batch AND view = 'revenue'`)
    expect(rows).toEqual([{ months: 2 }])
  })
})

test('a conflict whose smaller position arrives after the horizon: the counted one keeps counting', async () => {
  // Partition 1 is read and published first; the conflicting copy then comes to partition 0, which sorts before it.
  await lab.append([sale({ id: '7', partition: 1, city: 'London' })])
  await countAll()
  await runLabBatch(lab)
  await lab.append([sale({ id: '7', partition: 0, city: 'Leeds' })])
  await countAll()
  // The epoch stands in front: partition 1, below the horizon, is first.
  const order = (a: Place, b: Place): number => b.partition - a.partition
  await checkExact(lab, order)
  const { crossCheck } = await runLabBatch(lab)
  expect(crossCheck.summary.result).toBe('exact')
  const { letters } = await checkExact(lab, order)
  expect(letters).toEqual([{ partition: 0, offset: 0, index: 0, reason: 'conflict' }])
  await runLabBatch(lab, { full: true })
  await checkExact(lab, order)
})

test('an event 30 hours ahead, batched ten hours later: refused by its own log time, by both layers, for good', async () => {
  const ahead = sale({ id: '1', at: '2025-01-12 06:00:00', loggedAt: '2025-01-11T00:00:00Z', refused: true })
  await lab.append([ahead, sale({ id: '2', at: '2025-01-11 09:00:00', loggedAt: '2025-01-11T10:00:00Z' })])
  await countAll()
  await checkExact(lab)
  const { crossCheck } = await runLabBatch(lab)
  expect(crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
  // Sent again when its time is near, it is an event like any other.
  await lab.append([sale({ id: '1', at: '2025-01-12 06:00:00', loggedAt: '2025-01-11T10:00:00Z' })])
  await countAll()
  await checkExact(lab)
  await runLabBatch(lab, { full: true })
  const { letters } = await checkExact(lab)
  expect(letters).toEqual([{ partition: 0, offset: 0, index: 0, reason: 'future-event' }])
})

test('a partition opened while its owner flushes: offset and ids are of one moment', async () => {
  await lab.append([sale({ id: '1' }), sale({ id: '2' })])
  const owner = await StepWorker.open(lab, [0, 1, 2])
  await owner.readAll()
  let opened: StepWorker | null = null
  await owner.flush({
    beforeCommit: async () => {
      opened = await StepWorker.open(lab, [0, 1, 2])
    },
  })
  const newcomer = opened as unknown as StepWorker
  expect(newcomer.position(0)).toBe(0)
  await lab.append([sale({ id: '1' }), sale({ id: '3' })])
  await newcomer.readAll()
  await expect(newcomer.flush()).rejects.toThrow(FencedError)
  await checkExact(lab)
  await countAll()
  const { accounts } = await checkExact(lab)
  expect(accounts.get(0)).toEqual({ records: 4, accepted: 3, copies: 1, conflicts: 0, refused: 0 })
})

test('a partition opened again and again while its owner flushes: the ids known are those below the offset, no more and no less', async () => {
  const flushes = 80
  await lab.append(Array.from({ length: flushes }, (_, n) => sale({ id: String(n) })))
  const owner = await StepWorker.open(lab, [0])
  let flushed = 0
  const flushing = (async () => {
    for (; flushed < flushes; flushed++) {
      await owner.read(0, 1)
      await owner.flush()
    }
  })()
  const key = new Uint32Array(4)
  const seen = new Set<number>()
  while (flushed < flushes) {
    const ledger = new Ledger(10_000)
    const [opened] = await openPartitions(lab.database, lab.topic, new Map([[0, 0]]), ledger)
    const known = ledger.size
    expect(known, 'ids known at the offset').toBe(opened!.nextOffset)
    for (let offset = 0; offset < known; offset++) {
      writeIdKey(lab.topic, String(offset), key, 0)
      expect(ledger.count(key, 0, 0, 0, offset)).not.toBe('new')
    }
    seen.add(known)
  }
  await flushing
  expect(seen.size).toBeGreaterThan(5)
})

test('a flush that waits for a cut belongs to the epoch after it', async () => {
  await lab.append([sale({ id: '1' }), sale({ id: '2', partition: 1 })])
  await countAll([1])
  const worker = await StepWorker.open(lab, [0])
  await worker.readAll()
  const { epoch, flushed } = await cutBefore(lab, () => worker.flush())
  expect(flushed).toBe(epoch + 1)
  const { rows } = await lab.database.pool.query<{ next_offset: bigint }>('SELECT next_offset FROM cut_offsets WHERE partition = 0')
  expect(rows).toEqual([{ next_offset: 0n }])
  await checkExact(lab)
  const { crossCheck } = await runLabBatch(lab)
  expect(crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
})

test('a cut that waits for a flush has it below its horizon', async () => {
  await lab.append([sale({ id: '1' })])
  const worker = await StepWorker.open(lab, [0])
  await worker.readAll()
  const cuts: ReturnType<typeof cutEpoch>[] = []
  const epoch = await worker.flush({
    beforeCommit: async () => {
      cuts.push((await startWaitingCut(lab)).cut)
    },
  })
  const cut = await cuts[0]!
  expect(cut.epoch).toBe(epoch)
  expect(cut.horizon).toMatchObject([{ partition: 0, nextOffset: 1 }])
  await checkExact(lab)
})

test('a paused worker while others flush and a cut waits: nobody waits for it longer than its time-out', async () => {
  await lab.append([sale({ id: '1', partition: 0 }), sale({ id: '2', partition: 1 })])
  const paused = await StepWorker.open(lab, [0])
  await paused.readAll()
  const stopped = gate()
  // It holds the epoch's lock and its offsets' rows, and says nothing more, like a process under SIGSTOP.
  const resumed = paused.flush({ beforeCommit: stopped.pass }).then(
    () => null,
    (thrown: unknown) => thrown,
  )
  await stopped.reached
  const { cut } = await startWaitingCut(lab)
  // The waiting cut gives way in between, and with its end the others go on.
  await countAll([1])
  expect(await grossOf('London')).toBe(1000n)
  const { epoch } = await cut
  expect(epoch).toBe(1)
  // Its partition is taken over before it wakes up.
  await countAll([0])
  stopped.open()
  expect(await resumed).toBeInstanceOf(UnavailableError)
  await checkExact(lab)
  await runLabBatch(lab)
  await checkExact(lab)
}, 60_000)

test('a roll-back after a corrected copy, then the next night', async () => {
  await lab.append([sale({ id: '1', partition: 0 })])
  await countAll()
  await runLabBatch(lab)
  // Two workers that each know one partition only: the copy is beyond their window, and counts until the next batch.
  await lab.append([sale({ id: '2', partition: 0, unitMinor: 500n })])
  await countAll([0])
  await lab.append([sale({ id: '2', partition: 1, unitMinor: 500n }), sale({ id: '1', partition: 2 })])
  await countAll([1])
  await countAll([2])
  expect(await grossOf('London')).toBe(3000n)

  const corrected = await runLabBatch(lab)
  expect(corrected.crossCheck.summary).toMatchObject({ result: 'corrected', corrections: 2, correctionsByReason: { copy: 2 } })
  await checkExact(lab)
  await rollBack(lab.database)
  await checkExact(lab)
  await expect(runLabBatch(lab)).rejects.toThrow(ConflictError)
  await checkExact(lab)

  await lab.append([sale({ id: '3' }), sale({ id: '2' , unitMinor: 500n })])
  await countAll()
  await resumePublishing(lab.database)
  const next = await runLabBatch(lab)
  expect(next.crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
  await rollBack(lab.database)
  await checkExact(lab)
  await resumePublishing(lab.database)
  await runLabBatch(lab, { full: true })
  await checkExact(lab)
  await pruneStore(lab.database, 1, 1000)
  await checkExact(lab)
})

test('two batches cut in turn and published in the other order: the horizon never goes back', async () => {
  await lab.append([sale({ id: '1' })])
  await countAll()
  const engine = await lab.secondEngine()
  const first = runLabBatch(lab, {
    before: async (step) => {
      if (step !== 'publish') return
      await lab.append([sale({ id: '2' })])
      await countAll()
      const second = await runLabBatch(lab, { engine })
      expect(second.crossCheck.summary.result).toBe('exact')
    },
  })
  await expect(first).rejects.toThrow(ConflictError)
  const batches = await listBatches(lab.database.pool)
  expect(batches.map(({ batch, epoch, status }) => ({ batch, epoch, status }))).toEqual([
    { batch: 2, epoch: 2, status: 'published' },
    { batch: 1, epoch: 1, status: 'superseded' },
    { batch: 0, epoch: 0, status: 'published' },
  ])
  expect(await readPointer(lab.database.pool)).toMatchObject({ batch: 2, epoch: 2 })
  await checkExact(lab)
  await runLabBatch(lab)
  await checkExact(lab)
})

test('a batch that another overtook begins again with a new cut, and is published', async () => {
  await lab.append([sale({ id: '1' })])
  await countAll()
  const engine = await lab.secondEngine()
  const said: string[] = []
  let overtaken = false
  const outcome = await runLabBatch(lab, {
    run: runBatchToPublication,
    onStep: (step, detail) => said.push(`${step}: ${detail}`),
    before: async (step) => {
      if (step !== 'publish' || overtaken) return
      overtaken = true
      await lab.append([sale({ id: '2' })])
      await countAll()
      await runLabBatch(lab, { engine })
    },
  })
  expect(outcome.batch).toMatchObject({ batch: 3, epoch: 3, status: 'published' })
  expect(said.filter((line) => line.includes('begun again'))).toHaveLength(1)
  expect((await listBatches(lab.database.pool)).map(({ status }) => status)).toEqual(['published', 'published', 'superseded', 'published'])
  await checkExact(lab)
})

test('a batch that is overtaken every time gives up and says so', async () => {
  await lab.append([sale({ id: '1' })])
  await countAll()
  const engine = await lab.secondEngine()
  const always = runLabBatch(lab, {
    run: runBatchToPublication,
    before: async (step) => {
      if (step === 'publish') await runLabBatch(lab, { engine })
    },
  })
  await expect(always).rejects.toThrow(OvertakenError)
  await checkExact(lab)
})

test.each(['1970-01-01 00:00:00', '1970-01-01 12:00:00', '1969-12-31 23:59:59', '1900-02-28 10:00:00', '0001-01-01 00:00:00'])('an event of %s is counted in its day by both layers', async (at) => {
  await lab.append([sale({ id: '1', at, loggedAt: '2025-01-01T00:00:00Z' }), sale({ id: '2', at: '2025-01-01 00:00:00', loggedAt: '2025-01-01T00:00:01Z' })])
  await countAll()
  await checkExact(lab)
  const { crossCheck } = await runLabBatch(lab)
  expect(crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
})

test('a city of 3 KB is refused, and its neighbours are counted', async () => {
  await lab.append([sale({ id: '1' }), sale({ id: '2', city: 'x'.repeat(3_000), refused: true }), sale({ id: '3', city: 'é'.repeat(128) }), sale({ id: '4', city: 'é'.repeat(129), refused: true })])
  await countAll()
  const { letters } = await checkExact(lab)
  expect(letters.map(({ offset, reason }) => ({ offset, reason }))).toEqual([
    { offset: 1, reason: 'too-long' },
    { offset: 3, reason: 'too-long' },
  ])
  await runLabBatch(lab)
  await checkExact(lab)
})

test('amounts near the limits: a cell beyond 2^53 pence is exact to the penny in both layers', async () => {
  const events = 9_200
  const most = 1_000_000_000_000n
  const records = Array.from({ length: events }, (_, n) => sale({ id: String(n), unitMinor: n % 2 === 0 ? most : most - 1n, partition: n % 3 }))
  await lab.append([...records, sale({ id: 'over', unitMinor: most + 1n, refused: true }), sale({ id: 'many', quantity: 1_000_000, unitMinor: 1_000_000n }), sale({ id: 'zero', unitMinor: 0n })])
  await countAll()
  const exact = most * BigInt(events) - BigInt(events / 2) + most
  expect(exact).toBeGreaterThan(2n ** 53n)
  expect(await grossOf('London')).toBe(exact)
  await checkExact(lab)
  await runLabBatch(lab, { fileOffsetsMax: 10_000 })
  expect(await grossOf('London')).toBe(exact)
  await checkExact(lab)
})

describe('further', () => {
  test('more copies beyond the window than a list shows are corrected all the same', async () => {
    const sales = Array.from({ length: 400 }, (_, n) => ({ id: String(n), city: `City ${n}`, product: `P${n}` }))
    await lab.append(sales.map((one) => sale({ ...one, partition: 0 })))
    await countAll([0])
    await lab.append(sales.map((one) => sale({ ...one, partition: 1 })))
    await countAll([1])
    const { crossCheck } = await runLabBatch(lab)
    expect(crossCheck.summary).toMatchObject({ result: 'corrected', corrections: 400 })
    await checkExact(lab)
    await rollBack(lab.database)
    await checkExact(lab)
  })

  test('a held batch serves nothing, and is accepted once publishing goes on', async () => {
    await lab.append([sale({ id: '1' }), sale({ id: '2', city: 'Leeds' })])
    await countAll()
    await runLabBatch(lab)
    await lab.append([sale({ id: '3' })])
    await countAll()
    // What no rule explains: a penny that came from nowhere.
    await lab.database.pool.query(`UPDATE live_revenue SET gross_minor = gross_minor + 1 WHERE epoch = 2`)
    await expect(runLabBatch(lab)).rejects.toThrow(HeldError)
    const [held] = await listBatches(lab.database.pool, 1)
    expect(held).toMatchObject({ status: 'held' })
    expect(await readPointer(lab.database.pool)).toMatchObject({ batch: 1 })
    expect(await grossOf('London')).toBe(2001n)

    await rollBack(lab.database)
    await expect(acceptHeldBatch(lab.database, held!.batch)).rejects.toThrow(ConflictError)
    await lab.database.pool.query('UPDATE publish_pointer SET batch = 1, epoch = 1')
    await expect(acceptHeldBatch(lab.database, held!.batch)).rejects.toThrow(/paused/)
    await resumePublishing(lab.database)
    await acceptHeldBatch(lab.database, held!.batch)
    await checkExact(lab)
    await lab.append([sale({ id: '4' })])
    await countAll()
    const { crossCheck } = await runLabBatch(lab)
    expect(crossCheck.summary.result).toBe('exact')
    await checkExact(lab)
  })

  test('two archivers of one range: one registers it, the other leaves an orphan', async () => {
    await lab.append([sale({ id: '1' }), sale({ id: '2' })])
    await countAll()
    const { epoch } = await cutEpoch(lab.database, lab.decoder.logicVersion)
    const { database, log, lake, decoder } = lab
    const meeting = [gate(), gate()] as const
    const archive = (beforeRegister: () => Promise<void>): Promise<unknown> =>
      archiveUpTo({ database, log, lake, codec: parquetCodec, decoder, fileOffsetsMax: 10, signal: new AbortController().signal, beforeRegister }, epoch)
    const both = Promise.all(meeting.map((at) => archive(at.pass)))
    await Promise.all(meeting.map((at) => at.reached))
    for (const at of meeting) at.open()
    await both
    expect(await listFiles(database.pool, 0, epoch)).toHaveLength(1)
    const paths: string[] = []
    for await (const entry of lake.list(`${lab.topic}/`)) paths.push(entry.path)
    expect(paths).toHaveLength(2)
    await runLabBatch(lab)
    await checkExact(lab)
  })

  test('a reader in the midst of a publication sees the state before or after, never half', async () => {
    await lab.append(Array.from({ length: 30 }, (_, n) => sale({ id: String(n), city: `City ${n % 5}`, partition: n % 3 })))
    await countAll()
    const batch = runLabBatch(lab)
    let done = false
    void batch.finally(() => (done = true)).catch(() => undefined)
    const pointers = new Set<number>()
    while (!done) pointers.add((await checkExact(lab)).batch)
    await batch
    pointers.add((await readMerged(lab)).batch)
    expect([...pointers]).toEqual([0, 1])
  })
})
