/** Rows S9 and S14 to S16 of the fault catalogue: ranges of the log that are gone, topics that were made anew, a database that was put back. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { readLakeRange } from '#batch/lake-range.ts'
import { InvalidRequestError } from '#core/errors.ts'
import type { EventLog } from '#core/ports.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'
import { answerRevenue } from '#store/answer-revenue.ts'
import { keepIncarnation, readIncarnation } from '#store/incarnation.ts'
import type { LostRange } from '#store/losses.ts'
import { acceptLoss, readTakenOut } from '#store/losses.ts'
import { openStoreLog } from '#store/store-log.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { readMerged } from '#test/lab/merged.ts'
import { copyStore } from '#test/lab/store-copy.ts'
import { waitUntil } from '#test/wait-until.ts'
import { LoopWorker, expectE0, logSchemaOf, plainSales, runBatchWith, whenCounted } from './setup.ts'

const terms = { ledgerIdsMax: 100_000 }
const always = { fromDay: null, toDay: null }
let plain: Lab
/** Its log is the store's: what was given up reads as empty. */
let lab: Lab

beforeAll(async () => {
  plain = await openLab()
})
afterAll(() => plain[Symbol.asyncDispose]())
beforeEach(async () => {
  await plain.clear()
  lab = Object.create(plain, { log: { value: openStoreLog(plain.database, plain.log) } }) as Lab
})

async function forget(partition: number, below: number): Promise<void> {
  await plain.log.prune(lab.topic, new Map([[partition, below]]), Date.now() + 3_600_000)
  await waitUntil('the log to forget', async () => ((await plain.log.bounds(lab.topic)).first.get(partition) ?? 0) >= below)
}

/** Events and net revenue of the whole store, by the merged views; all views must agree. */
async function totals(): Promise<{ events: bigint; net: bigint }> {
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

async function receipt() {
  return (await answerRevenue(lab.database.pool, { period: always, by: [] }, terms)).receipt
}

async function accept(partition: number, from: number, to: number) {
  const range: LostRange = { topic: lab.topic, partition, from, to }
  return acceptLoss(lab.database, range, await lab.log.bounds(lab.topic))
}

async function whenStopped(partition: number): Promise<void> {
  await waitUntil('the partition to stop', async () => (await receipt()).missing.some((range) => range.partition === partition))
}

describe('S15 retention passes what was never counted nor archived', () => {
  test('the partition stops, answers name the range, and giving it up lets it go on', async () => {
    await lab.append(plainSales(lab, 60, 'a'))
    {
      await using _worker = new LoopWorker(lab)
      await expectE0(lab)
    }
    await runBatchWith(lab)
    const before = await totals()
    // A log forgets whole appends.
    await lab.append(plainSales(lab, 45, 'b'))
    await lab.append(plainSales(lab, 15, 'c'))
    await forget(1, 35)
    {
      await using worker = new LoopWorker(lab)
      await whenStopped(1)
      expect((await receipt()).complete).toBe(false)
      expect((await receipt()).missing).toMatchObject([{ partition: 1, from: 20, to: 35 }])
      expect(worker.failure).toBeNull()
    }
    await expect(accept(1, 20, 36)).rejects.toBeInstanceOf(InvalidRequestError)
    await expect(accept(0, 20, 25)).rejects.toBeInstanceOf(InvalidRequestError)
    expect(await accept(1, 20, 35)).toMatchObject({ what: 'gap', from: 20, to: 35, eventsCounted: 0 })
    await using _worker = new LoopWorker(lab)
    await whenCounted(lab)
    expect(await receipt()).toMatchObject({ complete: true, missing: [], acceptedLosses: [{ partition: 1, from: 20, to: 35, what: 'gap', eventsCounted: 0, takenOut: null }] })
    expect((await totals()).events).toBe(before.events + 45n)
    const { crossCheck } = await runBatchWith(lab)
    expect(crossCheck.summary.result).toBe('exact')
    expect((await totals()).events).toBe(before.events + 45n)
  })

  test('what had been counted and not archived is taken out by the next batch, to the penny', async () => {
    await lab.append(plainSales(lab, 60, 'a'))
    await using _worker = new LoopWorker(lab)
    await expectE0(lab)
    await runBatchWith(lab)
    const kept = await totals()
    await lab.append(plainSales(lab, 60, 'b'))
    await expectE0(lab)
    const all = await totals()
    await forget(1, 40)
    await expect(runBatchWith(lab)).rejects.toThrow(/accept-loss 1:20-40/)
    expect(await totals()).toEqual(all)
    await expect(accept(1, 10, 40)).rejects.toThrow(/archived up to 20/)
    expect(await accept(1, 20, 40)).toMatchObject({ what: 'gap', eventsCounted: 20 })
    expect(await totals()).toEqual(all)

    const { batch, crossCheck } = await runBatchWith(lab)
    expect(crossCheck.summary).toMatchObject({ result: 'corrected', correctionsByReason: { lost: 20 } })
    const left = await totals()
    expect(left.events).toBe(kept.events + 40n)
    const takenOut = (await readTakenOut(lab.database.pool, batch.batch)) as Record<string, Record<string, string>>
    expect(BigInt(takenOut['GBP']!['transactions']!)).toBe(20n)
    expect(BigInt(takenOut['GBP']!['gross_minor']!)).toBe(all.net - left.net)
    expect((await receipt()).acceptedLosses).toMatchObject([{ partition: 1, from: 20, to: 40, eventsCounted: 20, takenOut }])

    // Afterwards everything is as exact as ever.
    await lab.append(plainSales(lab, 30, 'c'))
    await whenCounted(lab)
    const later = await totals()
    expect((await runBatchWith(lab)).crossCheck.summary.result).toBe('exact')
    expect((await runBatchWith(lab, { full: true })).crossCheck.summary.result).toBe('exact')
    expect(await totals()).toEqual(later)
  })
})

describe('S16 the topic is made anew', () => {
  /** As another process sees the log then: adapters know topics by their number. */
  async function makeAnew(): Promise<EventLog> {
    const schema = await logSchemaOf(lab)
    await lab.database.pool.query(`UPDATE ${schema}.topics SET name = name || '-before' WHERE name = $1`, [lab.topic])
    const log = await openPostgresLog({ connectionString: lab.url, schema, pollIntervalMs: 5 })
    await log.create(lab.topic, lab.partitions)
    return log
  }

  test('nothing is added or taken until it is given up; then the new one is counted from its beginning, and copies in it are copies', async () => {
    const sales = plainSales(lab, 60, 'a')
    await lab.append(sales)
    {
      await using _worker = new LoopWorker(lab)
      await expectE0(lab)
    }
    await runBatchWith(lab)
    await lab.append(plainSales(lab, 30, 'b'))
    {
      await using _worker = new LoopWorker(lab)
      await expectE0(lab)
    }
    const before = await totals()
    await using anew = await makeAnew()
    lab = Object.create(plain, { log: { value: openStoreLog(plain.database, anew) } }) as Lab
    // The producers send again what they still have, and go on.
    const again = [...sales.slice(0, 30), ...plainSales(lab, 60, 'c')]
    await anew.append(
      lab.topic,
      again.map(({ value, logTimeMs }, n) => ({ key: `k${n}`, value, logTimeMs })),
    )
    const sent = [...(await anew.bounds(lab.topic)).end]
    {
      await using _worker = new LoopWorker(lab)
      for (const [partition] of sent) await whenStopped(partition)
    }
    expect(await totals()).toEqual(before)
    const { missing } = await receipt()
    expect(missing.map((range) => range.partition).sort()).toEqual([0, 1, 2])
    let lost = 0
    for (const { partition, from, to } of missing) {
      const accepted = await accept(partition, from, to!)
      expect(accepted).toMatchObject({ what: 'rebuilt', from: 20, to: 30, eventsCounted: 10 })
      lost += accepted.eventsCounted
    }
    await using _worker = new LoopWorker(lab)
    await waitUntil('the new topic to be counted', async () => {
      const { n } = await readMerged(lab)
      return sent.every(([partition, end]) => n.get(partition) === 30 + end)
    })
    expect((await totals()).events).toBe(before.events + 60n)
    const { crossCheck } = await runBatchWith(lab)
    expect(crossCheck.summary.correctionsByReason).toMatchObject({ lost })
    expect((await totals()).events).toBe(before.events + 60n - BigInt(lost))
    expect((await runBatchWith(lab, { full: true })).crossCheck.summary.result).toBe('exact')
  })
})

describe('a database that was put back', () => {
  const refill = async (topic: string, partition: number, from: number, to: number) =>
    readLakeRange({ queryable: lab.database.pool, lake: lab.lake, engine: lab.engine }, topic, partition, from, to)

  test('S9 an hour ago, while the log and the lake went on: figures go back with their positions, and all is right again by itself', async () => {
    await lab.append(plainSales(lab, 60, 'a'))
    {
      await using _worker = new LoopWorker(lab)
      await expectE0(lab)
    }
    await runBatchWith(lab)
    const backup = await copyStore(lab.database)
    const incarnation = await readIncarnation(lab.database.pool)
    await lab.append(plainSales(lab, 60, 'b'))
    {
      await using _worker = new LoopWorker(lab)
      await expectE0(lab)
    }
    const { batch } = await runBatchWith(lab)
    await backup.putBack()
    await using _worker = new LoopWorker(lab)
    await expectE0(lab)
    expect(await readIncarnation(lab.database.pool)).toBe(incarnation)
    // The batch's number and folder were given out before: under the old name its files would be in the way.
    const again = await runBatchWith(lab)
    expect(again.batch.batch).toBe(batch.batch)
    expect(again.crossCheck.summary.result).toBe('exact')
    expect(await readIncarnation(lab.database.pool)).not.toBe(incarnation)
    await expectE0(lab)
    const settled = await readIncarnation(lab.database.pool)
    expect((await keepIncarnation(lab.database, lab.lake)).incarnation).toBe(settled)
    expect((await runBatchWith(lab, { full: true })).crossCheck.summary.result).toBe('exact')
    await expectE0(lab)
  })

  test('S14 the log has forgotten what it counted since, and the lake has it: it is filled from there', async () => {
    await lab.append(plainSales(lab, 60, 'a'))
    {
      await using _worker = new LoopWorker(lab)
      await expectE0(lab)
    }
    const backup = await copyStore(lab.database)
    await lab.append(plainSales(lab, 45, 'b'))
    await lab.append(plainSales(lab, 15, 'c'))
    {
      await using _worker = new LoopWorker(lab)
      await expectE0(lab)
    }
    await runBatchWith(lab)
    const right = await totals()
    for (const partition of [0, 1, 2]) await forget(partition, 35)
    await backup.putBack()
    await lab.append(plainSales(lab, 30, 'd'))
    await using _worker = new LoopWorker(lab, { refill })
    await expectE0(lab)
    expect((await totals()).events).toBe(right.events + 30n)
    expect((await receipt()).complete).toBe(true)
    expect((await runBatchWith(lab)).crossCheck.summary.result).toBe('exact')
    await expectE0(lab)
  })

  test('S14 the lake has only a part of it: the partition stops rather than leave a hole', async () => {
    await lab.append(plainSales(lab, 15, 'a'))
    {
      await using _worker = new LoopWorker(lab)
      await expectE0(lab)
    }
    const backup = await copyStore(lab.database)
    await lab.append(plainSales(lab, 45, 'b'))
    {
      await using _worker = new LoopWorker(lab)
      await expectE0(lab)
    }
    await runBatchWith(lab)
    for await (const { path } of lab.lake.list(`${lab.topic}/`)) {
      if (path.includes(`+1+0+20+`)) await lab.lake.remove(path)
    }
    for (const partition of [0, 1, 2]) await forget(partition, 20)
    await backup.putBack()
    await lab.append(plainSales(lab, 30, 'c'))
    await using _worker = new LoopWorker(lab, { refill })
    await whenStopped(1)
    await waitUntil('the others to be counted', async () => {
      const { n } = await readMerged(lab)
      return n.get(0) === 30 && n.get(2) === 30
    })
    expect((await readMerged(lab)).n.get(1)).toBe(5)
    expect((await receipt()).missing).toMatchObject([{ partition: 1, from: 5, to: 20 }])
  })

  test('a mark of another process in between is no sign of a database that was put back', async () => {
    const before = await readIncarnation(lab.database.pool)
    await Promise.all(Array.from({ length: 8 }, () => keepIncarnation(lab.database, lab.lake)))
    expect(await readIncarnation(lab.database.pool)).toBe(before)
  })
})
