/** Topics that are made anew at bad moments, and losses beside other faults: what a review found, each as it was. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { acceptLoss } from '#store/accept-loss.ts'
import type { EventLog } from '#core/ports.ts'
import { HeldError, InvalidRequestError, LossError } from '#core/errors.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'
import { answerRevenue } from '#store/answer-revenue.ts'
import type { AcceptedLoss } from '#store/losses.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { readMerged } from '#test/lab/merged.ts'
import { waitUntil } from '#test/wait-until.ts'
import type { LossStage } from './loss-steps.ts'
import { totals, withLog } from './loss-steps.ts'
import { LoopWorker, expectE0, logSchemaOf, plainSales, runBatchWith } from './setup.ts'

type Sales = ReturnType<typeof plainSales>

const partitions = [0, 1, 2]
let plain: Lab
let lab: Lab

beforeAll(async () => {
  plain = await openLab()
})
afterAll(() => plain[Symbol.asyncDispose]())
beforeEach(async () => {
  await plain.clear()
  lab = withLog(plain, plain.log)
})

/** The topic as another process sees it once it was deleted and made again. */
async function makeAnew(): Promise<EventLog> {
  const schema = await logSchemaOf(plain)
  await plain.database.pool.query(`UPDATE ${schema}.topics SET name = name || '-' || random() WHERE name = $1`, [plain.topic])
  const log = await openPostgresLog({ connectionString: plain.url, schema, pollIntervalMs: 5 })
  await log.create(plain.topic, plain.partitions)
  lab = withLog(plain, log)
  return log
}

async function receipt() {
  return (await answerRevenue(lab.database.pool, { period: { fromDay: null, toDay: null }, by: [] }, { ledgerIdsMax: 100_000 })).receipt
}

async function count(sales: Sales): Promise<void> {
  await lab.append(sales)
  await using _worker = new LoopWorker(lab)
  await expectE0(lab)
}

async function send(log: EventLog, sales: Sales): Promise<void> {
  await log.append(lab.topic, sales.map(({ value, logTimeMs }, n) => ({ key: `k${n}`, value, logTimeMs })))
}

async function whenAllStopped(): Promise<void> {
  await using _worker = new LoopWorker(lab)
  for (const partition of partitions) await waitUntil('the partition to stop', async () => (await receipt()).missing.some((range) => range.partition === partition))
}

async function accept(partition: number, from: number, to: number): Promise<AcceptedLoss> {
  return acceptLoss(lab.database, lab.log, { topic: lab.topic, partition, from, to }, new AbortController().signal)
}

async function acceptAll(): Promise<AcceptedLoss[]> {
  const accepted: AcceptedLoss[] = []
  for (const { partition, from, to } of (await receipt()).missing) accepted.push(await accept(partition, from, to!))
  return accepted
}

/** Counts the new topic, whose offsets go on at `base`. */
async function countAnew(log: EventLog, base: number): Promise<void> {
  const { end } = await log.bounds(lab.topic)
  await using _worker = new LoopWorker(lab)
  await waitUntil('the new topic to be counted', async () => {
    const { n } = await readMerged(lab)
    return [...end].every(([partition, offset]) => n.get(partition) === base + offset)
  })
}

async function registered(): Promise<number> {
  const { rows } = await lab.database.pool.query<{ files: bigint }>('SELECT count(*) AS files FROM archive_files')
  return Number(rows[0]!.files)
}

test('a batch archives no record of the new topic for one of the old, and what it could not archive is taken out once that is given up', async () => {
  await count(plainSales(lab, 60, 'a'))
  await using anew = await makeAnew()
  await send(anew, plainSales(lab, 300, 'c'))
  await whenAllStopped()
  await expect(runBatchWith(lab)).rejects.toBeInstanceOf(LossError)
  expect(await registered()).toBe(0)
  expect((await acceptAll()).map(({ eventsCounted }) => eventsCounted)).toEqual([20, 20, 20])
  await countAnew(anew, 20)
  expect((await totals({ lab } as LossStage)).events).toBe(360n)
  expect((await runBatchWith(lab)).crossCheck.summary.correctionsByReason).toEqual({ lost: 60 })
  expect((await runBatchWith(lab, { full: true })).crossCheck.summary.result).toBe('exact')
  expect((await totals({ lab } as LossStage)).events).toBe(300n)
})

test('a batch does not wait for offsets that a shorter topic may never reach, and its advice can be taken', async () => {
  await count(plainSales(lab, 60, 'a'))
  await using anew = await makeAnew()
  await send(anew, plainSales(lab, 9, 'c'))
  const failure: unknown = await runBatchWith(lab, { signal: AbortSignal.timeout(15_000) }).catch((thrown: unknown) => thrown)
  expect(failure).toBeInstanceOf(LossError)
  const [, partition, from, to] = /accept-loss (\d+):(\d+)-(\d+)/.exec((failure as LossError).message)!
  expect(await accept(Number(partition), Number(from), Number(to))).toMatchObject({ what: 'rebuilt', eventsCounted: 20 })
})

test('events that their producers send again after the loss are put back, and nothing is held', async () => {
  await count(plainSales(lab, 60, 'a'))
  await runBatchWith(lab)
  const lost = plainSales(lab, 30, 'b')
  await count(lost)
  await using anew = await makeAnew()
  await send(anew, [...lost, ...plainSales(lab, 60, 'c')])
  await whenAllStopped()
  await acceptAll()
  await countAnew(anew, 30)
  const before = await totals({ lab } as LossStage)
  expect(before.events).toBe(150n)
  expect((await runBatchWith(lab)).crossCheck.summary).toMatchObject({ result: 'corrected' })
  expect(await totals({ lab } as LossStage)).toEqual(before)
  for (const { takenOut } of (await receipt()).acceptedLosses) expect(takenOut).toMatchObject({ GBP: { transactions: '0', gross_minor: '0' } })
  expect((await runBatchWith(lab, { full: true })).crossCheck.summary.result).toBe('exact')
  expect(await totals({ lab } as LossStage)).toEqual(before)
})

test('made anew twice with no batch in between: both are given up, and no event is taken out twice', async () => {
  await count(plainSales(lab, 60, 'a'))
  await using one = await makeAnew()
  await send(one, plainSales(lab, 30, 'c'))
  await whenAllStopped()
  await acceptAll()
  await countAnew(one, 20)
  await using two = await makeAnew()
  await send(two, plainSales(lab, 3, 'd'))
  await whenAllStopped()
  const second = await acceptAll()
  expect(second.map(({ from }) => from)).toEqual([20, 20, 20])
  expect(second.reduce((sum, { eventsCounted }) => sum + eventsCounted, 0)).toBe(30)
  expect((await runBatchWith(lab)).crossCheck.summary.correctionsByReason).toEqual({ lost: 90 })
  expect((await totals({ lab } as LossStage)).events).toBe(0n)
})

test('a topic made anew is named in every receipt, also where all that was counted of it is archived', async () => {
  await count(plainSales(lab, 60, 'a'))
  await runBatchWith(lab)
  await lab.append(plainSales(lab, 30, 'unread'))
  await using anew = await makeAnew()
  await send(anew, plainSales(lab, 9, 'c'))
  await whenAllStopped()
  await acceptAll()
  expect((await receipt()).acceptedLosses).toMatchObject(partitions.map((partition) => ({ partition, from: 20, to: 20, what: 'rebuilt', eventsCounted: 0 })))
})

test('a topic that was put back meanwhile is not given up', async () => {
  await count(plainSales(lab, 60, 'a'))
  {
    await using _anew = await makeAnew()
    await whenAllStopped()
  }
  const missing = (await receipt()).missing
  lab = withLog(plain, plain.log)
  const schema = await logSchemaOf(plain)
  await plain.database.pool.query(`UPDATE ${schema}.topics SET name = name || '-gone' WHERE name = $1`, [plain.topic])
  await plain.database.pool.query(`UPDATE ${schema}.topics SET name = $1 WHERE name LIKE $1 || '-0.%'`, [plain.topic])
  for (const { partition, from, to } of missing) await expect(accept(partition, from, to!)).rejects.toBeInstanceOf(InvalidRequestError)
})

test('a loss explains the ids that it held, and no other difference beside them', async () => {
  await count(plainSales(lab, 60, 'a'))
  await runBatchWith(lab)
  await count(plainSales(lab, 60, 'b'))
  await plain.log.prune(lab.topic, new Map([[1, 40]]), Date.now() + 3_600_000)
  await accept(1, 20, 40)
  const { epoch } = (await lab.database.pool.query<{ epoch: bigint }>('SELECT epoch FROM lake_state')).rows[0]!
  await lab.database.pool.query(`UPDATE live_counts SET hash_hi_sum = hash_hi_sum + 777 WHERE epoch = $1 AND partition = 1`, [epoch])
  await expect(runBatchWith(lab)).rejects.toBeInstanceOf(HeldError)
  await lab.database.pool.query(`UPDATE live_counts SET hash_hi_sum = hash_hi_sum - 777 WHERE epoch = $1 AND partition = 1`, [epoch])
  // Leeds has the lost ones; London has none.
  const cell = `(SELECT ctid FROM live_revenue WHERE epoch = ${epoch} AND city = 'London' LIMIT 1)`
  await lab.database.pool.query(`UPDATE live_revenue SET gross_minor = gross_minor + 123456 WHERE ctid = ${cell}`)
  await expect(runBatchWith(lab)).rejects.toBeInstanceOf(HeldError)
  await lab.database.pool.query(`UPDATE live_revenue SET gross_minor = gross_minor - 123456 WHERE epoch = ${epoch} AND city = 'London' AND gross_minor >= 123456`)
  expect((await runBatchWith(lab)).crossCheck.summary.correctionsByReason).toEqual({ lost: 20 })
})

test('an event that is sent again after a batch has taken it out counts again with the next, and nothing is held', async () => {
  await count(plainSales(lab, 60, 'a'))
  await runBatchWith(lab)
  const lost = plainSales(lab, 60, 'b')
  await count(lost)
  await plain.log.prune(lab.topic, new Map([[1, 40]]), Date.now() + 3_600_000)
  await accept(1, 20, 40)
  await runBatchWith(lab)
  expect((await totals({ lab } as LossStage)).events).toBe(100n)
  // To another partition, where nothing of it is known.
  const again = lost.find(({ partition }) => partition === 1)!
  await lab.append([{ ...again, partition: 2 }])
  {
    await using _worker = new LoopWorker(lab)
    await waitUntil('it to be read', async () => (await readMerged(lab)).n.get(2) === 41)
  }
  expect((await runBatchWith(lab)).crossCheck.summary.result).toMatch(/exact|corrected/)
  expect((await totals({ lab } as LossStage)).events).toBe(101n)
  expect((await runBatchWith(lab, { full: true })).crossCheck.summary.result).toBe('exact')
  expect((await totals({ lab } as LossStage)).events).toBe(101n)
})
