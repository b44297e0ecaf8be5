/** Starts and ends the engines' processes. They outlive the command; a process id is ours only together with the moment that it was started. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, existsSync, lchownSync, lstatSync, mkdirSync, openSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ConfigError, UnavailableError } from '#core/errors.ts'
import { isRunning, startOf } from '#engines/process-identity.mjs'
import type { Account, ProcessPlan } from './plan.ts'
import type { Identity, ProcessState } from './state.ts'

const logBytesMax = 20 * 1024 * 1024
const lookEveryMs = 50
const killWithinMs = 10_000
const logTailLines = 12

/** Whether the process serves: the one that was started, and its child where that is the server. */
export function isUp({ pid, started, server }: ProcessState): boolean {
  return isRunning(pid, started) && (server === null || isRunning(server.pid, server.started))
}

/** Of the command and the files that a plan would start with. */
export function configurationOf({ command, files }: ProcessPlan): string {
  return createHash('sha256').update(JSON.stringify([command.file, command.args, files])).digest('hex').slice(0, 16)
}

/** Makes folders and files of a process; those of another account are given to it. */
export function writeFiles({ folders, files, account }: ProcessPlan, home: string): void {
  for (const folder of folders) mkdirSync(folder, { recursive: true })
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(file), { recursive: true })
    // Made anew and never followed: below a folder of another account a link could lead anywhere.
    rmSync(file, { force: true })
    writeFileSync(file, text, { flag: 'wx' })
  }
  if (account !== undefined) giveTo(account, home)
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

/** The child that serves, once it has written its id. */
export function findServer(pidFile: string): Identity | null {
  if (!existsSync(pidFile)) return null
  const pid = Number(readFileSync(pidFile, 'utf8').trim())
  const started = startOf(pid)
  return started === undefined ? null : { pid, started }
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

function hasEnded({ pid, started, server }: ProcessState): boolean {
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

function giveTo(account: Account, path: string): void {
  const { uid, gid } = lstatSync(path)
  if (uid !== account.uid || gid !== account.gid) lchownSync(path, account.uid, account.gid)
  if (lstatSync(path).isDirectory()) for (const name of readdirSync(path)) giveTo(account, join(path, name))
}
