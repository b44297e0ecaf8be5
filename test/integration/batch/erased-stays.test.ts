/** What is made again from the log after an erasure, which may still hold the person's records, leaves them out. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { archiveColumns } from '#batch/archive-columns.ts'
import { archiveCommitted, repairArchive } from '#batch/archive.ts'
import { eraseUser } from '#batch/erase.ts'
import { allRows } from '#batch/recompute.ts'
import { runBatchToPublication } from '#batch/run.ts'
import { parquetCodec } from '#engines/parquet.ts'
import { parseLetter } from '#store/dead-letters.ts'
import { listFiles } from '#store/register.ts'
import { resubmitLetter } from '#store/resubmit.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import type { MeantAppend } from '#test/lab/shop-stream.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { batchOptionsOf, sale } from '../../faults/setup.ts'

/** A text that nothing else holds. */
const person = 'u-7f3a9c1e55'
let lab: Lab

beforeAll(async () => {
  lab = await openLab()
})
afterAll(async () => lab[Symbol.asyncDispose]())
beforeEach(async () => lab.clear())

async function count(...partitions: readonly number[]): Promise<void> {
  const worker = await StepWorker.open(lab, partitions)
  await worker.readAll()
  await worker.flush()
}

async function erase(): Promise<void> {
  const { database, lake, engine, topic } = lab
  await archiveCommitted(batchOptionsOf(lab))
  await eraseUser({ database, lake, engine, codec: parquetCodec, topics: [topic], sharedTopic: topic, orphanAfterMs: 3_600_000, signal: new AbortController().signal }, person)
}

/** A sale by that user, as a line. */
function saleOf(id: string, user: string, partition = 0): MeantAppend {
  const { value, ...rest } = sale({ id, partition, quantity: 2 })
  return { ...rest, value: Buffer.from(Buffer.from(value).toString().replace(`${id},7,`, `${id},${user},`)), partition }
}

function poisonOf(user: string): MeantAppend {
  return { partition: 0, value: Buffer.from(`{"eventId":"bad","userId":"${user}","quantity":-1}`), logTimeMs: Date.UTC(2026, 0, 15, 12), meant: null }
}

/** Rows of the registered files, user and bytes. */
async function archived(): Promise<[user: unknown, bytes: string | null][]> {
  const files = await listFiles(lab.database.pool, 0, 1_000)
  await lab.engine.attach('looked_at', files.map(({ path }) => path), archiveColumns)
  const rows = await allRows(lab.engine.query('SELECT user_id, to_base64(bytes) AS bytes FROM looked_at ORDER BY log_partition, log_offset, record_index'))
  await lab.engine.detach('looked_at')
  return rows.map(([user, bytes]) => [user, bytes === null ? null : Buffer.from(bytes as string, 'base64').toString()])
}

async function letters(): Promise<{ log_offset: bigint; record_index: number; headers: string | null; text: string }[]> {
  return (await lab.database.pool.query(`SELECT log_offset, record_index, headers, encode(bytes, 'escape') AS text FROM dead_letters ORDER BY partition, log_offset, record_index`)).rows
}

/** Neither as it is nor mended: its headers are gone too, and with them the name space of its ids. */
async function expectNothingToSend(name: string): Promise<void> {
  const { database, log, decoder } = lab
  for (const value of [undefined, sale({ id: 'mended' }).value]) {
    const sent = resubmitLetter({ database, log, decoder, nowMs: Date.UTC(2026, 0, 15, 13), ...(value && { value }) }, parseLetter(name))
    await expect(sent).rejects.toMatchObject({ code: 'invalid-request', message: expect.stringMatching(/^The bytes of letter \d+ were erased with the person/) })
  }
}

test('a file that is repaired from the log is without the person, refused records too', async () => {
  await lab.append([saleOf('a', person), saleOf('b', 'u-other'), poisonOf(person), poisonOf('u-other')])
  await count(0)
  await runLabBatch(lab)
  await erase()
  const before = await archived()
  expect(before.map(([user]) => user)).toEqual([null, 'u-other', null, null])
  for (const { path } of await listFiles(lab.database.pool, 0, 10)) await rm(join(lab.lakeRoot, path))
  expect(await repairArchive(batchOptionsOf(lab), 10)).toHaveLength(1)
  expect(await archived()).toEqual(before)
})

test('a conflict that a batch finds after the erasure brings no bytes of the person', async () => {
  await lab.append([saleOf('x', 'u-other', 0), saleOf('x', person, 1)])
  await count(0)
  await count(1)
  await erase()
  const { crossCheck } = await runLabBatch(lab)
  expect(crossCheck.summary.correctionsByReason).toEqual({ conflict: 1 })
  expect((await letters()).map(({ text }) => text)).toEqual([''])
  await expectNothingToSend(`${lab.topic}/1/0/0`)
})

test('a batch that read the files before an erasure brings no bytes of the person to its letters: it begins again', async () => {
  await lab.append([saleOf('x', 'u-other', 0), saleOf('x', person, 1)])
  await count(0)
  await count(1)
  let erased = false
  const engine = await lab.secondEngine()
  const outcome = await runLabBatch(lab, {
    engine,
    run: runBatchToPublication,
    async before(step) {
      if (step !== 'combine' || erased) return
      erased = true
      await erase()
    },
  })
  expect(outcome.crossCheck.summary.correctionsByReason).toEqual({ conflict: 1 })
  expect((await letters()).map(({ text }) => text)).toEqual([''])
  await expectNothingToSend(`${lab.topic}/1/0/0`)
})

test('a letter whose bytes were erased is not sent again, and says why', async () => {
  await lab.append([poisonOf(person), poisonOf('')])
  await count(0)
  await erase()
  await expectNothingToSend(`${lab.topic}/0/0/0`)
})

test('an order that conflicts in several lines leaves no header of the person with any of them', async () => {
  const order = (user: string, quantity: number): MeantAppend => {
    const line = (index: number): object => ({ eventId: `o-${index}`, productId: 'P1', productName: 'P', category: 'C', quantity, unitPrice: '1.00', total: `${quantity}.00` })
    const value = Buffer.from(JSON.stringify({ orderId: 'o', userId: user, city: 'London', currency: 'GBP', occurredAt: '2025-03-01T10:00:00Z', lines: [line(1), line(2)] }))
    return { partition: 0, value, logTimeMs: Date.UTC(2026, 0, 15, 12), meant: null }
  }
  await lab.append([order('u-other', 1)])
  await lab.log.append(lab.topic, [{ key: '0', value: order(person, 2).value, logTimeMs: Date.UTC(2026, 0, 15, 12), headers: { customer: person } }])
  await count(0, 1, 2)
  expect((await letters()).map(({ headers }) => headers)).toEqual([`{"customer":"${person}"}`, `{"customer":"${person}"}`])
  await erase()
  expect((await letters()).map(({ headers, text }) => [headers, text])).toEqual([
    [null, ''],
    [null, ''],
  ])
})
