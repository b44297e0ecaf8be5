/** Rows V2 and V3 of the fault catalogue: a batch view that lost something is an error and no smaller sum; top lists come from merged sums. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { acceptHeldBatch } from '#batch/run.ts'
import { CorruptError, HeldError } from '#core/errors.ts'
import { answerPace } from '#store/answer-pace.ts'
import { answerTopProducts } from '#store/answer-products.ts'
import { answerRevenue } from '#store/answer-revenue.ts'
import { listBatches } from '#store/batches.ts'
import { recordStopped } from '#store/workers.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { checkExact } from '#test/lab/merged.ts'
import type { MeantAppend } from '#test/lab/shop-stream.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { plainSales, refund, runBatchWith, sale } from './setup.ts'

const allPartitions = [0, 1, 2]
const terms = { ledgerIdsMax: 100_000 }
const always = { fromDay: null, toDay: null }
let lab: Lab

beforeAll(async () => {
  lab = await openLab()
})
afterAll(async () => lab[Symbol.asyncDispose]())
beforeEach(async () => lab.clear())

async function count(): Promise<void> {
  const worker = await StepWorker.open(lab, allPartitions)
  await worker.readAll()
  await worker.flush()
}

describe('V2 something of the batch view is missing', () => {
  const answers = {
    revenue: () => answerRevenue(lab.database.pool, { by: ['city'], period: always }, terms),
    product_sales: () => answerTopProducts(lab.database.pool, { n: 5, by: 'units', period: always }, terms),
    product_city_sales: () => answerTopProducts(lab.database.pool, { n: 5, by: 'units', period: always, city: 'London' }, terms),
    pace: () => answerPace(lab.database.pool, { period: always }, terms),
  }
  const views = Object.keys(answers) as (keyof typeof answers)[]

  test.each(views)('V2 a month of %s: its answers are errors until a full batch is accepted, never a smaller sum', async (view) => {
    await lab.append(plainSales(lab, 60, 'a'))
    await count()
    await runBatchWith(lab)
    await lab.append(plainSales(lab, 10, 'b'))
    await count()
    const whole = await answers[view]()
    const { rows } = await lab.database.pool.query<{ version: bigint; month: string }>(
      `SELECT p.version, p.month::text AS month FROM batch_parts p JOIN publish_pointer x ON x.batch = p.batch WHERE p.view = $1 ORDER BY p.month`,
      [view],
    )
    const { version, month } = rows[1]!
    const losses = [
      [`CREATE TABLE saved AS SELECT * FROM batch_${view} WHERE version = ${version}; DELETE FROM batch_${view} WHERE version = ${version}`, `INSERT INTO batch_${view} SELECT * FROM saved; DROP TABLE saved`],
      [
        `CREATE TABLE saved AS SELECT * FROM batch_parts WHERE version = ${version} AND view = '${view}'; DELETE FROM batch_parts WHERE version = ${version} AND view = '${view}'`,
        `INSERT INTO batch_parts SELECT * FROM saved; DROP TABLE saved`,
      ],
    ] as const
    for (const [lose, restore] of losses) {
      await lab.database.pool.query(lose)
      await expect(answers[view]()).rejects.toBeInstanceOf(CorruptError)
      await lab.database.pool.query(restore)
      expect((await answers[view]()).rows).toEqual(whole.rows)
    }
    expect(month).toBe('2025-02-01')
    // For good: the archive has it all, and a person accepts that the published rows were wrong.
    await lab.database.pool.query(losses[0][0])
    const held: unknown = await runBatchWith(lab, { full: true }).catch((thrown: unknown) => thrown)
    expect(held).toBeInstanceOf(HeldError)
    await expect(answers[view]()).rejects.toBeInstanceOf(CorruptError)
    const [newest] = await listBatches(lab.database.pool, 1)
    await acceptHeldBatch(lab.database, newest!.batch)
    await lab.database.pool.query('DROP TABLE saved')
    expect((await answers[view]()).rows).toEqual(whole.rows)
    await checkExact(lab)
  })

  test('V2 the pointer names a batch that is no published one: an error', async () => {
    await lab.append(plainSales(lab, 60, 'a'))
    await count()
    await runBatchWith(lab)
    await lab.database.pool.query(`UPDATE batches SET status = 'pruned' WHERE batch = (SELECT batch FROM publish_pointer)`)
    for (const view of views) await expect(answers[view]()).rejects.toBeInstanceOf(CorruptError)
  })

  test('V2 a range that is lost: the answer says that it is not complete, and which range', async () => {
    await lab.append(plainSales(lab, 60, 'a'))
    await count()
    await recordStopped(lab.database.pool, { topic: lab.topic, partition: 1, fromOffset: 20, toOffset: 50, what: 'gap', reason: 'gone' })
    for (const view of views) {
      const { receipt } = await answers[view]()
      expect(receipt).toMatchObject({ complete: false, missing: [{ topic: lab.topic, partition: 1, from: 20, to: 50 }] })
    }
  })
})

describe('V3 the top five', () => {
  /** So many units of a product on the first of March. */
  function units(id: string, product: string, quantity: number, unitMinor = 1000, city = 'London'): MeantAppend {
    return sale({ id, product, quantity, unitMinor, city })
  }

  async function top(city?: string): Promise<string[]> {
    const { rows } = await answerTopProducts(lab.database.pool, { n: 5, by: 'units', period: always, ...(city !== undefined && { city }) }, terms)
    expect(rows.map((row) => row.rank)).toEqual(rows.map((_row, n) => n + 1))
    return rows.map((row) => `${row.productId} ${row.unitsSold} ${row.netMinor}`)
  }

  test('V3 a product that is sixth in both layers is first of the merged list', async () => {
    const early = ['A', 'B', 'C', 'D', 'E'].map((product, n) => units(`e-${product}`, product, 20 + n))
    const late = ['V', 'W', 'X', 'Y', 'Z'].map((product, n) => units(`l-${product}`, product, 20 + n))
    await lab.append([...early, units('e-six', 'six', 15)])
    await count()
    await runBatchWith(lab)
    expect(await top()).not.toContain('six 15 15000')
    await lab.append([...late, units('l-six', 'six', 15)])
    await count()
    await checkExact(lab)
    expect(await top()).toEqual(['six 30 30000', 'E 24 24000', 'Z 24 24000', 'D 23 23000', 'Y 23 23000'])
    expect(await top('London')).toEqual(await top())
    await runBatchWith(lab)
    expect(await top()).toEqual(['six 30 30000', 'E 24 24000', 'Z 24 24000', 'D 23 23000', 'Y 23 23000'])
  })

  test('V3 a tie at rank 5 goes by net revenue, then by the id’s bytes, in both layers alike', async () => {
    await lab.append([
      ...['A', 'B', 'C', 'D'].map((product) => units(product, product, 50)),
      // Ten units each: 'rich' has the most net; of the others the bytes decide, capitals before small letters, '10' before '9', 'Z' before 'é'.
      units('t1', 'rich', 10, 1001),
      units('t2', '9', 10),
      units('t3', '10', 10),
      units('t4', 'é', 10),
      units('t5', 'z', 10),
    ])
    await count()
    expect(await top()).toEqual(['A 50 50000', 'B 50 50000', 'C 50 50000', 'D 50 50000', 'rich 10 10010'])
    await lab.append([refund({ id: 'back', refundOf: 't1', product: 'rich', quantity: 1, totalMinor: 2000 })])
    await count()
    // A refund lowers net and not units sold.
    expect((await top())[4]).toBe('10 10 10000')
    await runBatchWith(lab)
    expect((await top())[4]).toBe('10 10 10000')
    const { rows } = await answerTopProducts(lab.database.pool, { n: 9, by: 'units', period: always }, terms)
    expect(rows.slice(4).map((row) => row.productId)).toEqual(['10', '9', 'z', 'é', 'rich'])
    await checkExact(lab)
  })

  test('V3 refunds above sales: net is negative and said so, in whatever layer each stands', async () => {
    await lab.append([units('s', 'P', 2, 1000), units('o', 'O', 1, 10)])
    await count()
    await runBatchWith(lab)
    await lab.append([refund({ id: 'r', refundOf: 's', product: 'P', quantity: 2, totalMinor: 2500 })])
    await count()
    for (const batch of [false, true]) {
      if (batch) await runBatchWith(lab)
      expect(await top()).toEqual(['P 2 -500', 'O 1 10'])
      const { rows } = await answerTopProducts(lab.database.pool, { n: 5, by: 'net', period: always }, terms)
      expect(rows.map((row) => [row.productId, row.net, row.refunds])).toEqual([
        ['O', '0.10', '0.00'],
        ['P', '-5.00', '25.00'],
      ])
      await checkExact(lab)
    }
  })
})
