/** Processes and their children, as the system lists them. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

export type ListedProcess = { readonly pid: number; readonly parent: number; readonly command: string }

export async function listProcesses(): Promise<ListedProcess[]> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=,args='], { maxBuffer: 16 * 1024 * 1024 })
  return stdout.split('\n').flatMap((line) => {
    const match = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line)
    return match === null ? [] : [{ pid: Number(match[1]), parent: Number(match[2]), command: match[3]! }]
  })
}

/** The process and all below it. */
export function treeOf(pid: number, processes: readonly ListedProcess[]): ListedProcess[] {
  const own = processes.filter((process) => process.pid === pid)
  return [...own, ...processes.filter((process) => process.parent === pid && process.pid !== pid).flatMap((child) => treeOf(child.pid, processes))]
}

/** `kill -9` of each, those that are gone already left out. Resolves to how many there were. */
export function killAll(processes: readonly ListedProcess[]): number {
  let killed = 0
  for (const { pid } of processes) {
    try {
      process.kill(pid, 'SIGKILL')
      killed++
    } catch (thrown) {
      if ((thrown as { code?: unknown }).code !== 'ESRCH') throw thrown
    }
  }
  return killed
}
