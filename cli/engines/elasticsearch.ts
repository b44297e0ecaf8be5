/** Elasticsearch: one node, without accounts, for this machine only. */
import { readFileSync, realpathSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { UnavailableError } from '#core/errors.ts'
import { cluster, readSharedFile } from './cluster.ts'
import type { ConfigValues } from './config-files.ts'
import { yamlText } from './config-files.ts'
import { fetchText } from './fetch-text.ts'
import { plainEnvironment } from './java-command.ts'
import type { Account, Command, EngineKind, ProcessPlan, Site } from './plan.ts'
import { portOf } from './plan.ts'

/** It refuses to run as root, so root runs it as this number, which needs no account. */
const accountUnderRoot: Account = { uid: 12_001, gid: 12_001 }

export const elasticsearch: EngineKind = {
  members: () => [{ name: 'elasticsearch', engine: 'elasticsearch', ports: cluster.elasticsearch.ports }],
  plan: (site) => [planServer(site)],
  readyWithinMs: 180_000,
  look: async (place, signal) => {
    const url = `http://127.0.0.1:${portOf(place, 'elasticsearch', 'http')}/_cluster/health?wait_for_status=yellow&timeout=1s`
    const { status, text } = await fetchText(url, { signal })
    if (status !== 200 || !/"status"\s*:\s*"(yellow|green)"/.test(text)) throw new UnavailableError(`Elasticsearch is not well yet (${status}).`)
  },
}

/** What is of this machine, on top of hadoop/elasticsearch. */
export function elasticsearchSettings(site: Site): ConfigValues {
  const folder = join(site.folder, 'elasticsearch')
  return {
    'path.data': join(folder, 'data'),
    'path.logs': join(folder, 'logs'),
    'network.host': '127.0.0.1',
    'http.port': portOf(site, 'elasticsearch', 'http'),
    'transport.port': portOf(site, 'elasticsearch', 'transport'),
    // It makes indices read-only on a disk nearly full, also where the last percents are many gigabytes.
    'cluster.routing.allocation.disk.watermark.low': '2gb',
    'cluster.routing.allocation.disk.watermark.high': '1gb',
    'cluster.routing.allocation.disk.watermark.flood_stage': '500mb',
  }
}

function planServer(site: Site): ProcessPlan {
  const folder = join(site.folder, 'elasticsearch')
  const conf = join(folder, 'conf')
  const { heapMb } = cluster.elasticsearch
  const account = process.geteuid?.() === 0 ? accountUnderRoot : undefined
  const command = serverCommand(site, folder)
  return {
    name: 'elasticsearch',
    ports: site.ports['elasticsearch']!,
    command: account === undefined ? command : asAccount(account, command, [site.folder, site.home]),
    files: {
      [join(conf, 'elasticsearch.yml')]: yamlText(readSharedFile('elasticsearch/elasticsearch.yml'), elasticsearchSettings(site)),
      [join(conf, 'log4j2.properties')]: readSharedFile('elasticsearch/log4j2.properties'),
      [join(conf, 'jvm.options')]: readFileSync(join(site.home, 'config', 'jvm.options'), 'utf8'),
      [join(conf, 'jvm.options.d', 'heap.options')]: `-Xms${heapMb}m\n-Xmx${heapMb}m\n`,
    },
    folders: [join(folder, 'tmp'), join(folder, 'data'), join(folder, 'logs'), dirname(pidFile(folder))],
    pidFile: pidFile(folder),
    ...(account === undefined ? {} : { account }),
  }
}

function serverCommand(site: Site, folder: string): Command {
  if (site.java === null) throw new Error('Elasticsearch needs Java')
  return {
    file: join(site.home, 'bin', 'elasticsearch'),
    args: ['-p', pidFile(folder)],
    cwd: folder,
    environment: {
      ...plainEnvironment(),
      HOME: folder,
      ES_JAVA_HOME: site.java.home,
      ES_PATH_CONF: join(folder, 'conf'),
      ES_TMPDIR: join(folder, 'tmp'),
      // Of the small program that watches over the server.
      CLI_JAVA_OPTS: '-Xms4m -Xmx48m -XX:+UseSerialGC',
    },
  }
}

function pidFile(folder: string): string {
  return join(folder, 'run', 'pid')
}

/** As another user, who may look past folders above its own that are closed to others (root's home, usually). */
export function asAccount(account: Account, command: Command, reached: readonly string[]): Command {
  const options = ['--reuid', String(account.uid), '--regid', String(account.gid), '--clear-groups', '--no-new-privs']
  const capability = '-all,+dac_read_search'
  const isClosed = reached.some((path) => foldersDownTo(path).some((folder) => (statSync(folder).mode & 0o001) === 0))
  // Shell scripts look for files with access(2), which leaves the capabilities of a plain user out, unless told by securebits.
  const past = isClosed ? ['--securebits=+no_setuid_fixup', `--bounding-set=${capability}`, `--inh-caps=${capability}`, `--ambient-caps=${capability}`] : []
  return { ...command, file: 'setpriv', args: [...options, ...past, '--', command.file, ...command.args] }
}

function foldersDownTo(path: string): readonly string[] {
  const folders: string[] = []
  for (let folder = realpathSync(path); !folders.includes(folder); folder = dirname(folder)) folders.push(folder)
  return folders
}
