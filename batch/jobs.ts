/** The queues of BullMQ on either backend: Redis where a URL names one, else PostgreSQL. */
import type { Job } from 'bullmq'
import { Queue, Worker, createPostgresBackend, withBackend } from 'bullmq'
import { ConfigError, UnavailableError } from '#core/errors.ts'

export type JobsOptions = {
  /** `redis://`, `rediss://` or `postgres://`. */
  readonly url: string
  /** Schema in PostgreSQL, prefix of keys in Redis. */
  readonly namespace: string
  /** The first by default. */
  readonly queue?: QueueName
  /** A worker that is silent for so long has its job given to another; BullMQ's half a minute by default. */
  readonly lockMs?: number
}

/** Archiving has a queue of its own, so that an hour's batch does not hold it up, and its many jobs do not push the others out of the history. */
export const queueNames = ['tidemark-batch', 'tidemark-archive'] as const
export type QueueName = (typeof queueNames)[number]

export type Jobs = AsyncDisposable & {
  /** Makes the schedules as they are given, where they are not so already. Resolves to whether all of them were there, if perhaps with another pattern. */
  ensureSchedulers(schedules: readonly { readonly id: string; readonly pattern: string }[], zone: string): Promise<boolean>
  /** When the schedule fires next, UTC ms; null where there is none. */
  nextRunMs(id: string): Promise<number | null>
  /** Adds a job, unless one waits already. */
  askOnce(job: string): Promise<void>
  /** Works on jobs, one at a time, until the queue is closed. */
  work(process: () => Promise<void>): void
}

/** A queue that does not answer must not hold its caller: Redis clients wait for their server for ever. */
const callTimeoutMs = 10_000
const closeTimeoutMs = 5_000
const keptJobs = 100
/** The run ledger says when what failed may be tried again, and each minute it is asked. */
const template = { attempts: 1, removeOnComplete: keptJobs, removeOnFail: keptJobs }
/** BullMQ's answer when several instances register one scheduler at once (its PostgreSQL backend): the scheduler is there all the same. */
const schedulerRaceCode = -10

export function openJobs({ url, namespace, queue: name = queueNames[0], lockMs = 30_000 }: JobsOptions, onError: (thrown: unknown) => void): Jobs {
  const { queue, openWorker } = isRedis(url) ? onRedis(url, namespace, name, lockMs) : onPostgres(url, namespace, name, lockMs)
  queue.on('error', onError)
  const workers: Worker[] = []

  async function ensureScheduler(id: string, pattern: string, zone: string): Promise<boolean> {
    const found = await within(queue.getJobScheduler(id), 'look for the schedule')
    if (found?.pattern === pattern && found.tz === zone) return true
    try {
      await within(queue.upsertJobScheduler(id, { pattern, tz: zone }, { name: id, opts: template }), 'register the schedule')
    } catch (thrown) {
      if ((thrown as { code?: unknown }).code !== schedulerRaceCode || (await within(queue.getJobScheduler(id), 'look for the schedule')) === undefined) throw thrown
    }
    return found !== undefined
  }

  return {
    async ensureSchedulers(schedules, zone) {
      let wereThere = true
      for (const { id, pattern } of schedules) wereThere = (await ensureScheduler(id, pattern, zone)) && wereThere
      return wereThere
    },
    async nextRunMs(id) {
      return (await within(queue.getJobScheduler(id), 'look for the schedule'))?.next ?? null
    },
    async askOnce(job) {
      if ((await within(queue.getWaitingCount(), 'count the jobs')) === 0) await within(queue.add(job, {}, template), 'add a job')
    },
    work(process) {
      const worker = openWorker(process)
      worker.on('error', onError)
      worker.on('failed', (_job: unknown, error: Error) => onError(error))
      workers.push(worker)
    },
    async [Symbol.asyncDispose]() {
      for (const worker of workers) await closing(worker.close())
      await closing(queue.close())
    },
  }
}

/** A queue to be looked at, by Bull Board or below. Writes nothing: PostgreSQL's schema must be there, and is not brought up to date. */
export function openQueueToRead({ url, namespace, queue: name = queueNames[0] }: JobsOptions): Queue {
  const queue: Queue = isRedis(url)
    ? new Queue(name, { connection: { ...redisConnection(url), maxRetriesPerRequest: 1 }, prefix: `{${namespace}}`, skipMetasUpdate: true, skipVersionCheck: true })
    : (new (withBackend(createPostgresBackend).Queue)(name, { connection: { connectionString: url, schema: namespace, migrate: false }, skipMetasUpdate: true }) as unknown as Queue)
  // Whoever asks hears of it from the question.
  queue.on('error', () => undefined)
  return queue
}

export async function closeQueue(queue: Queue): Promise<void> {
  await closing(queue.close())
}

export type Scheduler = { readonly pattern: string | null; readonly zone: string | null; readonly nextMs: number | null }
export type NamedScheduler = Scheduler & { readonly id: string }

/** The schedule as the queue has it, or null. Throws what the queue throws. */
export async function readScheduler(options: JobsOptions, id: string): Promise<NamedScheduler | null> {
  return (await readSchedulers(options)).find((scheduler) => scheduler.id === id) ?? null
}

/** All schedules of a queue. */
export async function readSchedulers(options: JobsOptions): Promise<NamedScheduler[]> {
  return reading(options, async (queue) => {
    const found = await within(queue.getJobSchedulers(0, schedulersMax, true), 'look for the schedules')
    return found.map(({ key, pattern, tz, next }) => ({ id: key, pattern: pattern ?? null, zone: tz ?? null, nextMs: next ?? null }))
  })
}

const schedulersMax = 100
export const jobStates = ['active', 'waiting', 'delayed', 'failed', 'completed'] as const
export type JobState = (typeof jobStates)[number]

export type QueuedJob = {
  readonly id: string
  readonly name: string
  readonly state: JobState
  readonly addedMs: number
  readonly startedMs: number | null
  readonly finishedMs: number | null
  /** When a delayed job is due. */
  readonly dueMs: number | null
  readonly failedReason: string | null
}

export type QueueReport = { readonly name: QueueName; readonly counts: Readonly<Record<JobState, number>>; readonly jobs: readonly QueuedJob[] }

/** The newest jobs of each state, and how many there are. Their data is left out: it is empty. Throws what the queue throws. */
export async function readQueue(options: JobsOptions, jobsMax: number): Promise<QueueReport> {
  return reading(options, async (queue) => {
    const counts = await within(queue.getJobCounts(...jobStates), 'count the jobs')
    const jobs: QueuedJob[] = []
    for (const state of jobStates) {
      const found = await within(queue.getJobs([state], 0, jobsMax - 1, false), 'list the jobs')
      for (const job of found) if (job !== undefined) jobs.push(asQueuedJob(job, state))
    }
    const countOf = (state: JobState): number => counts[state] ?? 0
    return { name: options.queue ?? queueNames[0], counts: Object.fromEntries(jobStates.map((state) => [state, countOf(state)])) as Record<JobState, number>, jobs }
  })
}

function asQueuedJob(job: Job, state: JobState): QueuedJob {
  return {
    id: job.id ?? '',
    name: job.name,
    state,
    addedMs: job.timestamp,
    startedMs: job.processedOn ?? null,
    finishedMs: job.finishedOn ?? null,
    dueMs: state === 'delayed' ? job.timestamp + (job.delay ?? 0) : null,
    failedReason: job.failedReason ?? null,
  }
}

async function reading<T>(options: JobsOptions, read: (queue: Queue) => Promise<T>): Promise<T> {
  const queue = openQueueToRead(options)
  try {
    return await read(queue)
  } finally {
    await closing(queue.close())
  }
}

function isRedis(url: string): boolean {
  return /^rediss?:\/\//.test(url)
}

type Backend = { readonly queue: Queue; readonly openWorker: (process: () => Promise<void>) => Worker }

function workerOptions(lockMs: number): { concurrency: number; lockDuration: number; stalledInterval: number } {
  return { concurrency: 1, lockDuration: lockMs, stalledInterval: lockMs }
}

function onRedis(url: string, namespace: string, name: QueueName, lockMs: number): Backend {
  // In braces, so that all keys of the queue are in one slot of a Redis cluster.
  const options = { connection: redisConnection(url), prefix: `{${namespace}}` }
  return { queue: new Queue(name, options), openWorker: (process) => new Worker(name, process, { ...options, ...workerOptions(lockMs) }) }
}

function onPostgres(url: string, namespace: string, name: QueueName, lockMs: number): Backend {
  const backend = withBackend(createPostgresBackend)
  const connection = { connectionString: url, schema: namespace, migrate: true }
  const queue = new backend.Queue(name, { connection })
  const openWorker = (process: () => Promise<void>) => new backend.Worker(name, process, { connection, ...workerOptions(lockMs) })
  // Their types differ in the backend only, which nothing here reaches for.
  return { queue, openWorker } as unknown as Backend
}

function redisConnection(url: string): { host: string; port: number; username?: string; password?: string; db: number; tls?: object; maxRetriesPerRequest: null } {
  let parsed: URL
  try {
    parsed = new URL(url)
  } catch (thrown) {
    throw new ConfigError('JOBS_URL is no URL: redis://user:password@host:6379/0 is expected.', {}, thrown)
  }
  const { hostname, port, username, password, pathname, protocol } = parsed
  return {
    host: hostname,
    port: Number(port || 6379),
    ...(username !== '' && { username: decodeURIComponent(username) }),
    ...(password !== '' && { password: decodeURIComponent(password) }),
    db: Number(pathname.slice(1) || 0),
    ...(protocol === 'rediss:' && { tls: {} }),
    maxRetriesPerRequest: null,
  }
}

async function within<T>(call: Promise<T>, doing: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new UnavailableError(`Cannot ${doing}: the queue did not answer in ${callTimeoutMs / 1000} s. It is tried again.`)), callTimeoutMs)
  })
  try {
    return await Promise.race([call, late])
  } finally {
    clearTimeout(timer)
    // Where the time was over first, nobody hears of its failure.
    call.catch(() => undefined)
  }
}

/** A server that is away cannot be said goodbye to. */
async function closing(closed: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, closeTimeoutMs)
  })
  await Promise.race([closed.catch(() => undefined), late])
  clearTimeout(timer)
}
