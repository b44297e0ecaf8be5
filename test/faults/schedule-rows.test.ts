/** Rows L11 and L12 of the fault catalogue, on both backends of BullMQ: a job that is given to a second worker while the first still runs, and a queue that forgets. */
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { AskOptions } from '#batch/ask.ts'
import { doWhatIsDue, lookAhead } from '#batch/ask.ts'
import { openJobs } from '#batch/jobs.ts'
import { sweepOrphans } from '#batch/orphans.ts'
import { nightlyId, nightlyPattern, runSchedule } from '#batch/schedule.ts'
import { findJobRun } from '#store/job-runs.ts'
import { listReports, readReportFiles, readReportText } from '#store/reports.ts'
import { testEngine, whereMissing } from '#test/engines.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { OwnRedis } from '#test/lab/own-redis.ts'
import { reportSchedule } from '#test/lab/report-schedule.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { freshSchema } from '#test/postgres.ts'
import { waitUntil } from '#test/wait-until.ts'
import { booksOpenOn, leaseMs, lockMs } from './schedule-times.ts'
import { sale } from './setup.ts'

const child = fileURLToPath(new URL('./schedule-child.ts', import.meta.url))
/** 1 April 2025, 09:00 in London, and on with the clock of the machine. */
const leadMs = Date.parse('2025-04-01T08:00:00Z') - Date.now()
const redisUrl = testEngine('redis')
const { signal } = new AbortController()

let lab: Lab
beforeAll(async () => {
  lab = await openLab()
})
afterAll(() => lab[Symbol.asyncDispose]())
beforeEach(() => lab.clear())

function scheduleOf(clock: () => number): AskOptions {
  const { database, lake, engine, topic } = lab
  const runBatch = async (): Promise<{ batch: number; outcome: string }> => {
    const { batch, crossCheck } = await runLabBatch(lab)
    return { batch: batch.batch, outcome: crossCheck.summary.result }
  }
  return reportSchedule({ database, lake, engine, topic, booksOpenOn, clock, runBatch, leaseMs })
}

async function sell(...days: readonly string[]): Promise<void> {
  await lab.append(days.map((day, i) => sale({ id: `${day}-${i}`, day, unitMinor: 1_000 + i })))
  const worker = await StepWorker.open(lab, [0, 1, 2])
  await worker.readAll()
  await worker.flush()
}

const made = async () => (await listReports(lab.database.pool)).map(({ kind, period, version }) => `${kind} ${period} v${version}`).sort()

async function filesOfReports(): Promise<string[]> {
  const paths: string[] = []
  for await (const { path } of lab.lake.list('reports/')) paths.push(path)
  return paths.sort()
}

async function registeredFiles(): Promise<string[]> {
  return (await readReportFiles(lab.database.pool)).map(({ path }) => path).sort()
}

const manners = [['is stopped', 'stop'], ['blocks its event loop', 'block']] as const

function givenToASecondWorker(place: () => Promise<{ url: string; namespace: string }>, tried: readonly (typeof manners)[number][]): void {
  test.each(tried)('L11 a worker that %s has its job given to another: two runs, one publication, the loser’s files swept', async (_what, manner) => {
    const { url, namespace } = await place()
    // Of the tests before: the lake is not cleared.
    const old = await filesOfReports()
    await sell('2025-03-05', '2025-03-31')
    const clock = (): number => Date.now() + leadMs
    const ours = scheduleOf(clock)
    // The night's batch, and no report yet.
    await doWhatIsDue({ ...ours, work: { logEnds: ours.work.logEnds, runBatch: ours.work.runBatch } }, signal)
    const file = join(tmpdir(), `tidemark-go-${randomUUID()}`)
    const first = spawn(process.execPath, [child, url, namespace, lab.url, lab.database.schema, lab.topic, lab.lakeRoot, String(leadMs), manner, file], { stdio: ['pipe', 'pipe', 'inherit'] })
    let said = ''
    first.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
    try {
      await waitUntil('the first worker to have the report in hand', () => said.includes('in hand'), 30_000)
      expect(await made()).toEqual([])
      let asked = 0
      await using jobs = openJobs({ url, namespace, lockMs }, () => undefined)
      jobs.work(async () => {
        asked++
        await doWhatIsDue(ours, signal)
      })
      // Nobody has asked again: it is the first worker's job.
      await waitUntil('the job to be given to the second', () => asked > 0, 30_000)
      await waitUntil('the second to publish', async () => {
        await jobs.askOnce('ask')
        return (await made()).length === 2
      }, 30_000)
      const published = await readReportText(lab.database.pool, 'monthly', '2025-03')
      const known = await registeredFiles()

      if (manner === 'stop') first.kill('SIGCONT')
      else await writeFile(file, '')
      await waitUntil('the first to find that it lost', () => said.includes('another worker took this run over'), 30_000)
      await waitUntil('the first to end', () => said.includes('asked'))
      expect(await made()).toEqual(['monthly 2025-03 v1', 'quarterly 2025-Q1 v1'])
      expect(await readReportText(lab.database.pool, 'monthly', '2025-03')).toBe(published)
      expect(await registeredFiles()).toEqual(known)
      expect(await findJobRun(lab.database.pool, 'monthly', '2025-03')).toMatchObject({ outcome: 'published', version: 1, attempts: 2, lastError: null })

      const lost = (await filesOfReports()).filter((path) => !known.includes(path) && !old.includes(path))
      expect(lost.length).toBeGreaterThan(0)
      expect(lost.every((path) => path.startsWith('reports/monthly/2025-03/v1/'))).toBe(true)
      const { moved } = await sweepOrphans({ database: lab.database, lake: lab.lake, topics: [], nowMs: Date.now() + 60_000, orphanAfterMs: 0, deleteAfterMs: Number.MAX_SAFE_INTEGER })
      expect(moved.filter((path) => !old.includes(path)).sort()).toEqual(lost)
      expect((await filesOfReports()).filter((path) => !old.includes(path))).toEqual(known)
    } finally {
      first.kill('SIGCONT')
      first.kill('SIGKILL')
    }
  })
}

describe('on PostgreSQL', () => {
  givenToASecondWorker(async () => ({ url: lab.url, namespace: await freshSchema(lab.url, 'l11_jobs') }), manners)
})

describe(`on Redis${whereMissing('redis')}`, { skip: redisUrl === null }, () => {
  givenToASecondWorker(async () => ({ url: redisUrl!, namespace: `l11-${randomUUID().slice(0, 8)}` }), manners.slice(0, 1))

  test('L12 Redis emptied, and started again without its file, over a month’s end: the missed report is made once, and those of before stay as they are', async () => {
    await using redis = await OwnRedis.prepare()
    await redis.start('--appendonly', 'no')
    let leads = leadMs
    const asking = scheduleOf(() => Date.now() + leads)
    await sell('2025-03-05')
    const jobs = openJobs({ url: redis.url, namespace: 'l12' }, () => undefined)
    const stopping = new AbortController()
    const schedule = { jobs, schedules: async () => [{ id: nightlyId, pattern: nightlyPattern('03:00') }], zone: 'Europe/London', ask: () => doWhatIsDue(asking, stopping.signal), isDue: () => lookAhead(asking), onError: () => undefined, watchIntervalMs: 200 }
    const running = runSchedule(schedule, stopping.signal)
    try {
      await waitUntil('March', async () => (await made()).length === 2)
      const march = await readReportText(lab.database.pool, 'monthly', '2025-03')
      await redis.command('FLUSHALL')
      await waitUntil('the schedule to be back', () => jobs.nextRunMs(nightlyId))
      expect(await made()).toHaveLength(2)

      await redis.stop()
      await sell('2025-04-07')
      leads = Date.parse('2025-05-03T09:00:00Z') - Date.now()
      await redis.start('--appendonly', 'no')
      await waitUntil('April', async () => (await made()).length === 3, 30_000)
      await redis.command('FLUSHALL')
      await waitUntil('the schedule to be back', () => jobs.nextRunMs(nightlyId).catch(() => null), 30_000)
      expect(await made()).toEqual(['monthly 2025-03 v1', 'monthly 2025-04 v1', 'quarterly 2025-Q1 v1'])
      expect(await readReportText(lab.database.pool, 'monthly', '2025-03')).toBe(march)
      expect(await findJobRun(lab.database.pool, 'monthly', '2025-04')).toMatchObject({ outcome: 'published', attempts: 1 })
    } finally {
      stopping.abort()
      await running
      await jobs[Symbol.asyncDispose]()
    }
  })
})
