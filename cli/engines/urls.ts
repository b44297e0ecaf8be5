/** Where the engines are, for people and as the environment that points Tidemark at them. All of it follows from the ports. */
import type { EngineName } from './cluster.ts'
import { cluster } from './cluster.ts'
import { kafkaBrokers } from './kafka.ts'
import type { Place } from './plan.ts'
import { portOf } from './plan.ts'

export type EngineUrls = {
  readonly kafka?: string
  readonly hdfs?: string
  /** The file system itself, as Trino names it. */
  readonly hdfsRpc?: string
  /** The NameNode's page, with a browser of its files. */
  readonly namenodePage?: string
  readonly trino?: string
  readonly elasticsearch?: string
  readonly redis?: string
}

export function urlsOf(names: readonly EngineName[], place: Place): EngineUrls {
  const at = (member: string, port: string) => `127.0.0.1:${portOf(place, member, port)}`
  return {
    ...(names.includes('kafka') ? { kafka: kafkaBrokers(place).join(',') } : {}),
    ...(names.includes('hdfs')
      ? {
          hdfs: `http://${at('namenode', 'http')}`,
          hdfsRpc: `hdfs://${at('namenode', 'rpc')}`,
          namenodePage: `http://${at('namenode', 'http')}/explorer.html#${cluster.folders.lake}`,
        }
      : {}),
    ...(names.includes('trino') ? { trino: `http://${at('trino', 'http')}` } : {}),
    ...(names.includes('elasticsearch') ? { elasticsearch: `http://${at('elasticsearch', 'http')}` } : {}),
    ...(names.includes('redis') ? { redis: `redis://${at('redis', 'client')}` } : {}),
  }
}

/** The settings (cli/settings.ts) that make Tidemark use these engines. */
export function environmentOf(urls: EngineUrls): Readonly<Record<string, string>> {
  const { kafka, hdfs, hdfsRpc, trino, elasticsearch, redis } = urls
  const host = (url: string) => new URL(url).host
  return {
    ...(kafka === undefined ? {} : { LOG_URL: `kafka://${kafka}` }),
    ...(hdfs === undefined ? {} : { LAKE_URL: `webhdfs://${host(hdfs)}${cluster.folders.lake}?user=${cluster.users.lake}`, LAKE_LOCATION: `${hdfsRpc}${cluster.folders.lake}` }),
    ...(trino === undefined ? {} : { QUERY_URL: `trino://${cluster.users.lake}@${host(trino)}/hive` }),
    ...(elasticsearch === undefined ? {} : { SEARCH_URL: elasticsearch }),
    ...(redis === undefined ? {} : { JOBS_URL: redis }),
  }
}

/** The variables that tell the test suites where real engines are (test/engines.ts). */
export function testEnvironmentOf(urls: EngineUrls): Readonly<Record<string, string>> {
  const { kafka, hdfs, hdfsRpc, trino, elasticsearch, redis } = urls
  return {
    ...(kafka === undefined ? {} : { TIDEMARK_TEST_KAFKA: kafka }),
    ...(hdfs === undefined || hdfsRpc === undefined ? {} : { TIDEMARK_TEST_HDFS: new URL(hdfs).host, TIDEMARK_TEST_HDFS_RPC: hdfsRpc }),
    ...(trino === undefined ? {} : { TIDEMARK_TEST_TRINO: trino }),
    ...(elasticsearch === undefined ? {} : { TIDEMARK_TEST_ELASTICSEARCH: elasticsearch }),
    ...(redis === undefined ? {} : { TIDEMARK_TEST_REDIS: redis }),
  }
}
