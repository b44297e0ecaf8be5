/** Ids belong to a source: the same id of two sources is two events, in the ledger, in the batch and in what the cross-check holds against each other. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { checkExact } from '#test/lab/merged.ts'
import { sale } from '#test/lab/sale.ts'
import type { MeantAppend } from '#test/lab/shop-stream.ts'
import { StepWorker } from '#test/lab/step-worker.ts'

let lab: Lab

beforeAll(async () => {
  lab = await openLab({ partitions: 1 })
})
beforeEach(() => lab.clear())
afterAll(() => lab[Symbol.asyncDispose]())

/** The same sale as `sale({ id })` means, of a source that the event names. */
function imported(id: string): MeantAppend {
  const event = { eventId: id, source: 'import', userId: '7', productId: 'P1', productName: 'Product P1', category: 'Home', city: 'London', quantity: 1, unitPrice: '10.00', total: '10.00', occurredAt: '2025-03-01T10:00:00Z' }
  const plain = sale({ id })
  return { ...plain, value: Buffer.from(JSON.stringify(event)), meant: plain.meant!.map((fact) => ({ ...fact, source: 'import', fields: 'imported' })) }
}

test.each(['1', '0b54d0a4-6f02-4d5c-8a3b-0d9b3f6f1b11', 'o-77-1'])('the id %s of two sources counts twice, and each copy is one of its own source', async (id) => {
  const send = async (records: readonly MeantAppend[]): Promise<void> => {
    await lab.append(records)
    const worker = await StepWorker.open(lab, [0])
    await worker.readAll()
    await worker.flush()
  }
  await send([sale({ id }), imported(id), imported(id), sale({ id })])
  const { accounts } = await checkExact(lab)
  expect(accounts.get(0)).toMatchObject({ accepted: 2, copies: 2, conflicts: 0 })
  const first = await runLabBatch(lab)
  expect(first.crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
  // Below the horizon, too, and for an id that only one source has had there.
  await send([imported(id), sale({ id: `${id}9` })])
  expect((await runLabBatch(lab)).crossCheck.summary.result).toBe('exact')
  await send([imported(`${id}9`)])
  for (const full of [false, true]) {
    expect((await runLabBatch(lab, { full })).crossCheck.summary.result).toBe('exact')
    const merged = await checkExact(lab)
    expect([...merged.views.get('revenue')!.values()].map((sums) => sums.gross)).toEqual([4000n])
  }
})
