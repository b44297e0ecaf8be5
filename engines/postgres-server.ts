// Finds, starts and stops the server of one cluster. Nothing that runs is believed to be ours before its process has been looked at
// and it has answered to our password. Called under the server's lock throughout.
import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { chmodSync, closeSync, openSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { parse } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { UnavailableError, messageOf } from '#core/errors.ts'
import type { TidemarkError } from '#core/errors.ts'
import { accountFor, commandAs, giveTo, isRoot } from './postgres-account.ts'
import type { PostgresBinaries } from './postgres-binaries.ts'
import { postgresEnvironment } from './postgres-cluster.ts'
import { askServer } from './postgres-connection.ts'
import type { ServerFiles } from './postgres-connection.ts'
import { explainFailure, isPassing } from './postgres-failure.ts'
import { readOutput, rotateOutput } from './postgres-output.ts'
import { clearStalePidFile, findServerProcess, isServerOf, readLastPort } from './postgres-pid-file.ts'
import { settingArguments } from './postgres-settings.ts'
import type { PostgresSettings } from './postgres-settings.ts'

/** After a crash the server replays up to `max_wal_size` before it answers. */
const START_DEADLINE_MS = 120_000
/** A fast shutdown writes what is dirty in memory. */
const STOP_DEADLINE_MS = 60_000
const STOP_AT_ONCE_DEADLINE_MS = 10_000
const PORT_ATTEMPTS_MAX = 5
const LAST_PORT_PATIENCE_MS = 1_000
/** Processes of a killed server notice its death within moments, but finish what the system is doing for them first. */
const IN_THE_WAY_DEADLINE_MS = 30_000
const POLL_MS = 10
const RETRY_PAUSE_MS = 100
const SILENT_MS = 2_000

export type RunningServer = { readonly pid: number; readonly port: number }

type Log = (line: string) => void
type Attempt = RunningServer | { readonly failure: TidemarkError; readonly printed: string }

/** Joins the server of this cluster if one runs, else starts it; `owner` says which. Returns when it has answered. */
export async function joinOrStartServer(
  binaries: PostgresBinaries,
  files: ServerFiles,
  settings: PostgresSettings,
  log: Log,
): Promise<{ readonly server: RunningServer; readonly owner: boolean }> {
  const deadline = Date.now() + IN_THE_WAY_DEADLINE_MS
  let wantedPort = readLastPort(files.cluster)
  for (let portAttempts = 1; ; ) {
    const running = await joinServer(files, log)
    if (running !== undefined) return { server: running, owner: false }
    const attempt = await startServer(binaries, files, settings, await choosePort(wantedPort), log)
    if (!('failure' in attempt)) return { server: attempt, owner: true }
    const passing = isPassing(attempt.printed)
    if (passing === 'port' && portAttempts < PORT_ATTEMPTS_MAX) {
      portAttempts += 1
      wantedPort = 0
    } else if (passing === 'in-the-way' && Date.now() < deadline) {
      await pause(RETRY_PAUSE_MS)
    } else {
      throw attempt.failure
    }
  }
}

/** Ends the server of this cluster, if one runs: fast and in order; at once if that takes too long (it recovers at its next start). */
export async function stopServer(binaries: PostgresBinaries, files: ServerFiles, log: Log): Promise<void> {
  const running = findServerProcess(files.cluster)
  if (running === undefined) return
  const hasEnded = () => !isServerOf(files.cluster, running.pid)
  if (process.platform === 'win32') {
    // Windows has no signal for it; pg_ctl has its own way.
    await promisify(execFile)(binaries.pgCtl, ['stop', '-D', files.cluster, '-m', 'fast', '-t', String(STOP_DEADLINE_MS / 1000)])
    return
  }
  sendSignal(running.pid, 'SIGINT')
  if (await comesTrue(hasEnded, STOP_DEADLINE_MS)) return
  log(`The database has not ended within ${STOP_DEADLINE_MS / 1000} s: ending it at once`)
  sendSignal(running.pid, 'SIGQUIT')
  if (await comesTrue(hasEnded, STOP_AT_ONCE_DEADLINE_MS)) return
  const fix = `See ${files.logFile}; \`kill -9 ${running.pid}\` does no harm, it recovers.`
  throw new UnavailableError(`PostgreSQL (process ${running.pid}) does not end. ${fix}`, { pid: running.pid })
}

/** Waits for a server that is starting, recovering or stopping. Undefined: none runs (any more). */
async function joinServer(files: ServerFiles, log: Log): Promise<RunningServer | undefined> {
  const deadline = Date.now() + START_DEADLINE_MS
  const announceAt = Date.now() + SILENT_MS
  let announced = false
  let reason = 'it has not opened its port'
  for (;;) {
    const found = findServerProcess(files.cluster)
    if (found === undefined) return undefined
    if (found.status === 'ready') {
      const answer = await askServer(files, found.port)
      if (answer === true) return { pid: found.pid, port: found.port }
      reason = answer
    }
    if (Date.now() > deadline) {
      const fix = `If it is stopped, let it go on (\`kill -CONT ${found.pid}\`); else end it (\`kill -QUIT ${found.pid}\`) and start again.`
      throw new UnavailableError(`PostgreSQL (process ${found.pid}) runs for ${files.cluster} and does not answer: ${reason}. ${fix}`, found)
    }
    if (!announced && Date.now() > announceAt) {
      log(`Waiting for the database (process ${found.pid}): ${reason}`)
      announced = true
    }
    await pause(POLL_MS)
  }
}

/** Starts it in a session of its own, so that no signal meant for us reaches it, and waits until it answers. */
async function startServer(binaries: PostgresBinaries, files: ServerFiles, settings: PostgresSettings, port: number, log: Log): Promise<Attempt> {
  clearStalePidFile(files.cluster)
  takeOwnership(files.cluster)
  const outputStart = rotateOutput(files.logFile)
  const options = ['-D', files.cluster, '-p', String(port), ...settingArguments(settings)]
  const { file, args, ...identity } = commandAs(accountFor(files.cluster), binaries, files.cluster, binaries.postgres, options)
  const output = openSync(files.logFile, 'a', 0o600)
  const surroundings = { detached: true, cwd: parse(files.cluster).root, env: postgresEnvironment(), windowsHide: true } as const
  const child = spawn(file, args, { ...identity, ...surroundings, stdio: ['ignore', output, output] })
  closeSync(output)
  child.unref()
  const problem = await whenReady(child, files, port, log)
  if (problem === undefined) return { pid: child.pid as number, port }
  const printed = `${readOutput(files.logFile, outputStart)}\n${problem}`
  return { printed, failure: explainFailure(`PostgreSQL did not start in ${files.cluster}`, printed, { logFile: files.logFile, port }) }
}

/** Resolves without a value when the server answers, else with what went wrong. */
async function whenReady(child: ChildProcess, files: ServerFiles, port: number, log: Log): Promise<string | undefined> {
  const deadline = Date.now() + START_DEADLINE_MS
  let announceAt = Date.now() + SILENT_MS
  let ended: string | undefined
  child.once('error', (error) => (ended = messageOf(error)))
  child.once('exit', (code, signal) => (ended = `It ended with ${signal ?? `code ${code}`}.`))
  try {
    while (ended === undefined) {
      const found = findServerProcess(files.cluster)
      if (found?.status === 'ready' && found.pid === child.pid && (await askServer(files, port)) === true) return undefined
      if (Date.now() > deadline) throw new UnavailableError(`PostgreSQL has not answered within ${START_DEADLINE_MS / 1000} s. See ${files.logFile}.`)
      if (Date.now() > announceAt) {
        log('The database is recovering from a crash')
        announceAt = Infinity
      }
      await pause(POLL_MS)
    }
    return ended
  } catch (error) {
    if (child.pid !== undefined) sendSignal(child.pid, 'SIGQUIT')
    throw error
  }
}

/** A cluster that root has copied belongs to root, and cannot run as root. */
function takeOwnership(cluster: string): void {
  const account = accountFor(cluster)
  if (!isRoot() || account === undefined || statSync(cluster).uid !== 0) return
  giveTo(account, cluster)
  chmodSync(cluster, 0o700)
}

/** The wanted port if it is free or becomes so soon, as a killed server's does; else any. Pools that are open go on where they were. */
async function choosePort(wanted: number): Promise<number> {
  const deadline = Date.now() + LAST_PORT_PATIENCE_MS
  while (wanted !== 0) {
    const port = await probePort(wanted).catch(() => undefined)
    if (port !== undefined) return port
    if (Date.now() > deadline) break
    await pause(5 * POLL_MS)
  }
  try {
    return await probePort(0)
  } catch (error) {
    throw new UnavailableError(`No port of 127.0.0.1 can be had for the database: ${messageOf(error)}.`, {}, error)
  }
}

/** Opens the port (0: any that is free) for a moment; returns its number. Rejects when it is taken. */
async function probePort(wanted: number): Promise<number> {
  const server = createServer()
  server.listen({ host: '127.0.0.1', port: wanted })
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

function sendSignal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

async function comesTrue(condition: () => boolean, deadlineMs: number): Promise<boolean> {
  const deadline = Date.now() + deadlineMs
  while (!condition()) {
    if (Date.now() > deadline) return false
    await pause(POLL_MS)
  }
  return true
}
