// Names a process so that the name never means another one later: a process id alone is reused, together with the moment
// the process started it is not. Plain JavaScript, because the bootstrap reads it on Node 20 before anything is installed.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** Where the start time cannot be had (Windows, a hidden /proc) the process id has to do. */
const UNKNOWN = 'unknown'

/** The start of process `pid` as a word, or undefined when no such process runs. A zombie does not run: it holds nothing any more. */
export function startOf(pid) {
  if (!isAlive(pid)) return undefined
  if (process.platform === 'linux') return startOnLinux(pid)
  if (process.platform === 'win32') return UNKNOWN
  return startByPs(pid)
}

/** Whether the process that had this start still runs. Once false, false for good. */
export function isRunning(pid, started) {
  const now = startOf(pid)
  return now !== undefined && (now === started || now === UNKNOWN || started === UNKNOWN)
}

function isAlive(pid) {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

let bootId

function startOnLinux(pid) {
  let stat
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return isAlive(pid) ? UNKNOWN : undefined
  }
  // The command in brackets may hold spaces and brackets itself: the fields are counted from the last closing one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const state = fields[0]
  if (state === 'Z' || state === 'X') return undefined
  // Ticks since boot repeat after a reboot, so the boot is part of the name.
  bootId ??= readBootId()
  return `${bootId}-${fields[19]}`
}

function readBootId() {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').slice(0, 8)
  } catch {
    return 'boot'
  }
}

function startByPs(pid) {
  try {
    const options = { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' }, stdio: ['ignore', 'pipe', 'ignore'] }
    const [state, ...started] = execFileSync('ps', ['-o', 'state=,lstart=', '-p', String(pid)], options).trim().split(/\s+/)
    if (state?.startsWith('Z')) return undefined
    return started.join('_').replaceAll(':', '') || UNKNOWN
  } catch {
    return isAlive(pid) ? UNKNOWN : undefined
  }
}
