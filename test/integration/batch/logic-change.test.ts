/** New logic over all of history: `batch run --full` with other settings, beside live traffic. The oracle knows both zones by itself. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openDecoder } from '#core/decode.ts'
import type { Decoder } from '#core/decode.ts'
import { LogicError, SwitchingError } from '#core/errors.ts'
import type { BatchOptions, BatchOutcome } from '#batch/run.ts'
import { readPointer, resumePublishing, rollBack } from '#store/batches.ts'
import { readLogic } from '#store/logic.ts'
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
})
