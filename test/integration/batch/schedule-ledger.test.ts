/** The run ledger under two workers, crashes, stops, failures and shutdowns: what is due is done once, and nothing holds it up for ever. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { AskOptions } from '#batch/ask.ts'
import { doWhatIsDue, lookAhead } from '#batch/ask.ts'
import { ConfigError, HeldError, UnavailableError } from '#core/errors.ts'
import type { Database } from '#store/database.ts'
import type { Claim } from '#store/job-runs.ts'
import { claimRun, extendLease, failRun, findJobRun, finishRun, leaveRun, readLatestRuns } from '#store/job-runs.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { waitUntil } from '#test/wait-until.ts'
import { SimulatedShop } from './simulated-shop.ts'

const minute = 60_000
const lease = minute
const start = Date.parse('2025-02-01T09:00:00Z')

let lab: Lab
let database: Database
beforeAll(async () => {
  lab = await openLab()
  database = lab.database
})
beforeEach(() => lab.clear())
afterAll(() => lab[Symbol.asyncDispose]())

const claims: Claim[] = []
afterEach(() => {
  for (const claimed of claims.splice(0)) claimed.release()
})

async function claim(nowMs: number, leaseMs = lease): Promise<Claim | null> {
  const claimed = await claimRun(database, 'monthly', '2025-01', nowMs, leaseMs)
  if (claimed !== null) claims.push(claimed)
  return claimed
}

const row = async () => (await findJobRun(database.pool, 'monthly', '2025-01'))!

describe('a claim', () => {
  test('is given to one of many who ask at once', async () => {
    const claims = (await Promise.all(Array.from({ length: 8 }, () => claim(start)))).filter((one) => one !== null)
    expect(claims).toHaveLength(1)
    expect(await finishRun(database.pool, claims[0]!, { outcome: 'published', version: 1, batch: 7 }, start + 5_000)).toBe(true)
    expect(await row()).toMatchObject({ outcome: 'published', version: 1, batch: 7, attempts: 1, startedAt: new Date(start), finishedAt: new Date(start + 5_000) })
    expect(await claim(start + 60 * minute)).toBeNull()
  })

  test('goes with the connection of a worker that died, and is held for one that lives until its lease runs out', async () => {
    const first = (await claim(start))!
    expect(await claim(start + lease - 1)).toBeNull()
    first.release()
    const second = await waitUntil('the lock to be gone', () => claim(start + 1_000))
    expect(second.attempts).toBe(2)
    // The one that lives extends it.
    expect(await extendLease(database.pool, second, start + 10 * minute)).toBe(true)
    expect(await claim(start + 9 * minute)).toBeNull()
    const third = (await claim(start + 10 * minute))!
    expect(third.attempts).toBe(3)
  })

  test('that was overtaken writes nothing into the ledger any more', async () => {
    const stopped = (await claim(start))!
    const taker = (await claim(start + lease))!
    expect(await extendLease(database.pool, stopped, start + 10 * minute)).toBe(false)
    expect(await finishRun(database.pool, stopped, { outcome: 'of the stopped' }, start + 2 * lease)).toBe(false)
    expect((await row()).outcome).toBe('running')
    expect(await finishRun(database.pool, taker, { outcome: 'of the taker' }, start + 3 * lease)).toBe(true)
    expect((await row()).outcome).toBe('of the taker')
  })

  test('that fails in passing may be claimed again after its pause, and one that a person must mend not at all', async () => {
    await failRun(database.pool, (await claim(start))!, 'the lake is away', start + 1_000, start + minute)
    expect(await claim(start + minute - 1)).toBeNull()
    const again = (await claim(start + minute))!
    expect(again.attempts).toBe(2)
    await failRun(database.pool, again, 'two batches differ', start + 2 * minute, null)
    expect(await claim(start + 1_000 * minute)).toBeNull()
    expect(await row()).toMatchObject({ outcome: 'failed', lastError: 'two batches differ', retryAt: null })
  })

  test('that a worker leaves when it is stopped may be claimed at once, and was no attempt', async () => {
    await leaveRun(database.pool, (await claim(start))!, start + 1_000)
    const again = (await claim(start + 1_000))!
    expect(again.attempts).toBe(1)
  })

  test('of a worker that dies each time is not given again at once, each time', async () => {
    for (let attempt = 1; attempt <= 4; attempt++) {
      const crashing = await waitUntil(`attempt ${attempt}`, () => claim(start, 10 * minute))
      expect(crashing.attempts).toBe(attempt)
      crashing.release()
    }
    await waitUntil('the lock to be gone', async () => (await database.pool.query(`SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid::bigint > 2147483647`)).rowCount === 0)
    expect(await claim(start + minute - 1)).toBeNull()
    const fifth = await waitUntil('the fifth', () => claim(start + minute))
    expect(fifth.attempts).toBe(5)
  })
})

/** A shop on 1 February 2025 at 09:00: its night had no batch yet, its January is closed and without a report. */
async function februaryShop(): Promise<SimulatedShop> {
  const shop = new SimulatedShop(database, { zone: 'Europe/London', booksOpenOn: '2025-01-01', nightlyAt: '03:00', graceMs: 60 * minute, beginsAtMs: start - 24 * 60 * minute, firstMonths: ['1970-01-01', '2025-01-01'] })
  shop.nowMs = start - 7 * 60 * minute
  await lookAhead(shop.worker())
  shop.nowMs = start
  await shop.count()
  return shop
}

const { signal } = new AbortController()
const outcomes = async () => Object.fromEntries((await database.pool.query<{ run: string; outcome: string }>(`SELECT kind || ' ' || period AS run, outcome FROM job_runs ORDER BY 1`)).rows.map(({ run, outcome }) => [run, outcome]))

describe('asking', () => {
  test('a database that is away when a run ends costs no connection', async () => {
    const shop = await februaryShop()
    const worker = shop.worker()
    let isAway = false
    const clock = async (): Promise<number> => {
      if (isAway) throw new UnavailableError('the database is away')
      return shop.nowMs
    }
    const freezeReport: AskOptions['work']['freezeReport'] = async () => {
      isAway = true
      throw new UnavailableError('the lake is away')
    }
    await expect(doWhatIsDue({ ...worker, terms: { ...worker.terms, clock }, work: { ...worker.work, freezeReport } }, signal)).rejects.toThrow('the lake is away')
    const { pool } = database
    expect(pool.totalCount - pool.idleCount).toBe(0)
    // Its lock is gone, so it is begun again at once.
    await waitUntil('the report', async () => {
      await doWhatIsDue(worker, signal)
      return shop.frozen.length === 1
    })
    expect(await findJobRun(database.pool, 'monthly', '2025-01')).toMatchObject({ outcome: 'published', attempts: 2 })
  })

  test('by two workers, thrice each, while the first still works, does each run once', async () => {
    const shop = await februaryShop()
    let release = (): void => undefined
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    let inside = 0
    const slow = (): AskOptions => {
      const worker = shop.worker()
      const freezeReport: AskOptions['work']['freezeReport'] = async (...given) => {
        inside++
        await gate
        return worker.work.freezeReport!(...given)
      }
      return { ...worker, work: { ...worker.work, freezeReport } }
    }
    const first = doWhatIsDue(slow(), signal)
    await waitUntil('the first to make the report', () => inside === 1)
    let othersEnded = false
    const others = Promise.all(Array.from({ length: 5 }, () => doWhatIsDue(slow(), signal))).then(() => (othersEnded = true))
    await waitUntil('the others to find it taken', () => othersEnded || inside > 1)
    release()
    await Promise.all([first, others])
    expect(inside).toBe(1)
    await doWhatIsDue(slow(), signal)
    expect(shop.frozen.map(({ kind, period }) => `${kind} ${period}`)).toEqual(['monthly 2025-01'])
    expect(shop.batches).toBe(1)
  })

  test('goes on with the other periods where one fails for a reason of its own, and stops where an engine is away', async () => {
    const shop = new SimulatedShop(database, { zone: 'Europe/London', booksOpenOn: '2024-11-01', nightlyAt: '03:00', graceMs: 0, beginsAtMs: start - 60 * minute, firstMonths: ['2024-11-01'] })
    const errors: Record<string, Error> = { 'monthly 2024-11': new ConfigError('of its own'), 'monthly 2025-01': new UnavailableError('the lake is away') }
    const tried: string[] = []
    const worker = shop.worker()
    const freezeReport: AskOptions['work']['freezeReport'] = async (kind, period, stop) => {
      tried.push(`${kind} ${period}`)
      const error = errors[`${kind} ${period}`]
      if (error !== undefined) throw error
      return worker.work.freezeReport!(kind, period, stop)
    }
    let delivered = 0
    const options: AskOptions = { ...worker, work: { ...worker.work, freezeReport, deliver: async () => delivered++ } }
    shop.nowMs = start - 30 * minute
    await shop.count()
    await doWhatIsDue(options, signal).catch(() => undefined)
    shop.nowMs = start
    await shop.count()
    tried.length = 0
    await expect(doWhatIsDue(options, signal)).rejects.toThrow('of its own')
    expect(tried).toEqual(['monthly 2024-11', 'seasonal 2024-autumn', 'monthly 2024-12', 'quarterly 2024-Q4', 'yearly 2024', 'monthly 2025-01'])
    expect(delivered).toBe(2)
    expect(await outcomes()).toMatchObject({ 'monthly 2024-11': 'failed', 'seasonal 2024-autumn': 'published', 'monthly 2024-12': 'published', 'monthly 2025-01': 'failed' })
    // Away for a minute; of its own for six hours.
    shop.nowMs = start + minute
    delete errors['monthly 2025-01']
    await doWhatIsDue(options, signal)
    expect(await outcomes()).toMatchObject({ 'monthly 2024-11': 'failed', 'monthly 2025-01': 'published' })
    delete errors['monthly 2024-11']
    shop.nowMs = start + 6 * 60 * minute
    await doWhatIsDue(options, signal)
    expect(await outcomes()).toMatchObject({ 'monthly 2024-11': 'published' })
    const latest = (await readLatestRuns(database.pool)).get('monthly')!
    expect([latest.last.period, latest.lastSuccess?.period]).toEqual(['2024-11', '2024-11'])
  })

  test('for a night that failed in passing begins it again within minutes; a held one waits for the next night', async () => {
    const shop = new SimulatedShop(database, { zone: 'Europe/London', booksOpenOn: '2025-01-01', nightlyAt: '03:00', graceMs: 0, beginsAtMs: start, firstMonths: [] })
    await shop.count()
    shop.failing.set('batch', 2)
    await expect(doWhatIsDue(shop.worker(), signal)).rejects.toThrow('the engine is away')
    await doWhatIsDue(shop.worker(), signal)
    shop.nowMs += minute
    await expect(doWhatIsDue(shop.worker(), signal)).rejects.toThrow('the engine is away')
    shop.nowMs += minute
    await doWhatIsDue(shop.worker(), signal)
    expect(shop.batches).toBe(0)
    shop.nowMs += minute
    await doWhatIsDue(shop.worker(), signal)
    expect([shop.batches, (await findJobRun(database.pool, 'nightly', '2025-02-01'))?.attempts]).toEqual([1, 3])

    const held = { ...shop.worker(), work: { ...shop.worker().work, runBatch: async () => Promise.reject(new HeldError('Batch 2 is held')) } }
    shop.nowMs = Date.parse('2025-02-02T03:00:00Z')
    await expect(doWhatIsDue(held, signal)).rejects.toThrow('Batch 2 is held')
    shop.nowMs += 12 * 60 * minute
    await doWhatIsDue(shop.worker(), signal)
    expect(await findJobRun(database.pool, 'nightly', '2025-02-02')).toMatchObject({ outcome: 'failed', attempts: 1, retryAt: null })
    shop.nowMs = Date.parse('2025-02-03T03:00:00Z')
    await doWhatIsDue(shop.worker(), signal)
    expect(shop.batches).toBe(2)
  })

  test('by a worker that is told to stop leaves the run to the next', async () => {
    const shop = await februaryShop()
    const stopping = new AbortController()
    const worker = shop.worker()
    const freezeReport: AskOptions['work']['freezeReport'] = async (_kind, _period, stop) => {
      stopping.abort()
      stop.throwIfAborted()
      throw new Error('not stopped')
    }
    await doWhatIsDue({ ...worker, work: { ...worker.work, freezeReport } }, stopping.signal)
    expect(await findJobRun(database.pool, 'monthly', '2025-01')).toMatchObject({ outcome: 'failed', attempts: 0, lastError: 'The worker was stopped.' })
    await doWhatIsDue(worker, signal)
    expect(shop.frozen).toHaveLength(1)
  })
})
