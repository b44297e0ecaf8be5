/** When appended live rows are worth a merge. That merging keeps every figure is shown by interruptions.test.ts and the model runs. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { run } from '#store/database.ts'
import { MergeYields, mergeLiveRows } from '#store/live-rows.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { checkExact } from '#test/lab/merged.ts'
import { sale } from '#test/lab/sale.ts'
import { StepWorker } from '#test/lab/step-worker.ts'

const salesPerFlush = 20
let lab: Lab
let worker: StepWorker
let sold: number
let yields: MergeYields

beforeAll(async () => {
  lab = await openLab({ partitions: 1 })
})
beforeEach(async () => {
  await lab.clear()
  worker = await StepWorker.open(lab, [0])
  sold = 0
  yields = new MergeYields()
})
afterAll(async () => lab[Symbol.asyncDispose]())

/** A flush of sales on one day, each of the product that `productOf` gives it, and then whatever merges are worth it. Resolves to the flushes whose rows of product_sales wait. */
async function flushAndMerge(productOf: (n: number) => string): Promise<number> {
  await lab.append(Array.from({ length: salesPerFlush }, () => sale({ id: String(sold), product: productOf(sold++) })))
  await worker.readAll()
  await worker.flush()
  while ((await mergeLiveRows(lab.database, { yields, rowsMin: 2 })) > 0);
  const [waiting] = await run<{ runs: bigint }>(lab.database.pool, `SELECT count(*) AS runs FROM live_runs WHERE view = 'product_sales' AND NOT merged`)
  return Number(waiting!.runs)
}

async function flushes(count: number, productOf: (n: number) => string): Promise<number[]> {
  const waiting: number[] = []
  for (let flush = 0; flush < count; flush++) waiting.push(await flushAndMerge(productOf))
  return waiting
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i)
}

const fewKeys = (n: number): string => `P${n % salesPerFlush}`
const newKeys = (n: number): string => `P${n}`

test('rows of the same keys are merged at every second flush once it is seen to pay', async () => {
  expect(await flushes(13, fewKeys)).toEqual([...range(1, 8), 0, 1, 0, 1, 0])
  expect(yields.of('product_sales')).toBeGreaterThan(0.7)
  await checkExact(lab)
})

test('rows that have no key in common are merged ever less often', async () => {
  expect(await flushes(46, newKeys)).toEqual([...range(1, 8), 0, ...range(1, 35), 0, 1])
  expect(yields.of('product_sales')).toBe(1 / 32)
  await checkExact(lab)
})

test('they are merged again as soon as merging pays', async () => {
  await flushes(9, newKeys)
  expect(await flushes(46, fewKeys)).toEqual([...range(1, 35), 0, ...range(1, 4), 0, 1, 2, 0, 1, 2])
  expect(yields.of('product_sales')).toBeGreaterThan(0.8)
  await checkExact(lab)
})

/** Flushes of the first of March, as if they had appended so many rows each. */
async function claimRuns(rows: readonly number[]): Promise<void> {
  await run(lab.database.pool, `INSERT INTO live_runs (view, epoch, period, rows, merged) SELECT 'product_sales', epoch, DATE '2025-03-01', r, false FROM lake_state, unnest($1::int[]) AS r`, [rows])
}

test('a million rows are merged however little it saved, and no statement is given more than three', async () => {
  yields = new MergeYields(1 / 64)
  await claimRuns([500_000, 499_999])
  expect(await mergeLiveRows(lab.database, { yields })).toBe(0)
  await claimRuns([1])
  expect(await mergeLiveRows(lab.database, { yields })).toBeGreaterThan(0)
  await claimRuns([2_999_999, 2])
  expect(await mergeLiveRows(lab.database, { yields })).toBe(0)
})
