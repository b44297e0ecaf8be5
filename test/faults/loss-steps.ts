/** Lost ranges, topics made anew and databases put back, step by step, on whatever log; the rows' tests give them their names. */
import { expect } from 'vitest'
import { readLakeRange } from '#batch/lake-range.ts'
import { InvalidRequestError } from '#core/errors.ts'
import type { EventLog } from '#core/ports.ts'
import type { Refill } from '#speed/refill.ts'
import { acceptLoss } from '#store/accept-loss.ts'
import { answerRevenue } from '#store/answer-revenue.ts'
import { keepIncarnation, readIncarnation } from '#store/incarnation.ts'
import type { LostRange } from '#store/losses.ts'
import { readTakenOut } from '#store/losses.ts'
import { openStoreLog } from '#store/store-log.ts'
import type { Lab } from '#test/lab.ts'
import { readMerged } from '#test/lab/merged.ts'
import { copyStore } from '#test/lab/store-copy.ts'
import { waitUntil } from '#test/wait-until.ts'
import { LoopWorker, expectE0, plainSales, runBatchWith, whenCounted } from './setup.ts'

const terms = { ledgerIdsMax: 100_000 }
const always = { fromDay: null, toDay: null }

export type LossStage = {
  readonly plain: Lab
  /** Its log is the store's: what was given up reads as empty. */
  lab: Lab
  /** Makes the log forget a partition's records below. */
  readonly forgetBelow: (topic: string, partition: number, below: number) => Promise<void>
  /** Makes the topic anew, and opens the log as another process sees it then. */
  readonly makeAnew: () => Promise<EventLog>
}

export function withLog(plain: Lab, log: EventLog): Lab {
  return Object.create(plain, { log: { value: openStoreLog(plain.database, log) } }) as Lab
}

async function forget({ plain, lab, forgetBelow }: LossStage, partition: number, below: number): Promise<void> {
  await forgetBelow(lab.topic, partition, below)
  await waitUntil('the log to forget', async () => ((await plain.log.bounds(lab.topic)).first.get(partition) ?? 0) >= below)
}

/** Events and net revenue of the whole store, by the merged views; all views must agree. */
export async function totals({ lab }: LossStage): Promise<{ events: bigint; net: bigint }> {
  const { views } = await readMerged(lab)
  const sums = [...views.values()].map((view) => {
    let events = 0n
    let net = 0n
    for (const cell of view.values()) {
      events += cell.transactions + cell.refundEvents
      net += cell.gross - cell.refunds
    }
    return { events, net }
  })
  for (const other of sums) expect(other).toEqual(sums[0])
  return sums[0]!
}

async function receipt({ lab }: LossStage) {
  return (await answerRevenue(lab.database.pool, { period: always, by: [] }, terms)).receipt
}

async function accept({ lab }: LossStage, partition: number, from: number, to: number) {
  const range: LostRange = { topic: lab.topic, partition, from, to }
  return acceptLoss(lab.database, lab.log, range, new AbortController().signal)
}

async function whenStopped(stage: LossStage, partition: number): Promise<void> {
  await waitUntil('the partition to stop', async () => (await receipt(stage)).missing.some((range) => range.partition === partition))
}

function refillOf(lab: Lab): Refill {
  return async (topic, partition, from, to) => readLakeRange({ queryable: lab.database.pool, lake: lab.lake, engine: lab.engine }, topic, partition, from, to)
}

export async function stopAtGap(stage: LossStage): Promise<void> {
  await stage.lab.append(plainSales(stage.lab, 60, 'a'))
  {
    await using _worker = new LoopWorker(stage.lab)
    await expectE0(stage.lab)
  }
  await runBatchWith(stage.lab)
  const before = await totals(stage)
  // A log forgets whole appends.
  await stage.lab.append(plainSales(stage.lab, 45, 'b'))
  await stage.lab.append(plainSales(stage.lab, 15, 'c'))
  await forget(stage, 1, 35)
  {
    await using worker = new LoopWorker(stage.lab)
    await whenStopped(stage, 1)
    expect((await receipt(stage)).complete).toBe(false)
    expect((await receipt(stage)).missing).toMatchObject([{ partition: 1, from: 20, to: 35 }])
    expect(worker.failure).toBeNull()
  }
  await expect(accept(stage, 1, 20, 36)).rejects.toBeInstanceOf(InvalidRequestError)
  await expect(accept(stage, 0, 20, 25)).rejects.toBeInstanceOf(InvalidRequestError)
  expect(await accept(stage, 1, 20, 35)).toMatchObject({ what: 'gap', from: 20, to: 35, eventsCounted: 0 })
  await using _worker = new LoopWorker(stage.lab)
  await whenCounted(stage.lab)
  expect(await receipt(stage)).toMatchObject({ complete: true, missing: [], acceptedLosses: [{ partition: 1, from: 20, to: 35, what: 'gap', eventsCounted: 0, takenOut: null }] })
  expect((await totals(stage)).events).toBe(before.events + 45n)
  const { crossCheck } = await runBatchWith(stage.lab)
  expect(crossCheck.summary.result).toBe('exact')
  expect((await totals(stage)).events).toBe(before.events + 45n)
}

export async function takeOutCounted(stage: LossStage): Promise<void> {
  await stage.lab.append(plainSales(stage.lab, 60, 'a'))
  await using _worker = new LoopWorker(stage.lab)
  await expectE0(stage.lab)
  await runBatchWith(stage.lab)
  const kept = await totals(stage)
  await stage.lab.append(plainSales(stage.lab, 60, 'b'))
  await expectE0(stage.lab)
  const all = await totals(stage)
  await forget(stage, 1, 40)
  await expect(runBatchWith(stage.lab)).rejects.toThrow(/accept-loss 1:20-40/)
  expect(await totals(stage)).toEqual(all)
  await expect(accept(stage, 1, 10, 40)).rejects.toThrow(/archived up to 20/)
  expect(await accept(stage, 1, 20, 40)).toMatchObject({ what: 'gap', eventsCounted: 20 })
  expect(await totals(stage)).toEqual(all)

  const { batch, crossCheck } = await runBatchWith(stage.lab)
  expect(crossCheck.summary).toMatchObject({ result: 'corrected', correctionsByReason: { lost: 20 } })
  const left = await totals(stage)
  expect(left.events).toBe(kept.events + 40n)
  const takenOut = (await readTakenOut(stage.lab.database.pool, batch.batch)) as Record<string, Record<string, string>>
  expect(BigInt(takenOut['GBP']!['transactions']!)).toBe(20n)
  expect(BigInt(takenOut['GBP']!['gross_minor']!)).toBe(all.net - left.net)
  expect((await receipt(stage)).acceptedLosses).toMatchObject([{ partition: 1, from: 20, to: 40, eventsCounted: 20, takenOut }])

  // Afterwards everything is as exact as ever.
  await stage.lab.append(plainSales(stage.lab, 30, 'c'))
  await whenCounted(stage.lab)
  const later = await totals(stage)
  expect((await runBatchWith(stage.lab)).crossCheck.summary.result).toBe('exact')
  expect((await runBatchWith(stage.lab, { full: true })).crossCheck.summary.result).toBe('exact')
  expect(await totals(stage)).toEqual(later)
}

export async function makeTopicAnew(stage: LossStage): Promise<void> {
  const sales = plainSales(stage.lab, 60, 'a')
  await stage.lab.append(sales)
  {
    await using _worker = new LoopWorker(stage.lab)
    await expectE0(stage.lab)
  }
  await runBatchWith(stage.lab)
  await stage.lab.append(plainSales(stage.lab, 30, 'b'))
  {
    await using _worker = new LoopWorker(stage.lab)
    await expectE0(stage.lab)
  }
  const before = await totals(stage)
  await using anew = await stage.makeAnew()
  stage.lab = withLog(stage.plain, anew)
  // The producers send again what they still have, and go on.
  const again = [...sales.slice(0, 30), ...plainSales(stage.lab, 60, 'c')]
  await anew.append(
    stage.lab.topic,
    again.map(({ value, logTimeMs }, n) => ({ key: `k${n}`, value, logTimeMs })),
  )
  const sent = [...(await anew.bounds(stage.lab.topic)).end]
  {
    await using _worker = new LoopWorker(stage.lab)
    for (const [partition] of sent) await whenStopped(stage, partition)
  }
  expect(await totals(stage)).toEqual(before)
  const { missing } = await receipt(stage)
  expect(missing.map((range) => range.partition).sort((a, b) => a - b)).toEqual([0, 1, 2])
  let lost = 0
  for (const { partition, from, to } of missing) {
    const accepted = await accept(stage, partition, from, to!)
    expect(accepted).toMatchObject({ what: 'rebuilt', from: 20, to: 30, eventsCounted: 10 })
    lost += accepted.eventsCounted
  }
  await using _worker = new LoopWorker(stage.lab)
  await waitUntil('the new topic to be counted', async () => {
    const { n } = await readMerged(stage.lab)
    return sent.every(([partition, end]) => n.get(partition) === 30 + end)
  })
  expect((await totals(stage)).events).toBe(before.events + 60n)
  const { crossCheck } = await runBatchWith(stage.lab)
  expect(crossCheck.summary.correctionsByReason).toMatchObject({ lost })
  expect((await totals(stage)).events).toBe(before.events + 60n - BigInt(lost))
  expect((await runBatchWith(stage.lab, { full: true })).crossCheck.summary.result).toBe('exact')
}

export async function putDatabaseBack(stage: LossStage): Promise<void> {
  await stage.lab.append(plainSales(stage.lab, 60, 'a'))
  {
    await using _worker = new LoopWorker(stage.lab)
    await expectE0(stage.lab)
  }
  await runBatchWith(stage.lab)
  const backup = await copyStore(stage.lab.database)
  const incarnation = await readIncarnation(stage.lab.database.pool)
  await stage.lab.append(plainSales(stage.lab, 60, 'b'))
  {
    await using _worker = new LoopWorker(stage.lab)
    await expectE0(stage.lab)
  }
  const { batch } = await runBatchWith(stage.lab)
  await backup.putBack()
  await using _worker = new LoopWorker(stage.lab)
  await expectE0(stage.lab)
  expect(await readIncarnation(stage.lab.database.pool)).toBe(incarnation)
  // The batch's number and folder were given out before: under the old name its files would be in the way.
  const again = await runBatchWith(stage.lab)
  expect(again.batch.batch).toBe(batch.batch)
  expect(again.crossCheck.summary.result).toBe('exact')
  expect(await readIncarnation(stage.lab.database.pool)).not.toBe(incarnation)
  await expectE0(stage.lab)
  const settled = await readIncarnation(stage.lab.database.pool)
  expect((await keepIncarnation(stage.lab.database, stage.lab.lake)).incarnation).toBe(settled)
  expect((await runBatchWith(stage.lab, { full: true })).crossCheck.summary.result).toBe('exact')
  await expectE0(stage.lab)
}

export async function fillFromLake(stage: LossStage): Promise<void> {
  await stage.lab.append(plainSales(stage.lab, 60, 'a'))
  {
    await using _worker = new LoopWorker(stage.lab)
    await expectE0(stage.lab)
  }
  const backup = await copyStore(stage.lab.database)
  await stage.lab.append(plainSales(stage.lab, 45, 'b'))
  await stage.lab.append(plainSales(stage.lab, 15, 'c'))
  {
    await using _worker = new LoopWorker(stage.lab)
    await expectE0(stage.lab)
  }
  await runBatchWith(stage.lab)
  const right = await totals(stage)
  for (const partition of [0, 1, 2]) await forget(stage, partition, 35)
  await backup.putBack()
  await stage.lab.append(plainSales(stage.lab, 30, 'd'))
  await using _worker = new LoopWorker(stage.lab, { refill: refillOf(stage.lab) })
  await expectE0(stage.lab)
  expect((await totals(stage)).events).toBe(right.events + 30n)
  expect((await receipt(stage)).complete).toBe(true)
  expect((await runBatchWith(stage.lab)).crossCheck.summary.result).toBe('exact')
  await expectE0(stage.lab)
}

export async function fillFromHalfALake(stage: LossStage): Promise<void> {
  await stage.lab.append(plainSales(stage.lab, 15, 'a'))
  {
    await using _worker = new LoopWorker(stage.lab)
    await expectE0(stage.lab)
  }
  const backup = await copyStore(stage.lab.database)
  await stage.lab.append(plainSales(stage.lab, 45, 'b'))
  {
    await using _worker = new LoopWorker(stage.lab)
    await expectE0(stage.lab)
  }
  await runBatchWith(stage.lab)
  for await (const { path } of stage.lab.lake.list(`${stage.lab.topic}/`)) {
    if (path.includes(`+1+0+20+`)) await stage.lab.lake.remove(path)
  }
  for (const partition of [0, 1, 2]) await forget(stage, partition, 20)
  await backup.putBack()
  await stage.lab.append(plainSales(stage.lab, 30, 'c'))
  await using _worker = new LoopWorker(stage.lab, { refill: refillOf(stage.lab) })
  await whenStopped(stage, 1)
  await waitUntil('the others to be counted', async () => {
    const { n } = await readMerged(stage.lab)
    return n.get(0) === 30 && n.get(2) === 30
  })
  expect((await readMerged(stage.lab)).n.get(1)).toBe(5)
  expect((await receipt(stage)).missing).toMatchObject([{ partition: 1, from: 5, to: 20 }])
}
