/** What the starter writes for the engines: files, addresses, versions, and which Java it takes. Nothing is started here. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { ConfigError, CorruptError } from '#core/errors.ts'
import { cluster, engineNames } from '#cli/engines/cluster.ts'
import { hadoopXmlText, parseHadoopXml, parseProperties, propertiesText, yamlText } from '#cli/engines/config-files.ts'
import { asAccount, elasticsearchSettings } from '#cli/engines/elasticsearch.ts'
import { clientHdfsSite, coreSite, datanodeHdfsSite, namenodeHdfsSite } from '#cli/engines/hdfs.ts'
import { install, verifyJars } from '#cli/engines/installations.ts'
import { chooseJava, parseJavaVersion, requireJava } from '#cli/engines/java.ts'
import { brokerSettings } from '#cli/engines/kafka.ts'
import { membersOf, withDependencies } from '#cli/engines/kinds.ts'
import type { Site } from '#cli/engines/plan.ts'
import { PortChooser } from '#cli/engines/ports.ts'
import { redisSettings } from '#cli/engines/redis.ts'
import { readState } from '#cli/engines/state.ts'
import { hiveSettings, trinoSettings } from '#cli/engines/trino.ts'
import { environmentOf, testEnvironmentOf, urlsOf } from '#cli/engines/urls.ts'

const hadoop = fileURLToPath(new URL('../../../hadoop/', import.meta.url))
const folders: string[] = []

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-test-'))
  folders.push(folder)
  return folder
}

function siteOf(nodes: number): Site {
  const ports = Object.fromEntries(membersOf(engineNames, nodes).map((member) => [member.name, member.ports]))
  return { folder: '/data/engines', home: '/cache/engine', java: { home: '/java', version: 25 }, nodes, ports }
}

describe('configuration files', () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  const names = fc.stringMatching(/^[a-z][a-z.-]{0,20}$/)

  test(`a Hadoop file says what was put into it, with every character that XML minds (seed ${seed})`, () => {
    fc.assert(
      fc.property(fc.dictionary(names, fc.string({ unit: 'grapheme' }).filter((text) => !/[\r\n\0]/.test(text))), (values) => {
        expect(parseHadoopXml(hadoopXmlText(values))).toEqual({ ...values })
      }),
      { seed },
    )
  })

  test('a properties file says what was put into it; comments and empty lines say nothing', () => {
    const values = { 'log.dirs': '/data/engines/kafka-1', listeners: 'PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2', empty: '' }
    expect(parseProperties(propertiesText(values))).toEqual(values)
    expect(parseProperties('# a=b\n! c=d\n\nkey = value # of it\n')).toEqual({ key: 'value # of it' })
  })

  test('a YAML value that looks like something else stays text', () => {
    expect(yamlText('cluster.name: tidemark\n', { 'path.data': '/a: b', 'http.port': 1 })).toBe('cluster.name: tidemark\npath.data: "/a: b"\nhttp.port: 1\n')
  })
})

describe('addresses', () => {
  test('nothing listens beyond this machine', () => {
    for (const nodes of [1, 3]) {
      const site = siteOf(nodes)
      const all = [
        ...membersOf(['kafka'], nodes).map((_, i) => brokerSettings(site, i + 1)),
        namenodeHdfsSite(site),
        ...[1, nodes].map((id) => datanodeHdfsSite(site, id)),
        trinoSettings(site),
        elasticsearchSettings(site),
        redisSettings(site),
      ]
      const text = JSON.stringify(all)
      expect(text).not.toMatch(/0\.0\.0\.0|\[?::\]?:|:\/\/:/)
      expect(text.match(/127\.0\.0\.1/g)!.length).toBeGreaterThan(10)
    }
    const site = siteOf(1)
    expect(brokerSettings(site, 1)['listeners']).toBe('PLAINTEXT://127.0.0.1:29092,CONTROLLER://127.0.0.1:29093')
    expect(trinoSettings(site)['node.bind-ip']).toBe('127.0.0.1')
    expect(elasticsearchSettings(site)['network.host']).toBe('127.0.0.1')
    expect(redisSettings(site)['bind']).toBe('127.0.0.1')
    for (const address of ['dfs.datanode.address', 'dfs.datanode.http.address', 'dfs.datanode.ipc.address']) {
      expect(String(datanodeHdfsSite(site, 1)[address]), address).toMatch(/^127\.0\.0\.1:/)
    }
    for (const address of ['dfs.namenode.rpc-address', 'dfs.namenode.http-address']) expect(String(namenodeHdfsSite(site)[address]), address).toMatch(/^127\.0\.0\.1:/)
  })

  test('no two members share a port', () => {
    for (const nodes of [1, 3]) {
      const ports = membersOf(engineNames, nodes).flatMap((member) => Object.values(member.ports))
      expect(new Set(ports).size).toBe(ports.length)
    }
  })

  test('WebHDFS sends its clients to an address and not to a name', () => {
    expect(datanodeHdfsSite(siteOf(1), 1)['dfs.datanode.hostname']).toBe('127.0.0.1')
  })

  test('every URL follows from the ports', () => {
    const urls = urlsOf(engineNames, siteOf(3))
    expect(environmentOf(urls)).toEqual({
      LOG_URL: 'kafka://127.0.0.1:29092,127.0.0.1:29094,127.0.0.1:29096',
      LAKE_URL: 'webhdfs://127.0.0.1:19870/shopsphere?user=tidemark',
      LAKE_LOCATION: 'hdfs://127.0.0.1:19000/shopsphere',
      QUERY_URL: 'trino://tidemark@127.0.0.1:18080/hive',
      SEARCH_URL: 'http://127.0.0.1:19200',
      JOBS_URL: 'redis://127.0.0.1:16379',
    })
    expect(testEnvironmentOf(urlsOf(['hdfs'], siteOf(1)))).toEqual({ TIDEMARK_TEST_HDFS: '127.0.0.1:19870', TIDEMARK_TEST_HDFS_RPC: 'hdfs://127.0.0.1:19000' })
    expect(environmentOf(urlsOf([], siteOf(1)))).toEqual({})
  })

  test('a taken port is passed over, and none is given out twice', async () => {
    const server = createServer()
    const taken = await new Promise<number>((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port)))
    try {
      const chooser = new PortChooser([taken + 1])
      const first = await chooser.next(taken)
      expect(first).toBeGreaterThan(taken + 1)
      expect(await chooser.next(taken)).toBeGreaterThan(first)
    } finally {
      server.close()
    }
  })
})

describe('copies', () => {
  test('three nodes keep three copies, of which two must acknowledge; one node keeps one', () => {
    const three = brokerSettings(siteOf(3), 2)
    expect(three['controller.quorum.voters']).toBe('1@127.0.0.1:29093,2@127.0.0.1:29095,3@127.0.0.1:29097')
    expect([three['node.id'], three['default.replication.factor'], three['offsets.topic.replication.factor'], three['min.insync.replicas']]).toEqual([2, 3, 3, 2])
    expect(clientHdfsSite(siteOf(3))['dfs.replication']).toBe(3)
    const one = brokerSettings(siteOf(1), 1)
    expect([one['default.replication.factor'], one['min.insync.replicas'], one['transaction.state.log.min.isr']]).toEqual([1, 1, 1])
    expect(clientHdfsSite(siteOf(1))['dfs.replication']).toBe(1)
  })
})

describe('Trino and HDFS', () => {
  test('Trino reads and writes the file system of the same data folder', () => {
    const site = siteOf(1)
    expect(hiveSettings(site)['hive.metastore.catalog.dir']).toBe(`${String(coreSite(site)['fs.defaultFS'])}/warehouse`)
    expect(hiveSettings(site)['hive.config.resources']).toBe('/data/engines/trino/etc/core-site.xml,/data/engines/trino/etc/hdfs-site.xml')
    expect(hiveSettings(site)['hive.non-managed-table-writes-enabled']).toBe('true')
    expect(hiveSettings(site)['hive.allow-register-partition-procedure']).toBe('true')
  })

  test('Trino brings HDFS with it, which is started before', () => {
    expect(withDependencies(['trino', 'redis'])).toEqual(['hdfs', 'trino', 'redis'])
  })

  test('the heap in its jvm.config is the one that is declared', () => {
    expect(readFileSync(join(hadoop, 'trino/jvm.config'), 'utf8')).toContain(`-Xmx${cluster.trino.heapMb}M`)
  })
})

describe('what is fetched', () => {
  test('a cache folder that cannot be made is named, with how to choose another', async () => {
    const file = join(temporaryFolder(), 'file')
    writeFileSync(file, '')
    const nothing = (): void => undefined
    const fetching = { cacheDirectory: join(file, 'cache'), java: { home: '/nowhere', version: 17 }, say: nothing, progress: nothing, signal: AbortSignal.timeout(10_000) }
    const failed = install('kafka', fetching)
    await expect(failed).rejects.toThrow(ConfigError)
    await expect(failed).rejects.toThrow(/file.cache .*--cache/s)
  })

  test('the poms, the lists of jars and the archives name the declared versions', () => {
    for (const [engine, version, jar] of [
      ['kafka', cluster.kafka.version, `kafka_2.13-${cluster.kafka.version}.jar`],
      ['hdfs', cluster.namenode.version, `hadoop-hdfs-${cluster.namenode.version}.jar`],
    ] as const) {
      expect(readFileSync(join(hadoop, engine, 'pom.xml'), 'utf8'), engine).toContain(`<version>${version}</version>`)
      const sums = readFileSync(join(hadoop, engine, 'jars.sha256'), 'utf8')
      expect(sums, engine).toContain(`  ${jar}\n`)
      for (const line of sums.trim().split('\n')) expect(line).toMatch(/^[0-9a-f]{64} {2}\S+\.jar$/)
    }
    expect(cluster.datanode.version).toBe(cluster.namenode.version)
    expect(cluster.archives.hdfsPages.artifact).toContain(`:${cluster.namenode.version}:`)
    expect(cluster.archives.trino.artifact).toContain(`:${cluster.trino.version}:`)
    expect(cluster.archives.elasticsearch.artifact).toContain(`:${cluster.elasticsearch.version}:`)
  })

  test('a jar that is missing, unknown or changed is refused', async () => {
    const folder = temporaryFolder()
    writeFileSync(join(folder, 'a.jar'), 'a')
    const sumOfA = 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb'
    await expect(verifyJars(folder, `${sumOfA}  a.jar\n`)).resolves.toBeUndefined()
    await expect(verifyJars(folder, `${sumOfA}  a.jar\n${sumOfA}  b.jar\n`)).rejects.toThrow(/missing b\.jar/)
    writeFileSync(join(folder, 'c.jar'), 'c')
    await expect(verifyJars(folder, `${sumOfA}  a.jar\n`)).rejects.toThrow(/not known c\.jar/)
    rmSync(join(folder, 'c.jar'))
    writeFileSync(join(folder, 'a.jar'), 'b')
    await expect(verifyJars(folder, `${sumOfA}  a.jar\n`)).rejects.toBeInstanceOf(CorruptError)
  })
})

describe('Java', () => {
  test('versions old and new are read from release files and from what java prints', () => {
    expect(parseJavaVersion('IMPLEMENTOR="x"\nJAVA_VERSION="17.0.15"\nJAVA_VERSION_DATE="2025-04-15"\n')).toBe(17)
    expect(parseJavaVersion('openjdk version "25" 2025-09-16')).toBe(25)
    expect(parseJavaVersion('openjdk version "25.0.3" 2026-04-21 LTS')).toBe(25)
    expect(parseJavaVersion('openjdk version "26-ea" 2026-03-17')).toBe(26)
    expect(parseJavaVersion('java version "1.8.0_392"')).toBe(8)
    expect(parseJavaVersion('JAVA_VERSION="1.8.0_392"')).toBe(8)
    expect(parseJavaVersion('JAVA_VERSION_DATE="2025-04-15"')).toBeUndefined()
    expect(parseJavaVersion('')).toBeUndefined()
  })

  test('each engine gets the oldest Java that is new enough, or an error that says what to install', () => {
    const javas = [25, 17, 21, 8].map((version) => ({ home: `/java/${version}`, version }))
    expect(chooseJava(javas, 17)?.version).toBe(17)
    expect(chooseJava(javas, 24)?.version).toBe(25)
    expect(chooseJava(javas, 26)).toBeUndefined()
    expect(() => requireJava(javas, 26, 'trino')).toThrow(/trino needs Java 26 or newer.*Install one/s)
    expect(() => requireJava([], 17, 'kafka')).toThrow(ConfigError)
  })
})

describe('Elasticsearch under root', () => {
  const command = { file: '/es/bin/elasticsearch', args: ['-p', 'pid'], environment: {} }

  test('it becomes another user, who looks past a closed folder only where there is one', () => {
    const folder = temporaryFolder()
    const closed = join(folder, 'closed')
    mkdirSync(join(closed, 'data'), { recursive: true, mode: 0o755 })
    const open = asAccount({ uid: 5, gid: 6 }, command, ['/'])
    expect(open.args.join(' ')).toBe('--reuid 5 --regid 6 --clear-groups --no-new-privs -- /es/bin/elasticsearch -p pid')
    // mkdtemp makes folders that are closed to others.
    expect(asAccount({ uid: 5, gid: 6 }, command, [join(closed, 'data')]).args.join(' ')).toContain('--ambient-caps=-all,+dac_read_search')
  })
})

describe('state', () => {
  test('where nothing was started there is none; a file that is not ours to read is named with what to do', () => {
    const folder = temporaryFolder()
    expect(readState(folder)).toBeNull()
    mkdirSync(join(folder, 'engines'))
    writeFileSync(join(folder, 'engines', 'state.json'), '{"version":1')
    expect(() => readState(folder)).toThrow(/state\.json.*delete the folder/s)
  })
})
