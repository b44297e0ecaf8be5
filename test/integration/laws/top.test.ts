/** I6: the top five of a period come from merged full sums. Two lists of five never merge, and here is the shop that shows it. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { checkExact } from '#test/lab/merged.ts'
import { sale } from '#test/lab/sale.ts'
import { StepWorker } from '#test/lab/step-worker.ts'

let lab: Lab

beforeAll(async () => {
  lab = await openLab()
})
afterAll(() => lab[Symbol.asyncDispose]())

let ids = 0

async function sell(units: Readonly<Record<string, number>>): Promise<void> {
  await lab.append(Object.entries(units).map(([product, quantity]) => sale({ id: String(++ids), product, quantity })))
  const worker = await StepWorker.open(lab, [0, 1, 2])
  await worker.readAll()
  await worker.flush()
}

async function top(): Promise<string[]> {
  return (await checkExact(lab)).top.map(({ product }) => product)
}

test('a product that is sixth in both views is first of all', async () => {
  await lab.clear()
  await sell({ A: 10, B: 10, C: 10, D: 10, E: 10, sixth: 9 })
  expect(await top()).toEqual(['A', 'B', 'C', 'D', 'E'])
  await runLabBatch(lab)
  await sell({ F: 10, G: 10, H: 10, I: 10, J: 10, sixth: 9 })
  // Neither view's own five has it: no merge of the two lists could find it.
  expect(await top()).toEqual(['sixth', 'A', 'B', 'C', 'D'])
  await runLabBatch(lab)
  expect(await top()).toEqual(['sixth', 'A', 'B', 'C', 'D'])
})

test('ties stand in the order of net revenue, then of product ids bytewise', async () => {
  await lab.clear()
  ids = 0
  await lab.append([
    sale({ id: 'a', product: 'b', quantity: 2, unitMinor: 100n }),
    sale({ id: 'b', product: 'B', quantity: 2, unitMinor: 100n }),
    sale({ id: 'c', product: 'é', quantity: 2, unitMinor: 100n }),
    sale({ id: 'd', product: 'dear', quantity: 2, unitMinor: 101n }),
    sale({ id: 'e', product: 'z', quantity: 2, unitMinor: 100n }),
    sale({ id: 'f', product: '10', quantity: 2, unitMinor: 100n }),
  ])
  const worker = await StepWorker.open(lab, [0])
  await worker.readAll()
  await worker.flush()
  expect(await top()).toEqual(['dear', '10', 'B', 'b', 'z'])
})
