/** Rows of the speed layer that every log must pass, step by step; the rows' tests give them their names and their lab. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { FencedError } from '#core/errors.ts'
import { Ledger } from '#core/ledger.ts'
import { Accumulator } from '#speed/accumulator.ts'
import { readCommitted } from '#store/committed.ts'
import { openDatabase } from '#store/database.ts'
import { commitFlush } from '#store/flush.ts'
import { migrateStore } from '#store/migrate.ts'
import { agreeOnLogic } from '#store/partitions.ts'
import type { Lab } from '#test/lab.ts'
import { checkExact, readMerged } from '#test/lab/merged.ts'
import { StepWorker, readLog } from '#test/lab/step-worker.ts'
import { freshSchema } from '#test/postgres.ts'
import { waitUntil } from '#test/wait-until.ts'
import type { CrashPoint } from './crash-child.ts'
import { LoopWorker, digestOfStore, expectE0, isWhole, openSession, openTraffic, plainSales, runBatchWith, whenCounted } from './setup.ts'
import type { CommitLoss } from './tcp-proxy.ts'
import { CommitProxy } from './tcp-proxy.ts'

/** Runs a worker in a process of its own until it ends itself there. Resolves to how it ended. */
export type CrashAt = (point: CrashPoint, nodeOptions?: readonly string[]) => Promise<{ code: number | null; signal: string | null }>

const allPartitions = [0, 1, 2]

/** `logPlace` is the schema of a PostgreSQL log, or the address of another. */
export async function crashWorker(lab: Lab, logPlace: string, point: CrashPoint, nodeOptions: readonly string[] = []): Promise<{ code: number | null; signal: string | null }> {
  const child = spawn(
    process.execPath,
    [...nodeOptions, fileURLToPath(new URL('./crash-child.ts', import.meta.url)), lab.url, lab.database.schema, logPlace, lab.topic, point],
    { stdio: ['ignore', 'ignore', 'ignore'] },
  )
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
  await waitUntil('the sessions of the dead process to end', async () => {
    const { rows } = await lab.database.pool.query<{ holders: bigint }>(`SELECT count(*) AS holders FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()`)
    return rows[0]!.holders === 0n
  })
  return { code, signal }
}

export async function crashAfterCommit(lab: Lab, crashAt: CrashAt): Promise<void> {
  await lab.append(plainSales(lab, 60, 'a'))
  expect(await crashAt('after commit')).toEqual({ code: null, signal: 'SIGKILL' })
  const committed = await readCommitted(lab.database.pool, lab.topic)
  expect([...committed.values()].some((offset) => offset > 0)).toBe(true)
  await checkExact(lab)
  // The next owner; its log delivers everything from the beginning, as Kafka may.
  const worker = await StepWorker.open(lab, allPartitions)
  let below = 0
  for (const partition of allPartitions) {
    below += committed.get(partition)!
    for (const batch of await readLog(lab, partition, 0, lab.oracle.ends().get(partition)!)) worker.redeliver(batch)
  }
  expect(worker.skippedReplays).toBe(below)
  const flush = worker.take()
  if (flush.partitions.length > 0) await commitFlush(lab.database, flush)
  await expectE0(lab)
}

export async function crashBeforeCommit(lab: Lab, crashAt: CrashAt): Promise<void> {
  await lab.append(plainSales(lab, 60, 'a'))
  const before = await readMerged(lab)
  expect(await crashAt('before commit')).toEqual({ code: null, signal: 'SIGKILL' })
  const after = await readMerged(lab)
  expect([...after.n.values()].reduce((sum, offset) => sum + offset, 0)).toBe(0)
  expect(after.views).toEqual(before.views)
  await using worker = new LoopWorker(lab)
  await expectE0(lab)
  expect(worker.warnings).toEqual([])
}

export async function loseCommit(lab: Lab, lost: CommitLoss): Promise<void> {
  await using proxy = await CommitProxy.open(lab.url)
  await using database = openDatabase({ url: proxy.url, schema: lab.database.schema })
  const traffic = openTraffic(lab, 40)
  const flushed: number[] = []
  {
    await using worker = new LoopWorker(lab, { database, onFlush: ({ records }) => flushed.push(records) })
    await traffic(40)
    await whenCounted(lab)
    for (let round = 1; round <= (isWhole ? 40 : 6); round++) {
      // Only a flush commits here: what the worker says of itself is a statement by itself.
      proxy.loseNext(lost)
      await traffic(10)
      await expectE0(lab)
      expect(proxy.losses).toBe(round)
      await waitUntil('the worker to notice', () => worker.warningsOf('unavailable') === round)
    }
  }
  const counted = flushed.reduce((sum, records) => sum + records, 0)
  const produced = [...lab.oracle.ends().values()].reduce((sum, end) => sum + end, 0)
  // Flushes whose reply was lost did commit and were not told to the worker.
  if (lost === 'reply') expect(counted).toBeLessThan(produced)
  else expect(counted).toBe(produced)
}

export async function flushInMidFlush(lab: Lab): Promise<void> {
  await lab.append(plainSales(lab, 90, 'a'))
  const first = await StepWorker.open(lab, allPartitions)
  await first.readAll()
  const seconds: Promise<unknown>[] = []
  await first.flush({
    beforeCommit: async () => {
      const joining = await StepWorker.open(lab, allPartitions)
      await joining.readAll()
      seconds.push(
        joining.flush().then(
          () => null,
          (thrown: unknown) => thrown,
        ),
      )
      await using session = await openSession(lab)
      await waitUntil('the second flush to wait for the first', async () => {
        const { rowCount } = await session.query(`SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%WITH moves%'`)
        return rowCount === 1
      })
    },
  })
  expect(await seconds[0]).toBeInstanceOf(FencedError)
  await expectE0(lab)
}

export async function joinAndLeave(lab: Lab): Promise<void> {
  // A log that gives every reader every partition: the worst that an assignment can do.
  const greedy = new Proxy(lab.log, {
    get(log, name) {
      if (name !== 'assigned') {
        const value: unknown = Reflect.get(log, name)
        return typeof value === 'function' ? value.bind(log) : value
      }
      return async function* (_topic: string, signal: AbortSignal) {
        yield allPartitions
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
      }
    },
  })
  const traffic = openTraffic(lab, 5)
  const rounds = isWhole ? 24 : 6
  const stayMs = isWhole ? 5_000 : 250
  let fenced = 0
  await using staying = new LoopWorker(lab, { log: greedy })
  for (let round = 0; round < rounds; round++) {
    await using joining = new LoopWorker(lab, { log: greedy })
    const until = performance.now() + stayMs
    // On a slow machine no joining worker may come to a flush within its stay: the last stays until one of the two was fenced, or never will be.
    const isMissed = () => round === rounds - 1 && fenced + joining.warningsOf('fenced') + staying.warningsOf('fenced') === 0
    while (performance.now() < until || (isMissed() && performance.now() < until + 60_000)) {
      await traffic(15)
      await checkExact(lab)
    }
    fenced += joining.warningsOf('fenced')
    expect(joining.warnings.filter((warning) => warning.code !== 'fenced')).toEqual([])
  }
  await expectE0(lab)
  expect(staying.warnings.filter((warning) => warning.code !== 'fenced')).toEqual([])
  expect(fenced + staying.warningsOf('fenced')).toBeGreaterThan(0)
}

export async function replayIntoEmpty(lab: Lab): Promise<void> {
  await openTraffic(lab, 20)(600)
  {
    await using _worker = new LoopWorker(lab, { flushRecordsMax: 37 })
    await expectE0(lab)
  }
  const first = await readMerged(lab)
  await using database = openDatabase({ url: lab.url, schema: await freshSchema(lab.url, 'replay') })
  await migrateStore(database)
  await agreeOnLogic(database, lab.decoder.logicVersion)
  const other: Lab = { ...lab, database, topic: lab.topic, oracle: lab.oracle }
  await using _worker = new LoopWorker(other, { flushRecordsMax: 1_000 })
  const second = await expectE0(other)
  expect(second).toEqual(first)
}

export async function replayIntoFull(lab: Lab): Promise<void> {
  await openTraffic(lab, 21)(300)
  {
    await using _worker = new LoopWorker(lab)
    await expectE0(lab)
  }
  await runBatchWith(lab)
  const before = await digestOfStore(lab)
  for (const partition of allPartitions) {
    // An operator's mistake: offsets set back to 0, and no ledger.
    const accumulator = new Accumulator({ topic: lab.topic, decoder: lab.decoder, ledger: new Ledger(10_000) }, new Map([[partition, 0]]))
    for (const batch of await readLog(lab, partition, 0, lab.oracle.ends().get(partition)!)) accumulator.add(batch)
    await expect(commitFlush(lab.database, accumulator.take())).rejects.toBeInstanceOf(FencedError)
  }
  expect(await digestOfStore(lab)).toBe(before)
  await checkExact(lab)
}
