/** The doctor on real parts: an embedded folder, engines that are away, hang or misbehave, and the real engines where they are there. */
import { spawn, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import kafkajs from 'kafkajs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { openJobs } from '#batch/jobs.ts'
import { nightlyId } from '#batch/schedule.ts'
import { lookAtAll } from '#cli/doctor/doctor.ts'
import type { Finding } from '#cli/doctor/finding.ts'
import { examine } from '#cli/doctor/finding.ts'
import type { Positions } from '#cli/doctor/log.ts'
import { judgeKafka, lookAtPositions } from '#cli/doctor/log.ts'
import { reachStore } from '#cli/doctor/store-access.ts'
import { openEnvironment, transactionsTopic } from '#cli/environment.ts'
import type { Settings } from '#cli/settings.ts'
import { readSettings } from '#cli/settings.ts'
import { inspectKafka } from '#engines/kafka-inspect.ts'
import { openKafkaLog } from '#engines/kafka-log.ts'
import { inspectRedis } from '#engines/redis-inspect.ts'
import { MisbehavingHdfs, answer } from '../contract/misbehaving-hdfs.ts'
import { testEngine, whereMissing } from '../engines.ts'
import { freePort } from '../free-port.ts'
import { waitUntil } from '../wait-until.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const lookWithinMs = 120_000
const spawnWithinMs = 60_000
const dayMs = 86_400_000

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-doctor-test-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Settings of a new data folder, which is not made. The port is any free one: others may serve on the usual. */
async function settingsWith(environment: Readonly<Record<string, string>>, dataDirectory = join(folder, randomUUID())): Promise<Settings> {
  return readSettings({ TIDEMARK_PORT: String(await freePort()), ...environment }, { dataDirectory })
}

function positionsOf(positions: Positions): Promise<readonly Finding[]> {
  return examine({ area: 'log', check: 'look', fix: '', timeoutMs: 60_000, look: (report, signal) => lookAtPositions(report, positions, signal) })
}

function named(findings: readonly Finding[], area: string, check: string): Finding | undefined {
  return findings.find((finding) => finding.area === area && finding.check === check)
}

function failures(findings: readonly Finding[]): string[] {
  return findings.filter(({ level }) => level === 'fail').map(({ area, check, says }) => `${area} ${check}: ${says}`)
}

/** Machines of tests may be short of memory or disk, which is no matter here. */
function troubles(findings: readonly Finding[]): string[] {
  return findings.filter(({ area, level }) => area !== 'machine' && level !== 'ok').map(({ area, check, says }) => `${area} ${check}: ${says}`)
}

const answerSchema = z.strictObject({
  version: z.string(),
  dataDirectory: z.string(),
  level: z.enum(['ok', 'warn', 'fail']),
  findings: z.array(z.union([
    z.strictObject({ area: z.string(), check: z.string(), level: z.literal('ok'), says: z.string().min(1) }),
    z.strictObject({ area: z.string(), check: z.string(), level: z.enum(['warn', 'fail']), says: z.string().min(1), fix: z.string().min(1) }),
  ])).min(10),
})

/** Settings of the shell that runs the tests do not count. */
async function command(environment: Readonly<Record<string, string>>, ...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const { PATH = '', HOME = '' } = process.env
  const child = spawn(process.execPath, [join(root, 'cli/main.ts'), 'doctor', ...args], { env: { PATH, HOME, ...environment } })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => void (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => void (err += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, out, err }
}

describe('on the embedded set', () => {
  test('all is well before the first start, and nothing is made', async () => {
    const settings = await settingsWith({})
    const findings = await lookAtAll(settings)
    expect(troubles(findings)).toEqual([])
    expect(named(findings, 'lake', 'write and read')?.level).toBe('ok')
    expect(named(findings, 'query', 'sees the lake')?.level).toBe('ok')
    expect(named(findings, 'database', 'server')?.says).toContain('first "tidemark up"')
    expect(existsSync(settings.dataDirectory)).toBe(false)
  }, lookWithinMs)

  test('all is well while the shop is up, with what the store knows, and while it is down, without starting it', async () => {
    const settings = await settingsWith({})
    {
      await using environment = await openEnvironment(settings, { applicationName: 'tidemark test' })
      const log = await environment.log()
      await log.append(transactionsTopic, [{ key: null, value: Buffer.from('{}') }])
      await environment.lake()
      const up = await lookAtAll(settings)
      expect(troubles(up)).toEqual([])
      expect(named(up, 'store', 'migrations')?.says).toContain('this version')
      expect(named(up, 'database', 'clock')?.level).toBe('ok')
      expect(named(up, 'log', 'lag')?.says).toMatch(/^at most 1 record not counted yet/)
      expect(named(up, 'log', 'archive')?.says).toMatch(/^at most 1 record not archived yet/)
      expect(named(up, 'jobs', 'nightly schedule')?.level).toBe('ok')
      expect(readdirSync(join(settings.dataDirectory, 'lake')), 'what is left in the lake').toEqual([])
    }
    const down = await lookAtAll(settings)
    expect(troubles(down)).toEqual([])
    expect(named(down, 'database', 'server')?.says).toContain('does not run')
    expect(existsSync(join(settings.dataDirectory, 'postgres/postmaster.pid'))).toBe(false)
  }, lookWithinMs)

  test('figures that were made in another zone are a failure that says so', async () => {
    const settings = await settingsWith({})
    await using environment = await openEnvironment(settings, { applicationName: 'tidemark test' })
    await environment.log()
    await environment.database.pool.query(`UPDATE lake_state SET logic_version = 'other'`)
    await environment.database.pool.query(`INSERT INTO committed_offsets (topic, partition, first_offset, next_offset, records) VALUES ('transactions', 0, 0, 1, 1)`)
    const findings = await lookAtAll(settings)
    expect(failures(findings).some((line) => line.startsWith('store state: This store\'s figures were made with "other"'))).toBe(true)
    // What stands in the books and not in the log: the topic was rebuilt.
    expect(named(findings, 'log', 'partitions')).toMatchObject({ level: 'fail', fix: expect.stringContaining('accept-loss') })
  }, lookWithinMs)

  test('a record that has lain in the log for half of its retention, and is not archived, is a warning; one for all of it a failure', async () => {
    const settings = await settingsWith({})
    await using environment = await openEnvironment(settings, { applicationName: 'tidemark test' })
    await using resources = new AsyncDisposableStack()
    const access = await reachStore(settings, resources)
    const log = await environment.log()
    await log.append(transactionsTopic, [{ key: null, value: Buffer.from('{}'), logTimeMs: Date.now() - 4 * dayMs }])
    const levelWith = async (retentionMs: number | null): Promise<string | undefined> => named(await positionsOf({ log, topic: transactionsTopic, access, retentionMs }), 'log', 'archive')?.level
    expect(await levelWith(null)).toBe('ok')
    expect(await levelWith(30 * dayMs)).toBe('ok')
    expect(await levelWith(7 * dayMs)).toBe('warn')
    expect(await levelWith(3 * dayMs)).toBe('fail')
    expect(named(await lookAtAll(settings), 'log', 'lag')).toMatchObject({ level: 'warn', says: 'at most 1 record not counted yet, the oldest 4.0 d old' })
  }, lookWithinMs)

  test('figures of a topic that the log does not have are a failure', async () => {
    const settings = await settingsWith({})
    await using environment = await openEnvironment(settings, { applicationName: 'tidemark test' })
    await environment.log()
    await environment.database.pool.query(`INSERT INTO committed_offsets (topic, partition, first_offset, next_offset, records) VALUES ('gone', 0, 0, 7, 7)`)
    await using resources = new AsyncDisposableStack()
    const findings = await positionsOf({ log: await environment.log(), topic: 'gone', access: await reachStore(settings, resources), retentionMs: null })
    expect(named(findings, 'log', 'partitions')).toMatchObject({ level: 'fail', says: expect.stringContaining('no topic gone') })
  }, lookWithinMs)

  test('a store that lacks a migration is a warning, and one of a newer version a failure; neither is touched', async () => {
    const settings = await settingsWith({})
    await using environment = await openEnvironment(settings, { applicationName: 'tidemark test' })
    const { pool } = environment.database
    await pool.query(`INSERT INTO migrations (name, run_on) VALUES ('9999_later', now())`)
    expect(named(await lookAtAll(settings), 'store', 'migrations')).toMatchObject({ level: 'fail', says: expect.stringContaining('newer') })
    await pool.query(`DELETE FROM migrations WHERE name >= '0004'`)
    expect(named(await lookAtAll(settings), 'store', 'migrations')).toMatchObject({ level: 'warn', says: expect.stringContaining('0004_') })
    expect((await pool.query(`SELECT FROM migrations WHERE name >= '0004'`)).rowCount).toBe(0)
  }, lookWithinMs)

  test('a port that another program holds is a warning', async () => {
    const server = createServer((socket) => socket.destroy())
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    try {
      const { port } = server.address() as AddressInfo
      expect(named(await lookAtAll(await settingsWith({ TIDEMARK_PORT: String(port) })), 'machine', 'port')).toMatchObject({ level: 'warn' })
    } finally {
      server.close()
    }
  }, lookWithinMs)
})

describe('the command', () => {
  test('prints a line a finding, or JSON, and exits with 0 where nothing fails', async () => {
    const text = await command({}, '--data', join(folder, 'none'))
    expect(text.out).toMatch(/^OK +machine +node +24\./m)
    expect(text.code, text.out + text.err).toBe(0)
    const json = await command({}, '--data', join(folder, 'none'), '--json')
    expect(answerSchema.parse(JSON.parse(json.out)).level).not.toBe('fail')
    expect(json.code).toBe(0)
    expect(existsSync(join(folder, 'none'))).toBe(false)
  }, spawnWithinMs)

  test('exits with 2 and says what to change where settings are wrong', async () => {
    const { code, out, err } = await command({ TIDEMARK_ZONE: 'Mars/Olympus', LOG_URL: 'ftp://x' }, '--data', join(folder, 'none'))
    expect(code).toBe(2)
    expect(out).toBe('')
    expect(err).toContain('TIDEMARK_ZONE: an IANA zone such as Europe/London is expected')
    expect(err).toContain('LOG_URL')
  }, spawnWithinMs)

  test('exits with 1 where an engine is away', async () => {
    const { code, out } = await command({ JOBS_URL: `redis://:hidden@127.0.0.1:${await freePort()}` }, '--data', join(folder, 'none'), '--json')
    const { level, findings } = answerSchema.parse(JSON.parse(out))
    expect([code, level]).toEqual([1, 'fail'])
    expect(findings.filter((finding) => finding.level === 'fail').map(({ area }) => area)).toEqual(['jobs'])
    expect(out).not.toContain('hidden')
  }, spawnWithinMs)
})

/** Environment name → its URL at a port; area of the findings. */
const engines = [
  ['DATABASE_URL', 'database', (port: number) => `postgres://a:b@127.0.0.1:${port}/c`],
  ['LOG_URL', 'log', (port: number) => `kafka://127.0.0.1:${port}`],
  ['LAKE_URL', 'lake', (port: number) => `webhdfs://127.0.0.1:${port}/shopsphere`],
  ['QUERY_URL', 'query', (port: number) => `trino://t@127.0.0.1:${port}/hive`],
  ['SEARCH_URL', 'search', (port: number) => `http://127.0.0.1:${port}`],
  ['JOBS_URL', 'jobs', (port: number) => `redis://127.0.0.1:${port}`],
] as const

describe('engines that are away', () => {
  test('each is a failure with its fix, and the looks at all others go on', async () => {
    const port = await freePort()
    const findings = await lookAtAll(await settingsWith(Object.fromEntries(engines.map(([name, , url]) => [name, url(port)]))))
    for (const [name, area] of engines) expect(named(findings, area, 'reachable'), name).toMatchObject({ level: 'fail', fix: expect.stringContaining(name) })
    expect(named(findings, 'machine', 'node')?.level).toBe('ok')
    expect(named(findings, 'log', 'reachable')?.says).toContain('ECONNREFUSED')
  }, lookWithinMs)

  test('Kafka alone: the lake, the query engine and the queue are looked at all the same', async () => {
    const findings = await lookAtAll(await settingsWith({ LOG_URL: `kafka://127.0.0.1:${await freePort()}` }))
    expect(failures(findings).map((line) => line.split(' ')[0])).toEqual(['log'])
    expect(named(findings, 'query', 'sees the lake')?.level).toBe('ok')
  }, lookWithinMs)

  test('those that take the connection and never answer are failures as well, within a minute', async () => {
    const sockets = new Set<Socket>()
    const silent = createServer((socket) => {
      sockets.add(socket)
      socket.on('error', () => undefined)
    })
    silent.listen(0, '127.0.0.1')
    await once(silent, 'listening')
    try {
      const { port } = silent.address() as AddressInfo
      const startedAt = performance.now()
      const findings = await lookAtAll(await settingsWith(Object.fromEntries(engines.map(([name, , url]) => [name, url(port)]))))
      for (const [name, area] of engines) expect(named(findings, area, 'reachable'), name).toMatchObject({ level: 'fail', fix: expect.any(String) })
      expect(performance.now() - startedAt).toBeLessThan(60_000)
    } finally {
      for (const socket of sockets) socket.destroy()
      silent.close()
    }
  }, lookWithinMs)
})

test('engines of the data folder that do not run are named, with the command that starts them', async () => {
  const shop = join(folder, 'cluster')
  mkdirSync(join(shop, 'engines'), { recursive: true })
  writeFileSync(join(shop, 'cluster.json'), '{ "engines": "cluster" }\n')
  const ports = { 'kafka-1': { client: await freePort(), controller: await freePort() }, redis: { client: await freePort() } }
  writeFileSync(join(shop, 'engines/state.json'), JSON.stringify({ version: 1, nodes: 1, ports, processes: [] }))
  const { code, out } = await command({}, '--data', shop, '--json')
  const { findings } = answerSchema.parse(JSON.parse(out))
  expect(code).toBe(1)
  for (const name of ['kafka-1', 'redis']) expect(named(findings, 'machine', `process ${name}`)).toMatchObject({ level: 'fail', fix: `tidemark engines up --data ${shop}` })
  expect(named(findings, 'log', 'reachable')?.says, 'the log is where the engines of the folder are').toContain(`:${ports['kafka-1'].client}`)
}, spawnWithinMs)

describe('engines that misbehave', () => {
  test('HDFS that sends writers to a name of its own network is a failure that names dfs.datanode.hostname', async () => {
    await using hdfs = await MisbehavingHdfs.open()
    const name = 'tidemark-datanode.invalid:9864'
    hdfs.fault = ({ server, op, path, query, response }) => {
      if (server !== 0) return false
      if (op === 'JMX') return answer(response, 200, { beans: [{ SoftwareVersion: '3.5.0', LiveNodes: JSON.stringify({ [name]: { infoAddr: '172.18.0.3:9864', xferaddr: '172.18.0.3:9866' } }) }] })
      if (op !== 'CREATE') return false
      return answer(response, 200, { Location: `http://${name}/webhdfs/v1${path}?${query.toString()}` })
    }
    const findings = await lookAtAll(await settingsWith({ LAKE_URL: hdfs.url() }))
    expect(named(findings, 'lake', 'NameNode')).toMatchObject({ level: 'ok' })
    expect(named(findings, 'lake', 'redirect')).toMatchObject({ level: 'fail', says: expect.stringContaining(name), fix: expect.stringContaining('dfs.datanode.hostname') })
    expect(named(findings, 'lake', 'write and read')?.level).toBe('fail')
    expect(hdfs.files.size).toBe(0)
  }, lookWithinMs)

  test('HDFS that is well takes a file and keeps none', async () => {
    await using hdfs = await MisbehavingHdfs.open()
    hdfs.folders.set('/lake', '755')
    const findings = await lookAtAll(await settingsWith({ LAKE_URL: hdfs.url() }))
    expect(named(findings, 'lake', 'redirect')).toMatchObject({ level: 'ok' })
    expect(named(findings, 'lake', 'write and read')).toMatchObject({ level: 'ok' })
    expect(hdfs.files.size).toBe(0)
  }, lookWithinMs)

  test('an Elasticsearch of another major version is a failure', async () => {
    const answers: Readonly<Record<string, unknown>> = {
      '/_nodes/http': { nodes: { a: { version: '8.19.2' } } },
      '/_cluster/health': { status: 'green', number_of_nodes: 1, unassigned_shards: 0 },
      '/_nodes/stats/fs': { nodes: { a: { fs: { total: { total_in_bytes: 100, available_in_bytes: 50 } } } } },
      '/*/_settings': {},
    }
    const server = createHttpServer((request, response) => {
      const found = answers[decodeURIComponent(new URL(request.url ?? '', 'http://x').pathname)]
      answer(response, found === undefined ? 404 : 200, found ?? {})
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    try {
      const findings = await lookAtAll(await settingsWith({ SEARCH_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }))
      expect(named(findings, 'search', 'version')).toMatchObject({ level: 'fail', fix: 'Use Elasticsearch 9.' })
    } finally {
      server.closeAllConnections()
      server.close()
    }
  }, lookWithinMs)
})

const hasRedisServer = spawnSync('redis-server', ['--version']).error === undefined

test.skipIf(!hasRedisServer)('a Redis that evicts and keeps no file is told, as are wrong and missing passwords (skipped without redis-server)', async () => {
  const port = await freePort()
  const server = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--maxmemory-policy', 'allkeys-lru', '--requirepass', 'right', '--dir', folder], { stdio: 'ignore' })
  try {
    await waitUntil('Redis to answer', () => inspectRedis(`redis://:right@127.0.0.1:${port}`, 1_000).catch(() => null))
    const findings = await lookAtAll(await settingsWith({ JOBS_URL: `redis://:right@127.0.0.1:${port}` }))
    expect(named(findings, 'jobs', 'eviction')).toMatchObject({ level: 'warn', fix: expect.stringContaining('noeviction') })
    expect(named(findings, 'jobs', 'persistence')).toMatchObject({ level: 'warn', fix: expect.stringContaining('appendonly') })
    await expect(inspectRedis(`redis://:wrong@127.0.0.1:${port}`, 1_000)).rejects.toMatchObject({ code: 'config' })
    await expect(inspectRedis(`redis://127.0.0.1:${port}`, 1_000)).rejects.toMatchObject({ code: 'config' })
  } finally {
    const ended = once(server, 'exit')
    server.kill()
    await ended
  }
}, lookWithinMs)

const [kafka, hdfs, hdfsRpc, trino, elasticsearch, redis] = (['kafka', 'hdfs', 'hdfsRpc', 'trino', 'elasticsearch', 'redis'] as const).map(testEngine)
const clusterMissing = whereMissing('kafka', 'hdfs', 'hdfsRpc', 'trino', 'elasticsearch', 'redis')

describe.skipIf(clusterMissing !== '')(`on the real engines${clusterMissing}`, () => {
  const clusterUrls = {
    LOG_URL: `kafka://${kafka}`,
    LAKE_URL: `webhdfs://${hdfs}/shopsphere?user=tidemark`,
    LAKE_LOCATION: `${hdfsRpc}/shopsphere`,
    QUERY_URL: `trino://tidemark@${new URL(trino ?? 'http://none').host}/hive`,
    SEARCH_URL: elasticsearch ?? '',
    JOBS_URL: redis ?? '',
    TIDEMARK_SCHEMA: `doctor_${randomUUID().slice(0, 8)}`,
  }

  test('every look finds what it is for, and nothing stays in the lake', async () => {
    const findings = await lookAtAll(await settingsWith(clusterUrls))
    const wanted = [
      'log reachable', 'log version', 'lake NameNode', 'lake DataNodes', 'lake folder', 'lake redirect', 'lake write and read', 'query reachable', 'query version', 'query catalog', 'query sees the lake',
      'search reachable', 'search version', 'jobs reachable', 'jobs version', 'jobs eviction', 'jobs persistence', 'jobs nightly schedule', 'machine warnings',
    ]
    expect(wanted.filter((one) => !findings.some(({ area, check, level }) => level === 'ok' && `${area} ${check}` === one)), JSON.stringify(findings.filter(({ level }) => level !== 'ok'))).toEqual([])
    const listed = await (await fetch(`http://${hdfs}/webhdfs/v1/shopsphere?op=LISTSTATUS&user.name=tidemark`)).text()
    expect(listed).toContain('FileStatuses')
    expect(listed).not.toContain('_doctor')
  }, lookWithinMs)

  test('a catalog that Trino does not have is a failure that says where to put it', async () => {
    const findings = await lookAtAll(await settingsWith({ ...clusterUrls, QUERY_URL: clusterUrls.QUERY_URL.replace('/hive', '/lost') }))
    expect(named(findings, 'query', 'catalog')).toMatchObject({ level: 'fail', fix: expect.stringContaining('etc/catalog/lost.properties') })
    expect(named(findings, 'lake', 'write and read')?.level).toBe('ok')
  }, lookWithinMs)

  test('a lake that Trino would look for elsewhere is a failure that names LAKE_LOCATION', async () => {
    const findings = await lookAtAll(await settingsWith({ ...clusterUrls, LAKE_LOCATION: `hdfs://127.0.0.1:${await freePort()}/shopsphere` }))
    expect(named(findings, 'lake', 'write and read')?.level).toBe('ok')
    expect(named(findings, 'query', 'sees the lake')).toMatchObject({ level: 'fail', fix: expect.stringContaining('LAKE_LOCATION') })
  }, lookWithinMs)
})

describe.skipIf(kafka === null)(`topics of a real Kafka${whereMissing('kafka')}`, () => {
  const admin = new kafkajs.Kafka({ clientId: 'doctor-test', brokers: (kafka ?? '127.0.0.1:1').split(','), logLevel: kafkajs.logLevel.NOTHING }).admin()
  const topic = `doctor-${randomUUID()}`

  beforeAll(async () => {
    await admin.connect()
    const configEntries = [{ name: 'message.timestamp.type', value: 'CreateTime' }, { name: 'retention.ms', value: '60000' }]
    await admin.createTopics({ topics: [{ topic, numPartitions: 3, replicationFactor: 1, configEntries }], waitForLeaders: true })
  }, 60_000)

  afterAll(async () => {
    await admin.deleteTopics({ topics: [topic] })
    await admin.disconnect()
  })

  test('one on its producers\' clocks, kept for a minute, is a failure twice over; one that is not there is none', async () => {
    const missing = `${topic}-missing`
    const facts = await inspectKafka({ url: `kafka://${kafka}`, topics: [topic, missing], requestTimeoutMs: 10_000, signal: new AbortController().signal })
    expect(facts.topics.get(missing)).toBeNull()
    expect(facts.topics.get(topic)?.partitions).toHaveLength(3)
    const findings = await examine({ area: 'log', check: 'look', fix: '', timeoutMs: 5_000, look: async (report) => judgeKafka(report, facts, topic) })
    expect(failures(findings).map((line) => line.split(':')[0])).toEqual([`log ${topic} log time`, `log ${topic} retention`])
    expect(named(findings, 'log', `${topic} log time`)?.fix).toContain(`--entity-name ${topic} --add-config message.timestamp.type=LogAppendTime`)
    expect(await admin.listTopics()).not.toContain(missing)
  }, 60_000)

  test('its oldest record that is not archived is read, and its age held against the retention', async () => {
    const settings = await settingsWith({})
    await using _environment = await openEnvironment(settings, { applicationName: 'tidemark test' })
    await using resources = new AsyncDisposableStack()
    const access = await reachStore(settings, resources)
    const log = resources.use(await openKafkaLog({ url: `kafka://${kafka}`, groupPrefix: topic }))
    // Two records, and the ends of their transaction in two partitions.
    await log.append(topic, [{ key: 'a', value: Buffer.from('{}') }, { key: 'b', value: Buffer.from('{}') }])
    const findings = await positionsOf({ log, topic, access, retentionMs: 1 })
    expect(named(findings, 'log', 'lag')?.says).toMatch(/^at most 4 records not counted yet, the oldest \d+ s old$/)
    expect(named(findings, 'log', 'archive')).toMatchObject({ level: 'fail', says: expect.stringMatching(/^at most 4 records not archived yet/) })
    expect(named(await positionsOf({ log, topic, access, retentionMs: dayMs }), 'log', 'archive')?.level).toBe('ok')
  }, 60_000)
})

describe.skipIf(redis === null)(`the schedule in a real Redis${whereMissing('redis')}`, () => {
  test('one that was registered with another hour is a warning that tells both, and looking changes nothing', async () => {
    const schema = `doctor_${randomUUID().slice(0, 8)}`
    await using jobs = openJobs({ url: redis!, namespace: `${schema}_jobs` }, () => undefined)
    await jobs.ensureSchedulers([{ id: nightlyId, pattern: '0 30 5 * * *' }], 'Europe/London')
    const settings = await settingsWith({ JOBS_URL: redis!, TIDEMARK_SCHEMA: schema })
    expect(named(await lookAtAll(settings), 'jobs', 'nightly schedule')).toMatchObject({ level: 'warn', says: expect.stringMatching(/"0 30 5 \* \* \*".*"0 0 3 \* \* \*"/) })
    const right = await settingsWith({ JOBS_URL: redis!, TIDEMARK_SCHEMA: schema, TIDEMARK_NIGHTLY_AT: '05:30' })
    expect(named(await lookAtAll(right), 'jobs', 'nightly schedule')?.level).toBe('ok')
  }, lookWithinMs)
})
