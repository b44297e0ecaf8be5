/** Where a store stands, or is to stand: its server and lake, opened without asking that there be a store. */
import type { Lake } from '#core/ports.ts'
import { openLake } from '#engines/open.ts'
import { openServer } from '../environment.ts'
import { count } from '../output.ts'
import type { Settings } from '../settings.ts'
import type { Manifest } from './manifest.ts'

/** The embedded log's schema in the store's database; null where the log is elsewhere. */
export function logSchemaOf({ logUrl, schema }: Settings): string | null {
  return logUrl === '' ? `${schema}_log` : null
}

export type Place = { readonly url: string; readonly lake: Lake }

export async function openPlace(settings: Settings, resources: AsyncDisposableStack, say: (line: string) => void): Promise<Place> {
  const { databaseUrl } = await openServer(settings, resources, say)
  return { url: databaseUrl, lake: resources.use(await openLake(settings)) }
}

export function describeBackup(manifest: Manifest): { text: string; json: object } {
  const { tables, files, batch, epoch, incarnation, createdAt, log, lake, tidemark } = manifest
  const rows = tables.reduce((sum, table) => sum + table.rows, 0)
  const bytes = tables.reduce((sum, table) => sum + table.bytes, 0) + (lake === 'held' ? files.reduce((sum, file) => sum + file.bytes, 0) : 0)
  const lakeText = lake === 'held' ? `${count(files.length)} files of the lake` : `the names of ${count(files.length)} files of the lake, not the files`
  return {
    text: `the store of ${createdAt} (batch ${batch}, epoch ${epoch}): ${count(rows)} rows of ${tables.length} tables${log === 'held' ? ', the log with them' : ''}, and ${lakeText}; ${count(bytes)} bytes`,
    json: { createdAt, tidemark, batch, epoch, incarnation, horizon: manifest.horizon, committed: manifest.committed, log, lake, tables: tables.length, rows, files: files.length, bytes },
  }
}
