/** Which adapter a URL chooses. The embedded set is the default; lake and query engine go as a pair. */
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { ConfigError } from '#core/errors.ts'
import type { EventLog, Lake, QueryEngine } from '#core/ports.ts'
import { openDiskLake } from './disk-lake.ts'
import { openPostgresLog } from './postgres-log.ts'

export type LogChoice = { readonly logUrl: string; readonly databaseUrl: string; readonly schema: string; readonly pollIntervalMs: number }

export async function openLog(choice: LogChoice): Promise<EventLog> {
  const url = choice.logUrl === '' ? choice.databaseUrl : choice.logUrl
  if (!/^postgres(ql)?:\/\//.test(url)) throw new ConfigError(`No event log speaks ${scheme(url)}: leave LOG_URL empty or give postgres://…`)
  return openPostgresLog({ connectionString: url, schema: `${choice.schema}_log`, pollIntervalMs: choice.pollIntervalMs })
}

export async function openLake(lakeUrl: string, dataDirectory: string): Promise<Lake> {
  if (lakeUrl === '') return openDiskLake({ root: join(dataDirectory, 'lake') })
  if (!lakeUrl.startsWith('file://')) throw new ConfigError(`No lake speaks ${scheme(lakeUrl)}: leave LAKE_URL empty or give file:///…`)
  return openDiskLake({ root: fileURLToPath(lakeUrl) })
}

export async function openQueryEngine(queryUrl: string, lake: Lake, memoryLimitMb: number, dataDirectory: string): Promise<QueryEngine> {
  if (queryUrl !== '' && !queryUrl.startsWith('duckdb://')) throw new ConfigError(`No query engine speaks ${scheme(queryUrl)}: leave QUERY_URL empty.`)
  // Its native library is 70 MB: only who asks it loads it.
  const { openDuckDb } = await import('./duckdb.ts')
  return openDuckDb({ lake, memoryLimitMb, tempDirectory: join(dataDirectory, 'tmp') })
}

function scheme(url: string): string {
  return /^[a-z+]+:/i.exec(url)?.[0] ?? 'that URL'
}
