/** Ends engines: in order and with time to close, or at once as a crash would. */
import { ConfigError } from '#core/errors.ts'
import type { EngineName } from './cluster.ts'
import { lockEngines } from './lock.ts'
import { endProcess, isUp } from './processes.ts'
import type { ProcessState } from './state.ts'
import { readState, writeState } from './state.ts'

export const stopGraceMs = 15_000

export type StopOptions = { readonly names?: readonly EngineName[]; readonly signal?: AbortSignal; readonly say?: (line: string) => void }

/** Trino before the file system that it reads, the DataNodes before the NameNode that they would look for. */
const turns: readonly ((name: string) => boolean)[] = [
  (name) => name !== 'namenode' && !name.startsWith('datanode'),
  (name) => name.startsWith('datanode'),
  (name) => name === 'namenode',
]

/** Ends the engines of this folder, or the named ones, and no process that was not started here. Returns the names of those that ran. */
export async function stopEngines(dataDirectory: string, { names, signal, say }: StopOptions = {}): Promise<readonly string[]> {
  if (readState(dataDirectory) === null) return []
  const lock = await lockEngines(dataDirectory, signal ?? new AbortController().signal, say)
  try {
    const state = readState(dataDirectory)
    if (state === null) return []
    const ending = state.processes.filter(({ engine }) => names === undefined || names.includes(engine))
    const ran = ending.filter(isUp).map(({ name }) => name)
    for (const isTurn of turns) await Promise.all(ending.filter(({ name }) => isTurn(name)).map((process) => endProcess(process, stopGraceMs)))
    writeState(dataDirectory, { ...state, processes: state.processes.filter((process) => !ending.includes(process)) })
    return ran
  } finally {
    lock.release()
  }
}

/** Kills one process, or gives it `graceMs` to end by itself; returns when it is gone. It keeps its ports and its data: startEngines brings it back. */
export async function killProcess(dataDirectory: string, name: string, graceMs = 0): Promise<void> {
  await endProcess(processNamed(dataDirectory, name), graceMs)
}

export function processNamed(dataDirectory: string, name: string): ProcessState {
  const processes = readState(dataDirectory)?.processes ?? []
  const process = processes.find((candidate) => candidate.name === name)
  if (process !== undefined) return process
  throw new ConfigError(`No process ${name} was started in ${dataDirectory}; there are: ${processes.map((other) => other.name).join(', ') || 'none'}.`)
}
