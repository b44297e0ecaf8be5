/** Rows of the data that every log must pass, step by step; the rows' tests give them their names and their lab. */
import { expect } from 'vitest'
import type { Lab } from '#test/lab.ts'
import { checkExact } from '#test/lab/merged.ts'
import type { MeantAppend } from '#test/lab/shop-stream.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import type { Fact } from '#test/oracle.ts'
import { logTimeMs, runBatchWith, sale } from './setup.ts'

const allPartitions = [0, 1, 2]

/** Counts everything with a new worker, as after a restart. */
export async function count(lab: Lab, ledgerIdsMax?: number): Promise<void> {
  const worker = await StepWorker.open(lab, allPartitions, ledgerIdsMax)
  await worker.readAll()
  await worker.flush()
}

export type JsonSale = Readonly<Record<string, unknown>>
export const plainJson: JsonSale = { productId: 'P1', productName: 'Lamp', category: 'Home', city: 'London', userId: '7', quantity: 1, unitPrice: '10.00', total: '10.00', currency: 'GBP' }

/** The record's bytes as they are, and the fact that the test knows. */
export function meaning(partition: number, value: string, fact: Partial<Fact> & { id: string }, at = logTimeMs): MeantAppend {
  const whole: Fact = { source: '', kind: 'sale', orderLine: 1, product: 'P1', category: 'Home', city: 'London', currency: 'GBP', quantity: 1, totalMinor: 1000n, day: '2025-03-01', hour: 10, fields: '', ...fact }
  return { partition, value: Buffer.from(value), logTimeMs: at, meant: [whole] }
}

/** The same fact in other bytes. */
const forms = [
  'c,7,P1,"Lamp","Home",1,10.00,10.00,2025-03-01 10:00:00,"London"',
  'c,7,P1,Lamp,Home,1,10.0,10,2025-03-01T10:00:00,London\n',
  JSON.stringify({ eventId: 'c', ...plainJson, occurredAt: '2025-03-01T10:00:00Z' }),
  JSON.stringify({ occurredAt: '2025-03-01T15:30:00+05:30', city: 'London', ...plainJson, total: 10, unitPrice: 10, eventId: 'c', extra: { of: ['no', 'meaning'] } }),
  ` ${JSON.stringify({ eventId: 'c', ...plainJson, userId: 7, quantity: '1', discount: '0.00', occurredAt: '2025-03-01T02:00:00.000-0800' }, null, 2)}`,
]

export async function countCopiesOnce(lab: Lab): Promise<void> {
  let sent = 0
  for (const copies of [2, 7, 20, 50]) {
    while (sent < copies) {
      await lab.append([meaning(sent % 3, forms[sent % forms.length]!, { id: 'c', fields: 'c' })])
      sent++
      // One worker holds all partitions, so all of them are within its window.
      await count(lab)
      const merged = await checkExact(lab)
      expect([...merged.accounts.values()].reduce((sum, account) => sum + account.copies, 0)).toBe(sent - 1)
      expect([...merged.views.get('revenue')!.values()].map((sums) => sums.gross)).toEqual([1000n])
    }
    const { crossCheck } = await runBatchWith(lab)
    expect(crossCheck.summary.result).toBe('exact')
    await checkExact(lab)
  }
}

export async function countFirstOfConflict(lab: Lab, first: number, second: number): Promise<void> {
  for (const [at, day] of ['2025-03-01', '2025-05-31'].entries()) {
    const id = `x-${at}`
    await lab.append([sale({ id, partition: first, unitMinor: 1000 })])
    await lab.append([sale({ id, partition: second, day, unitMinor: 700 + at, city: 'Leeds' })])
  }
  await count(lab)
  const merged = await checkExact(lab)
  const conflicts = merged.letters.filter((letter) => letter.reason === 'conflict')
  expect(conflicts).toHaveLength(2)
  const { rows } = await lab.database.pool.query(`SELECT partition, first_partition, first_offset, convert_from(bytes, 'UTF8') LIKE 'x-_,%' AS whole FROM dead_letters ORDER BY log_offset`)
  expect(rows).toEqual([0, 1].map((at) => ({ partition: second, first_partition: first, first_offset: BigInt(first === second ? at * 2 : at), whole: true })))
  expect((await runBatchWith(lab)).crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
  expect((await runBatchWith(lab, { full: true })).crossCheck.summary.result).toBe('exact')
  await checkExact(lab)
}
