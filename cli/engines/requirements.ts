/** What an engine needs of this machine, and what to install where it is missing. */
import { spawnSync } from 'node:child_process'
import { ConfigError } from '#core/errors.ts'
import type { EngineName } from './cluster.ts'
import { cluster } from './cluster.ts'
import { isInstalled, requireMaven } from './installations.ts'
import type { Java } from './java.ts'
import { requireJava } from './java.ts'

const redisVersionMin = 6.2

export type Requirements = { readonly cacheDirectory: string; readonly javas: readonly Java[]; readonly signal: AbortSignal }

/** The Java of the engine, null where it needs none. Throws ConfigError that names what to install. */
export async function requireFor(engine: EngineName, { cacheDirectory, javas, signal }: Requirements): Promise<Java | null> {
  if (process.platform === 'win32') throw new ConfigError('The engines are started on Linux and macOS; on Windows use docker-compose.yml, or WSL.')
  if (engine === 'redis') {
    requireRedis()
    return null
  }
  const java = requireJava(javas, javaMinOf(engine), engine)
  if (engine === 'elasticsearch' && process.geteuid?.() === 0) requireSetpriv()
  if (!isInstalled(engine, cacheDirectory)) await requireMaven(signal)
  return java
}

function javaMinOf(engine: Exclude<EngineName, 'redis'>): number {
  return engine === 'hdfs' ? cluster.namenode.javaMin : cluster[engine].javaMin
}

function requireRedis(): void {
  const { stdout, error } = spawnSync('redis-server', ['--version'], { encoding: 'utf8', timeout: 20_000 })
  if (error !== undefined) throw new ConfigError('redis needs the program redis-server: `apt-get install redis-server` (it is started by Tidemark, not by the system).', {}, error)
  const version = /v=(\d+\.\d+)/.exec(stdout)?.[1]
  if (version === undefined || Number(version) >= redisVersionMin) return
  throw new ConfigError(`redis needs redis-server ${redisVersionMin} or newer, and ${version} is installed: BullMQ uses commands that it lacks.`)
}

function requireSetpriv(): void {
  const { error } = spawnSync('setpriv', ['--version'], { timeout: 20_000 })
  if (error === undefined) return
  throw new ConfigError('elasticsearch refuses to run as root, and the program setpriv, which makes it another user, is missing: `apt-get install util-linux`, or run Tidemark as a plain user.', {}, error)
}
