/**
 * Figures as of a batch: for every batch that is kept, exactly what the oracle says of the offsets below its horizon, whatever happens afterwards: later
 * events for its days, roll-backs, pruning.
 */
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { FastifyInstance } from 'fastify'
import { buildServer } from '#serving/server.ts'
import type { AsOf } from '#store/as-of.ts'
import { answerPace } from '#store/answer-pace.ts'
import { answerTopProducts } from '#store/answer-products.ts'
import { answerRevenue } from '#store/answer-revenue.ts'
import { readPointer, resumePublishing, rollBack } from '#store/batches.ts'
import { pruneStore } from '#store/prune.ts'
import { openTraffic, plainSales, runBatchWith } from '#test/faults/setup.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { checkExact } from '#test/lab/merged.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import type { Expected, Sums } from '#test/oracle.ts'

const terms = { ledgerIdsMax: 100_000 }
const always = { fromDay: null, toDay: null }
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000_007)
let lab: Lab
let app: FastifyInstance

beforeAll(async () => {
  lab = await openLab()
  const settings = { zone: 'Europe/London', currency: 'GBP', booksOpenOn: null, version: '9.9.9', ledgerIdsMax: terms.ledgerIdsMax }
  app = await buildServer({ database: lab.database, settings, clock: Date.now })
})
afterAll(async () => {
  await app?.close()
  await lab?.[Symbol.asyncDispose]()
})
beforeEach(async () => lab.clear())

async function count(): Promise<void> {
  const worker = await StepWorker.open(lab, [0, 1, 2])
  await worker.readAll()
  await worker.flush()
}

async function batchOf(records: number, prefix: string): Promise<number> {
  await lab.append(plainSales(lab, records, prefix))
  await count()
  await runBatchWith(lab)
  return (await readPointer(lab.database.pool)).batch
}

type Figures = { readonly transactions: number; readonly refundEvents: number; readonly unitsSold: number; readonly unitsRefunded: number; readonly grossMinor: string; readonly refundsMinor: string }

function said(row: Figures): string {
  return [row.transactions, row.refundEvents, row.unitsSold, row.unitsRefunded, row.grossMinor, row.refundsMinor].join(' ')
}

function meant(cells: ReadonlyMap<string, Sums>, keyOf: (key: string[]) => string): Record<string, string> {
  const sums = new Map<string, bigint[]>()
  for (const [key, cell] of cells) {
    const of = keyOf(JSON.parse(key) as string[])
    const before = sums.get(of) ?? [0n, 0n, 0n, 0n, 0n, 0n]
    sums.set(of, [cell.transactions, cell.refundEvents, cell.unitsSold, cell.unitsRefunded, cell.gross, cell.refunds].map((value, at) => value + before[at]!))
  }
  return Object.fromEntries([...sums].filter(([, values]) => values.some((value) => value !== 0n)).map(([key, values]) => [key, values.join(' ')]))
}

/** Monday is 1. */
function weekdayOf(day: string): number {
  return ((new Date(`${day}T00:00:00Z`).getUTCDay() + 6) % 7) + 1
}

async function expectAsOf(asOf: AsOf, batch: number, expected: Expected, ends: ReadonlyMap<number, number>): Promise<void> {
  const { pool } = lab.database
  const revenue = await answerRevenue(pool, { by: ['day', 'city', 'category'], period: always, asOf }, terms)
  expect(Object.fromEntries(revenue.rows.map((row) => [`${row.day} ${row.city} ${row.category} ${row.currency}`, said(row)]))).toEqual(meant(expected.views.get('revenue')!, (key) => key.join(' ')))
  const products = await answerTopProducts(pool, { n: 100, by: 'net', period: always, asOf }, terms)
  expect(Object.fromEntries(products.rows.map((row) => [`${row.productId} ${row.currency}`, said(row)]))).toEqual(meant(expected.views.get('product_sales')!, ([, product, , currency]) => `${product} ${currency}`))
  const inLondon = await answerTopProducts(pool, { n: 100, by: 'units', period: always, city: 'London', asOf }, terms)
  const ofLondon = new Map([...expected.views.get('product_city_sales')!].filter(([key]) => (JSON.parse(key) as string[])[2] === 'London'))
  expect(Object.fromEntries(inLondon.rows.map((row) => [`${row.productId} ${row.currency}`, said(row)]))).toEqual(meant(ofLondon, ([, product, , currency]) => `${product} ${currency}`))
  const pace = await answerPace(pool, { period: always, asOf }, terms)
  expect(Object.fromEntries(pace.rows.map((row) => [`${row.weekday} ${row.hour} ${row.currency}`, said(row)]))).toEqual(
    meant(expected.views.get('pace')!, ([day, hour, , currency]) => `${weekdayOf(day!)} ${hour} ${currency}`),
  )
  const day = revenue.rows[0]?.day
  if (day !== undefined) {
    const dayNumber = Date.parse(`${day}T00:00:00Z`) / 86_400_000
    const ofDay = await answerRevenue(pool, { by: ['city', 'category'], period: { fromDay: dayNumber, toDay: dayNumber + 1 }, asOf }, terms)
    expect(ofDay.rows.map((row) => said(row))).toEqual(revenue.rows.filter((row) => row.day === day).map((row) => said(row)))
  }
  const { receipt } = revenue
  expect(receipt).toMatchObject({ asOfBatch: batch, batch: { id: batch }, complete: true, missing: [], crossCheck: { batch } })
  expect(receipt.fromSpeed.events).toBe(0)
  expect(Object.values(receipt.fromSpeed.netMinorByCurrency).every((net) => net === '0')).toBe(true)
  expect(receipt.position).toEqual(receipt.horizon)
  const { rows } = await pool.query<{ partition: number; next_offset: bigint }>('SELECT o.partition, o.next_offset FROM cut_offsets o JOIN batches b USING (epoch) WHERE b.batch = $1', [batch])
  expect(receipt.horizon[lab.topic] ?? {}).toEqual(Object.fromEntries(rows.map((row) => [row.partition, Number(row.next_offset)])))
  for (const [partition, end] of ends) if (end > 0) expect(receipt.horizon[lab.topic]![partition]).toBe(end)
  const accounts = [...expected.accounts.values()]
  expect([receipt.refusedEvents, receipt.copies, receipt.conflicts]).toEqual((['refused', 'copies', 'conflicts'] as const).map((name) => accounts.reduce((sum, account) => sum + account[name], 0)))
}

async function storeClock(): Promise<number> {
  const { rows } = await lab.database.pool.query<{ ms: number }>('SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms')
  return rows[0]!.ms
}

test(`as of every kept batch the figures are those below its horizon, after late events, roll-backs and pruning; by its times too (seed ${seed})`, { timeout: 120_000 }, async () => {
  const send = openTraffic(lab, seed)
  const known = new Map<number, { readonly expected: Expected; readonly ends: Map<number, number> }>([[0, { expected: lab.oracle.expect(new Map()), ends: new Map() }]])
  const served: { readonly timeMs: number; readonly batch: number }[] = []
  const mark = async (): Promise<void> => void served.push({ timeMs: Math.ceil(await storeClock()), batch: (await readPointer(lab.database.pool)).batch })
  const checkAll = async (): Promise<void> => {
    const { rows } = await lab.database.pool.query<{ batch: bigint }>(`SELECT batch FROM batches WHERE status = 'published' ORDER BY batch`)
    const kept = rows.map((row) => Number(row.batch))
    for (const [batch, { expected, ends }] of known) {
      if (kept.includes(batch)) await expectAsOf({ batch }, batch, expected, ends)
      else await expect(answerRevenue(lab.database.pool, { by: [], period: always, asOf: { batch } }, terms)).rejects.toMatchObject({ code: 'invalid-request', details: { batch, status: 'pruned', kept: kept.toReversed() } })
    }
    for (const { timeMs, batch } of served) if (kept.includes(batch)) expect((await answerRevenue(lab.database.pool, { by: [], period: always, asOf: { timeMs } }, terms)).receipt.asOfBatch).toBe(batch)
  }
  await mark()
  const steps = ['batch', 'batch', 'late', 'batch', 'back', 'batch', 'batch', 'prune', 'back', 'prune', 'batch'] as const
  for (const step of steps) {
    if (step === 'late') {
      await send(60)
      await count()
    } else if (step === 'back') {
      await rollBack(lab.database)
      await mark()
      await resumePublishing(lab.database)
    } else if (step === 'prune') {
      await pruneStore(lab.database, 3, terms.ledgerIdsMax)
    } else {
      await send(60)
      await count()
      const ends = lab.oracle.ends()
      await runBatchWith(lab)
      const { batch } = await readPointer(lab.database.pool)
      known.set(batch, { expected: lab.oracle.expect(ends), ends })
      await mark()
    }
    await checkAll()
  }
  expect([...known.keys()].length).toBe(7)
  expect(new Set(served.map((one) => one.batch)).size).toBe(7)
  await checkExact(lab)
})

test('the time of a publication, as an answer gives it, is the batch’s own; a millisecond earlier the one before served', async () => {
  await batchOf(9, 'a')
  const second = await batchOf(9, 'b')
  const { receipt } = await answerRevenue(lab.database.pool, { by: [], period: always }, terms)
  const timeMs = Date.parse(receipt.batch.publishedAt!)
  const { rows } = await lab.database.pool.query<{ behind: boolean }>('SELECT published_at >= to_timestamp($2::float8 / 1000) AS behind FROM batches WHERE batch = $1', [second, timeMs])
  expect(rows[0]!.behind).toBe(true)
  const at = async (ms: number): Promise<number> => (await answerRevenue(lab.database.pool, { by: [], period: always, asOf: { timeMs: ms } }, terms)).receipt.asOfBatch!
  expect([await at(timeMs - 1), await at(timeMs)]).toEqual([second - 1, second])
})

test('while batches are pruned, every answer as of one is its own to the unit, or says that it is gone', { timeout: 60_000 }, async () => {
  const meantOf = new Map<number, string>()
  const ask = async (batch: number): Promise<string> => JSON.stringify((await answerRevenue(lab.database.pool, { by: ['day', 'city'], period: always, asOf: { batch } }, terms)).rows)
  for (let round = 0; round < 5; round++) {
    const batch = await batchOf(20, `r${round}`)
    meantOf.set(batch, await ask(batch))
  }
  expect(new Set(meantOf.values()).size).toBe(5)
  const seen = { whole: 0, gone: 0 }
  let isOver = false
  const readers = [...meantOf].map(async ([batch, whole]) => {
    do {
      const answer = await ask(batch).catch((thrown: { code?: string; details?: { status?: string } }) => {
        expect([thrown.code, thrown.details?.status]).toEqual(['invalid-request', 'pruned'])
        return null
      })
      if (answer === null) seen.gone++
      else {
        expect(answer).toBe(whole)
        seen.whole++
      }
    } while (!isOver)
  })
  for (const keep of [4, 3, 2, 1]) await pruneStore(lab.database, keep, terms.ledgerIdsMax)
  isOver = true
  await Promise.all(readers)
  await expect(ask([...meantOf.keys()][0]!)).rejects.toMatchObject({ details: { status: 'pruned' } })
  expect(await ask([...meantOf.keys()].at(-1)!)).toBe([...meantOf.values()].at(-1))
  expect(seen.whole).toBeGreaterThan(0)
})

test('over HTTP: the figure of the batch, an ETag that stays, and refusals that name the batches kept', async () => {
  const first = await batchOf(9, 'a')
  const url = `/v1/revenue?by=city&asOfBatch=${first}`
  const asked = await app.inject(url)
  expect(asked.statusCode).toBe(200)
  const second = await batchOf(9, 'b')
  await lab.append(plainSales(lab, 3, 'c'))
  await count()
  const again = await app.inject(url)
  expect([again.body, again.headers.etag, again.headers['x-data-as-of']]).toEqual([asked.body, asked.headers.etag, asked.headers['x-data-as-of']])
  expect((await app.inject({ url, headers: { 'if-none-match': asked.headers.etag! } })).statusCode).toBe(304)
  for (const route of [`/v1/revenue?by=city&asOfBatch=${second}`, `/v1/revenue?by=city`]) {
    const other = await app.inject({ url: route, headers: { 'if-none-match': asked.headers.etag! } })
    expect([route, other.statusCode, other.headers.etag === asked.headers.etag]).toEqual([route, 200, false])
  }
  expect((await app.inject(`/v1/products/top?asOfBatch=${first}`)).json().receipt.asOfBatch).toBe(first)
  expect((await app.inject(`/v1/pace?asOfBatch=${first}`)).json().receipt.asOfBatch).toBe(first)
  expect((await app.inject('/v1/revenue')).json().receipt).not.toHaveProperty('asOfBatch')

  await lab.database.pool.query(`INSERT INTO batches (batch, epoch, base_batch, kind, status) VALUES (900, 900, $1, 'incremental', 'held')`, [second])
  const future = new Date((await storeClock()) + 60_000).toISOString()
  for (const [query, says] of [
    ['asOfBatch=900', /never published: it is held/],
    ['asOfBatch=901', /no such batch/],
    ['asOfBatch=-1', /whole number/],
    ['asOfBatch=1e3', /whole number/],
    ['asOfBatch=99999999999999999999', /whole number/],
    ['asOfBatch=1&asOf=2025-01-01T00:00:00Z', /not both/],
    ['asOf=2025-01-01', /with its zone/],
    ['asOf=2025-01-01T00:00:00', /with its zone/],
    ['asOf=2025-02-30T00:00:00Z', /with its zone/],
    ['asOf=2025-01-01T25:00:00Z', /with its zone/],
    ['asOf=9999-01-01T00:00:00Z', /with its zone/],
    ['asOf=2001-01-01T00:00:00Z', /this store begins at/],
    [`asOf=${future}`, /in the future/],
  ] as const) {
    for (const route of ['/v1/revenue', '/v1/products/top', '/v1/pace']) {
      const refused = await app.inject(`${route}?${query}`)
      expect([route, query, refused.statusCode]).toEqual([route, query, 400])
      expect(refused.json().error.message).toMatch(says)
      if (query.startsWith('asOfBatch=90')) expect(refused.json().error).toMatchObject({ message: expect.stringContaining('/v1/reports'), details: { kept: [second, first, 0] } })
    }
  }
  const now = new Date(await storeClock()).toISOString()
  for (const time of [now, now.replace('Z', '%2B00:00'), now.replace('Z', '+00:00')]) expect((await app.inject(`/v1/revenue?asOf=${time}`)).json().receipt.asOfBatch).toBe(second)
})

test('a batch that was cut before the counts were kept says that they are not known', async () => {
  const batch = await batchOf(9, 'a')
  await lab.database.pool.query('UPDATE cut_offsets SET late = NULL, refused = NULL, copies = NULL, conflicts = NULL WHERE partition = 1')
  const { receipt } = await answerRevenue(lab.database.pool, { by: [], period: always, asOf: { batch } }, terms)
  expect([receipt.lateEvents, receipt.refusedEvents, receipt.copies, receipt.conflicts]).toEqual([null, null, null, null])
})

test('a loss that was accepted after the cut is no part of the batch’s receipt', async () => {
  const first = await batchOf(9, 'a')
  await lab.database.pool.query(`INSERT INTO accepted_losses (topic, partition, from_offset, to_offset, what, events_counted) VALUES ($1, 0, 100, 110, 'gap', 0)`, [lab.topic])
  const second = await batchOf(9, 'b')
  const losses = async (batch: number): Promise<number> => (await answerRevenue(lab.database.pool, { by: [], period: always, asOf: { batch } }, terms)).receipt.acceptedLosses.length
  expect([await losses(first), await losses(second)]).toEqual([0, 1])
})

test('a store of before gets its history of publications, and a roll-back that still stands', async () => {
  const first = await batchOf(9, 'a')
  const second = await batchOf(9, 'b')
  await rollBack(lab.database)
  const moves = async (): Promise<string> => JSON.stringify((await lab.database.pool.query('SELECT moves::int, batch::int, epoch::int FROM pointer_moves ORDER BY moves')).rows)
  const before = await moves()
  await lab.database.pool.query(`DROP TABLE pointer_moves; ALTER TABLE cut_offsets DROP late, DROP refused, DROP copies, DROP conflicts`)
  await lab.database.pool.query(await readFile(new URL('../../../store/migrations/0011_pointer_moves.sql', import.meta.url), 'utf8'))
  expect(await moves()).toBe(before)
  const { rows } = await lab.database.pool.query<{ moved_at: Date; published_at: Date | null }>('SELECT m.moved_at, b.published_at FROM pointer_moves m JOIN batches b USING (batch) ORDER BY m.moves')
  expect(rows.slice(0, 3).map((row) => row.moved_at)).toEqual(rows.slice(0, 3).map((row) => row.published_at))
  expect(JSON.parse(await moves())).toMatchObject([{ batch: 0 }, { batch: first }, { batch: second }, { batch: first, moves: 3 }])
})
