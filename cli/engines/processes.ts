/** Starts and ends the engines' processes. They outlive the command; a process id is ours only together with the moment that it was started. */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, constants, existsSync, mkdirSync, openSync, readFileSync, readSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { ConfigError, UnavailableError } from '#core/errors.ts'
import { isRunning, startOf } from '#engines/process-identity.mjs'
import { writeAccountFiles } from './account-files.ts'
import type { ProcessPlan } from './plan.ts'
import type { Identity, ProcessState } from './state.ts'

const logBytesMax = 20 * 1024 * 1024
const lookEveryMs = 50
const killWithinMs = 10_000
const groupWithinMs = 5_000
const logTailLines = 12
const pidFileBytesMax = 32

/** Whether the process serves: the one that was started, and its child where that is the server. */
export function isUp({ pid, started, server }: ProcessState): boolean {
  return isRunning(pid, started) && (server === null || isRunning(server.pid, server.started))
}

/** Of the command and the files that a plan would start with. */
export function configurationOf({ command, files }: ProcessPlan): string {
  return createHash('sha256').update(JSON.stringify([command.file, command.args, files])).digest('hex').slice(0, 16)
}

/** Makes folders and files of a process; another account gets the folders, and may not change the files. */
export function writeFiles({ folders, files, account }: Pick<ProcessPlan, 'folders' | 'files' | 'account'>, home: string): void {
  if (account !== undefined) return writeAccountFiles({ folders, files }, account, home)
  for (const folder of folders) mkdirSync(folder, { recursive: true })
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(file), { recursive: true })
    // Made anew, and no link is followed.
    rmSync(file, { force: true })
    writeFileSync(file, text, { flag: 'wx' })
  }
}

/** Starts it with its own process group, its output appended to its log. Throws UnavailableError when the program cannot be started. */
export async function startProcess(plan: ProcessPlan, log: string): Promise<Identity> {
  if (plan.pidFile !== undefined) rmSync(plan.pidFile, { force: true })
  mkdirSync(dirname(log), { recursive: true })
  if ((statSync(log, { throwIfNoEntry: false })?.size ?? 0) > logBytesMax) renameSync(log, `${log}.1`)
  const output = openSync(log, 'a')
  const { file, args, cwd, environment } = plan.command
  try {
    const child = spawn(file, [...args], { detached: true, stdio: ['ignore', output, output], env: environment, ...(cwd === undefined ? {} : { cwd }) })
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    child.once('error', (error) => reject(new UnavailableError(`${plan.name} cannot be started: ${file}: ${error.message}`, {}, error)))
    child.once('spawn', resolve)
    await promise
    child.unref()
    const pid = child.pid!
    return { pid, started: startOf(pid) ?? 'ended' }
  } finally {
    closeSync(output)
  }
}

/** The child that serves, once it has written its id. Any id may stand in that file: only one of the group that `leader` leads is believed. */
export function findServer(pidFile: string, leader: number): Identity | null {
  const pid = Number(readStart(pidFile))
  const started = startOf(pid)
  return started === undefined || groupOf(pid) !== leader ? null : { pid, started }
}

/** Nothing of a file that is not there, or that is a link. */
function readStart(file: string): string {
  let descriptor: number
  try {
    // A pipe in its place would be waited for.
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch {
    return ''
  }
  try {
    const bytes = Buffer.alloc(pidFileBytesMax)
    return bytes.toString('latin1', 0, readSync(descriptor, bytes)).trim()
  } catch {
    return ''
  } finally {
    closeSync(descriptor)
  }
}

/** NaN where it cannot be told. */
function groupOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2])
  } catch {
    const { status, stdout } = spawnSync('ps', ['-o', 'pgid=', '-p', String(pid)], { encoding: 'utf8', timeout: groupWithinMs })
    return status === 0 ? Number(stdout.trim()) : Number.NaN
  }
}

/** Asks it to end and, after `graceMs`, ends it; returns when none of it runs any more. Touches nothing that is not the process of that start. */
export async function endProcess(state: ProcessState, graceMs: number): Promise<void> {
  if (graceMs > 0) {
    signalGroup(state, 'SIGTERM')
    await whenEnded(state, graceMs)
  }
  if (!hasEnded(state)) signalGroup(state, 'SIGKILL')
  if (!(await whenEnded(state, killWithinMs))) throw new UnavailableError(`${state.name} (process ${state.pid}) does not end, even when killed.`)
}

function signalGroup({ pid, started, server }: ProcessState, signal: NodeJS.Signals): void {
  if (isRunning(pid, started)) send(-pid, signal)
  if (server !== null && isRunning(server.pid, server.started)) send(server.pid, signal)
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (thrown) {
    const { code } = thrown as { code?: string }
    if (code === 'EPERM') throw new ConfigError(`Process ${Math.abs(pid)} belongs to another user: end the engines as the user who started them.`, {}, thrown)
    if (code !== 'ESRCH') throw thrown
  }
}

/** Whether nothing of it runs any more: one that is not up may be half dead. */
export function hasEnded({ pid, started, server }: ProcessState): boolean {
  return !isRunning(pid, started) && (server === null || !isRunning(server.pid, server.started))
}

async function whenEnded(state: ProcessState, withinMs: number): Promise<boolean> {
  const deadline = performance.now() + withinMs
  while (!hasEnded(state)) {
    if (performance.now() >= deadline) return false
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs))
  }
  return true
}

/** The last lines of a log, for messages. */
export function logTail(log: string, lines = logTailLines): string {
  if (!existsSync(log)) return ''
  return readFileSync(log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')
}
