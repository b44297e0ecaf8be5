/** What runs in a data folder, and where. Reads only. */
import { messageOf } from '#core/errors.ts'
import type { EngineName } from './cluster.ts'
import { engineNames } from './cluster.ts'
import { kinds, membersOf } from './kinds.ts'
import type { Ports } from './plan.ts'
import { isUp } from './processes.ts'
import type { State } from './state.ts'
import { logFile, readState } from './state.ts'
import type { EngineUrls } from './urls.ts'
import { environmentOf, urlsOf } from './urls.ts'

export type RunningProcess = {
  readonly name: string
  readonly engine: EngineName
  /** Of the process that serves: the one to kill in a test. */
  readonly pid: number
  readonly ports: Ports
  readonly log: string
}

export type Engines = {
  readonly names: readonly EngineName[]
  readonly urls: EngineUrls
  /** Settings that make Tidemark use them. */
  readonly environment: Readonly<Record<string, string>>
  readonly processes: readonly RunningProcess[]
  /** Names of the processes that this call started; the others ran already. */
  readonly started: readonly string[]
}

export type MemberStatus = Omit<RunningProcess, 'pid'> & { readonly pid: number | null }

/** Every process that this folder has had, whether it runs or not. */
export function engineStatus(dataDirectory: string): readonly MemberStatus[] {
  const state = readState(dataDirectory)
  if (state === null) return []
  return membersOf(engineNames, state.nodes).flatMap(({ name, engine }) => {
    const ports = state.ports[name]
    if (ports === undefined) return []
    const process = state.processes.find((candidate) => candidate.name === name)
    const pid = process !== undefined && isUp(process) ? (process.server ?? process).pid : null
    return [{ name, engine, pid, ports, log: logFile(dataDirectory, name) }]
  })
}

/** The engines of this folder that can be used: of brokers and of DataNodes more than half run, and what there is one of runs. */
export function runningEngines(dataDirectory: string): Engines {
  const state = readState(dataDirectory)
  if (state === null) return { names: [], urls: {}, environment: {}, processes: [], started: [] }
  const status = engineStatus(dataDirectory)
  const names = engineNames.filter((name) => {
    const members = status.filter(({ engine }) => engine === name)
    return members.length > 0 && Object.values(Object.groupBy(members, roleOf)).every((role = []) => role.filter(({ pid }) => pid !== null).length > role.length / 2)
  })
  return describeEngines(names, state, dataDirectory, [])
}

/** `datanode` of `datanode-2`. */
function roleOf({ name }: { readonly name: string }): string {
  return name.replace(/-\d+$/, '')
}

/** Looks once whether an engine of this folder does what it is for, with all that it consists of: null when it does, else what is missing. */
export async function whatIsMissing(dataDirectory: string, name: EngineName, signal: AbortSignal): Promise<string | null> {
  const members = engineStatus(dataDirectory).filter(({ engine }) => engine === name)
  const state = readState(dataDirectory)
  if (state === null || members.length === 0) return `${name} was never started here`
  const dead = members.filter(({ pid }) => pid === null).map((member) => member.name)
  if (dead.length > 0) return `${dead.join(', ')} ${dead.length === 1 ? 'does' : 'do'} not run`
  try {
    await kinds[name].look(state, signal)
    return null
  } catch (thrown) {
    return messageOf(thrown)
  }
}

export function describeEngines(names: readonly EngineName[], state: State, dataDirectory: string, started: readonly string[]): Engines {
  const urls = urlsOf(names, state)
  const processes = state.processes.filter(({ engine }) => names.includes(engine))
  return {
    names,
    urls,
    environment: environmentOf(urls),
    processes: processes.map(({ name, engine, pid, server }) => ({ name, engine, pid: server?.pid ?? pid, ports: state.ports[name]!, log: logFile(dataDirectory, name) })),
    started,
  }
}
