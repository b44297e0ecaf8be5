/** What an engine is to the starter: plain data that says which processes to run, with which files, and how to see that they are ready. */
import type { EngineName } from './cluster.ts'
import type { Java } from './java.ts'

export type Ports = Readonly<Record<string, number>>

/** A process that an engine consists of, before its ports are known. */
export type Member = { readonly name: string; readonly engine: EngineName; readonly ports: Ports }

export type ProcessPlan = {
  readonly name: string
  readonly ports: Ports
  readonly command: Command
  /** Path → text of the files that it reads at its start. */
  readonly files: Readonly<Record<string, string>>
  /** Folders that must exist. */
  readonly folders: readonly string[]
  /** Runs before the first start, and says by itself whether it still must. */
  readonly format?: (signal: AbortSignal) => Promise<void>
  /** Where the program writes the id of the process that serves, if that is a child of the one that is started. */
  readonly pidFile?: string
  /** Whose the folders are, when it runs as another user. */
  readonly account?: Account
}

export type Account = { readonly uid: number; readonly gid: number }
export type Command = { readonly file: string; readonly args: readonly string[]; readonly cwd?: string; readonly environment: Readonly<Record<string, string>> }

/** An engine: how it is built at a site, and how to see that it does what it is for. */
export type EngineKind = {
  readonly members: (nodes: number) => readonly Member[]
  readonly plan: (site: Site) => readonly ProcessPlan[]
  readonly readyWithinMs: number
  /** Looks once: returns when the engine does what it is for, throws an error that says what is missing otherwise. */
  readonly look: (place: Place, signal: AbortSignal) => Promise<void>
  /** Once it is ready: the first folders, a first write. Every call repeats it. */
  readonly settle?: (place: Place, signal: AbortSignal) => Promise<void>
}

/** Where the members of the engines listen. */
export type Place = {
  readonly nodes: number
  /** Ports of every member of every engine, by member. */
  readonly ports: Readonly<Record<string, Ports>>
}

/** Where an engine is built. */
export type Site = Place & {
  /** `<data>/engines`. */
  readonly folder: string
  /** Where the engine's programs are: in the cache, or empty for what the system brings. */
  readonly home: string
  readonly java: Java | null
}

export function portOf(place: Place, member: string, port: string): number {
  const found = place.ports[member]?.[port]
  if (found === undefined) throw new Error(`${member} has no port ${port}`)
  return found
}

/** 1 … count */
export function numbers(count: number): readonly number[] {
  return Array.from({ length: count }, (_, i) => i + 1)
}
