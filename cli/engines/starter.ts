/**
 * Starts the real engines on this machine. A start is planned as data (plan.ts, one file per engine) from the ports that the state file keeps; what
 * already runs with the same command and files is left alone, so a second call only mends what is missing.
 */
import { join } from 'node:path'
import { ConfigError, UnavailableError, messageOf } from '#core/errors.ts'
import type { EngineName } from './cluster.ts'
import { install } from './installations.ts'
import type { Java } from './java.ts'
import { chooseJava, findJavas } from './java.ts'
import { kinds, membersOf, withDependencies } from './kinds.ts'
import { lockEngines } from './lock.ts'
import type { ProcessPlan, Site } from './plan.ts'
import { PortChooser, becomesFree } from './ports.ts'
import { configurationOf, endProcess, findServer, isUp, logTail, startProcess, writeFiles } from './processes.ts'
import { requireFor } from './requirements.ts'
import type { ProcessState, State } from './state.ts'
import { enginesFolder, logFile, readState, writeState } from './state.ts'
import type { Engines } from './status.ts'
import { describeEngines } from './status.ts'
import { processNamed, stopGraceMs } from './stop.ts'

export type StartOptions = {
  readonly names: readonly EngineName[]
  readonly cacheDirectory: string
  readonly dataDirectory: string
  /** Brokers and DataNodes: 1 or 3. Default: what the data folder was begun with, else 1. */
  readonly nodes?: number
  /** `default`: those of hadoop/cluster.json, or the next free ones; `free`: any, for tests. Ports that the folder has used are kept. */
  readonly basePorts?: 'default' | 'free'
  /** Engines whose requirements are missing are left out with a warning, instead of an error. */
  readonly skipMissing?: boolean
  readonly say?: (line: string) => void
  readonly progress?: (line: string) => void
  readonly signal?: AbortSignal
}

type Prepared = { readonly name: EngineName; readonly java: Java | null; readonly home: string }

type Starting = {
  readonly dataDirectory: string
  readonly say: (line: string) => void
  readonly signal: AbortSignal
  state: State
  /** Names of the processes that were started. */
  readonly started: string[]
}

const lookEveryMs = 200
const mavenJavaMin = 11

/** Fetches what is missing, starts what does not run, and returns when all of it is ready. Throws ConfigError and UnavailableError, which say what to do. */
export async function startEngines(options: StartOptions): Promise<Engines> {
  const { say = () => undefined, signal = new AbortController().signal } = options
  const prepared = await prepare({ ...options, say, signal })
  const lock = await lockEngines(options.dataDirectory, signal, say)
  try {
    return await startPrepared(prepared, { ...options, say, signal })
  } finally {
    lock.release()
  }
}

/** Starts a process that was killed, and whatever else of its engine does not run, at the same ports with its data; waits until the engine is ready. */
export async function restartProcess(options: Omit<StartOptions, 'names'>, name: string): Promise<Engines> {
  return startEngines({ ...options, names: [processNamed(options.dataDirectory, name).engine] })
}

type Asked = StartOptions & Required<Pick<StartOptions, 'say' | 'signal'>>

/** The engines that this machine can run, with their programs in the cache. */
async function prepare({ names, cacheDirectory, skipMissing = false, say, progress = () => undefined, signal }: Asked): Promise<readonly Prepared[]> {
  const javas = findJavas()
  const able: { readonly name: EngineName; readonly java: Java | null }[] = []
  for (const name of withDependencies(names)) {
    try {
      if (name === 'trino' && !able.some((other) => other.name === 'hdfs')) throw new ConfigError('trino needs hdfs, which is left out as well.')
      able.push({ name, java: await requireFor(name, { cacheDirectory, javas, signal }) })
    } catch (thrown) {
      if (!skipMissing || !(thrown instanceof ConfigError)) throw thrown
      say(`  WARN ${name} is left out: ${thrown.message}`)
    }
  }
  const prepared: Prepared[] = []
  for (const { name, java } of able) {
    // Maven runs on whatever suits it; an engine that needs no Java is not fetched by it.
    const fetcher = chooseJava(javas, mavenJavaMin) ?? java
    prepared.push({ name, java, home: fetcher === null ? '' : await install(name, { cacheDirectory, java: fetcher, say, progress, signal }) })
  }
  return prepared
}

async function startPrepared(prepared: readonly Prepared[], { dataDirectory, nodes, basePorts = 'default', say, signal }: Asked): Promise<Engines> {
  const names = prepared.map(({ name }) => name)
  const state = readState(dataDirectory) ?? { version: 1, nodes: nodes ?? 1, ports: {}, processes: [] }
  checkNodes(state, nodes, dataDirectory)
  // Of one that is half dead (its server killed, who watches over it not gone yet) nothing may hold a port any longer.
  for (const process of state.processes) if (names.includes(process.engine) && !isUp(process)) await endProcess(process, 0)
  const starting: Starting = { dataDirectory, say, signal, state, started: [] }
  save(starting, { ...state, ports: await choosePorts(state, names, basePorts, say) })
  const ready = new Map<EngineName, Promise<void>>()
  for (const { name, java, home } of prepared) {
    const site: Site = { folder: enginesFolder(dataDirectory), home, java, nodes: state.nodes, ports: starting.state.ports }
    const before = name === 'trino' ? ready.get('hdfs') : undefined
    ready.set(name, (before ?? Promise.resolve()).then(() => startEngine(name, site, starting)))
  }
  // All come to an end before the lock is given back, also when one fails.
  const failed = (await Promise.allSettled(ready.values())).find((result) => result.status === 'rejected')
  if (failed !== undefined) throw failed.reason
  return describeEngines(names, starting.state, dataDirectory, starting.started)
}

async function startEngine(name: EngineName, site: Site, starting: Starting): Promise<void> {
  const startedAt = performance.now()
  const plans = kinds[name].plan(site)
  let isNew = false
  for (const plan of plans) isNew = (await startUnlessUp(name, plan, starting)) || isNew
  await whenReady(name, plans, site, starting)
  // Also of one that runs already: whoever started it may have been interrupted before this, which may be done again.
  await kinds[name].settle?.(site, starting.signal)
  if (!isNew) return starting.say(`  ${name} runs already`)
  starting.say(`  ${name} is ready, ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
}

/** True when it was started. One that runs with another configuration (an engine that it needs has moved to another port) is started anew. */
async function startUnlessUp(engine: EngineName, plan: ProcessPlan, starting: Starting): Promise<boolean> {
  const { dataDirectory, signal } = starting
  const configuration = configurationOf(plan)
  const before = starting.state.processes.find(({ name }) => name === plan.name)
  if (before !== undefined && isUp(before) && before.configuration === configuration) return false
  if (before !== undefined) await endProcess(before, stopGraceMs)
  signal.throwIfAborted()
  writeFiles(plan, join(enginesFolder(dataDirectory), plan.name))
  await plan.format?.(signal)
  const identity = await startProcess(plan, logFile(dataDirectory, plan.name))
  const process: ProcessState = { name: plan.name, engine, ...identity, server: null, configuration }
  const { state } = starting
  save(starting, { ...state, processes: [...state.processes.filter(({ name }) => name !== plan.name), process] })
  starting.started.push(plan.name)
  return true
}

async function whenReady(name: EngineName, plans: readonly ProcessPlan[], site: Site, starting: Starting): Promise<void> {
  const { look, readyWithinMs } = kinds[name]
  const deadline = performance.now() + readyWithinMs
  for (;;) {
    starting.signal.throwIfAborted()
    for (const plan of plans) {
      noteServer(plan, starting)
      requireRunning(plan, starting)
    }
    try {
      return await look(site, starting.signal)
    } catch (thrown) {
      if (performance.now() >= deadline) {
        const logs = plans.map((plan) => logFile(starting.dataDirectory, plan.name)).join(', ')
        const message = `${name} is not ready after ${readyWithinMs / 1000} s: ${messageOf(thrown)} What it says: ${logs}. \`engines down ${name}\` ends it.`
        throw new UnavailableError(message, {}, thrown)
      }
    }
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs))
  }
}

/** Notes the child that serves, as soon as it has told its id. */
function noteServer({ name, pidFile }: ProcessPlan, starting: Starting): void {
  const { state } = starting
  const process = state.processes.find((candidate) => candidate.name === name)
  if (pidFile === undefined || process === undefined || process.server !== null) return
  const server = findServer(pidFile, process.pid)
  if (server !== null) save(starting, { ...state, processes: state.processes.map((other) => (other === process ? { ...process, server } : other)) })
}

function requireRunning({ name }: ProcessPlan, starting: Starting): void {
  const process = starting.state.processes.find((candidate) => candidate.name === name)
  if (process !== undefined && isUp(process)) return
  const log = logFile(starting.dataDirectory, name)
  throw new UnavailableError(`${name} ended while it was starting. Its log, ${log}, ends with:\n${logTail(log)}`)
}

function save(starting: Starting, state: State): void {
  writeState(starting.dataDirectory, state)
  starting.state = state
}

function checkNodes(state: State, asked: number | undefined, dataDirectory: string): void {
  if (asked === undefined || asked === state.nodes) return
  // A quorum of one does not become one of three by another line in a file.
  throw new ConfigError(`The engines in ${dataDirectory} were begun with ${state.nodes} node(s) and stay so: choose another --data folder for ${asked}.`)
}

async function choosePorts(state: State, names: readonly EngineName[], basePorts: 'default' | 'free', say: (line: string) => void): Promise<State['ports']> {
  const ports = { ...state.ports }
  const chooser = new PortChooser(Object.values(state.ports).flatMap((of) => Object.values(of)))
  for (const member of membersOf(names, state.nodes)) {
    const process = state.processes.find(({ name }) => name === member.name)
    if (process !== undefined && isUp(process)) continue
    const chosen: Record<string, number> = {}
    for (const [use, usual] of Object.entries(member.ports)) {
      const had = state.ports[member.name]?.[use]
      if (had !== undefined && (await becomesFree(had))) {
        chosen[use] = had
        continue
      }
      const wanted = had ?? usual
      const port = basePorts === 'free' ? await chooser.any() : await chooser.next(wanted)
      if (port !== wanted && (basePorts === 'default' || had !== undefined)) say(`  port ${wanted} (${member.name}, ${use}) is taken by another program: ${port} instead`)
      chosen[use] = port
    }
    ports[member.name] = chosen
  }
  return ports
}
