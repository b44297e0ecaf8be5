/** What a second review found: each was wrong once. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { acceptHeldBatch } from '#batch/run.ts'
import { writeIdKey } from '#core/id-key.ts'
import { Ledger } from '#core/ledger.ts'
import { runSpeedWorker } from '#speed/worker.ts'
import { listBatches, readPointer, resumePublishing, rollBack } from '#store/batches.ts'
import { readCommitted } from '#store/committed.ts'
import { dropOldPages, mergeSmallPages } from '#store/ledger-pages.ts'
import { openPartitions } from '#store/partitions.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { checkExact } from '#test/lab/merged.ts'
import { sale } from '#test/lab/sale.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { waitUntil } from '../wait-until.ts'

let lab: Lab

beforeAll(async () => {
  lab = await openLab()
})
beforeEach(() => lab.clear())
afterAll(() => lab[Symbol.asyncDispose]())

async function count(partitions: readonly number[]): Promise<void> {
  const worker = await StepWorker.open(lab, [...partitions])
  await worker.readAll()
  await worker.flush()
}

async function grossMinor(): Promise<bigint> {
  const { rows } = await lab.database.pool.query<{ gross: bigint }>('SELECT coalesce(sum(gross_minor), 0)::bigint AS gross FROM merged_revenue')
  return rows[0]!.gross
}

/** Runs a real worker until it has counted what the log holds. */
async function countByWorker(): Promise<void> {
  const stop = new AbortController()
  const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined }
  const { database, log, decoder, topic } = lab
  const running = runSpeedWorker({ database, log, decoder, topic, worker: 'w', ledgerIdsMax: 100_000, flushIntervalMs: 20, flushRecordsMax: 100_000, logger: quiet }, stop.signal)
  const { end } = await log.bounds(topic)
  const counted = waitUntil('everything is counted', async () => {
    const committed = await readCommitted(database.pool, topic)
    return [...end].every(([partition, offset]) => (committed.get(partition) ?? 0) >= offset)
  })
  await Promise.race([counted, running])
  stop.abort()
  await running
  await counted
}

const line = (id: number): Buffer => Buffer.from(`${id},1,2,"L","E",1,10.00,10.00,2025-03-01 10:00:00,"London"`)

test('a NUL in a header of a refused record is kept with its letter, and the neighbours are counted', async () => {
  await lab.log.append(lab.topic, [{ key: 'a', value: Buffer.from('rubbish'), headers: { trace: 'a\u0000b' } }, { key: 'a', value: line(1) }])
  await countByWorker()
  const { rows } = await lab.database.pool.query<{ headers: string }>('SELECT headers FROM dead_letters')
  expect(rows.map(({ headers }) => JSON.parse(headers) as unknown)).toEqual([{ trace: 'a\u0000b' }])
  expect(await grossMinor()).toBe(1000n)
})

test('an order of a thousand lines that comes again with another city makes a thousand letters and keeps its bytes once', async () => {
  const order = (city: string): Buffer => {
    const lines = Array.from({ length: 1000 }, (_, i) => {
      return { eventId: `o-${i}`, productId: `p${i}`, productName: `A product with a long name, number ${i}, in blue`, category: 'Home', quantity: 1, unitPrice: '1.00', total: '1.00', note: 'n'.repeat(200) }
    })
    return Buffer.from(JSON.stringify({ orderId: 'o', userId: '1', city, currency: 'GBP', occurredAt: '2025-03-01T10:00:00Z', lines }))
  }
  await lab.log.append(lab.topic, [{ key: 'o', value: order('London') }, { key: 'o', value: order('Leeds') }])
  await countByWorker()
  const { rows } = await lab.database.pool.query<{ letters: bigint; kept: bigint }>('SELECT count(*) AS letters, sum(octet_length(bytes))::bigint AS kept FROM dead_letters')
  expect(rows).toEqual([{ letters: 1000n, kept: BigInt(order('Leeds').length) }])
  expect(await grossMinor()).toBe(100_000n)
})

test('a batch that another one overtook is not published after a roll-back to their common base', async () => {
  await lab.append([sale({ id: '1' })])
  await count([0])
  await runLabBatch(lab)
  await lab.append([sale({ id: '2', partition: 0 }), sale({ id: '2', partition: 1 })])
  await count([0])
  await count([1])
  const reached = Promise.withResolvers<void>()
  const gate = Promise.withResolvers<void>()
  const slow = runLabBatch(lab, {
    before: async (step) => {
      if (step !== 'publish') return
      reached.resolve()
      await gate.promise
    },
  })
  slow.catch(() => undefined)
  await reached.promise
  await lab.append([sale({ id: '3' })])
  await count([0])
  await runLabBatch(lab, { engine: await lab.secondEngine() })
  await rollBack(lab.database)
  await resumePublishing(lab.database)
  gate.resolve()
  await expect(slow).rejects.toMatchObject({ code: 'conflict' })
  expect(await grossMinor()).toBe(3000n)
  await checkExact(lab)
  const next = await runLabBatch(lab)
  expect(next.crossCheck.summary.result).not.toBe('held')
  await checkExact(lab)
})

test('a held batch that is accepted twice at once is published once, whole', async () => {
  await lab.append([sale({ id: '1' })])
  await count([0])
  await runLabBatch(lab)
  await lab.append([sale({ id: '2' }), sale({ id: '3' })])
  await count([0])
  await lab.database.pool.query('UPDATE live_revenue SET gross_minor = gross_minor + 1 WHERE epoch = 2')
  await expect(runLabBatch(lab)).rejects.toMatchObject({ code: 'held' })
  const held = (await listBatches(lab.database.pool)).find((batch) => batch.status === 'held')!
  const { pool } = lab.database
  const asked = Promise.withResolvers<void>()
  const gate = Promise.withResolvers<void>()
  /** The second acceptance is stopped where it asks for the connection of its first transaction. */
  const connect = async (): Promise<unknown> => {
    asked.resolve()
    await gate.promise
    return pool.connect()
  }
  const slowPool = new Proxy(pool, {
    get(target, key) {
      if (key === 'connect') return connect
      const value: unknown = Reflect.get(target, key)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
  const second = acceptHeldBatch({ ...lab.database, pool: slowPool }, held.batch)
  second.catch(() => undefined)
  await asked.promise
  await acceptHeldBatch(lab.database, held.batch)
  gate.resolve()
  await expect(second).rejects.toMatchObject({ code: 'conflict' })
  expect((await readPointer(pool)).batch).toBe(held.batch)
  expect(await grossMinor()).toBe(3000n)
})

test('a ledger opened again knows its newest ids, however its pages were merged and dropped', async () => {
  for (let flush = 0; flush < 40; flush++) {
    await lab.append(Array.from({ length: 10 }, (_, i) => sale({ id: `${flush * 10 + i}` })))
    await count([0])
  }
  await mergeSmallPages(lab.database, 2)
  await dropOldPages(lab.database.pool, 100, 1_000)
  const ledger = new Ledger(100)
  await openPartitions(lab.database, lab.topic, new Map([[0, 0]]), ledger)
  const { rows } = await lab.database.pool.query<{ ids: bigint }>('SELECT sum(ids)::bigint AS ids FROM ledger_pages')
  expect(rows[0]!.ids).toBeGreaterThanOrEqual(100n)
  const key = new Uint32Array(4)
  writeIdKey(lab.topic, '399', key, 0)
  expect(ledger.count(key, 0, 0, 0, 10_000)).not.toBe('new')
})

test('a whole number and a UUID without a version have different keys', () => {
  const number = new Uint32Array(4)
  const uuid = new Uint32Array(4)
  writeIdKey('s', '5', number, 0)
  writeIdKey('s', 'ffffffff-0000-0000-0000-000000000005', uuid, 0)
  expect([...uuid]).not.toEqual([...number])
})
