/** Rows S1 to S8 and S19 to S22 of the fault catalogue: the speed layer before, in and after a flush. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { UnavailableError } from '#core/errors.ts'
import { cutEpoch } from '#store/epochs.ts'
import { readCommitted } from '#store/committed.ts'
import { mergeSmallPages } from '#store/ledger-pages.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { waitUntil } from '#test/wait-until.ts'
import { LoopWorker, digestOfStore, expectE0, isWhole, logSchemaOf, openSession, openTraffic, plainSales, sale } from './setup.ts'
import type { CrashAt } from './speed-steps.ts'
import { crashAfterCommit, crashBeforeCommit, crashWorker, flushInMidFlush, joinAndLeave, loseCommit, replayIntoEmpty, replayIntoFull } from './speed-steps.ts'

const allPartitions = [0, 1, 2]
/** In a row; each waits longer than the one before. */
const refusals = isWhole ? 8 : 3
let lab: Lab

beforeAll(async () => {
  lab = await openLab()
})
afterAll(async () => lab[Symbol.asyncDispose]())
beforeEach(async () => lab.clear())

const crashAt: CrashAt = async (point, nodeOptions) => crashWorker(lab, await logSchemaOf(lab), point, nodeOptions)

describe('crashes around the commit', () => {
  test('S1 kill -9 after the commit: what comes again is skipped and the sums stay', async () => {
    await crashAfterCommit(lab, crashAt)
  })

  test('S2 kill -9 before the commit: nothing of the flush is visible, and it is counted once afterwards', async () => {
    await crashBeforeCommit(lab, crashAt)
  })

  test('S22 out of memory in the middle of a flush: as S2', async () => {
    await lab.append(plainSales(lab, 60, 'a'))
    const { code, signal } = await crashAt('out of memory', ['--max-old-space-size=64'])
    expect(code === 0).toBe(false)
    expect(signal === 'SIGABRT' || code === 134 || signal === 'SIGTRAP').toBe(true)
    expect([...(await readCommitted(lab.database.pool, lab.topic)).values()]).toEqual([0, 0, 0])
    await using _worker = new LoopWorker(lab)
    await expectE0(lab)
  })

  test.each(['reply', 'request'] as const)('S4 the connection is cut and the %s of COMMIT is lost: the outcome is read again, nothing counts twice', async (lost) => {
    await loseCommit(lab, lost)
  })
})

describe('two workers', () => {
  test('S5 a second worker flushes the same records in the middle of a flush: it is fenced and both converge', async () => {
    await flushInMidFlush(lab)
  })

  test(`S5 a second worker joins and leaves again and again while both read everything (${isWhole ? '2 min' : 'short'})`, async () => {
    await joinAndLeave(lab)
  })
})

describe('S8 the database refuses', () => {
  test(`S8 pg_terminate_backend on every session, ${isWhole ? 60 : 8} times under load`, async () => {
    const traffic = openTraffic(lab, 8)
    await using session = await openSession(lab)
    await using worker = new LoopWorker(lab)
    let ended = 0
    for (let round = 0; round < (isWhole ? 60 : 8); round++) {
      await traffic(60)
      const { rows } = await session.query<{ ended: string }>(
        `SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) AS ended FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND datname = current_database()`,
      )
      ended += Number(rows[0]!.ended)
      await expectE0(lab)
    }
    expect(ended).toBeGreaterThan(0)
    expect(worker.failure).toBeNull()
  })

  test('S8 a deadlock: the flush that loses is done again', async () => {
    await lab.append(plainSales(lab, 9, 'a'))
    await using worker = new LoopWorker(lab)
    await expectE0(lab)
    await using session = await openSession(lab)
    // The other side waits longer than a second before it looks for a deadlock, so the flush is the one that finds it and is ended.
    await session.query(`SET deadlock_timeout = '20s'`)
    await session.query('BEGIN')
    await session.query('SELECT FROM product_names FOR UPDATE')
    await lab.append([0, 1, 2].map((partition) => sale({ id: `b-${partition}`, partition, product: 'P1', productName: 'A new name' })))
    const blocked = await waitUntil('the flush to wait for the row', async () => {
      const { rows } = await lab.database.pool.query<{ pid: number }>(`SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%INSERT INTO product_names%'`)
      return rows[0]?.pid
    })
    expect(blocked).toBeGreaterThan(0)
    await session.query('SELECT FROM committed_offsets FOR UPDATE')
    await session.query('ROLLBACK')
    await expectE0(lab)
    expect(worker.warnings.map((warning) => warning.text).join()).toContain('40P01')
  })

  test.each([
    ['40001', 'a serialisation failure'],
    ['53100', 'a full disk'],
    ['53200', 'no memory'],
    ['25006', 'a read-only database'],
    ['55P03', 'a lock that cannot be had'],
  ])(`S8 SQLSTATE %s, %s, ${refusals} times over: the flush is done again until it succeeds`, async (sqlState) => {
    await using _trigger = await raiseOnFlush(sqlState, refusals)
    await lab.append(plainSales(lab, 30, 'a'))
    await using worker = new LoopWorker(lab)
    await expectE0(lab)
    expect(worker.warnings).toHaveLength(refusals)
    expect(worker.warnings.every((warning) => warning.code === 'unavailable' && warning.text.includes(sqlState))).toBe(true)
  })

  test('S8 an error that no retry can mend ends the worker with it, and nothing is counted', async () => {
    await lab.append(plainSales(lab, 30, 'a'))
    {
      await using _trigger = await raiseOnFlush('42P01', 1_000)
      const worker = new LoopWorker(lab)
      await worker.finished
      expect(worker.failure).toMatchObject({ code: '42P01' })
    }
    expect([...(await readCommitted(lab.database.pool, lab.topic)).values()]).toEqual([0, 0, 0])
    await using _again = new LoopWorker(lab)
    await expectE0(lab)
  })

  test('S8 a cut that waits for a stalled flush times out, asks again, and the flush stays whole on one side', async () => {
    await lab.append(plainSales(lab, 30, 'a'))
    const worker = await StepWorker.open(lab, allPartitions)
    await worker.readAll()
    const cuts: ReturnType<typeof cutEpoch>[] = []
    const epoch = await worker.flush({
      beforeCommit: async (client) => {
        cuts.push(cutEpoch(lab.database, lab.decoder.logicVersion))
        await using session = await openSession(lab)
        const waitingSince = async (): Promise<string | undefined> =>
          (await session.query<{ since: string }>(`SELECT query_start::text AS since FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory'`)).rows[0]?.since
        const first = await waitUntil('the cut to wait', waitingSince)
        await waitUntil('the cut to give up and ask again', async () => ![undefined, first].includes(await waitingSince()))
        // Still the transaction's own, after the time-out beside it.
        await client.query('SELECT 1')
      },
    })
    const { epoch: ended, horizon } = await cuts[0]!
    expect(epoch).toBe(ended)
    expect(new Map(horizon.map((entry) => [entry.partition, entry.nextOffset]))).toEqual(lab.oracle.ends())
    await expectE0(lab)
  })

  test('S8 a flush that stands still in its transaction is ended by the server, and others go on', async () => {
    await lab.append(plainSales(lab, 30, 'a'))
    const stalled = await StepWorker.open(lab, allPartitions)
    await stalled.readAll()
    const failure = stalled.flush({
      beforeCommit: async (client) => {
        await waitUntil('the server to end the silent transaction', () => isGone(client), 20_000)
      },
    })
    await expect(failure).rejects.toBeInstanceOf(UnavailableError)
    await using _worker = new LoopWorker(lab)
    await expectE0(lab)
  })
})

/** Whether the server has ended this client's session, seen from another. */
async function isGone(client: unknown): Promise<boolean> {
  const { processID } = client as { processID: number }
  const { rowCount } = await lab.database.pool.query('SELECT FROM pg_stat_activity WHERE pid = $1', [processID])
  return rowCount === 0
}

/** The first so many flushes fail with this SQLSTATE, after their offsets moved. */
async function raiseOnFlush(sqlState: string, times: number): Promise<AsyncDisposable> {
  const session = await openSession(lab)
  await session.query(/* sql */ `
    CREATE SEQUENCE faults_raised;
    CREATE FUNCTION raise_fault() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF nextval('faults_raised') <= ${times} THEN RAISE EXCEPTION 'injected' USING ERRCODE = '${sqlState}'; END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER raise_fault BEFORE INSERT ON ledger_pages FOR EACH STATEMENT EXECUTE FUNCTION raise_fault()`)
  return {
    async [Symbol.asyncDispose]() {
      await session.query('DROP TRIGGER raise_fault ON ledger_pages; DROP FUNCTION raise_fault; DROP SEQUENCE faults_raised')
      await session.end()
    },
  }
}

describe('replays', () => {
  test('S19 the group of readers is forgotten: nothing changes', async () => {
    const traffic = openTraffic(lab, 19)
    await traffic(300)
    {
      await using _worker = new LoopWorker(lab)
      await expectE0(lab)
    }
    const before = await digestOfStore(lab)
    await lab.database.pool.query(`DELETE FROM ${await logSchemaOf(lab)}.members`)
    {
      await using worker = new LoopWorker(lab)
      await waitUntil('the worker to have its partitions', async () => {
        const { rows } = await lab.database.pool.query<{ held: string }>(`SELECT count(*)::text AS held FROM ${await logSchemaOf(lab)}.members`)
        return rows[0]!.held === '1'
      })
      await traffic(0)
      expect(await digestOfStore(lab)).toBe(before)
      await traffic(100)
      await expectE0(lab)
      expect(worker.warnings).toEqual([])
    }
  })

  test('S20 a replay from offset 0 into empty tables gives identical figures', async () => {
    await replayIntoEmpty(lab)
  })

  test('S21 a replay from offset 0 into tables that are not empty is fenced: not one row changes', async () => {
    await replayIntoFull(lab)
  })

  test('S20 merging ledger pages in between changes nothing that a replay sees', async () => {
    const worker = await StepWorker.open(lab, allPartitions)
    for (let n = 0; n < 120; n++) {
      await lab.append([sale({ id: `m-${n}`, partition: n % 3, unitMinor: n + 1 })])
      await worker.readAll()
      await worker.flush()
    }
    expect(await mergeSmallPages(lab.database)).toBeGreaterThan(0)
    // Every id again: only a ledger that holds each of them counts none.
    await lab.append(Array.from({ length: 120 }, (_, n) => sale({ id: `m-${n}`, partition: n % 3, unitMinor: n + 1 })))
    const again = await StepWorker.open(lab, allPartitions)
    await again.readAll()
    await again.flush()
    await expectE0(lab)
  })
})
