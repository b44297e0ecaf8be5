/** Row S7: PostgreSQL is away for a while from one of two workers and from the API, while the log goes on. */
import { expect } from 'vitest'
import type { EventLog } from '#core/ports.ts'
import { buildServer } from '#serving/server.ts'
import { readCommitted } from '#store/committed.ts'
import { openDatabase } from '#store/database.ts'
import type { Lab } from '#test/lab.ts'
import { readMerged } from '#test/lab/merged.ts'
import { waitUntil } from '#test/wait-until.ts'
import { ClogProxy, addressOf, urlVia } from './clog-proxy.ts'
import { LoopWorker, expectE0, isWhole, plainSales } from './setup.ts'
import { WatchedLog } from './watched-log.ts'

export type Outage = 'refuse' | 'clog'

const outageMs = isWhole ? 60_000 : 6_000
const backlogRecords = 6_000
const recordsPerAppend = 100
const flushRecordsMax = 200
/** Before a worker or the API gives up a statement without an answer. */
const answerTimeoutMs = 1_500
/** Of a worker: its longest pause between two attempts. */
const retryMaxMs = 5_000
const settings = { zone: 'Europe/London', currency: 'GBP', booksOpenOn: '2024-01-01', version: '0.0.0', ledgerIdsMax: 100_000 }

type Asked = { readonly atMs: number; readonly status: number; readonly retryAfter: unknown; readonly body: Record<string, unknown> }

/** `openLog` opens the lab's log once more, as another process does. */
export async function pausesWhileAway(lab: Lab, openLog: () => Promise<EventLog>, outage: Outage): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const workersWay = stack.use(await ClogProxy.open(addressOf(lab.url)))
  const servingsWay = stack.use(await ClogProxy.open(addressOf(lab.url)))
  const open = (proxy: ClogProxy) => openDatabase({ url: urlVia(lab.url, proxy), schema: lab.database.schema, answerTimeoutMs })
  const workersDatabase = stack.use(open(workersWay))
  const app = await buildServer({ database: stack.use(open(servingsWay)), settings, clock: Date.now })
  stack.defer(async () => app.close())
  const cut = new WatchedLog(stack.use(await openLog()))
  const whole = new WatchedLog(stack.use(await openLog()))
  const worker = stack.use(new LoopWorker(lab, { log: cut.log, database: workersDatabase, flushRecordsMax }))
  const other = stack.use(new LoopWorker(lab, { log: whole.log, flushRecordsMax }))
  stack.defer(() => [workersWay, servingsWay].forEach((proxy) => proxy.unclog()))
  const ask = async (): Promise<Asked> => {
    const { statusCode, headers, json } = await app.inject('/v1/revenue?by=city')
    return { atMs: performance.now(), status: statusCode, retryAfter: headers['retry-after'], body: json<Record<string, unknown>>() }
  }

  await waitUntil('both workers to have their share', () => cut.partitions.length > 0 && whole.partitions.length > 0 && cut.partitions.length + whole.partitions.length === lab.partitions, 30_000)
  const startedAt = performance.now()
  await appendPlain(lab, 'before')
  await expectE0(lab)
  const catchUpMs = performance.now() - startedAt
  expect((await ask()).status).toBe(200)

  const assigned = cut.partitions
  const assignments = [cut.assignments.length, whole.assignments.length]
  const before = await offsetsOf(lab, assigned)
  cut.countFromHere()
  for (const proxy of [workersWay, servingsWay]) proxy[outage]()
  const awayAt = performance.now()
  const asking = askUntil(ask, () => performance.now() - awayAt > outageMs)
  await appendPlain(lab, 'while')
  await waitUntil('the other worker to count its share', async () => [...(await offsetsOf(lab, whole.partitions))].every(([partition, end]) => end === lab.oracle.ends().get(partition)), 30_000)
  await waitUntil('the outage to have lasted', () => performance.now() - awayAt > outageMs, outageMs + 5_000)

  const boundRecords = 2 * (flushRecordsMax + cut.batchRecordsMax) + cut.batchRecordsMax
  const waiting = [...before].reduce((sum, [partition, offset]) => sum + lab.oracle.ends().get(partition)! - offset, 0)
  expect(waiting, 'more waits than may be held').toBeGreaterThan(boundRecords)
  expect(cut.handedMax).toBeLessThanOrEqual(boundRecords)
  if (outage === 'clog') expect(cut.handedMax, 'a full flush waits').toBeGreaterThanOrEqual(flushRecordsMax)
  expect(await offsetsOf(lab, assigned)).toEqual(before)
  // Each pause is twice the one before, from 100 ms on.
  expect(worker.warnings.length).toBeLessThanOrEqual(8 + Math.ceil(outageMs / retryMaxMs))
  expect(worker.warnings.length).toBeGreaterThan(0)
  expect(new Set(worker.warnings.map((warning) => warning.code))).toEqual(new Set(['unavailable']))

  const backAt = performance.now()
  for (const proxy of [workersWay, servingsWay]) proxy.unclog()
  await expectE0(lab, 3 * catchUpMs + retryMaxMs + 2_000)
  expect([cut.assignments.length, whole.assignments.length], 'nobody lost a partition').toEqual(assignments)
  expect([worker.failure, other.failure]).toEqual([null, null])

  const answers = await asking
  const refused = answers.filter(({ atMs }) => atMs < backAt)
  expect(refused.length).toBeGreaterThan(0)
  for (const { status, retryAfter, body } of refused) {
    expect({ status, retryAfter, holds: Object.keys(body) }).toEqual({ status: 503, retryAfter: '1', holds: ['error'] })
  }
  const figures = [...(await readMerged(lab)).views.get('revenue')!.values()].reduce((sum, { gross }) => sum + gross, 0n)
  const again = await waitUntil('the API to answer again', async () => {
    const answer = await ask()
    return answer.status === 200 ? answer : null
  })
  const rows = again.body['rows'] as { grossMinor: string }[]
  expect(rows.reduce((sum, { grossMinor }) => sum + BigInt(grossMinor), 0n)).toBe(figures)
}

/** The connection goes silent before a statement of a flush: the worker gives it up, and what became of it is read again. */
export async function silentBefore(lab: Lab, statement: string): Promise<void> {
  await using proxy = await ClogProxy.open(addressOf(lab.url))
  await using database = openDatabase({ url: urlVia(lab.url, proxy), schema: lab.database.schema, answerTimeoutMs: 500 })
  proxy.clogBefore(statement)
  await using worker = new LoopWorker(lab, { database })
  await lab.append(plainSales(lab, 60, 'a'))
  await waitUntil('the worker to give up', () => worker.warningsOf('unavailable') > 0)
  await lab.append(plainSales(lab, 60, 'b'))
  proxy.unclog()
  await expectE0(lab)
}

async function askUntil(ask: () => Promise<Asked>, isOver: () => boolean): Promise<Asked[]> {
  const answers: Asked[] = []
  while (!isOver()) {
    answers.push(await ask())
    // A refusal comes at once.
    await waitUntil('a client to ask again', timer(200))
  }
  return answers
}

function timer(ms: number): () => boolean {
  const startedAt = performance.now()
  return () => performance.now() - startedAt >= ms
}

async function appendPlain(lab: Lab, prefix: string): Promise<void> {
  const sales = plainSales(lab, backlogRecords, prefix)
  for (let from = 0; from < sales.length; from += recordsPerAppend) await lab.append(sales.slice(from, from + recordsPerAppend))
}

async function offsetsOf(lab: Lab, partitions: readonly number[]): Promise<Map<number, number>> {
  const committed = await readCommitted(lab.database.pool, lab.topic)
  return new Map([...committed].filter(([partition]) => partitions.includes(partition)))
}
