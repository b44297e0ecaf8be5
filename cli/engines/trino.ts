/** Trino: one server that plans and works, with a catalog `hive` over the HDFS of the same data folder. */
import { join } from 'node:path'
import { cluster, readSharedFile } from './cluster.ts'
import type { ConfigValues } from './config-files.ts'
import { hadoopXmlText, parseProperties, propertiesText } from './config-files.ts'
import { clientHdfsSite, coreSite } from './hdfs.ts'
import { plainEnvironment } from './java-command.ts'
import type { Command, EngineKind, ProcessPlan, Site } from './plan.ts'
import { portOf } from './plan.ts'
import { lookAtTrino } from './trino-ready.ts'

export const trino: EngineKind = {
  members: () => [{ name: 'trino', engine: 'trino', ports: cluster.trino.ports }],
  plan: (site) => [planServer(site)],
  readyWithinMs: 180_000,
  look: (place, signal) => lookAtTrino(`http://127.0.0.1:${portOf(place, 'trino', 'http')}`, signal),
}

/** What is of this machine, on top of hadoop/trino. */
export function trinoSettings(site: Site): ConfigValues {
  const port = portOf(site, 'trino', 'http')
  return {
    ...parseProperties(readSharedFile('trino/config.properties')),
    'http-server.http.port': port,
    // Or it would listen to every network.
    'node.bind-ip': '127.0.0.1',
    'node.internal-address': '127.0.0.1',
    'discovery.uri': `http://127.0.0.1:${port}`,
  }
}

export function hiveSettings(site: Site): ConfigValues {
  return {
    ...parseProperties(readSharedFile('trino/catalog/hive.properties')),
    'hive.metastore.catalog.dir': `hdfs://127.0.0.1:${portOf(site, 'namenode', 'rpc')}${cluster.folders.warehouse}`,
    'hive.config.resources': ['core-site.xml', 'hdfs-site.xml'].map((name) => join(etcFolder(site), name)).join(','),
  }
}

function planServer(site: Site): ProcessPlan {
  const etc = etcFolder(site)
  const properties = (name: string, values: ConfigValues): Record<string, string> => ({ [join(etc, name)]: propertiesText(values) })
  return {
    name: 'trino',
    ports: site.ports['trino']!,
    command: serverCommand(site, etc),
    files: {
      ...properties('config.properties', trinoSettings(site)),
      ...properties('log.properties', parseProperties(readSharedFile('trino/log.properties'))),
      ...properties(join('catalog', 'hive.properties'), hiveSettings(site)),
      [join(etc, 'core-site.xml')]: hadoopXmlText(coreSite(site)),
      [join(etc, 'hdfs-site.xml')]: hadoopXmlText(clientHdfsSite(site)),
    },
    folders: [join(site.folder, 'trino', 'data')],
  }
}

function serverCommand(site: Site, etc: string): Command {
  if (site.java === null) throw new Error('Trino needs Java')
  const flags = {
    'node.environment': 'tidemark',
    'node.id': '1',
    'node.data-dir': join(site.folder, 'trino', 'data'),
    config: join(etc, 'config.properties'),
    'log.levels-file': join(etc, 'log.properties'),
    'plugin.dir': join(site.home, 'plugin'),
    'catalog.config-dir': join(etc, 'catalog'),
  }
  const named = Object.entries(flags).map(([name, value]) => `-D${name}=${value}`)
  return {
    file: join(site.java.home, 'bin', 'java'),
    args: [...jvmFlags(), '-cp', join(site.home, 'lib', '*'), ...named, 'io.trino.server.TrinoServer'],
    cwd: join(site.folder, 'trino'),
    // The user whom the lake belongs to: both write there.
    environment: { ...plainEnvironment(), JAVA_HOME: site.java.home, HADOOP_USER_NAME: cluster.users.lake },
  }
}

function jvmFlags(): readonly string[] {
  return readSharedFile('trino/jvm.config').split('\n').filter((line) => line.startsWith('-'))
}

function etcFolder(site: Site): string {
  return join(site.folder, 'trino', 'etc')
}
