/** The nightly schedule on either backend of BullMQ. Row L12 of the fault catalogue: Redis emptied, away at the start, restarted without its file. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openJobs } from '#batch/jobs.ts'
import { nightlyId, nightlyPattern, runSchedule } from '#batch/schedule.ts'
import { testEngine, whereMissing } from '#test/engines.ts'
import { OwnRedis } from '#test/lab/own-redis.ts'
import type { TestPostgres } from '#test/postgres.ts'
import { freshSchema, openTestPostgres } from '#test/postgres.ts'
import { waitUntil } from '#test/wait-until.ts'

const zone = 'Europe/London'
const everySecond = '* * * * * *'
/** Never within a test. */
const nightly = nightlyPattern('03:00')

/** A layer that counts how often it is asked. */
class Asking implements AsyncDisposable {
  asked = 0
  readonly errors: unknown[] = []
  readonly #jobs: ReturnType<typeof openJobs>
  readonly #stopping = new AbortController()
  readonly #running: Promise<void>

  constructor(url: string, namespace: string, pattern: string, ask: () => Promise<void> = async () => undefined) {
    const onError = (thrown: unknown): void => void this.errors.push(thrown)
    this.#jobs = openJobs({ url, namespace }, onError)
    const count = async (): Promise<void> => {
      this.asked++
      await ask()
    }
    this.#running = runSchedule({ jobs: this.#jobs, schedules: async () => [{ id: nightlyId, pattern }], zone, ask: count, onError, watchIntervalMs: 200 }, this.#stopping.signal)
  }

  nextRunMs(): Promise<number | null> {
    return this.#jobs.nextRunMs(nightlyId)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort()
    await this.#running
    await this.#jobs[Symbol.asyncDispose]()
  }
}

function behavesAsSchedule(open: (pattern: string, ask?: () => Promise<void>) => Promise<Asking>): void {
  test('asks once at the start, and registers the next night in the shop’s zone', async () => {
    await using layer = await open(nightly)
    await waitUntil('the first asking', async () => layer.asked > 0)
    const next = await waitUntil('the schedule', () => layer.nextRunMs())
    const local = new Intl.DateTimeFormat('en-GB', { timeZone: zone, hour: '2-digit', minute: '2-digit' }).format(new Date(Number(next)))
    expect(local).toBe('03:00')
    expect(layer.asked).toBe(1)
  })

  test('asks again each time that the pattern says', async () => {
    await using layer = await open(everySecond)
    await waitUntil('three askings', async () => layer.asked >= 3)
    expect(layer.errors).toEqual([])
  })

  test('two layers at once keep one schedule', async () => {
    await using first = await open(nightly)
    await using second = await open(nightly)
    await waitUntil('what is due to be asked for', async () => first.asked + second.asked >= 1)
    await waitUntil('the schedule', () => second.nextRunMs())
    expect(await first.nextRunMs()).toBe(await second.nextRunMs())
  })

  test('another time of day replaces the one before', async () => {
    {
      await using layer = await open(nightly)
      await waitUntil('the schedule', () => layer.nextRunMs())
    }
    await using layer = await open(nightlyPattern('04:30'))
    await waitUntil('the other time', async () => {
      const next = await layer.nextRunMs()
      return next !== null && new Date(next).getUTCMinutes() === 30
    })
  })
}

describe('on PostgreSQL', () => {
  let postgres: TestPostgres
  let namespace: string
  beforeEach(async () => {
    postgres = await openTestPostgres()
    namespace = await freshSchema(postgres.url, 'jobs')
  })
  afterEach(() => postgres[Symbol.asyncDispose]())

  behavesAsSchedule(async (pattern, ask) => new Asking(postgres.url, namespace, pattern, ask))
})

const redisUrl = testEngine('redis')

describe.skipIf(redisUrl === null)(`on Redis${whereMissing('redis')}`, () => {
  let namespace: string
  beforeEach(() => {
    namespace = `jobs-${Math.random().toString(36).slice(2)}`
  })

  behavesAsSchedule(async (pattern, ask) => new Asking(redisUrl!, namespace, pattern, ask))
})

describe.skipIf(redisUrl === null)(`L12 a Redis that fails${whereMissing('redis')}`, () => {
  let redis: OwnRedis
  beforeEach(async () => {
    redis = await OwnRedis.prepare()
  })
  afterEach(() => redis[Symbol.asyncDispose]())

  test('emptied while a job runs: the schedule is made again, and what is due is asked for once more', async () => {
    await redis.start()
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    await using layer = new Asking(redis.url, 'l12', nightly, () => held)
    await waitUntil('the job to run', async () => layer.asked === 1)
    await redis.command('FLUSHALL')
    await waitUntil('the schedule to be back', () => layer.nextRunMs())
    release()
    await waitUntil('what is due to be asked for', async () => layer.asked === 2)
  })

  test('restarted without its file: the schedule is made again', async () => {
    await redis.start('--appendonly', 'no')
    await using layer = new Asking(redis.url, 'l12', nightly)
    await waitUntil('the first asking', async () => layer.asked === 1)
    await redis.stop()
    await redis.start('--appendonly', 'no')
    await waitUntil('the schedule to be back', () => layer.nextRunMs().catch(() => null), 30_000)
    await waitUntil('what is due to be asked for', async () => layer.asked === 2, 30_000)
  })

  test('away at the start: the layer runs, says so, and asks when it is there', async () => {
    await using layer = new Asking(redis.url, 'l12', nightly)
    await waitUntil('it to say so', async () => layer.errors.length > 0)
    expect(layer.asked).toBe(0)
    await redis.start()
    await waitUntil('the first asking', async () => layer.asked >= 1, 40_000)
  })

  test('full, without eviction: nothing is lost silently, and it goes on when there is room', async () => {
    await redis.start('--maxmemory', '2mb', '--maxmemory-policy', 'noeviction')
    await redis.command(`SET filler ${'x'.repeat(900_000)}`)
    await redis.command('CONFIG SET maxmemory 1')
    await using layer = new Asking(redis.url, 'l12', nightly)
    await waitUntil('it to say so', async () => layer.errors.length > 0)
    await redis.command('DEL filler')
    await redis.command('CONFIG SET maxmemory 0')
    await waitUntil('the first asking', async () => layer.asked >= 1, 40_000)
  })
})
