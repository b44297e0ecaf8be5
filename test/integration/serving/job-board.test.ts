/** Bull Board at /jobs: to be looked at and not changed, from nowhere else, and only while the queue is there. And the metrics of the batch layer. */
import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, test } from 'vitest'
import { closeQueue, openJobs, openQueueToRead, queueNames, readQueue } from '#batch/jobs.ts'
import { batchSchedules } from '#batch/schedule.ts'
import { buildServer } from '#serving/server.ts'
import { claimRun, failRun, finishRun } from '#store/job-runs.ts'
import { recordArchiveRun } from '#store/archive-totals.ts'
import { readSeasons } from '#store/seasons.ts'
import { testEngine, whereMissing } from '#test/engines.ts'
import { freshSchema } from '#test/postgres.ts'
import { waitUntil } from '#test/wait-until.ts'
import type { FilledStore } from './filled-store.ts'
import { openFilledStore } from './filled-store.ts'

const settings = { zone: 'Europe/London', currency: 'GBP', booksOpenOn: '2024-01-01', version: '9.9.9', ledgerIdsMax: 1000 }
const clock = () => Date.parse('2025-01-01T00:59:59Z')
const redisUrl = testEngine('redis')

let store: FilledStore
beforeAll(async () => {
  store = await openFilledStore('board')
})
afterAll(async () => {
  await store?.[Symbol.asyncDispose]()
})

async function server(url: string, namespace: string): Promise<FastifyInstance> {
  const open = async () => queueNames.map((queue) => openQueueToRead({ url, namespace, queue }))
  return buildServer({ database: store.database, settings, clock, jobBoard: { open, close: closeQueue } })
}

function behavesAsBoard(place: () => Promise<{ url: string; namespace: string }>): void {
  let url: string
  let namespace: string
  let app: FastifyInstance
  beforeEach(async () => {
    ;({ url, namespace } = await place())
    app = await server(url, namespace)
  })
  afterEach(() => app.close())

  test('shows the schedules and the jobs of both queues', async () => {
    await using jobs = openJobs({ url, namespace }, () => undefined)
    await using archive = openJobs({ url, namespace, queue: 'tidemark-archive' }, () => undefined)
    await jobs.ensureSchedulers(batchSchedules('03:00', await readSeasons(store.database.pool)), 'Europe/London')
    await archive.ensureSchedulers([{ id: 'archive', pattern: '0 0 0 1 1 *' }], 'Europe/London')
    await jobs.askOnce('ask')
    const answer = await app.inject('/jobs/api/queues?activeQueue=tidemark-batch')
    expect(answer.statusCode).toBe(200)
    const { queues } = answer.json<{ queues: { name: string; readOnlyMode: boolean; counts: Record<string, number>; jobs: { name: string; data: unknown }[] }[] }>()
    expect(queues.map(({ name, readOnlyMode }) => [name, readOnlyMode])).toEqual(queueNames.map((name) => [name, true]))
    expect(queues[0]!.counts).toMatchObject({ waiting: 1, delayed: 5 })
    expect(queues[0]!.jobs.every(({ data }) => JSON.stringify(data) === '{}')).toBe(true)
    const { schedulers } = (await app.inject('/jobs/api/job-schedulers')).json<{ schedulers: { id: string }[] }>()
    expect(schedulers.map(({ id }) => id).sort()).toEqual(['archive', 'monthly', 'nightly', 'quarterly', 'seasonal', 'yearly'])
    const report = await readQueue({ url, namespace }, 5)
    expect([report.counts.waiting, report.counts.delayed, report.jobs.find(({ state }) => state === 'waiting')?.name]).toEqual([1, 5, 'ask'])
  })

  test('refuses whatever would change a queue, and changes nothing', async () => {
    await using jobs = openJobs({ url, namespace }, () => undefined)
    await using archive = openJobs({ url, namespace, queue: 'tidemark-archive' }, () => undefined)
    await archive.ensureSchedulers([], 'Europe/London')
    await jobs.askOnce('ask')
    const routes = [
      ['POST', '/tidemark-batch/add'],
      ['PUT', '/pause'],
      ['PUT', '/resume'],
      ['PUT', '/tidemark-batch/pause'],
      ['PUT', '/tidemark-batch/empty'],
      ['PUT', '/tidemark-batch/obliterate'],
      ['PUT', '/tidemark-batch/promote'],
      ['PUT', '/tidemark-batch/clean/completed'],
      ['PUT', '/tidemark-batch/1/clean'],
      ['PATCH', '/tidemark-batch/1/update-data'],
      ['PUT', '/tidemark-batch/job-schedulers/nightly/remove'],
    ] as const
    for (const [method, path] of routes) {
      const answer = await app.inject({ method, url: `/jobs/api/queues${path}`, payload: { name: 'x', data: {}, options: {} } })
      expect([answer.statusCode, answer.json<{ error: { code: string } }>().error.code], path).toEqual([405, 'read-only'])
    }
    expect((await readQueue({ url, namespace }, 5)).counts).toMatchObject({ waiting: 1, active: 0, completed: 0 })
  })

  test('is a page that loads nothing from elsewhere', async () => {
    await using jobs = openJobs({ url, namespace }, () => undefined)
    await using archive = openJobs({ url, namespace, queue: 'tidemark-archive' }, () => undefined)
    await jobs.askOnce('ask')
    await archive.askOnce('ask')
    const page = await app.inject('/jobs')
    expect(page.statusCode).toBe(200)
    expect(page.body).toContain('<base href="/jobs/" />')
    expect(page.body).not.toMatch(/(href|src)="(https?:)?\/\//)
    const policy = String(page.headers['content-security-policy'])
    expect(policy).toContain("default-src 'self'")
    expect(policy).not.toMatch(/https?:|\*|unsafe-eval/)
    const assets = [...page.body.matchAll(/(?:href|src)="(static\/[^"]+)"/g)].map((match) => match[1]!)
    expect(assets.length).toBeGreaterThan(3)
    for (const asset of assets) expect((await app.inject(`/jobs/${asset}`)).statusCode, asset).toBe(200)
  })
}

describe('on PostgreSQL', () => {
  behavesAsBoard(async () => ({ url: store.database.url, namespace: await freshSchema(store.database.url, 'board_jobs') }))

  test('before the queue is made the answer says who makes it, and the page comes once it is', async () => {
    const namespace = await freshSchema(store.database.url, 'board_jobs')
    const app = await server(store.database.url, namespace)
    try {
      const before = await app.inject('/jobs')
      expect([before.statusCode, before.json<{ error: { message: string } }>().error.message]).toEqual([503, expect.stringContaining('tidemark batch work')])
      expect(before.body).not.toContain('postgres://')
      await using jobs = openJobs({ url: store.database.url, namespace }, () => undefined)
      await jobs.askOnce('ask')
      await waitUntil('the page', async () => (await app.inject('/jobs')).statusCode === 200)
    } finally {
      await app.close()
    }
  })
})

describe.skipIf(redisUrl === null)(`on Redis${whereMissing('redis')}`, () => {
  behavesAsBoard(async () => ({ url: redisUrl!, namespace: `board-${Math.random().toString(36).slice(2)}` }))
})

test('a Redis that is away is said so, in time', { timeout: 30_000 }, async () => {
  const app = await server('redis://127.0.0.1:1', 'none')
  try {
    expect((await app.inject('/jobs/api/queues')).statusCode).toBe(503)
  } finally {
    await app.close()
  }
})

test('metrics tell of the runs, the last batch, the archive and the reports that are missing', async () => {
  const { pool } = store.database
  await store.batch(1, 1, [{ day: '2024-11-30', gross: '1000' }])
  await store.point(1)
  await store.sql(
    `UPDATE batches SET started_at = '2025-01-01T03:00:00Z', finished_at = '2025-01-01T03:00:42Z', events_read = 1234, events_counted = 1200, cross_check = '{"result": "corrected", "corrections": 3, "keysDiffering": 2}' WHERE batch = 1`,
  )
  await store.sql(
    `INSERT INTO report_versions (kind, period, version, from_day, to_day, batch, epoch, seasons_version, fingerprint, row_versions, document, published_at)
     VALUES ('monthly', '2024-11', 1, '2024-11-01', '2024-12-01', 1, 1, 1, '', '', '', now())`,
  )
  await recordArchiveRun(pool, 'committed', [{ rows: 100, bytes: 2_000 }, { rows: 50, bytes: 1_000 }], 1_500)
  await recordArchiveRun(pool, 'committed', [{ rows: 7, bytes: 70 }], 250)
  const at = Date.parse('2025-01-01T03:00:00Z')
  const night = await claimRun(store.database, 'nightly', '2025-01-01', at, 60_000)
  await finishRun(pool, night!, { outcome: 'corrected', batch: 1 }, at + 42_000)
  const month = await claimRun(store.database, 'monthly', '2024-12', at, 60_000)
  await failRun(pool, month!, 'the lake is away', at + 1_000, at + 61_000)
  const app = await buildServer({ database: store.database, settings, clock })
  const later = await buildServer({ database: store.database, settings, clock: () => clock() + 1_000 })
  try {
    const { body } = await app.inject('/metrics')
    for (const line of [
      'tidemark_job_last_success_timestamp_seconds{kind="nightly"} 1735700442',
      'tidemark_job_last_duration_seconds{kind="nightly"} 42',
      'tidemark_job_failing{kind="monthly"} 1',
      'tidemark_job_failing{kind="nightly"} 0',
      'tidemark_report_last_period_end_timestamp_seconds{kind="monthly"} 1733011200',
      'tidemark_reports_missing{kind="monthly"} 0',
      'tidemark_reports_missing{kind="seasonal"} 1',
      'tidemark_batch_last_events_read 1234',
      'tidemark_batch_last_events_counted 1200',
      'tidemark_batch_last_duration_seconds 42',
      'tidemark_batch_last_cross_check_differences 2',
      'tidemark_batch_last_corrections 3',
      'tidemark_batch_last_held 0',
      'tidemark_archive_files_total{kind="committed"} 3',
      'tidemark_archive_rows_total{kind="committed"} 157',
      'tidemark_archive_bytes_total{kind="committed"} 3070',
      'tidemark_archive_last_files{kind="committed"} 1',
      'tidemark_archive_last_duration_seconds{kind="committed"} 0.25',
    ]) {
      expect(body.split('\n'), line).toContain(line)
    }
    expect(body).not.toContain('tidemark_job_last_success_timestamp_seconds{kind="monthly"}')
    // A second later the grace of December is over: its month, quarter and year have no report.
    const after = (await later.inject('/metrics')).body
    expect([...after.matchAll(/tidemark_reports_missing\{kind="(\w+)"\} (\d+)/g)].map((match) => `${match[1]} ${match[2]}`)).toEqual(['monthly 1', 'quarterly 1', 'seasonal 1', 'yearly 1'])
  } finally {
    await app.close()
    await later.close()
  }
})
