/** docker-compose.yml against hadoop/cluster.json and the files of hadoop/, and, where the program is there, by docker-compose itself. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { cluster } from '#cli/engines/cluster.ts'
import { parseHadoopXml, parseProperties } from '#cli/engines/config-files.ts'
import { declaredSettings } from '#cli/settings.ts'
import type { Yaml } from './simple-yaml.ts'
import { parseSimpleYaml } from './simple-yaml.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const profiles = ['core', 'lake', 'search', 'all'] as const

type Service = {
  readonly image: string
  readonly profiles: readonly string[]
  readonly mem_limit: string
  readonly ports: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly volumes?: readonly string[]
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  readonly healthcheck: { readonly test: readonly string[]; readonly interval: string; readonly timeout: string; readonly retries: string; readonly start_period: string }
  readonly entrypoint?: readonly string[]
}

const compose = parseSimpleYaml(readFileSync(join(root, 'docker-compose.yml'), 'utf8')) as unknown as {
  readonly services: Readonly<Record<string, Service>>
  readonly volumes: Readonly<Record<string, Yaml>>
}
const services = Object.entries(compose.services)

/** Service → its entry in hadoop/cluster.json. */
function declaredOf(name: string): { readonly image: string; readonly containerMb: number; readonly heapMb?: number; readonly ports: Readonly<Record<string, number>> } {
  return cluster[(name.startsWith('tidemark') ? 'tidemark' : name) as 'kafka']
}

describe('images', () => {
  test('each is the one that hadoop/cluster.json names, with an exact version', () => {
    expect(services.length).toBeGreaterThan(11)
    for (const [name, { image }] of services) {
      expect(image, name).toBe(declaredOf(name).image)
      expect(image, name).toMatch(/:\d+(\.\d+)*$/)
    }
  })

  test('an engine is of the version that the starter fetches', () => {
    for (const name of ['kafka', 'namenode', 'datanode', 'trino', 'elasticsearch', 'redis'] as const) expect(cluster[name].image, name).toMatch(new RegExp(`:${cluster[name].version}$`))
    expect(cluster.kibana.image).toMatch(new RegExp(`:${cluster.elasticsearch.version}$`))
  })

  test("Tidemark's image runs the Node that package.json pins, as a plain user, and is of its version", () => {
    const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8')
    const { version, dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string; dependencies: Record<string, string> }
    for (const [, tag] of dockerfile.matchAll(/^FROM node:([\d.]+)-/gm)) expect(tag).toBe(dependencies['node'])
    expect(dockerfile).toMatch(/^USER node$/m)
    expect(cluster.tidemark.image).toBe(`tidemark:${version}`)
  })
})

describe('each service', () => {
  test('has the memory limit of hadoop/cluster.json, above its heap', () => {
    for (const [name, { mem_limit: limit }] of services) {
      const { containerMb, heapMb = 0 } = declaredOf(name)
      expect(limit, name).toBe(`${containerMb}m`)
      expect(containerMb, name).toBeGreaterThan(heapMb * 1.3)
    }
    expect(compose.services['kafka']!.environment!['KAFKA_HEAP_OPTS']).toBe(`-Xms${cluster.kafka.heapMb}m -Xmx${cluster.kafka.heapMb}m`)
    expect(compose.services['elasticsearch']!.environment!['ES_JAVA_OPTS']).toBe(`-Xms${cluster.elasticsearch.heapMb}m -Xmx${cluster.elasticsearch.heapMb}m`)
    expect(compose.services['namenode']!.environment!['HADOOP_HEAPSIZE_MAX']).toBe(`${cluster.namenode.heapMb}m`)
    expect(compose.services['datanode']!.environment!['HADOOP_HEAPSIZE_MAX']).toBe(`${cluster.datanode.heapMb}m`)
  })

  test('is published to this machine only, at a port that hadoop/cluster.json names', () => {
    for (const [name, { ports }] of services) {
      expect(ports.length, name).toBeGreaterThan(0)
      for (const port of ports) {
        const [, published] = /^127\.0\.0\.1:(\d+):\d+$/.exec(port) ?? []
        expect(Object.values(declaredOf(name).ports), `${name} ${port}`).toContain(Number(published))
      }
    }
  })

  test('has a health check that does not wait for ever', () => {
    for (const [name, { healthcheck }] of services) {
      expect(healthcheck.test.length, name).toBeGreaterThan(1)
      expect(['CMD', 'CMD-SHELL'], name).toContain(healthcheck.test[0])
      for (const limit of ['interval', 'timeout', 'start_period'] as const) expect(healthcheck[limit], `${name} ${limit}`).toMatch(/^\d+s$/)
      expect(Number(healthcheck.retries), name).toBeGreaterThan(1)
    }
  })

  test('mounts files that are there, read-only, and volumes that are declared', () => {
    const mounts = services.flatMap(([name, { volumes = [] }]) => volumes.map((volume) => ({ name, volume })))
    for (const { name, volume } of mounts) {
      const [source = '', , mode] = volume.split(':')
      if (source.startsWith('./')) {
        expect(existsSync(join(root, source)), `${name} ${volume}`).toBe(true)
        expect(mode, `${name} ${volume}`).toBe('ro')
      } else expect(Object.keys(compose.volumes), `${name} ${volume}`).toContain(source)
    }
    const scripts = mounts.filter(({ volume }) => volume.includes('.sh:')).map(({ volume }) => volume.split(':')[0]!)
    expect(scripts.length).toBeGreaterThan(2)
    for (const script of scripts) expect(statSync(join(root, script)).mode & 0o111, script).not.toBe(0)
  })
})

describe('profiles', () => {
  test('`docker compose up` alone starts everything', () => {
    expect(readFileSync(join(root, '.env'), 'utf8')).toMatch(/^COMPOSE_PROFILES=all$/m)
    const all = services.filter(([, service]) => service.profiles.includes('all')).map(([name]) => name)
    expect(all.toSorted()).toEqual(['datanode', 'elasticsearch', 'kafka', 'kibana', 'namenode', 'postgres', 'redis', 'tidemark', 'trino'])
  })

  test.each(profiles)('%s is whole: what a service waits for is in it and healthy first, one Tidemark, no port twice', (profile) => {
    const present = services.filter(([, service]) => service.profiles.includes(profile))
    const names = present.map(([name]) => name)
    expect(names.filter((name) => name.startsWith('tidemark'))).toHaveLength(1)
    for (const [name, { depends_on: needs = {} }] of present) {
      for (const [needed, { condition }] of Object.entries(needs)) {
        expect(names, name).toContain(needed)
        expect(condition, `${name} → ${needed}`).toBe('service_healthy')
      }
    }
    const ports = present.flatMap(([, { ports: published }]) => published)
    expect(new Set(ports).size).toBe(ports.length)
  })

  test('Tidemark is pointed at the services of its profile, by settings that there are', () => {
    const known = Object.values(declaredSettings).map(({ env }) => env)
    for (const [name, { environment = {}, profiles: of }] of services.filter(([service]) => service.startsWith('tidemark'))) {
      expect(known, name).toEqual(expect.arrayContaining(Object.keys(environment)))
      const hosts = Object.entries(environment).filter(([setting]) => setting.endsWith('_URL') || setting.endsWith('_LOCATION')).map(([, url]) => hostOf(url))
      for (const host of hosts) expect(compose.services[host]?.profiles, `${name} → ${host}`).toEqual(expect.arrayContaining([...of]))
    }
    expect(Object.keys(compose.services['tidemark']!.environment!).toSorted()).toEqual(
      ['DATABASE_URL', 'JOBS_URL', 'LAKE_LOCATION', 'LAKE_URL', 'LOG_URL', 'QUERY_URL', 'SEARCH_URL', 'TIDEMARK_HOST', 'TIDEMARK_PORT'],
    )
  })
})

function hostOf(url: string): string {
  return new URL(url.replace(/\$\{[^}]*\}/, 'secret').replace(/^\w+:/, 'http:')).hostname
}

describe('settings shared with the starter', () => {
  const read = (name: string) => readFileSync(join(root, 'hadoop', name), 'utf8')

  test("the XML files are well-formed in what Hadoop's parser minds: no double dash within a comment, every tag closed", () => {
    for (const name of ['hdfs/core-site.xml', 'hdfs/hdfs-site.xml', 'hdfs/pom.xml', 'kafka/pom.xml', 'kafka/log4j2.xml']) {
      const text = read(name)
      for (const [, comment] of text.matchAll(/<!--(.*?)-->/gs)) expect(comment, name).not.toContain('--')
      const tags = text.replaceAll(/<!--.*?-->|<\?.*?\?>|<[^<>]*\/>/gs, '').match(/<\/?[\w.]+/g)!
      const open: string[] = []
      for (const tag of tags) {
        if (tag.startsWith('</')) expect(tag.slice(2), name).toBe(open.pop())
        else open.push(tag.slice(1))
      }
      expect(open, name).toEqual([])
    }
  })

  test('what names a service of compose names one that there is, at the port that it listens to', () => {
    const { 'fs.defaultFS': lake } = parseHadoopXml(read('hdfs/core-site.xml'))
    const { LAKE_LOCATION: location, LAKE_URL: web, QUERY_URL: query } = compose.services['tidemark']!.environment!
    expect(web).toBe(`webhdfs://namenode:9870${cluster.folders.lake}?user=${cluster.users.lake}`)
    expect(location).toBe(`${lake}${cluster.folders.lake}`)
    const hive = parseProperties(read('trino/catalog/hive.properties'))
    expect(hive['hive.metastore.catalog.dir']).toBe(`${lake}${cluster.folders.warehouse}`)
    const mounted = compose.services['trino']!.volumes!.map((volume) => volume.split(':')[1])
    expect(mounted).toEqual(expect.arrayContaining(hive['hive.config.resources']!.split(',')))
    expect(new URL(query!.replace('trino:', 'http:')).port).toBe(parseProperties(read('trino/config.properties'))['http-server.http.port'])
    expect(compose.services['trino']!.environment!['HADOOP_USER_NAME']).toBe(cluster.users.lake)
    expect(new URL(query!.replace('trino:', 'http:')).username).toBe(cluster.users.lake)
  })

  test('WebHDFS sends Tidemark to the DataNode by a name and a port at which it is', () => {
    const flags = compose.services['datanode']!.entrypoint!
    expect(flags).toContain('-Ddfs.datanode.hostname=datanode')
    const { http } = cluster.datanode.ports
    expect(flags).toContain(`-Ddfs.datanode.http.address=0.0.0.0:${http}`)
    // The same outside: a program on this machine follows the redirect as well.
    expect(compose.services['datanode']!.ports).toContain(`127.0.0.1:${http}:${http}`)
  })

  test('the NameNode makes the folders that the starter makes, for the same users', () => {
    const script = read('hdfs/start-namenode.sh')
    for (const folder of Object.values(cluster.folders)) expect(script).toMatch(new RegExp(`-mkdir -p .*${folder}\\b`))
    expect(script).toContain(`-chown ${cluster.users.lake}:${cluster.users.lake} ${cluster.folders.lake} ${cluster.folders.warehouse}`)
    expect(compose.services['namenode']!.environment!['HADOOP_USER_NAME']).toBe(cluster.users.hdfs)
    expect(compose.services['datanode']!.environment!['HADOOP_USER_NAME']).toBe(cluster.users.hdfs)
  })
})

const program = [['docker', 'compose'], ['docker-compose']].find(([file, ...args]) => spawnSync(file!, [...args, 'version'], { stdio: 'ignore' }).status === 0)
const why = program === undefined ? ' (skipped: no docker compose here; `apt-get install docker-compose` enables it, without a daemon)' : ''

describe.skipIf(program === undefined)(`docker-compose config${why}`, () => {
  test.each(profiles)('reads the profile %s as it is read here', (profile) => {
    const [file = '', ...args] = program ?? []
    const { status, stderr } = spawnSync(file, [...args, '--profile', profile, 'config', '--quiet'], { cwd: root, encoding: 'utf8' })
    expect(stderr).toBe('')
    expect(status).toBe(0)
    const listed = spawnSync(file, [...args, '--profile', profile, 'config'], { cwd: root, encoding: 'utf8' }).stdout
    for (const [name, service] of services.filter(([, { profiles: of }]) => of.includes(profile))) {
      expect(listed, name).toMatch(new RegExp(`^ +${name}:$`, 'm'))
      expect(listed, name).toContain(service.image)
    }
  })
})
