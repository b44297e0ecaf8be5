/**
 * What the starter knows of a data folder: `<data>/engines/state.json`. Ports outlive their processes, so that an engine comes back where it was.
 * Written beside its place and renamed; changed under the lock only.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { ConfigError } from '#core/errors.ts'
import { engineNames } from './cluster.ts'

const ports = z.record(z.string(), z.number())
const identity = z.object({ pid: z.number(), started: z.string() })

const processState = z.object({
  name: z.string(),
  engine: z.enum(engineNames),
  /** Who was started; it leads a process group of its own. */
  ...identity.shape,
  /** The child of it that serves, where there is one. */
  server: identity.nullable(),
  /** Of its command and files: another one means that it must be started anew to take them up. */
  configuration: z.string(),
})

const schema = z.object({
  version: z.literal(1),
  nodes: z.number(),
  ports: z.record(z.string(), ports),
  processes: z.array(processState),
})

export type Identity = z.output<typeof identity>
export type ProcessState = z.output<typeof processState>
export type State = z.output<typeof schema>

export function enginesFolder(dataDirectory: string): string {
  return join(dataDirectory, 'engines')
}

export function logFile(dataDirectory: string, process: string): string {
  return join(enginesFolder(dataDirectory), 'logs', `${process}.log`)
}

/** Null where no engine was ever started. */
export function readState(dataDirectory: string): State | null {
  const file = stateFile(dataDirectory)
  if (!existsSync(file)) return null
  const parsed = schema.safeParse(readJson(file))
  if (parsed.success) return parsed.data
  throw new ConfigError(`${file} is not readable as the engines' state: end them by hand and delete the folder ${enginesFolder(dataDirectory)}.`, { file })
}

export function writeState(dataDirectory: string, state: State): void {
  mkdirSync(enginesFolder(dataDirectory), { recursive: true })
  const file = stateFile(dataDirectory)
  writeFileSync(`${file}.draft`, `${JSON.stringify(state, null, 2)}\n`)
  renameSync(`${file}.draft`, file)
}

function stateFile(dataDirectory: string): string {
  return join(enginesFolder(dataDirectory), 'state.json')
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}
