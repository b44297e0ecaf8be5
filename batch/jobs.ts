/** The queue of BullMQ on either backend: Redis where a URL names one, else PostgreSQL. */
import { Queue, UnrecoverableError, Worker, createPostgresBackend, withBackend } from 'bullmq'
import { ConfigError, TidemarkError, UnavailableError, messageOf } from '#core/errors.ts'

export type JobsOptions = {
  /** `redis://`, `rediss://` or `postgres://`. */
  readonly url: string
  /** Schema in PostgreSQL, prefix of keys in Redis. */
  readonly namespace: string
}

export type Jobs = AsyncDisposable & {
  /** Makes the schedule as it is given, if it is not there already. */
  ensureScheduler(id: string, pattern: string, zone: string, job: string): Promise<void>
  /** When the schedule fires next, UTC ms; null where there is none. */
  nextRunMs(id: string): Promise<number | null>
  add(job: string): Promise<void>
  /** Works on jobs, one at a time, until the queue is closed. */
  work(process: () => Promise<void>): void
}

/** A queue that does not answer must not hold its caller: Redis clients wait for their server for ever. */
const callTimeoutMs = 10_000
const closeTimeoutMs = 5_000
/** A job that failed in passing is tried again soon, not the next night. */
const attempts = 6
const firstRetryMs = 30_000
const keptJobs = 100
/** BullMQ's answer when several instances register one scheduler at once (its PostgreSQL backend): the scheduler is there all the same. */
const schedulerRaceCode = -10
const queueName = 'tidemark-batch'

export function openJobs({ url, namespace }: JobsOptions, onError: (thrown: unknown) => void): Jobs {
  const { queue, openWorker } = /^rediss?:\/\//.test(url) ? onRedis(url, namespace) : onPostgres(url, namespace)
  queue.on('error', onError)
  const workers: Worker[] = []
  const template = { attempts, backoff: { type: 'exponential', delay: firstRetryMs }, removeOnComplete: keptJobs, removeOnFail: keptJobs }
  return {
    async ensureScheduler(id, pattern, zone, job) {
      const found = await within(queue.getJobScheduler(id), 'look for the schedule')
      if (found?.pattern === pattern && found.tz === zone) return
      try {
        await within(queue.upsertJobScheduler(id, { pattern, tz: zone }, { name: job, opts: template }), 'register the schedule')
      } catch (thrown) {
        if ((thrown as { code?: unknown }).code !== schedulerRaceCode || (await within(queue.getJobScheduler(id), 'look for the schedule')) === undefined) throw thrown
      }
    },
    async nextRunMs(id) {
      return (await within(queue.getJobScheduler(id), 'look for the schedule'))?.next ?? null
    },
    async add(job) {
      await within(queue.add(job, {}, template), 'add a job')
    },
    work(process) {
      const worker = openWorker(() => process().catch(asFinal))
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

export type Scheduler = { readonly pattern: string | null; readonly zone: string | null; readonly nextMs: number | null }

/** The schedule as the queue has it, or null. Writes nothing: PostgreSQL's schema must be there, and is not brought up to date. Throws what the queue throws. */
export async function readScheduler({ url, namespace }: JobsOptions, id: string): Promise<Scheduler | null> {
  const isRedis = /^rediss?:\/\//.test(url)
  const queue: Queue = isRedis
    ? new Queue(queueName, { connection: redisConnection(url), prefix: `{${namespace}}`, skipMetasUpdate: true, skipVersionCheck: true })
    : (new (withBackend(createPostgresBackend).Queue)(queueName, { connection: { connectionString: url, schema: namespace, migrate: false }, skipMetasUpdate: true }) as unknown as Queue)
  // Whoever asks hears of it from the question.
  queue.on('error', () => undefined)
  try {
    const found = await within(queue.getJobScheduler(id), 'look for the schedule')
    return found === undefined ? null : { pattern: found.pattern ?? null, zone: found.tz ?? null, nextMs: found.next ?? null }
  } finally {
    await closing(queue.close())
  }
}

/** What no retry can mend would be tried five times more, each time with a batch of its own: it waits for the next asking, or for a person. */
function asFinal(thrown: unknown): never {
  if (thrown instanceof TidemarkError && !thrown.retryable) throw new UnrecoverableError(messageOf(thrown))
  throw thrown
}

type Backend = { readonly queue: Queue; readonly openWorker: (process: () => Promise<void>) => Worker }

function onRedis(url: string, namespace: string): Backend {
  // In braces, so that all keys of the queue are in one slot of a Redis cluster.
  const options = { connection: redisConnection(url), prefix: `{${namespace}}` }
  return { queue: new Queue(queueName, options), openWorker: (process) => new Worker(queueName, process, { ...options, concurrency: 1 }) }
}

function onPostgres(url: string, namespace: string): Backend {
  const backend = withBackend(createPostgresBackend)
  const connection = { connectionString: url, schema: namespace, migrate: true }
  const queue = new backend.Queue(queueName, { connection })
  const openWorker = (process: () => Promise<void>) => new backend.Worker(queueName, process, { connection, concurrency: 1 })
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
