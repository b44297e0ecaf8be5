/** Redis: the program that the system brings, with a folder and a port of its own. */
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { UnavailableError } from '#core/errors.ts'
import { cluster, readSharedFile } from './cluster.ts'
import type { ConfigValues } from './config-files.ts'
import { redisText } from './config-files.ts'
import { plainEnvironment } from './java-command.ts'
import type { EngineKind, Site } from './plan.ts'
import { portOf } from './plan.ts'

const answerWithinMs = 2_000

export const redis: EngineKind = {
  members: () => [{ name: 'redis', engine: 'redis', ports: cluster.redis.ports }],
  plan: (site) => {
    const folder = join(site.folder, 'redis')
    const settings = join(folder, 'redis.conf')
    const files = { [settings]: redisText(readSharedFile('redis/redis.conf'), redisSettings(site)) }
    const command = { file: 'redis-server', args: [settings], cwd: folder, environment: plainEnvironment() }
    return [{ name: 'redis', ports: site.ports['redis']!, command, files, folders: [join(folder, 'data')] }]
  },
  readyWithinMs: 30_000,
  look: (place, signal) => ping(portOf(place, 'redis', 'client'), signal),
}

/** What is of this machine, on top of hadoop/redis. */
export function redisSettings(site: Site): ConfigValues {
  return { bind: '127.0.0.1', port: portOf(site, 'redis', 'client'), dir: join(site.folder, 'redis', 'data'), daemonize: 'no' }
}

/** Throws unless the server answers PONG: one that still loads its data answers LOADING. */
async function ping(port: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const socket = createConnection({ host: '127.0.0.1', port, signal: AbortSignal.any([signal, AbortSignal.timeout(answerWithinMs)]) })
  socket.once('error', reject)
  socket.once('connect', () => socket.write('PING\r\n'))
  socket.once('data', (chunk) => resolve(chunk.toString()))
  socket.once('close', () => reject(new UnavailableError('Redis hung up.')))
  try {
    const answer = await promise
    if (!answer.startsWith('+PONG')) throw new UnavailableError(`Redis answers "${answer.trim()}".`)
  } finally {
    socket.destroy()
  }
}
