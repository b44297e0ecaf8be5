/** HDFS: a NameNode and one DataNode, or three. */
import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { cluster, readSharedFile } from './cluster.ts'
import type { ConfigValues } from './config-files.ts'
import { hadoopXmlText, parseHadoopXml } from './config-files.ts'
import { lookAtHdfs, settleHdfs } from './hdfs-ready.ts'
import { javaCommand, runToEnd } from './java-command.ts'
import type { EngineKind, Member, Place, ProcessPlan, Site } from './plan.ts'
import { numbers, portOf } from './plan.ts'

const formatWithinMs = 60_000
const portStep = 10

export const hdfs: EngineKind = {
  members: (nodes) => {
    const { data, http, ipc } = cluster.datanode.ports
    const datanodes = numbers(nodes).map((id): Member => {
      const above = (id - 1) * portStep
      return { name: datanodeName(id), engine: 'hdfs', ports: { data: data + above, http: http + above, ipc: ipc + above } }
    })
    return [{ name: 'namenode', engine: 'hdfs', ports: cluster.namenode.ports }, ...datanodes]
  },
  plan: (site) => [planNamenode(site), ...numbers(site.nodes).map((id) => planDatanode(site, id))],
  readyWithinMs: 120_000,
  look: (place, signal) => lookAtHdfs(pageOf(place, 'namenode'), numbers(place.nodes).map((id) => pageOf(place, datanodeName(id))), signal),
  settle: (place, signal) => settleHdfs(pageOf(place, 'namenode'), signal),
}

function pageOf(place: Place, member: string): string {
  return `http://127.0.0.1:${portOf(place, member, 'http')}`
}

/** Of each client: where the NameNode is, on top of hadoop/hdfs. */
export function coreSite(site: Site): ConfigValues {
  return { ...parseHadoopXml(readSharedFile('hdfs/core-site.xml')), 'fs.defaultFS': `hdfs://127.0.0.1:${portOf(site, 'namenode', 'rpc')}` }
}

export function clientHdfsSite(site: Site): ConfigValues {
  return { ...parseHadoopXml(readSharedFile('hdfs/hdfs-site.xml')), 'dfs.replication': site.nodes }
}

export function namenodeHdfsSite(site: Site): ConfigValues {
  return {
    ...clientHdfsSite(site),
    'dfs.namenode.name.dir': nameFolder(site),
    'dfs.namenode.rpc-address': `127.0.0.1:${portOf(site, 'namenode', 'rpc')}`,
    'dfs.namenode.http-address': `127.0.0.1:${portOf(site, 'namenode', 'http')}`,
  }
}

export function datanodeHdfsSite(site: Site, id: number): ConfigValues {
  const address = (port: string) => `127.0.0.1:${portOf(site, datanodeName(id), port)}`
  return {
    ...clientHdfsSite(site),
    'dfs.datanode.data.dir': join(site.folder, datanodeName(id), 'data'),
    'dfs.datanode.address': address('data'),
    'dfs.datanode.http.address': address('http'),
    'dfs.datanode.ipc.address': address('ipc'),
    // WebHDFS sends its clients to this name; else to whatever the resolver says.
    'dfs.datanode.hostname': '127.0.0.1',
    'dfs.namenode.rpc-address': `127.0.0.1:${portOf(site, 'namenode', 'rpc')}`,
  }
}

function planNamenode(site: Site): ProcessPlan {
  const server = planServer(site, 'namenode', 'org.apache.hadoop.hdfs.server.namenode.NameNode', namenodeHdfsSite(site), cluster.namenode.heapMb)
  const names = nameFolder(site)
  return {
    ...server.plan,
    format: async (signal) => {
      if (existsSync(join(names, 'current', 'VERSION'))) return
      // Beside its place and renamed when it is whole: a killed format leaves nothing that looks like a file system.
      const draft = `${names}.draft`
      rmSync(draft, { recursive: true, force: true })
      rmSync(names, { recursive: true, force: true })
      await runToEnd(server.command([`-Ddfs.namenode.name.dir=${draft}`, '-format', '-nonInteractive', '-force']), { what: 'formatting HDFS', withinMs: formatWithinMs, signal })
      renameSync(draft, names)
    },
  }
}

function planDatanode(site: Site, id: number): ProcessPlan {
  const main = 'org.apache.hadoop.hdfs.server.datanode.DataNode'
  return planServer(site, datanodeName(id), main, datanodeHdfsSite(site, id), cluster.datanode.heapMb).plan
}

function planServer(site: Site, name: string, main: string, hdfsSite: ConfigValues, heapMb: number) {
  const folder = join(site.folder, name)
  const conf = join(folder, 'conf')
  const command = (args: readonly string[]) =>
    javaCommand(site, {
      classPath: [conf, join(site.home, 'pages'), join(site.home, 'libs', '*')],
      flags: [`-Xmx${heapMb}m`, '-XX:+UseSerialGC'],
      main,
      args,
      cwd: folder,
      // Who starts the NameNode is its superuser.
      environment: { HADOOP_USER_NAME: cluster.users.hdfs },
    })
  const plan: ProcessPlan = {
    name,
    ports: site.ports[name]!,
    command: command([]),
    files: {
      [join(conf, 'core-site.xml')]: hadoopXmlText({ ...coreSite(site), 'hadoop.tmp.dir': join(folder, 'tmp') }),
      [join(conf, 'hdfs-site.xml')]: hadoopXmlText(hdfsSite),
      [join(conf, 'log4j.properties')]: readSharedFile('hdfs/log4j.properties'),
    },
    folders: [conf],
  }
  return { plan, command }
}

function nameFolder(site: Site): string {
  return join(site.folder, 'namenode', 'name')
}

function datanodeName(id: number): string {
  return `datanode-${id}`
}
