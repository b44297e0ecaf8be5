/** New logic over all of history: `batch run --full` with other settings, beside live traffic. The oracle knows both zones by itself. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openDecoder } from '#core/decode.ts'
import type { Decoder } from '#core/decode.ts'
import type { QueryEngine } from '#core/ports.ts'
import { HeldError, LogicError, SwitchingError } from '#core/errors.ts'
import { archiveCommitted } from '#batch/archive.ts'
import { sweepOrphans } from '#batch/orphans.ts'
import type { BatchOptions, BatchOutcome } from '#batch/run.ts'
import { acceptHeldBatch, runBatchToPublication } from '#batch/run.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { readBatch, readPointer, resumePublishing, rollBack } from '#store/batches.ts'
import { readHorizon } from '#store/epochs.ts'
import { checkWorkerLogic, readLogic } from '#store/logic.ts'
import { readPendingFiles } from '#store/pending-files.ts'
import { listFiles } from '#store/register.ts'
import { agreeOnLogic, checkLogic } from '#store/partitions.ts'
import { pruneStore } from '#store/prune.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import type { LabBatchOptions } from '#test/lab/crash.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import type { Merged } from '#test/lab/merged.ts'
import { checkExact, expectExact, readMerged } from '#test/lab/merged.ts'
import { seededRandom } from '#test/lab/random.ts'
import type { MeantAppend } from '#test/lab/shop-stream.ts'
import { ShopStream, intentKinds } from '#test/lab/shop-stream.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { Oracle } from '#test/oracle.ts'
import { waitUntil } from '#test/wait-until.ts'
import { batchLines } from '../../../cli/batch-text.ts'
import { LoopWorker, expectE0, logSchemaOf, whenCounted } from '../../faults/setup.ts'

const auckland = openDecoder({ zone: 'Pacific/Auckland', currency: 'GBP' })
const allPartitions = [0, 1, 2]
let lab: Lab

beforeAll(async () => {
  lab = await openLab()
})
afterAll(async () => lab[Symbol.asyncDispose]())
beforeEach(async () => lab.clear())

/** The same lab with other settings. */
function labWith(decoder: Decoder): Lab {
  return { ...lab, topic: lab.topic, oracle: lab.oracle, decoder }
}

/** Appends what a random shop sends, and tells both oracles. */
function openShop(seed: number): { readonly elsewhere: Oracle; send(records: number): Promise<void> } {
  const random = seededRandom(seed)
  const stream = new ShopStream(lab.topic, lab.partitions, false)
  const elsewhere = new Oracle()
  return {
    elsewhere,
    async send(records) {
      const sent: MeantAppend[] = []
      while (sent.length < records) {
        const record = stream.next(random.pick(intentKinds), random)
        if (record !== null) sent.push(record)
      }
      await lab.append(sent)
      for (const { partition, meantInAuckland } of sent) elsewhere.add(partition, meantInAuckland ?? null)
    },
  }
}

async function countAll(decoder: Decoder = lab.decoder): Promise<void> {
  const worker = await StepWorker.open(labWith(decoder), allPartitions)
  for (let more = true; more; ) {
    const read = await Promise.all(allPartitions.map((partition) => worker.read(partition, 20)))
    await worker.flush()
    more = read.some((records) => records > 0)
  }
}

async function checkElsewhere(elsewhere: Oracle): Promise<Merged> {
  const merged = await readMerged(lab)
  expectExact(merged, elsewhere.expect(merged.n))
  return merged
}

function runElsewhere(options: LabBatchOptions = {}): Promise<BatchOutcome> {
  return runLabBatch(labWith(auckland), { full: true, ...options })
}

/** The figures alone: what must not change when only the pointer does. */
function figures(merged: Merged): unknown {
  return { views: merged.views, top: merged.top, n: merged.n, accounts: merged.accounts, letters: merged.letters }
}

describe('a full run with another zone', () => {
  test('L18 figures are those of the old zone until it publishes and of the new one right after, beside live traffic; a roll-back moves none of them', async () => {
    const shop = openShop(18)
    await shop.send(120)
    await countAll()
    await runLabBatch(lab)
    await shop.send(60)
    await countAll()
    const old = await StepWorker.open(lab, allPartitions)
    const steps: string[] = []
    let refused = 0
    const before: BatchOptions['before'] = async (step) => {
      steps.push(step)
      await shop.send(3)
      await old.readAll()
      const switching = (await readLogic(lab.database.pool)).switchingBatch !== null
      if (!switching) await old.flush()
      else if (!old.isEmpty) {
        await expect(old.flush()).rejects.toBeInstanceOf(SwitchingError)
        refused++
      }
      await checkExact(lab)
    }
    const { crossCheck, batch } = await runElsewhere({ before })
    expect(steps).toContain('switch')
    expect(refused).toBeGreaterThan(0)
    expect(batch).toMatchObject({ kind: 'full', logicVersion: auckland.logicVersion })
    expect(crossCheck.summary.logic?.changed).toBeGreaterThan(100)
    await checkElsewhere(shop.elsewhere)
    // Workers of before are refused, those of now go on; copies of before are copies.
    await expect(StepWorker.open(lab, allPartitions).then(async (worker) => (await worker.readAll(), worker.flush()))).rejects.toBeInstanceOf(LogicError)
    await expect(agreeOnLogic(lab.database, lab.decoder.logicVersion)).rejects.toBeInstanceOf(LogicError)
    await expect(checkLogic(lab.database, lab.decoder.logicVersion)).rejects.toBeInstanceOf(LogicError)
    await expect(runLabBatch(lab)).rejects.toBeInstanceOf(LogicError)
    await shop.send(80)
    await countAll(auckland)
    const exact = figures(await checkElsewhere(shop.elsewhere))
    expect((await runLabBatch(labWith(auckland))).crossCheck.summary.result).toBe('exact')
    expect(figures(await checkElsewhere(shop.elsewhere))).toEqual(exact)

    await rollBack(lab.database, 1)
    expect(figures(await checkElsewhere(shop.elsewhere))).toEqual(exact)
    await resumePublishing(lab.database)
    // On rows of the old zone only a full batch can stand.
    const after = await runLabBatch(labWith(auckland))
    expect(after.batch.kind).toBe('full')
    expect(after.crossCheck.summary.result).toBe('exact')
    expect(figures(await checkElsewhere(shop.elsewhere))).toEqual(exact)
    await pruneStore(lab.database, 1, 100_000)
    expect(figures(await checkElsewhere(shop.elsewhere))).toEqual(exact)
    expect((await readPointer(lab.database.pool)).batch).toBe(after.batch.batch)
  })

  test('in a quiet shop counting waits for no query over files that are not there', async () => {
    const shop = openShop(25)
    await shop.send(40)
    await countAll()
    await runLabBatch(lab)
    const asked: string[] = []
    const { engine } = lab
    const counting: QueryEngine = {
      attach: (...args) => engine.attach(...args),
      detach: (table) => engine.detach(table),
      query: (select) => engine.query(select),
      materialize: (select, into) => (asked.push(into.split('/').at(-1)!), engine.materialize(select, into)),
      [Symbol.asyncDispose]: async () => {},
    }
    expect((await runElsewhere({ engine: counting })).crossCheck.summary.logic?.changed).toBeGreaterThan(20)
    expect(asked).toEqual(['counted_events'])
    await checkElsewhere(shop.elsewhere)
    expect((await runLabBatch(labWith(auckland), { engine: counting })).crossCheck.summary.result).toBe('exact')
    expect(asked).toHaveLength(1)
    await checkElsewhere(shop.elsewhere)
  })

  test('a crash at any step leaves the old zone: counting goes on with it, figures are exact, and the next run takes the new one into use', async () => {
    const shop = openShop(19)
    await shop.send(40)
    await countAll()
    await runLabBatch(lab)
    const points = ['batch redecode', 'batch recompute', 'batch register', 'batch switch', 'batch cross-check', 'batch combine', 'batch publish'] as const
    for (const [n, point] of points.entries()) {
      await shop.send(4)
      await countAll()
      await expect(runElsewhere({ crash: { point, manner: n % 2 === 0 ? 'kill' : 'throw' } })).rejects.toThrow()
      await checkExact(lab)
      await shop.send(2)
      // A worker that opens meets what the crash left.
      await waitUntil('the dead run to be noticed', async () => checkWorkerLogic(lab.database, lab.decoder.logicVersion).then(() => true, () => false))
      await countAll()
      await checkExact(lab)
    }
    expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
    await checkExact(lab)
    await runElsewhere()
    await checkElsewhere(shop.elsewhere)
    const { rows } = await lab.database.pool.query('SELECT 1 FROM pending_files UNION ALL SELECT 1 FROM staged_pages UNION ALL SELECT 1 FROM staged_letters')
    expect(rows).toEqual([])
  })

  test('killed between its last cut and its publication, it is found dead by the worker, which goes on', async () => {
    const shop = openShop(20)
    await shop.send(40)
    await countAll()
    const child = spawn(process.execPath, [
      fileURLToPath(new URL('../../faults/batch-child.ts', import.meta.url)),
      lab.url,
      lab.database.schema,
      await logSchemaOf(lab),
      lab.topic,
      lab.lakeRoot,
      'batch publish',
      'Pacific/Auckland',
    ])
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
    const [, signal] = (await once(child, 'exit')) as [number | null, string | null]
    expect(signal, said).toBe('SIGKILL')
    expect((await readLogic(lab.database.pool)).switchingBatch).toBe(1)
    await using _worker = new LoopWorker(lab)
    await shop.send(20)
    await expectE0(lab)
    await runElsewhere()
    await checkElsewhere(shop.elsewhere)
  })

  test('L11 two at once: one takes the zone into use, the other begins again and finds nothing to change; a worker of before ends, saying why', async () => {
    const shop = openShop(21)
    await shop.send(60)
    await countAll()
    const old = new LoopWorker(lab)
    await shop.send(20)
    const engine = await lab.secondEngine()
    const runs: [BatchOutcome, BatchOutcome] = await Promise.all([runElsewhere({ run: runBatchToPublication }), runElsewhere({ run: runBatchToPublication, engine })])
    const byBatch = runs.sort((a, b) => a.batch.batch - b.batch.batch)
    expect(byBatch.map(({ crossCheck }) => crossCheck.summary.logic !== undefined)).toEqual([true, false])
    expect(byBatch[1].crossCheck.summary.result).toBe('exact')
    await shop.send(5)
    await old.finished
    expect(old.failure).toBeInstanceOf(LogicError)
    expect(String(old.failure)).toContain('Pacific/Auckland')
    await using _worker = new LoopWorker(labWith(auckland))
    await whenCounted(lab)
    await checkElsewhere(shop.elsewhere)
  })
})

/** One sale of a price, in the currency of the shop. */
function priced(id: string, price: string): MeantAppend {
  return { partition: 0, value: Buffer.from(`${id},7,P1,Lamp,Home,1,${price},${price},2025-03-01 10:00:00,Leeds`), logTimeMs: Date.UTC(2026, 0, 15), meant: null }
}

async function lettersAndTotals(): Promise<unknown> {
  const letters = await lab.database.pool.query(`SELECT log_offset, reason, convert_from(bytes, 'UTF8') AS bytes FROM dead_letters ORDER BY log_offset`)
  const totals = await lab.database.pool.query('SELECT accepted, copies, conflicts, refused FROM committed_offsets WHERE partition = 0')
  const revenue = await lab.database.pool.query('SELECT currency, transactions, gross_minor FROM merged_revenue WHERE transactions > 0')
  return { letters: letters.rows, totals: totals.rows[0], revenue: revenue.rows }
}

test('a full run with another currency: what is accepted or refused anew is said, moves between figures and dead letters, and is known to the ledger', async () => {
  const dinar = openDecoder({ zone: 'Europe/London', currency: 'KWD' })
  const yen = openDecoder({ zone: 'Europe/London', currency: 'JPY' })
  await runLabBatch(lab)
  const records = [priced('a', '10.5'), priced('b', '10.125'), priced('c', '7')]
  await lab.append(records)
  await countAll()
  expect(await lettersAndTotals()).toMatchObject({ letters: [{ log_offset: 1n, reason: 'number-not-exact' }], totals: { accepted: 2n, refused: 1n } })
  const first = await runLabBatch(labWith(dinar), { full: true })
  expect(first.crossCheck.summary.logic).toMatchObject({ records: 3, changed: 2, acceptedAnew: 1, refusedAnew: 0, lettersRemoved: 1 })
  expect(await lettersAndTotals()).toEqual({ letters: [], totals: { accepted: 3n, copies: 0n, conflicts: 0n, refused: 0n }, revenue: [{ currency: 'KWD', transactions: 3n, gross_minor: 27_625n }] })
  // What was accepted anew is in the ledger: its copy is one.
  await lab.append([records[1]!])
  await countAll(dinar)
  expect(await lettersAndTotals()).toMatchObject({ totals: { accepted: 3n, copies: 1n } })
  const second = await runLabBatch(labWith(yen), { full: true })
  expect(second.crossCheck.summary.logic).toMatchObject({ changed: 1, refusedAnew: 3, lettersAdded: 3 })
  expect(second.crossCheck.summary.logic!.listed).toContainEqual(expect.objectContaining({ offset: 0, eventId: 'a', what: 'refused anew', reason: 'number-not-exact' }))
  const letters = [records[0]!, records[1]!, records[1]!].map(({ value }, n) => ({ log_offset: [0n, 1n, 3n][n], reason: 'number-not-exact', bytes: Buffer.from(value).toString() }))
  expect(await lettersAndTotals()).toEqual({ letters, totals: { accepted: 1n, copies: 0n, conflicts: 0n, refused: 3n }, revenue: [{ currency: 'JPY', transactions: 1n, gross_minor: 7n }] })
  // What was refused anew is in the ledger no more: its id counts where it comes again and is sound.
  await lab.append([priced('a', '10'), priced('c', '7')])
  await countAll(yen)
  const exact = await lettersAndTotals()
  expect(exact).toMatchObject({ totals: { accepted: 2n, copies: 1n, refused: 3n }, revenue: [{ currency: 'JPY', transactions: 2n, gross_minor: 17n }] })
  expect((await runLabBatch(labWith(yen))).crossCheck.summary.result).toBe('exact')
  await rollBack(lab.database, 1)
  expect(await lettersAndTotals()).toEqual(exact)
  await resumePublishing(lab.database)
  expect((await runLabBatch(labWith(yen))).batch).toMatchObject({ kind: 'full', status: 'published' })
  expect(await lettersAndTotals()).toEqual(exact)
})

test('a file that a process with other settings archived is decoded again by the next batch, and takes its place', async () => {
  const shop = openShop(24)
  await shop.send(30)
  await countAll()
  const { database, log, lake } = lab
  const archived = await archiveCommitted({ database, log, lake, codec: parquetCodec, decoder: auckland, fileOffsetsMax: 50, signal: new AbortController().signal })
  expect(archived.length).toBeGreaterThan(0)
  expect((await runLabBatch(lab)).crossCheck.summary).toMatchObject({ result: 'exact', redecoded: { filesChanged: archived.length } })
  await checkExact(lab)
  const { rows } = await lab.database.pool.query<{ logic_version: string }>('SELECT DISTINCT logic_version FROM archive_files')
  expect(rows).toEqual([{ logic_version: lab.decoder.logicVersion }])
})

test('a decoder that answers otherwise under the same version holds the batch; its files are no orphans, and take their places when a person accepts it', async () => {
  const shop = openShop(22)
  await shop.send(60)
  await countAll()
  await runLabBatch(lab)
  const before = await checkExact(lab)
  const careless = labWith({ ...auckland, logicVersion: lab.decoder.logicVersion })
  await expect(runLabBatch(careless, { full: true })).rejects.toBeInstanceOf(HeldError)
  expect(figures(await checkExact(lab))).toEqual(figures(before))
  const held = await readBatch(lab.database.pool, 2)
  const shown = batchLines({ batch: held, horizon: await readHorizon(lab.database.pool, held.epoch), isServing: false }).join('\n')
  for (const text of ['Batch 2 is held: full', 'Keys that differ', 'revenue 202', 'gross_minor ', './tidemark batch accept 2', './tidemark batch drop 2']) expect(shown).toContain(text)
  const pending = await readPendingFiles(lab.database.pool, 2)
  expect(pending.length).toBeGreaterThan(0)
  const sweep = { database: lab.database, lake: lab.lake, topics: [lab.topic], nowMs: Date.now() + 3_600_000, orphanAfterMs: 0, deleteAfterMs: 3_600_000_000 }
  await sweepOrphans(sweep)
  for (const { file } of pending) expect(await lab.lake.stat(file.path)).not.toBeNull()
  await acceptHeldBatch(lab.database, 2)
  expect((await readMerged(lab)).views).toEqual(shop.elsewhere.expect(before.n).views)
  const registered = new Set((await listFiles(lab.database.pool, 0, 10)).map((file) => file.path))
  for (const { file, replaces } of pending) expect([registered.has(file.path), registered.has(replaces)]).toEqual([true, false])
})

test('L20 a full run from the original bytes writes no file again and gives identical rows', async () => {
  const shop = openShop(23)
  await shop.send(80)
  await countAll()
  await runLabBatch(lab)
  const files = await listFiles(lab.database.pool, 0, 10)
  const before = await checkExact(lab)
  const { batch, crossCheck } = await runLabBatch(lab, { full: true })
  expect(crossCheck.summary).toMatchObject({ result: 'exact', redecoded: { files: files.length, filesChanged: 0, records: 80 } })
  expect(await listFiles(lab.database.pool, 0, 10)).toEqual(files)
  expect(figures(await checkExact(lab))).toEqual(figures(before))
  // What a person is shown of it.
  const shown = batchLines({ batch, horizon: await readHorizon(lab.database.pool, batch.epoch), isServing: true }).join('\n')
  for (const text of ['Batch 2 is published and serves: full', lab.decoder.logicVersion, `${files.length} files, `, 'redecode ', 'exact: Every key']) expect(shown).toContain(text)
})
