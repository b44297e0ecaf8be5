/** The search follower on a real Elasticsearch: documents equal the figures, whatever happens on the way. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { SearchIndex } from '#core/ports.ts'
import { rollBack } from '#store/batches.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { plainSales, runBatchWith, sale } from '#test/faults/setup.ts'
import { testEngine, whereMissing } from '#test/engines.ts'
import { SearchLab, documentsOf, expectSameFigures, expectSameSales, openTestSearch } from '#test/lab/search.ts'

const url = testEngine('elasticsearch')

describe.skipIf(url === null)(`the search follower on Elasticsearch${whereMissing('elasticsearch')}`, () => {
  let lab: Lab
  let opened: Awaited<ReturnType<typeof openTestSearch>>
  let search: SearchIndex
  let follower: SearchLab

  beforeAll(async () => {
    lab = await openLab()
    opened = await openTestSearch(url!)
    ;({ search } = opened)
  }, 60_000)
  beforeEach(async () => {
    await lab.clear()
    follower = new SearchLab(lab, search, opened.prefix)
  })
  afterEach(async () => {
    await follower.closeSales()
  })
  afterAll(async () => {
    await opened?.[Symbol.asyncDispose]()
    await lab?.[Symbol.asyncDispose]()
  })

  async function count(): Promise<void> {
    const worker = await StepWorker.open(lab, [0, 1, 2])
    await worker.readAll()
    await worker.flush()
  }

  test('documents equal the figures: history, changes, a batch, a roll-back, and the sales', async () => {
    await lab.append(plainSales(lab, 120, 'a'))
    await count()
    await follower.followAll()
    await expectSameFigures(follower)
    await expectSameSales(follower)
    await lab.append(plainSales(lab, 60, 'b'))
    await count()
    await follower.followAll()
    await expectSameFigures(follower)
    await runBatchWith(lab)
    await follower.followAll()
    await expectSameFigures(follower)
    await lab.append([sale({ id: 'late', day: '2025-01-10' })])
    await count()
    await rollBack(lab.database)
    await follower.followAll()
    await expectSameFigures(follower)
    await expectSameSales(follower)
    expect(follower.warnings).toEqual([])
    const products = await documentsOf(search, opened.prefix, 'product_sales')
    expect(products[0]!.source['productName']).toMatch(/^Product P/)
  })
})
