/** Row D10 of the fault catalogue: producers change their schema, and old and new records share batches, months and partitions. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { checkExact } from '#test/lab/merged.ts'
import type { MeantAppend } from '#test/lab/shop-stream.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import type { Fact, MeantRecord } from '#test/oracle.ts'
import { logTimeMs, sale } from './setup.ts'

let lab: Lab

beforeAll(async () => {
  lab = await openLab()
})
afterAll(async () => lab[Symbol.asyncDispose]())
beforeEach(async () => lab.clear())

type Schema = { readonly name: string; readonly record: (id: string) => Readonly<Record<string, unknown>>; readonly fact: Partial<Fact> | null }

const first = (id: string): Record<string, unknown> => ({
  eventId: id,
  userId: 7,
  productId: 'P1',
  productName: 'Product P1',
  category: 'Home',
  city: 'London',
  quantity: 1,
  unitPrice: '10.00',
  total: '10.00',
  occurredAt: '2025-03-01T10:00:00',
})

function without(record: Readonly<Record<string, unknown>>, name: string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([key]) => key !== name))
}

/** What a second version may look like, and what it means to readers of today: the same sale, or a dead letter, never another figure. */
const schemas: readonly Schema[] = [
  { name: 'a new optional field', record: (id) => ({ ...first(id), loyaltyTier: 'gold', basket: { lines: 3, device: null } }), fact: {} },
  { name: 'a new version number that says nothing new', record: (id) => ({ schemaVersion: 2, ...first(id) }), fact: {} },
  { name: 'numbers for text, and text for numbers', record: (id) => ({ ...first(id), userId: '7', productId: 'P1', quantity: '1', unitPrice: 10, total: 10.0 }), fact: {} },
  { name: 'ids and amounts that need 64 bits', record: (id) => ({ ...first(id), userId: 9_007_199_254_740_991, unitPrice: '9999999999.99', total: '9999999999.99' }), fact: { totalMinor: 999_999_999_999n } },
  { name: 'an optional field that is gone', record: (id) => without({ ...first(id), brand: 'Acme' }, 'brand'), fact: {} },
  { name: 'a field that has another name', record: (id) => ({ ...without(first(id), 'total'), totalPrice: '10.00' }), fact: null },
  { name: 'a needed field that is gone', record: (id) => without(first(id), 'city'), fact: null },
  { name: 'a field of another type', record: (id) => ({ ...first(id), city: { name: 'London' } }), fact: null },
  { name: 'an envelope of a version that nobody here knows', record: (id) => ({ schemaVersion: 9, payload: first(id) }), fact: null },
]

function meantBy(id: string, { fact }: Schema): MeantRecord {
  const [plain] = sale({ id }).meant!
  return fact === null ? null : [{ ...plain!, ...fact, fields: JSON.stringify(fact, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value)) }]
}

function recordOf(id: string, schema: Schema, partition: number): MeantAppend {
  return { partition, value: Buffer.from(JSON.stringify(schema.record(id))), logTimeMs, meant: meantBy(id, schema) }
}

test('D10 two schemas in one batch, one month and one partition: both are read alike, and a schema that nobody knows is a dead letter between counted neighbours', async () => {
  const records = schemas.flatMap((schema, n) => [sale({ id: `v1-${n}`, partition: n % 3 }), recordOf(`v2-${n}`, schema, n % 3), sale({ id: `v1-${n}-after`, partition: n % 3 })])
  await lab.append(records)
  const worker = await StepWorker.open(lab, [0, 1, 2])
  await worker.readAll()
  await worker.flush()
  const { letters } = await checkExact(lab)
  expect(letters.map(({ reason }) => reason).sort()).toEqual(['missing-field', 'missing-field', 'missing-field', 'mistyped-field'])
  // The archive keeps every record of either schema, and decodes all of them again to the same figures.
  const { crossCheck } = await runLabBatch(lab, { full: true })
  expect(crossCheck.summary).toMatchObject({ result: 'exact', redecoded: { records: records.length, changed: 0, refusedAnew: 0, acceptedAnew: 0 } })
  await checkExact(lab)
})

test('D10 bytes that no schema here reads, as of a binary format, are dead letters with their bytes, and their neighbours count', async () => {
  const avro = Buffer.from([0, 0, 0, 0, 7, 2, 0x6f, 0x2d, 0x31, 0xff, 0x80, 0x01])
  await lab.append([sale({ id: 'a' }), { partition: 0, value: avro, logTimeMs, meant: null }, sale({ id: 'b' })])
  const worker = await StepWorker.open(lab, [0, 1, 2])
  await worker.readAll()
  await worker.flush()
  await checkExact(lab)
  const { rows } = await lab.database.pool.query<{ bytes: Buffer; reason: string }>('SELECT bytes, reason FROM dead_letters')
  expect(rows).toEqual([{ bytes: avro, reason: 'unreadable' }])
})
