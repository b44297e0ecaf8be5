import { describe, expect, test } from 'vitest'
import { judgeStatus } from '#cli/doctor/database.ts'
import type { Finding, Report } from '#cli/doctor/finding.ts'
import { examine, worst } from '#cli/doctor/finding.ts'
import { judgeRedis, judgeScheduler } from '#cli/doctor/jobs.ts'
import { fixOfTrino, judgeHdfs, judgeTrino } from '#cli/doctor/lake.ts'
import { judgeKafka } from '#cli/doctor/log.ts'
import { reportLines } from '#cli/doctor/report.ts'
import { judgeElasticsearch, judgeFollower } from '#cli/doctor/search.ts'
import { judgeWarnings } from '#cli/doctor/warnings.ts'
import { ConfigError, UnavailableError } from '#core/errors.ts'
import type { ElasticsearchFacts } from '#engines/elasticsearch-inspect.ts'
import type { HdfsFacts, NameNodeFacts } from '#engines/hdfs-inspect.ts'
import type { KafkaFacts } from '#engines/kafka-inspect.ts'
import type { RedisFacts } from '#engines/redis-inspect.ts'
import { factsOf } from '#engines/redis-inspect.ts'
import type { TrinoFacts } from '#engines/trino-inspect.ts'
import type { StoreStatus } from '#store/status.ts'

async function judged(judge: (report: Report) => void): Promise<readonly Finding[]> {
  return examine({ area: 'area', check: 'look', fix: 'fix', timeoutMs: 5_000, look: async (report) => judge(report) })
}

async function troubles(judge: (report: Report) => void): Promise<string[]> {
  return (await judged(judge)).filter(({ level }) => level !== 'ok').map(({ level, check, fix }) => `${level} ${check}: ${fix}`)
}

describe('a look', () => {
  const about = { area: 'lake', check: 'reachable', fix: 'Start it.' }

  test('that throws is a failure with its cause and the fix, and what was found before stays', async () => {
    const findings = await examine({
      ...about,
      timeoutMs: 5_000,
      look: async (report) => {
        report.ok('version', '3.5')
        throw new UnavailableError('It could not connect within 6 s.', {}, new Error('outer', { cause: new Error('connect ECONNREFUSED') }))
      },
    })
    expect(findings).toEqual([
      { area: 'lake', check: 'version', level: 'ok', says: '3.5' },
      { area: 'lake', check: 'reachable', level: 'fail', says: 'It could not connect within 6 s. (connect ECONNREFUSED)', fix: 'Start it.' },
    ])
  })

  test('that never ends is a failure after its time, and what it says later is not taken', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    let said: Report | null = null
    const findings = await examine({
      ...about,
      timeoutMs: 20,
      look: async (report) => {
        said = report
        await promise
      },
    })
    said!.ok('later', 'too late')
    resolve()
    expect(findings).toEqual([{ area: 'lake', check: 'reachable', level: 'fail', says: 'no answer within 0.02 s', fix: 'Start it.' }])
  })

  test('that finds wrong settings shows their message, and no password of a URL', async () => {
    const findings = await examine({ ...about, timeoutMs: 5_000, look: () => Promise.reject(new ConfigError('Correct\n  redis://me:secret@host:1.')) })
    expect(findings[0]).toMatchObject({ level: 'fail', says: 'Correct redis://…@host:1.' })
  })
})

describe('the report', () => {
  const findings: Finding[] = [
    { area: 'log', check: 'lag', level: 'ok', says: 'none' },
    { area: 'machine', check: 'disk', level: 'warn', says: '1 GB free', fix: 'Free space.' },
    { area: 'lake', check: 'redirect', level: 'fail', says: 'leads nowhere', fix: 'Set it.' },
  ]

  test('has a line for each finding in columns, the fix below it, and a sum', () => {
    expect(reportLines(findings)).toEqual([
      'OK    log      lag       none',
      'WARN  machine  disk      1 GB free',
      '               → Free space.',
      'FAIL  lake     redirect  leads nowhere',
      '               → Set it.',
      '',
      '1 failure, 1 warning: mend the failures from the top.',
    ])
    expect(reportLines(findings.slice(0, 2)).at(-1)).toBe('Nothing stands in the way; 1 warning.')
    expect(reportLines(findings.slice(0, 1)).at(-1)).toBe('All is well.')
  })

  test('is as bad as the worst of it', () => {
    expect([worst(findings), worst(findings.slice(0, 2)), worst(findings.slice(0, 1)), worst([])]).toEqual(['fail', 'warn', 'ok', 'ok'])
  })
})

describe('Kafka', () => {
  const settings = { 'message.timestamp.type': 'LogAppendTime', 'cleanup.policy': 'delete', 'retention.ms': '604800000', 'retention.bytes': '-1', 'min.insync.replicas': '1' }
  const well: KafkaFacts = {
    brokers: [{ nodeId: 1, address: 'a:9092', failure: null }],
    fetchVersion: 18,
    metadataVersion: 13,
    topics: new Map([['transactions', { partitions: [{ partition: 0, hasLeader: true, replicas: 3, inSync: 3 }], settings }]]),
  }
  const withSettings = (changed: Readonly<Record<string, string>>, topic = 'transactions'): KafkaFacts => ({ ...well, topics: new Map([[topic, { partitions: [{ partition: 0, hasLeader: true, replicas: 1, inSync: 1 }], settings: { ...settings, ...changed } }]]) })
  const withPartition = (partition: object): KafkaFacts => ({ ...well, topics: new Map([['transactions', { partitions: [{ partition: 0, hasLeader: true, replicas: 3, inSync: 3, ...partition }], settings: { ...settings, 'min.insync.replicas': '2' } }]]) })

  test('is well on log-append time with a week of retention', async () => {
    expect(await troubles((report) => judgeKafka(report, well))).toEqual([])
  })

  test.each([
    ['fail transactions log time', withSettings({ 'message.timestamp.type': 'CreateTime' })],
    ['warn users log time', withSettings({ 'message.timestamp.type': 'CreateTime' }, 'users')],
    ['fail transactions clean-up', withSettings({ 'cleanup.policy': 'compact,delete' })],
    ['fail transactions retention', withSettings({ 'retention.ms': '3600000' })],
    ['warn transactions retention', withSettings({ 'retention.ms': '129600000' })],
    ['warn transactions retention size', withSettings({ 'retention.bytes': '1048576' })],
    ['fail topic transactions', withPartition({ hasLeader: false })],
    ['fail topic transactions', withPartition({ inSync: 1 })],
    ['warn topic transactions', withPartition({ inSync: 2 })],
    ['fail broker 1', { ...well, brokers: [{ nodeId: 1, address: 'kafka:9092', failure: 'getaddrinfo ENOTFOUND kafka' }] }],
    ['warn transactions log time', { ...well, topics: new Map([['transactions', { partitions: well.topics.get('transactions')!.partitions, settings: null }]]) }],
  ])('%s', async (expected, facts) => {
    const found = await troubles((report) => judgeKafka(report, facts))
    expect(found).toHaveLength(1)
    expect(found[0]).toMatch(new RegExp(`^${expected}: .+`))
  })

  test('an endless retention and a topic that is not there yet are well', async () => {
    expect(await troubles((report) => judgeKafka(report, withSettings({ 'retention.ms': '-1' })))).toEqual([])
    expect(await troubles((report) => judgeKafka(report, { ...well, topics: new Map([['transactions', null]]) }))).toEqual([])
  })
})

describe('HDFS', () => {
  const nameNode: NameNodeFacts = { host: 'n:9870', failure: null, version: '3.5.0', state: 'active', safeMode: '', dataNodes: [{ name: 'd:9866', webHosts: ['d:9864'], version: '3.5.0' }], deadDataNodes: 0, missingBlocks: 0, capacityBytes: 100, remainingBytes: 50 }
  const well: HdfsFacts = { nameNodes: [nameNode], user: 'tidemark', root: { path: '/shopsphere', owner: 'tidemark', permission: '755' }, rootPath: '/shopsphere', redirect: { host: 'd:9864', isReported: true, trouble: null } }
  const withNameNode = (changed: Partial<NameNodeFacts>): HdfsFacts => ({ ...well, nameNodes: [{ ...nameNode, ...changed }] })

  test('is well', async () => {
    expect(await troubles((report) => judgeHdfs(report, well))).toEqual([])
  })

  test.each([
    ['fail redirect: .*dfs\\.datanode\\.hostname', { ...well, redirect: { host: '3f2a:9864', isReported: true, trouble: { kind: 'name', text: 'getaddrinfo ENOTFOUND 3f2a' } } }],
    ['fail redirect: .*dfs\\.datanode\\.http\\.address', { ...well, redirect: { host: 'd:9864', isReported: true, trouble: { kind: 'connection', text: 'connect ECONNREFUSED' } } }],
    ['fail redirect: .*\\?datanodes=evil:80', { ...well, redirect: { host: 'evil:80', isReported: false, trouble: null } }],
    ['fail redirect: Start DataNodes', { ...well, redirect: { refusal: 'no DataNode' } }],
    ['warn folder: ', { ...well, root: null }],
    ['fail safe mode: ', withNameNode({ safeMode: 'Safe mode is ON.' })],
    ['fail DataNodes: ', withNameNode({ dataNodes: [] })],
    ['warn DataNodes: ', withNameNode({ deadDataNodes: 1 })],
    ['fail blocks: ', withNameNode({ missingBlocks: 2 })],
    ['warn space: ', withNameNode({ remainingBytes: 5 })],
    ['fail NameNode: ', withNameNode({ version: '2.10.2', dataNodes: [{ name: 'd:9866', webHosts: [], version: '2.10.2' }] })],
    ['warn NameNode: ', withNameNode({ failure: 'connect ECONNREFUSED' })],
  ] as [string, HdfsFacts][])('%s', async (expected, facts) => {
    const found = await troubles((report) => judgeHdfs(report, facts))
    expect(found).toHaveLength(1)
    expect(found[0]).toMatch(new RegExp(`^${expected}`))
  })
})

describe('Trino', () => {
  const well: TrinoFacts = { origin: 'http://t', version: '476', isStarting: false, catalog: 'hive', catalogs: new Map([['hive', 'hive'], ['system', 'system']]) }

  test('is well', async () => {
    expect(await troubles((report) => judgeTrino(report, well))).toEqual([])
  })

  test.each([
    ['fail reachable: Wait', { ...well, isStarting: true }],
    ['warn version: Use 458', { ...well, version: '435' }],
    ['fail catalog: .*fs\\.hadoop\\.enabled=true', { ...well, catalogs: new Map([['system', 'system']]) }],
    ['fail catalog: .*Hive connector', { ...well, catalogs: new Map([['hive', 'iceberg']]) }],
  ] as [string, TrinoFacts][])('%s', async (expected, facts) => {
    const found = await troubles((report) => judgeTrino(report, facts))
    expect(found).toHaveLength(1)
    expect(found[0]).toMatch(new RegExp(`^${expected}`))
  })

  test('its words over the lake are told apart', () => {
    expect(fixOfTrino('No factory for location: hdfs://n:8020/shopsphere', '')).toContain('fs.hadoop.enabled=true')
    expect(fixOfTrino('java.net.UnknownHostException: namenode', 'hdfs://namenode:8020/x')).toContain('LAKE_LOCATION (hdfs://namenode:8020/x)')
    expect(fixOfTrino('Permission denied: user=t', '')).toContain('right to read')
  })
})

describe('Elasticsearch', () => {
  const well: ElasticsearchFacts = { clientVersion: '9.5.1', versions: ['9.5.4'], health: 'green', nodes: 1, unassignedShards: 0, diskUsed: 0.5, blocked: [], indices: ['tidemark-a'] }

  test('is well', async () => {
    expect(await troubles((report) => judgeElasticsearch(report, well))).toEqual([])
  })

  test.each([
    ['fail version: Use Elasticsearch 9', { ...well, versions: ['8.19.0'] }],
    ['fail health: ', { ...well, health: 'red', unassignedShards: 1 }],
    ['warn health: ', { ...well, health: 'yellow', unassignedShards: 1 }],
    ['fail disk: Free space; Elasticsearch then lifts', { ...well, blocked: ['a'] }],
    ['warn disk: ', { ...well, diskUsed: 0.87 }],
    ['fail disk: ', { ...well, diskUsed: 0.96 }],
  ] as [string, ElasticsearchFacts][])('%s', async (expected, facts) => {
    const found = await troubles((report) => judgeElasticsearch(report, facts))
    expect(found).toHaveLength(1)
    expect(found[0]).toMatch(new RegExp(`^${expected}`))
  })

  test('the follower is behind, refused, or without its index', async () => {
    const status = { incarnation: 'i', readNumber: 1, position: '1', lagTransactions: 0, lagSeconds: 1, monthsResent: 0, rejects: 0, salesBehind: 0, indices: [{ name: 'tidemark-a', kind: 'sales', state: 'serving', monthsDue: 0, monthsLeft: 0 }] } as const
    const found = async (changed: object, indices = ['tidemark-a']): Promise<string[]> => (await troubles((report) => judgeFollower(report, { ...status, ...changed }, indices))).map((line) => line.split(':')[0]!)
    expect(await found({})).toEqual([])
    expect(await found({ lagSeconds: 600 })).toEqual(['warn follower'])
    expect(await found({ rejects: 1 })).toEqual(['warn rejects'])
    expect(await found({}, [])).toEqual(['warn indices'])
    expect(await troubles((report) => judgeFollower(report, null, []))).toEqual([])
  })
})

describe('Redis and the schedule', () => {
  const info = (changed: Readonly<Record<string, string>> = {}): string => {
    const fields = { redis_version: '7.0.15', role: 'master', loading: '0', maxmemory_policy: 'noeviction', used_memory: '1000', maxmemory: '0', aof_enabled: '1', aof_last_write_status: 'ok', aof_last_bgrewrite_status: 'ok', rdb_last_bgsave_status: 'ok', ...changed }
    return `# Server\r\n${Object.entries(fields).map(([name, value]) => `${name}:${value}\r\n`).join('')}`
  }

  test('its INFO is read line by line', () => {
    expect(factsOf(info())).toEqual({ version: '7.0.15', role: 'master', isLoading: false, evictionPolicy: 'noeviction', memoryUsedBytes: 1000, memoryMaxBytes: 0, hasAppendOnlyFile: true, isLastWriteGood: true } satisfies RedisFacts)
  })

  test.each([
    ['fail version: Use 6\\.2', { redis_version: '6.0.20' }],
    ['warn eviction: CONFIG SET maxmemory-policy noeviction', { maxmemory_policy: 'allkeys-lru' }],
    ['warn persistence: CONFIG SET appendonly yes', { aof_enabled: '0' }],
    ['fail persistence: Free space', { aof_last_write_status: 'err' }],
    ['fail writable: Let JOBS_URL', { role: 'slave' }],
    ['fail reachable: Wait', { loading: '1' }],
    ['warn memory: Raise maxmemory', { maxmemory: '1100' }],
  ] as [string, Readonly<Record<string, string>>][])('%s', async (expected, changed) => {
    const found = await troubles((report) => judgeRedis(report, factsOf(info(changed))))
    expect(found).toHaveLength(1)
    expect(found[0]).toMatch(new RegExp(`^${expected}`))
  })

  test('a schedule that is missing or says something else is a warning once there is work', async () => {
    const settings = { nightlyAt: '03:00', zone: 'Europe/London' }
    const right = { pattern: '0 0 3 * * *', zone: 'Europe/London', nextMs: 0 }
    const levels = async (scheduler: typeof right | null, hasWork: boolean): Promise<string[]> => (await judged((report) => judgeScheduler(report, scheduler, settings, hasWork))).map(({ level }) => level)
    expect(await levels(right, true)).toEqual(['ok'])
    expect(await levels(null, false)).toEqual(['ok'])
    expect(await levels(null, true)).toEqual(['warn'])
    expect(await levels({ ...right, pattern: '0 0 4 * * *' }, true)).toEqual(['warn'])
    expect(await levels({ ...right, zone: 'UTC' }, true)).toEqual(['warn'])
  })
})

describe('the store', () => {
  const nowMs = Date.parse('2026-03-02T12:00:00.000Z')
  const at = (agoMs: number): string => new Date(nowMs - agoMs).toISOString()
  const batch = { id: 3, epoch: 3, kind: 'incremental', status: 'published', startedAt: at(3_600_000), finishedAt: at(3_600_000), publishedAt: at(3_600_000), eventsRead: 1, eventsCounted: 1, message: null, crossCheck: null }
  const worker = { worker: 'w', startedAt: at(60_000), seenAt: at(1_000), partitions: [0, 1], ledgerIds: 0, flushes: 0, fencedFlushes: 0, failedFlushes: 0, skippedReplays: 0 }
  const partition = { topic: 'transactions', partition: 0, nextOffset: 1000, lastLogTime: at(1_000), records: 1000, accepted: 1000, copies: 0, conflicts: 0, refused: 0, late: 0 }
  const well: StoreStatus = {
    incarnation: 'i', epoch: 4, batch: { id: 3, epoch: 3, moves: 3, publishedAt: at(3_600_000), pausedReason: null }, partitions: [partition], workers: [worker], batches: [batch],
    deadLettersByReason: { 'invalid-total': 5 }, stopped: [], archive: { files: 1, bytes: 1, rows: 1 },
  }

  test('is well with a worker, a batch of this night and few dead letters', async () => {
    expect(await troubles((report) => judgeStatus(report, well, nowMs))).toEqual([])
  })

  test.each([
    ['warn speed workers: ', { workers: [{ ...worker, seenAt: at(600_000) }] }],
    ['warn speed workers: ', { workers: [] }],
    ['fail stopped partitions: .*accept-loss 2:10-20', { stopped: [{ topic: 'transactions', partition: 2, from: 10, to: 20, reason: 'gone', noticedAt: at(1) }] }],
    ['warn publishing: tidemark batch resume', { batch: { ...well.batch, pausedReason: 'rolled back' } }],
    ['warn batches: tidemark batch show 4', { batches: [{ ...batch, id: 4, status: 'held' }, batch] }],
    ['warn batches: Mend what it names', { batches: [{ ...batch, id: 4, status: 'failed' }, batch] }],
    ['warn batches: The nightly batch did not run', { batch: { ...well.batch, publishedAt: at(50 * 3_600_000) } }],
    ['warn dead letters: ', { deadLettersByReason: { 'invalid-total': 11 } }],
  ] as [string, Partial<StoreStatus>][])('%s', async (expected, changed) => {
    const found = await troubles((report) => judgeStatus(report, { ...well, ...changed }, nowMs))
    expect(found).toHaveLength(1)
    expect(found[0]).toMatch(new RegExp(`^${expected}`))
  })

  test('is well before anything was ever counted', async () => {
    expect(await troubles((report) => judgeStatus(report, { ...well, partitions: [], workers: [], batches: [], batch: { ...well.batch, id: 0, publishedAt: null }, deadLettersByReason: {} }, nowMs))).toEqual([])
  })
})

test('what Node warned of is told, with what is known of it', () => {
  expect(judgeWarnings(new Map())).toMatchObject({ level: 'ok' })
  expect(judgeWarnings(new Map([['TimeoutNegativeWarning', '-1 is a negative number.']]))).toMatchObject({ level: 'warn', fix: expect.stringContaining('kafkajs') })
})
