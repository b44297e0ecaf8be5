/** CPU seconds and peak memory of other processes, from /proc. Linux only; elsewhere nothing is known. */
import { readFileSync, readdirSync } from 'node:fs'

/** Of the system's clock that /proc counts in: 100 on every Linux that Node runs on. */
const ticksPerSecond = 100

/** User and system time of a process and of its children, those that have ended too. */
export function cpuSecondsOf(pid: number): number {
  const children = new Map<number, number[]>()
  const own = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const fields = statOf(name)
    if (fields === null) continue
    const parent = Number(fields[1])
    children.set(parent, [...(children.get(parent) ?? []), Number(name)])
    // utime, stime, and those of children that were waited for.
    own.set(Number(name), fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0))
  }
  const total = (id: number): number => (own.get(id) ?? 0) + (children.get(id) ?? []).reduce((sum, child) => sum + total(child), 0)
  return total(pid) / ticksPerSecond
}

/** From the state on: the command's name before it may hold anything. */
function statOf(pid: string): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return null
  }
}

export function peakMiBOf(pid: number): number {
  return Math.round(Number(/^VmHWM:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024)
}
