/** Which adapter a URL chooses. The embedded set is the default; lake and query engine go as a pair. */
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { ConfigError } from '#core/errors.ts'
import type { EventLog, Lake, QueryEngine, SearchIndex } from '#core/ports.ts'
import { openDiskLake } from './disk-lake.ts'
import { openPostgresLog } from './postgres-log.ts'

export type LogChoice = { readonly logUrl: string; readonly databaseUrl: string; readonly schema: string; readonly pollIntervalMs: number }

export async function openLog(choice: LogChoice): Promise<EventLog> {
  const url = choice.logUrl === '' ? choice.databaseUrl : choice.logUrl
  if (url.startsWith('kafka://')) {
    const { openKafkaLog } = await import('./kafka-log.ts')
    return openKafkaLog({ url, groupPrefix: choice.schema })
  }
  if (!/^postgres(ql)?:\/\//.test(url)) throw new ConfigError(`No event log speaks ${scheme(url)}: leave LOG_URL empty or give kafka://… or postgres://…`)
  return openPostgresLog({ connectionString: url, schema: `${choice.schema}_log`, pollIntervalMs: choice.pollIntervalMs })
}

export type LakeChoice = { readonly lakeUrl: string; readonly lakeLocation: string; readonly dataDirectory: string }

export async function openLake(choice: LakeChoice): Promise<Lake> {
  const root = diskLakeRoot(choice)
  if (root !== null) return openDiskLake({ root })
  const { openHdfsLake } = await import('./hdfs-lake.ts')
  return openHdfsLake({ url: choice.lakeUrl, location: choice.lakeLocation })
}

/** The folder of a lake on disk, which need not be there; null of one in HDFS. Throws ConfigError for an address that no lake has. */
export function diskLakeRoot({ lakeUrl, dataDirectory }: Pick<LakeChoice, 'lakeUrl' | 'dataDirectory'>): string | null {
  if (lakeUrl.startsWith('webhdfs://')) return null
  if (lakeUrl === '') return join(dataDirectory, 'lake')
  if (!lakeUrl.startsWith('file://')) throw new ConfigError(`No lake speaks ${scheme(lakeUrl)}: leave LAKE_URL empty or give webhdfs://… or file:///…`)
  return fileURLToPath(lakeUrl)
}

export type QueryChoice = { readonly queryUrl: string; readonly lake: Lake; readonly memoryLimitMb: number; readonly dataDirectory: string; readonly sharedSchema?: string }

export async function openQueryEngine({ queryUrl, lake, memoryLimitMb, dataDirectory, sharedSchema }: QueryChoice): Promise<QueryEngine> {
  if (/^trinos?:\/\//.test(queryUrl)) {
    const { openTrino } = await import('./trino.ts')
    return openTrino({ url: queryUrl, lake, ...(sharedSchema !== undefined && { sharedSchema }) })
  }
  if (queryUrl !== '' && !queryUrl.startsWith('duckdb://')) throw new ConfigError(`No query engine speaks ${scheme(queryUrl)}: leave QUERY_URL empty or give trino://…`)
  // Its native library is 70 MB: only who asks it loads it.
  const { openDuckDb } = await import('./duckdb.ts')
  return openDuckDb({ lake, memoryLimitMb, tempDirectory: join(dataDirectory, 'tmp') })
}

/** There is no embedded one. */
export async function openSearch({ searchUrl, searchApiKey }: { readonly searchUrl: string; readonly searchApiKey: string }): Promise<SearchIndex> {
  if (searchUrl === '') throw new ConfigError('There is no search index: SEARCH_URL is empty. Give it http://host:9200, where an Elasticsearch 9 is.')
  const { openElasticsearch } = await import('./elasticsearch.ts')
  return openElasticsearch({ url: searchUrl, ...(searchApiKey !== '' && { apiKey: searchApiKey }) })
}

function scheme(url: string): string {
  return /^[a-z+]+:/i.exec(url)?.[0] ?? 'that URL'
}
