/** The starter on the two smallest engines, Kafka and Redis, in folders and on ports of its own: found again, mended, moved, ended, and nobody else touched. */
import type { ChildProcess } from 'node:child_process'
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import kafkajs from 'kafkajs'
import { afterEach, describe, expect, test } from 'vitest'
import { ConfigError, UnavailableError } from '#core/errors.ts'
import { startOf } from '#engines/process-identity.mjs'
import type { EngineName } from '#cli/engines/cluster.ts'
import { isInstalled } from '#cli/engines/installations.ts'
import { chooseJava, findJavas } from '#cli/engines/java.ts'
import { endProcess } from '#cli/engines/processes.ts'
import { restartProcess, startEngines } from '#cli/engines/starter.ts'
import { readState } from '#cli/engines/state.ts'
import { engineStatus, runningEngines, whatIsMissing } from '#cli/engines/status.ts'
import { killProcess, stopEngines } from '#cli/engines/stop.ts'
import { waitUntil } from '#test/wait-until.ts'

const cacheDirectory = process.env['TIDEMARK_ENGINES_CACHE'] ?? join(homedir(), '.cache', 'tidemark', 'engines')
const main = fileURLToPath(new URL('../../../cli/main.ts', import.meta.url))
const hasRedis = runs('redis-server', '--version')
const hasKafka = chooseJava(findJavas(), 17) !== undefined && (isInstalled('kafka', cacheDirectory) || runs('mvn', '-v'))
const startWithinMs = 180_000

const folders: string[] = []
const children: ChildProcess[] = []

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  for (const folder of folders.splice(0)) {
    if (existsSync(join(folder, 'engines', 'state.json'))) await stopEngines(folder).catch(() => undefined)
    rmSync(folder, { recursive: true, force: true })
  }
})

function runs(program: string, argument: string): boolean {
  return spawnSync(program, [argument], { stdio: 'ignore' }).status === 0
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-test-'))
  folders.push(folder)
  return folder
}

function start(dataDirectory: string, names: readonly EngineName[], said: string[] = []) {
  return startEngines({ names, dataDirectory, cacheDirectory, basePorts: 'free', say: (line) => said.push(line) })
}

async function onRedis<T>(url: string, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, { maxRetriesPerRequest: 1, lazyConnect: true })
  redis.on('error', () => undefined)
  try {
    await redis.connect()
    return await work(redis)
  } finally {
    redis.disconnect()
  }
}

async function recordsIn(broker: string, topic: string): Promise<number> {
  const admin = kafka(broker).admin()
  await admin.connect()
  try {
    return (await admin.fetchTopicOffsets(topic)).reduce((sum, { high }) => sum + Number(high), 0)
  } finally {
    await admin.disconnect()
  }
}

async function write(broker: string, topic: string, values: readonly string[]): Promise<void> {
  const producer = kafka(broker).producer({ allowAutoTopicCreation: false })
  const admin = kafka(broker).admin()
  await admin.connect()
  await producer.connect()
  try {
    await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true })
    await producer.send({ topic, acks: -1, messages: values.map((value) => ({ value })) })
  } finally {
    await producer.disconnect()
    await admin.disconnect()
  }
}

function kafka(broker: string) {
  return new kafkajs.Kafka({ clientId: 'test', brokers: [broker], logLevel: kafkajs.logLevel.NOTHING })
}

describe.skipIf(!hasRedis || !hasKafka)('Kafka and Redis (skipped where Java 17, Maven or redis-server is missing)', () => {
  test(
    'both start, a second call finds them, a killed one comes back at its port with its data, and down ends both',
    async () => {
      const folder = temporaryFolder()
      const first = await start(folder, ['kafka', 'redis'])
      expect(first.started.toSorted()).toEqual(['kafka-1', 'redis'])
      expect(Object.keys(first.environment).toSorted()).toEqual(['JOBS_URL', 'LOG_URL'])
      await write(first.urls.kafka!, 'kept', ['a', 'b', 'c'])
      await onRedis(first.urls.redis!, (redis) => redis.set('kept', 'yes'))

      const said: string[] = []
      const second = await start(folder, ['kafka', 'redis'], said)
      expect(second.started).toEqual([])
      expect(second.urls).toEqual(first.urls)
      expect(second.processes).toEqual(first.processes)
      expect(said.join('\n')).toMatch(/kafka runs already/)

      const broker = first.processes.find(({ name }) => name === 'kafka-1')!
      process.kill(broker.pid, 'SIGKILL')
      await waitUntil('the broker is gone', () => startOf(broker.pid) === undefined)
      expect(runningEngines(folder).names).toEqual(['redis'])
      expect(await whatIsMissing(folder, 'kafka', AbortSignal.timeout(5_000))).toBe('kafka-1 does not run')

      const third = await start(folder, ['kafka', 'redis'])
      expect(third.started).toEqual(['kafka-1'])
      expect(third.urls).toEqual(first.urls)
      expect(await recordsIn(third.urls.kafka!, 'kept')).toBe(3)

      await killProcess(folder, 'redis')
      const fourth = await restartProcess({ dataDirectory: folder, cacheDirectory }, 'redis')
      expect(fourth.started).toEqual(['redis'])
      expect(await onRedis(first.urls.redis!, (redis) => redis.get('kept'))).toBe('yes')

      expect([...(await stopEngines(folder))].toSorted()).toEqual(['kafka-1', 'redis'])
      expect(engineStatus(folder).map(({ pid }) => pid)).toEqual([null, null])
      for (const { pid } of third.processes) expect(startOf(pid)).toBeUndefined()
      expect(await stopEngines(folder)).toEqual([])
    },
    startWithinMs,
  )

  test(
    'the command prints the environment and the state, and follows what the engines say',
    async () => {
      const folder = temporaryFolder()
      await start(folder, ['redis'])
      const status = tidemark('status', '--json', '--data', folder)
      const { processes } = JSON.parse(status.stdout) as { processes: { name: string; serves: boolean }[] }
      expect(processes).toMatchObject([{ name: 'redis', serves: true }])
      expect(status.status).toBe(0)
      const port = engineStatus(folder)[0]!.ports['client']
      expect(tidemark('env', '--data', folder).stdout).toBe(`export JOBS_URL=redis://127.0.0.1:${port}\n`)
      expect(tidemark('logs', 'redis', '--data', folder).stdout).toMatch(/Ready to accept connections/)
      expect(tidemark('logs', 'kafka', '--data', folder)).toMatchObject({ status: 2, stderr: expect.stringMatching(/No engine kafka was started/) })
      expect(tidemark('up', 'hadoop', '--data', folder)).toMatchObject({ status: 2, stderr: expect.stringMatching(/no engine "hadoop"/) })
      expect(tidemark('down', '--data', folder).stdout).toBe('Ended: redis.\n')
      expect(tidemark('env', '--data', folder)).toMatchObject({ status: 2, stderr: expect.stringMatching(/No engine runs/) })
      expect(tidemark('status', '--data', folder).status).toBe(4)
    },
    startWithinMs,
  )
})

describe.skipIf(!hasRedis)('Redis (skipped where redis-server is missing)', () => {
  test('a port that another program took meanwhile is passed over, and said', async () => {
    const folder = temporaryFolder()
    const first = await start(folder, ['redis'])
    const port = first.processes[0]!.ports['client']!
    await stopEngines(folder)
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve()))
    try {
      const said: string[] = []
      const second = await start(folder, ['redis'], said)
      expect(second.processes[0]!.ports['client']).not.toBe(port)
      expect(said.join('\n')).toContain(`port ${port} (redis, client) is taken`)
      expect(await onRedis(second.urls.redis!, (redis) => redis.ping())).toBe('PONG')
      expect(readState(folder)!.ports['redis']).toEqual(second.processes[0]!.ports)
    } finally {
      server.close()
    }
  })

  test('down ends nothing that it did not start, also where its process id was given to another process', async () => {
    const folder = temporaryFolder()
    await start(folder, ['redis'])
    const bystander = spawn('sleep', ['600'], { stdio: 'ignore', detached: true })
    children.push(bystander)
    const state = readState(folder)!
    const redis = state.processes[0]!
    const file = join(folder, 'engines', 'state.json')
    writeFileSync(file, JSON.stringify({ ...state, processes: [{ ...redis, pid: bystander.pid }] }))
    expect(await stopEngines(folder)).toEqual([])
    expect(startOf(bystander.pid!)).toBeDefined()
    expect(startOf(redis.pid)).toBe(redis.started)
    await endProcess(redis, 1_000)
    expect(startOf(redis.pid)).toBeUndefined()
  })

  test('calls at the same time start it once', async () => {
    const folder = temporaryFolder()
    const all = await Promise.all([start(folder, ['redis']), start(folder, ['redis']), start(folder, ['redis'])])
    expect(all.flatMap(({ started }) => started)).toEqual(['redis'])
    expect(new Set(all.map(({ processes }) => processes[0]!.pid)).size).toBe(1)
  })

  test('a server that ends while it starts is named, with the end of its log', async () => {
    const folder = temporaryFolder()
    const { processes } = await start(folder, ['redis'])
    await stopEngines(folder)
    // Its append-only file damaged in the middle: it refuses to start rather than to lose jobs.
    writeFileSync(join(folder, 'engines', 'redis', 'data', 'appendonlydir', 'appendonly.aof.manifest'), 'not a manifest\n')
    const failing = start(folder, ['redis'])
    await expect(failing).rejects.toThrow(UnavailableError)
    await expect(failing).rejects.toThrow(/redis ended while it was starting.*manifest/s)
    expect(readFileSync(processes[0]!.log, 'utf8')).toMatch(/manifest/)
  })

  test('a folder stays with the number of nodes that it was begun with', async () => {
    const folder = temporaryFolder()
    await startEngines({ names: ['redis'], dataDirectory: folder, cacheDirectory, basePorts: 'free', nodes: 3 })
    const other = startEngines({ names: ['redis'], dataDirectory: folder, cacheDirectory, basePorts: 'free', nodes: 1 })
    await expect(other).rejects.toThrow(/begun with 3 node/)
  })

  test('an interrupted wait says so, and what was started is found by the next call', async () => {
    const folder = temporaryFolder()
    const interrupted = startEngines({ names: ['redis'], dataDirectory: folder, cacheDirectory, basePorts: 'free', signal: AbortSignal.abort() })
    await expect(interrupted).rejects.toThrow(/[Ii]nterrupted/)
    expect((await start(folder, ['redis'])).started).toEqual(['redis'])
  })
})

test('a program that is missing is named with what installs it, or left out where nobody asked for it by name', async () => {
  const folder = temporaryFolder()
  const path = process.env['PATH']
  const home = process.env['JAVA_HOME']
  process.env['PATH'] = '/nowhere'
  delete process.env['JAVA_HOME']
  try {
    await expect(start(folder, ['redis'])).rejects.toThrow(/apt-get install redis-server/)
    const said: string[] = []
    const none = await startEngines({ names: ['redis'], skipMissing: true, dataDirectory: folder, cacheDirectory, say: (line) => said.push(line) })
    expect(none.names).toEqual([])
    expect(said.join('\n')).toMatch(/WARN redis is left out: .*redis-server/)
    const cold = startEngines({ names: ['kafka'], dataDirectory: folder, cacheDirectory: join(folder, 'cache') })
    await expect(cold).rejects.toThrow(ConfigError)
    await expect(cold).rejects.toThrow(/install/i)
  } finally {
    process.env['PATH'] = path
    if (home !== undefined) process.env['JAVA_HOME'] = home
  }
})

function tidemark(...args: readonly string[]): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'engines', ...args], { encoding: 'utf8', timeout: 60_000 })
  return { status, stdout, stderr }
}
