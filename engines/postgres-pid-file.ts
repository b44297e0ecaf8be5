// What runs for a cluster is told from `postmaster.pid`, which PostgreSQL keeps in the cluster's folder. The file outlives a killed
// server, and its process id may mean another process by now: the process itself is looked at.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { startOf } from './process-identity.mjs'

/** PostgreSQL writes the file right after it has made it; one that stays empty longer was left by a crash. */
const EMPTY_FOR_MAX_MS = 5_000

export type ServerProcess = {
  readonly pid: number
  readonly port: number
  /** `starting`, `stopping`, `ready`; empty before the first of them is written. */
  readonly status: string
}

/** The process that serves this cluster now, or undefined. */
export function findServerProcess(cluster: string): ServerProcess | undefined {
  const found = readPidFile(cluster)
  return found !== undefined && isServerOf(cluster, found.pid) ? found : undefined
}

/** Whether `pid` runs and is the PostgreSQL of this cluster. */
export function isServerOf(cluster: string, pid: number): boolean {
  if (startOf(pid) === undefined) return false
  if (process.platform === 'win32') return true
  if (process.platform === 'linux') {
    try {
      // The server makes its cluster the working folder. The kernel says so, whatever the folder is called.
      return realpathSync(`/proc/${pid}/cwd`) === realpathSync(cluster) && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('postgres')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    }
  }
  return readCommandLine(pid).includes(`postgres -D ${cluster} `)
}

/**
 * Removes the file of a server that is gone. PostgreSQL does so itself unless the process id means another process of the same user
 * by now: then it refuses to start. Should processes of the old server still run, its check of the shared memory stops the new one.
 */
export function clearStalePidFile(cluster: string): void {
  const file = join(cluster, 'postmaster.pid')
  const written = statSync(file, { throwIfNoEntry: false })?.mtimeMs
  if (written === undefined || findServerProcess(cluster) !== undefined) return
  // A server whose opener was killed may be writing it at this moment.
  if (readPidFile(cluster) === undefined && Date.now() - written < EMPTY_FOR_MAX_MS) return
  rmSync(file, { force: true })
}

/** The port of the last start, 0 before the first: links and BI tools find the database again where it was. */
export function readLastPort(cluster: string): number {
  const file = join(cluster, 'postmaster.opts')
  return existsSync(file) ? Number(/"-p" "(\d+)"/.exec(readFileSync(file, 'utf8'))?.[1] ?? 0) : 0
}

/** Lines of the file: process id, folder, start, port, socket folder, address, shared memory, status. */
function readPidFile(cluster: string): ServerProcess | undefined {
  let lines: readonly string[]
  try {
    lines = readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  const pid = Number(lines[0])
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined
  return { pid, port: Number(lines[3] ?? 0), status: lines[7]?.trim() ?? '' }
}

function readCommandLine(pid: number): string {
  try {
    return execFileSync('ps', ['-ww', '-o', 'args=', '-p', String(pid)], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  } catch {
    return ''
  }
}
