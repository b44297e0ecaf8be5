/** What there is of a data folder's own PostgreSQL: plain facts for whoever judges them. Nothing is made, started or locked. */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { findPostgresBinaries } from './postgres-binaries.ts'
import { isInitialised } from './postgres-cluster.ts'
import { serverUrl } from './postgres-connection.ts'
import { findServerProcess } from './postgres-pid-file.ts'

export type EmbeddedPostgresFacts = {
  /** As the program says it, such as 18.4. */
  readonly programVersion: string
  /** Whether there are files, of the version of these programs. */
  readonly isSetUp: boolean
  readonly server: { readonly pid: number; readonly port: number; readonly url: string } | null
}

/** Throws ConfigError where the programs are not there, or where the files are of another version. */
export async function inspectEmbeddedPostgres(dataDirectory: string, timeoutMs: number): Promise<EmbeddedPostgresFacts> {
  const { postgres } = findPostgresBinaries()
  const { stdout } = await promisify(execFile)(postgres, ['--version'], { timeout: timeoutMs })
  const programVersion = /(\d+(?:\.\d+)*)/.exec(stdout)?.[1] ?? ''
  const cluster = join(dataDirectory, 'postgres')
  if (!existsSync(cluster) || !isInitialised(cluster)) return { programVersion, isSetUp: false, server: null }
  const found = findServerProcess(cluster)
  if (found === undefined) return { programVersion, isSetUp: true, server: null }
  const password = readFileSync(join(dataDirectory, 'postgres.password'), 'utf8').trim()
  const url = serverUrl({ cluster, logFile: join(dataDirectory, 'postgres.log'), password }, found.port)
  return { programVersion, isSetUp: true, server: { pid: found.pid, port: found.port, url } }
}
