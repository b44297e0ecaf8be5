/** What a Redis says of itself: plain facts for whoever judges them. Nothing is changed. */
import { Redis } from 'ioredis'
import { ConfigError, UnavailableError, messageOf } from '#core/errors.ts'

export type RedisFacts = {
  readonly version: string
  readonly role: string
  readonly isLoading: boolean
  readonly evictionPolicy: string
  readonly memoryUsedBytes: number
  /** 0 where there is no limit. */
  readonly memoryMaxBytes: number
  readonly hasAppendOnlyFile: boolean
  /** Of the file that it writes: the append-only one, or the snapshot where there is none. */
  readonly isLastWriteGood: boolean
}

/** Throws ConfigError where it refuses the user, UnavailableError where it does not answer in time. */
export async function inspectRedis(url: string, timeoutMs: number): Promise<RedisFacts> {
  const client = new Redis(url, { lazyConnect: true, connectTimeout: timeoutMs, commandTimeout: timeoutMs, maxRetriesPerRequest: 0, retryStrategy: () => null, enableReadyCheck: false })
  let failure: unknown
  client.on('error', (error: unknown) => {
    failure = error
  })
  try {
    await client.connect()
    return factsOf(await client.info())
  } catch (thrown) {
    throw translate(failure ?? thrown)
  } finally {
    client.disconnect()
  }
}

function translate(thrown: unknown): Error {
  const message = messageOf(thrown)
  if (/NOAUTH|WRONGPASS|NOPERM|invalid password/i.test(message)) return new ConfigError(`Redis refuses the user (${message}): write redis://user:password@host:port.`, {}, thrown)
  return new UnavailableError(`Redis does not answer: ${message}`, {}, thrown)
}

/** INFO is lines of `name:value`. */
export function factsOf(info: string): RedisFacts {
  const fields = new Map([...info.matchAll(/^([a-z0-9_]+):([^\r\n]*)/gm)].map((match) => [match[1]!, match[2]!] as const))
  const text = (name: string): string => fields.get(name) ?? ''
  const hasAppendOnlyFile = text('aof_enabled') === '1'
  const writes = hasAppendOnlyFile ? ['aof_last_write_status', 'aof_last_bgrewrite_status'] : ['rdb_last_bgsave_status']
  return {
    version: text('redis_version'),
    role: text('role'),
    isLoading: text('loading') === '1',
    evictionPolicy: text('maxmemory_policy'),
    memoryUsedBytes: Number(text('used_memory')),
    memoryMaxBytes: Number(text('maxmemory')),
    hasAppendOnlyFile,
    isLastWriteGood: writes.every((name) => text(name) === '' || text(name) === 'ok'),
  }
}
