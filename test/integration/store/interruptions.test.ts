/** What the store does in several statements, with a flush before each of them: nothing is counted twice, and nothing is lost. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { writeIdKey } from '#core/id-key.ts'
import { Ledger } from '#core/ledger.ts'
import type { Database } from '#store/database.ts'
import { mergeSmallPages } from '#store/ledger-pages.ts'
import { mergeLiveRows } from '#store/live-rows.ts'
import { openPartitions } from '#store/partitions.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { interrupted } from '#test/lab/interrupted.ts'
import { checkExact } from '#test/lab/merged.ts'
import { sale } from '#test/lab/sale.ts'
import { StepWorker } from '#test/lab/step-worker.ts'

const sales = 40
let lab: Lab
let owner: StepWorker

beforeAll(async () => {
  lab = await openLab({ partitions: 1 })
})
beforeEach(async () => {
  await lab.clear()
  await lab.append(Array.from({ length: sales }, (_, n) => sale({ id: String(n) })))
  owner = await StepWorker.open(lab, [0])
})
afterAll(() => lab[Symbol.asyncDispose]())

async function flushOne(): Promise<void> {
  await owner.read(0, 1)
  await owner.flush()
}

/** The lab's database, where the owner of the partition flushes a record before each statement. */
function whileFlushing(): Database {
  return interrupted(lab.database, flushOne)
}

/** The ids below the offset, and no other, are known to a ledger that was just opened. */
async function expectOneMoment(database: Database): Promise<number> {
  const ledger = new Ledger(1000)
  const [opened] = await openPartitions(database, lab.topic, new Map([[0, 0]]), ledger)
  const { nextOffset } = opened!
  expect(ledger.size).toBe(nextOffset)
  const key = new Uint32Array(4)
  for (let offset = 0; offset < nextOffset; offset++) {
    writeIdKey(lab.topic, String(offset), key, 0)
    expect(ledger.count(key, 0, 0, 0, offset)).not.toBe('new')
  }
  return nextOffset
}

test('a partition is opened with the offset and the ids of one moment, whatever is flushed between its statements', async () => {
  await flushOne()
  const nextOffset = await expectOneMoment(whileFlushing())
  // The flushes did come in between.
  expect(nextOffset).toBeGreaterThan(0)
  expect(owner.position(0)).toBeGreaterThan(nextOffset)
})

test('live rows are merged without loss and without counting twice, whatever is flushed between the statements', async () => {
  for (let n = 0; n < 3; n++) await flushOne()
  for (let merges = 0; merges < 3; merges++) expect(await mergeLiveRows(whileFlushing(), { rowsMin: 1 })).toBeGreaterThan(0)
  expect(owner.position(0)).toBeGreaterThan(9)
  await checkExact(lab)
  while (owner.position(0) < sales) await flushOne()
  await checkExact(lab)
})

test('ledger pages are merged without losing an id, whatever is flushed between the statements', async () => {
  for (let n = 0; n < 3; n++) await flushOne()
  for (let merges = 0; merges < 3; merges++) expect(await mergeSmallPages(whileFlushing(), 2)).toBeGreaterThan(1)
  expect(await expectOneMoment(lab.database)).toBe(owner.position(0))
  // Every id again: all are copies, none counts.
  await lab.append(Array.from({ length: sales }, (_, n) => sale({ id: String(n) })))
  const worker = await StepWorker.open(lab, [0])
  await worker.readAll()
  await worker.flush()
  const { accounts } = await checkExact(lab)
  expect(accounts.get(0)).toMatchObject({ accepted: sales, copies: sales })
})
