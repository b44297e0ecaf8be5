/** `tidemark schedule list` and `tidemark jobs`, as people run them. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { lookAhead } from '#batch/ask.ts'
import { openJobs } from '#batch/jobs.ts'
import { batchSchedules } from '#batch/schedule.ts'
import { claimRun, failRun, finishRun } from '#store/job-runs.ts'
import { readSeasons } from '#store/seasons.ts'
import { LayerProcess } from '#test/faults/layer-process.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { SimulatedShop } from './simulated-shop.ts'

let lab: Lab
beforeAll(async () => {
  lab = await openLab()
})
beforeEach(() => lab.clear())
afterAll(() => lab[Symbol.asyncDispose]())

async function tidemark(...args: readonly string[]): Promise<{ code: number | null; printed: string; said: string }> {
  const environment = { DATABASE_URL: lab.url, TIDEMARK_SCHEMA: lab.database.schema, TIDEMARK_DATA: lab.lakeRoot, TIDEMARK_BOOKS_OPEN_ON: '2025-02-01', JOBS_URL: '' }
  await using command = new LayerProcess(args, { environment })
  const { code } = await command.ended()
  return { code, printed: command.printed, said: command.said }
}

type Listed = { kind: string; pattern: string | null; lastRun: { period: string; outcome: string; durationMs: number } | null; nextRunAt: string | null; nextPeriod: string | null; registered: boolean | null }
type Listing = { zone: string; schedules: Listed[]; dueNow: { kind: string; period: string }[]; waiting: { kind: string; period: string; state: string; reason: string }[]; queue: string }

test('the list says what ran, what comes, what is due and what waits for what, without and with a queue', { timeout: 240_000 }, async () => {
  const now = Date.now()
  const shop = new SimulatedShop(lab.database, { zone: 'Europe/London', booksOpenOn: '2025-02-01', nightlyAt: '03:00', graceMs: 0, beginsAtMs: now - 60_000, firstMonths: ['2025-02-01'] })
  await shop.worker().work.runBatch(new AbortController().signal)
  const night = (await claimRun(lab.database, 'nightly', '2025-03-01', now - 5_000, 60_000))!
  await finishRun(lab.database.pool, night, { outcome: 'exact', batch: 1 }, now - 2_500)
  const month = (await claimRun(lab.database, 'monthly', '2025-02', now - 2_000, 60_000))!
  await failRun(lab.database.pool, month, 'the lake is away', now, now + 3_600_000)

  const bare = await tidemark('schedule', 'list', '--json')
  expect(bare.code, bare.said).toBe(0)
  const before = JSON.parse(bare.printed) as Listing
  expect(before.zone).toBe('Europe/London')
  expect(before.queue).toMatch(/not made yet.*tidemark batch work/)
  expect(before.schedules.map(({ kind }) => kind)).toEqual(['archive', 'nightly', 'catch-up', 'restate', 'monthly', 'quarterly', 'seasonal', 'yearly', 'compact'])
  const of = (listing: Listing, kind: string): Listed => listing.schedules.find((one) => one.kind === kind)!
  expect(of(before, 'nightly')).toMatchObject({ pattern: '0 0 3 * * *', lastRun: { period: '2025-03-01', outcome: 'exact', durationMs: 2_500 }, registered: false })
  expect(of(before, 'monthly').lastRun).toMatchObject({ period: '2025-02', outcome: 'failed' })
  expect(Date.parse(of(before, 'nightly').nextRunAt!)).toBeGreaterThan(now)
  expect(before.dueNow).toEqual([expect.objectContaining({ kind: 'nightly' }), { kind: 'restate', period: 'batch-1' }])
  // The log's end after them is not recorded: no worker has run.
  expect(before.waiting[0]).toMatchObject({ kind: 'monthly', period: '2025-02', state: 'waiting', reason: expect.stringContaining('not recorded yet') })

  shop.nowMs = now
  await lookAhead(shop.worker())
  await using jobs = openJobs({ url: lab.url, namespace: `${lab.database.schema}_jobs` }, () => undefined)
  await jobs.ensureSchedulers(batchSchedules('03:00', await readSeasons(lab.database.pool)), 'Europe/London')
  await jobs.askOnce('ask')
  const people = await tidemark('schedule', 'list')
  expect(people.code, people.said).toBe(0)
  expect(people.printed).toMatch(/^nightly {4}each night at 03:00 .* 2025-03-01 +exact +2\.5 s +\w{3} \d{4}-\d\d-\d\d 03:00 \+0[01]:00$/m)
  expect(people.printed).toMatch(/^Due now: nightly \d{4}-\d\d-\d\d, restate batch-1\.$/m)
  expect(people.printed).toContain('monthly 2025-02 failed: the lake is away')
  expect(people.printed).toContain('Not registered as the settings say: archive.')

  const queue = await tidemark('jobs', '--json')
  const { queues } = JSON.parse(queue.printed) as { queues: { name: string; counts: Record<string, number>; jobs: { job: string; state: string }[] }[] }
  expect(queues.map(({ name, counts }) => [name, counts['waiting'], counts['delayed']])).toEqual([['tidemark-batch', 1, 5], ['tidemark-archive', 0, 0]])
  expect(queues[0]!.jobs.filter(({ state }) => state === 'delayed').map(({ job }) => job).sort()).toEqual(['monthly', 'nightly', 'quarterly', 'seasonal', 'yearly'])
  expect((await tidemark('jobs')).printed).toMatch(/^tidemark-batch: active 0 · waiting 1 · delayed 5 · failed 0 · completed 0$/m)
})

test('without a queue, and with a limit that is none, the commands say what to do', { timeout: 240_000 }, async () => {
  await lab.database.pool.query(`DROP SCHEMA IF EXISTS ${lab.database.schema}_jobs CASCADE`)
  const jobs = await tidemark('jobs')
  expect([jobs.code, jobs.said]).toEqual([4, expect.stringContaining('"tidemark batch work", which "tidemark up" starts, makes it')])
  const limit = await tidemark('jobs', '--limit', '0')
  expect([limit.code, limit.said]).toEqual([2, expect.stringContaining('--limit takes a number from 1 to 100')])
})
