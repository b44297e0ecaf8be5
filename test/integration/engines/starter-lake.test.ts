/**
 * The starter on the heavy engines: HDFS, Trino over it, Elasticsearch. Only where their programs are in the cache already, since fetching them takes a gigabyte.
 * With them run the scripts that docker-compose.yml gives to HDFS's containers.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BasicAuth, Trino } from 'trino-client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EngineName } from '#cli/engines/cluster.ts'
import { installationOf, isInstalled } from '#cli/engines/installations.ts'
import { chooseJava, findJavas } from '#cli/engines/java.ts'
import { PortChooser, isPortFree } from '#cli/engines/ports.ts'
import { startEngines } from '#cli/engines/starter.ts'
import { readState } from '#cli/engines/state.ts'
import type { Engines } from '#cli/engines/status.ts'
import { stopEngines } from '#cli/engines/stop.ts'
import { startOf } from '#engines/process-identity.mjs'
import { waitUntil } from '#test/wait-until.ts'

const cacheDirectory = process.env['TIDEMARK_ENGINES_CACHE'] ?? join(homedir(), '.cache', 'tidemark', 'engines')
const names: readonly EngineName[] = ['hdfs', 'trino', 'elasticsearch']
const canRun = chooseJava(findJavas(), 24) !== undefined && names.every((name) => isInstalled(name, cacheDirectory))
const answers = fileURLToPath(new URL('../../../hadoop/hdfs/answers.sh', import.meta.url))
const startNamenode = fileURLToPath(new URL('../../../hadoop/hdfs/start-namenode.sh', import.meta.url))
const startWithinMs = 400_000

describe.skipIf(!canRun)('HDFS, Trino and Elasticsearch (skipped without Java 24, or before "./tidemark engines up" has fetched them)', () => {
  let folder = ''
  let engines: Engines

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tidemark-test-'))
    engines = await start()
  }, startWithinMs)

  afterAll(async () => {
    await stopEngines(folder)
    rmSync(folder, { recursive: true, force: true })
  }, startWithinMs)

  function start(): Promise<Engines> {
    return startEngines({ names, dataDirectory: folder, cacheDirectory, basePorts: 'free' })
  }

  test('every process listens to this machine only', () => {
    const pids = readState(folder)!.processes.flatMap(({ pid, server }) => (server === null ? [pid] : [pid, server.pid]))
    expect(pids).toHaveLength(5)
    const addresses = pids.flatMap(listeningAddresses)
    expect(addresses.length).toBeGreaterThan(6)
    expect(addresses.filter((address) => !isLoopback(address))).toEqual([])
  })

  test('the lake and the warehouse belong to the user of Tidemark and Trino, who may not write elsewhere', async () => {
    const listed = await (await fetch(`${engines.urls.hdfs}/webhdfs/v1/?op=LISTSTATUS&user.name=tidemark`)).json()
    expect(listed).toMatchObject({
      FileStatuses: { FileStatus: expect.arrayContaining([expect.objectContaining({ pathSuffix: 'shopsphere', owner: 'tidemark' }), expect.objectContaining({ pathSuffix: 'warehouse', owner: 'tidemark' })]) },
    })
    const allowed = await fetch(`${engines.urls.hdfs}/webhdfs/v1/shopsphere/a?op=MKDIRS&user.name=tidemark`, { method: 'PUT' })
    expect(allowed.status).toBe(200)
    const refused = await fetch(`${engines.urls.hdfs}/webhdfs/v1/other?op=MKDIRS&user.name=tidemark`, { method: 'PUT' })
    expect(refused.status).toBe(403)
  })

  test("the NameNode's page with its file browser is there", async () => {
    const page = await fetch(engines.urls.namenodePage!)
    expect(page.status).toBe(200)
    expect(await page.text()).toMatch(/Browsing HDFS/)
  })

  test('what Trino writes is a file in HDFS', async () => {
    const query = await sql('SHOW SCHEMAS FROM hive')
    expect(query.flat()).toContain('information_schema')
    await sql("CREATE SCHEMA hive.starter")
    await sql("CREATE TABLE hive.starter.numbers WITH (format = 'PARQUET') AS SELECT * FROM (VALUES (1, BIGINT '9007199254740993'), (2, BIGINT '-1')) AS t (id, amount)")
    expect(await sql('SELECT sum(amount) = BIGINT \'9007199254740992\' FROM hive.starter.numbers')).toEqual([[true]])
    const listed = await (await fetch(`${engines.urls.hdfs}/webhdfs/v1/warehouse/starter/numbers?op=LISTSTATUS&user.name=tidemark`)).json()
    expect((listed as { FileStatuses: { FileStatus: { type: string }[] } }).FileStatuses.FileStatus.some(({ type }) => type === 'FILE')).toBe(true)
  }, 120_000)

  test('an HDFS that runs, but whose start was interrupted before it had its folders, gets them from the next call', async () => {
    const lake = `${engines.urls.hdfs}/webhdfs/v1/shopsphere`
    expect((await fetch(`${lake}?op=DELETE&recursive=true&user.name=hdfs`, { method: 'DELETE' })).status).toBe(200)
    expect((await fetch(`${lake}?op=GETFILESTATUS`)).status).toBe(404)
    expect((await start()).started).toEqual([])
    expect(await (await fetch(`${lake}?op=GETFILESTATUS`)).json()).toMatchObject({ FileStatus: { owner: 'tidemark' } })
  }, startWithinMs)

  test('a killed Elasticsearch takes its watcher with it, and comes back with its documents', async () => {
    const url = engines.urls.elasticsearch!
    const written = await fetch(`${url}/kept/_doc/1?refresh=true`, { method: 'PUT', body: '{"a":1}', headers: { 'content-type': 'application/json' } })
    expect(written.status).toBe(201)
    const { pid, server } = readState(folder)!.processes.find(({ name }) => name === 'elasticsearch')!
    expect(server).not.toBeNull()
    expect(engines.processes.find(({ name }) => name === 'elasticsearch')!.pid).toBe(server!.pid)
    process.kill(server!.pid, 'SIGKILL')
    await waitUntil('the server is gone', () => startOf(server!.pid) === undefined)
    const again = await start()
    expect(again.started).toEqual(['elasticsearch'])
    expect(again.urls).toEqual(engines.urls)
    expect(startOf(pid)).toBeUndefined()
    expect((await fetch(`${url}/kept/_doc/1`)).status).toBe(200)
  }, startWithinMs)

  test("the health checks of HDFS's containers tell a server that serves from one that does not", () => {
    const ports = readState(folder)!.ports
    const check = (port: number, path: string, pattern: string) => spawnSync(answers, [String(port), path, pattern], { encoding: 'utf8' }).status
    const namenode = ports['namenode']!['http']!
    expect(check(namenode, '/webhdfs/v1/user/tidemark?op=GETFILESTATUS', '"owner":"tidemark"')).toBe(0)
    expect(check(namenode, '/webhdfs/v1/user/nobody?op=GETFILESTATUS', '"owner":"tidemark"')).not.toBe(0)
    expect(check(ports['datanode-1']!['http']!, '/jmx?qry=Hadoop:service=DataNode,name=DataNodeInfo', 'ActorState.*RUNNING')).toBe(0)
    expect(check(1, '/', 'anything')).not.toBe(0)
  })

  test("the script of the NameNode's container formats once, makes the folders, ends when told, and finds its files again", async () => {
    const place = join(folder, 'container')
    const [rpc, http] = [await new PortChooser().any(), await new PortChooser().any()]
    for (const name of ['conf', 'bin']) mkdirSync(join(place, name), { recursive: true })
    const shared = (name: string) => readFileSync(new URL(`../../../hadoop/hdfs/${name}`, import.meta.url), 'utf8')
    writeFileSync(join(place, 'conf', 'core-site.xml'), shared('core-site.xml').replace('namenode:8020', `127.0.0.1:${rpc}`))
    for (const name of ['hdfs-site.xml', 'log4j.properties']) writeFileSync(join(place, 'conf', name), shared(name))
    // What the image has at this place: a program that runs Hadoop's classes.
    const home = installationOf('hdfs', cacheDirectory)!
    const java = join(chooseJava(findJavas(), 17)!.home, 'bin', 'java')
    const classes = 'case $1 in namenode) main=org.apache.hadoop.hdfs.server.namenode.NameNode ;; dfs) main=org.apache.hadoop.fs.FsShell ;; esac'
    writeFileSync(join(place, 'bin', 'hdfs'), `#!/bin/bash\n${classes}\nshift\nexec ${java} -Xmx256m -cp '${place}/conf:${home}/pages:${home}/libs/*' $main "$@"\n`, { mode: 0o755 })
    const environment = { PATH: `${place}/bin:${process.env['PATH']}`, HADOOP_USER_NAME: 'hdfs', NAME_FOLDER: join(place, 'name'), HTTP_PORT: String(http) }
    const owner = async () => {
      const answer = await fetch(`http://127.0.0.1:${http}/webhdfs/v1/user/tidemark?op=GETFILESTATUS`).catch(() => null)
      return answer?.status === 200 && /"owner":"tidemark"/.test(await answer.text())
    }
    for (const run of ['first', 'second']) {
      const child = spawn(startNamenode, ['-Ddfs.namenode.rpc-bind-host=127.0.0.1', `-Ddfs.namenode.http-address=127.0.0.1:${http}`], { env: environment, stdio: ['ignore', 'ignore', 'pipe'] })
      const ended = new Promise((resolve) => child.once('exit', resolve))
      try {
        await waitUntil(`the folders of the ${run} run`, owner, 120_000)
        if (run === 'first') expect((await fetch(`http://127.0.0.1:${http}/webhdfs/v1/shopsphere/kept?op=MKDIRS&user.name=tidemark`, { method: 'PUT' })).status).toBe(200)
        else expect((await fetch(`http://127.0.0.1:${http}/webhdfs/v1/shopsphere/kept?op=GETFILESTATUS`)).status).toBe(200)
      } finally {
        child.kill('SIGTERM')
        await ended
      }
      await waitUntil('its port is free', () => isPortFree(http), 30_000)
    }
  }, startWithinMs)

  async function sql(text: string): Promise<unknown[][]> {
    const trino = Trino.create({ server: engines.urls.trino!, auth: new BasicAuth('tidemark') })
    const rows: unknown[][] = []
    for await (const page of await trino.query(text)) {
      expect(page.error, text).toBeUndefined()
      rows.push(...((page.data as unknown[][] | undefined) ?? []))
    }
    return rows
  }
})

/** Addresses, in the form of the kernel, of the TCP sockets on which the process listens. */
function listeningAddresses(pid: number): readonly string[] {
  const inodes = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((descriptor) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${descriptor}`))?.[1] ?? []
      } catch {
        return []
      }
    }),
  )
  const listening = '0A'
  return ['tcp', 'tcp6'].flatMap((table) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[3] === listening && inodes.has(fields[9] ?? ''))
      .map((fields) => fields[1]!.split(':')[0]!),
  )
}

function isLoopback(address: string): boolean {
  return address === '0100007F' || address === '0000000000000000FFFF00000100007F' || address === '00000000000000000000000001000000'
}
