/** How a Java program is started, and run to its end where it is a tool. */
import { spawn } from 'node:child_process'
import { delimiter, join } from 'node:path'
import { UnavailableError } from '#core/errors.ts'
import type { Command, Site } from './plan.ts'

const outputCharactersMax = 4_000

export type JavaProgram = {
  readonly classPath: readonly string[]
  readonly flags: readonly string[]
  readonly main: string
  readonly args: readonly string[]
  readonly cwd: string
  readonly environment?: Readonly<Record<string, string>>
}

export function javaCommand(site: Site, { classPath, flags, main, args, cwd, environment }: JavaProgram): Command {
  if (site.java === null) throw new Error(`${main} needs Java`)
  return {
    file: join(site.java.home, 'bin', 'java'),
    // IPv4 only: a server that is told 127.0.0.1 then listens there, and nowhere else.
    args: [...flags, '-Djava.net.preferIPv4Stack=true', '-cp', classPath.join(delimiter), main, ...args],
    cwd,
    environment: { ...plainEnvironment(), JAVA_HOME: site.java.home, ...environment },
  }
}

/** Nothing of ours (JAVA_TOOL_OPTIONS, KAFKA_OPTS, CLASSPATH …) may change what an engine does. */
export function plainEnvironment(): Record<string, string> {
  const { PATH = '', HOME = '', TMPDIR } = process.env
  return { PATH, HOME, LC_ALL: 'C.UTF-8', TZ: 'UTC', ...(TMPDIR === undefined ? {} : { TMPDIR }) }
}

export type RunOptions = { readonly what: string; readonly withinMs: number; readonly signal: AbortSignal; readonly environment?: NodeJS.ProcessEnv; readonly onStart?: (pid: number) => void }

/** Runs a tool; returns what it printed. Throws UnavailableError with the end of its output when it fails or takes too long. */
export async function runToEnd(command: Command, { what, withinMs, signal, environment, onStart }: RunOptions): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const child = spawn(command.file, [...command.args], {
    ...(command.cwd === undefined ? {} : { cwd: command.cwd }),
    env: environment ?? command.environment,
    stdio: ['ignore', 'pipe', 'pipe'],
    // Not a tool that would go on when we are gone, nor one that an interrupted `up` waits for.
    signal: AbortSignal.any([signal, AbortSignal.timeout(withinMs)]),
    killSignal: 'SIGKILL',
  })
  if (child.pid !== undefined) onStart?.(child.pid)
  let output = ''
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-outputCharactersMax)
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  child.once('error', (error) => {
    if (signal.aborted) reject(new UnavailableError(`Interrupted while ${what}.`, {}, error))
    else if (error.name === 'AbortError') reject(new UnavailableError(`Gave up ${what} after ${withinMs / 1000} s. ${output}`, {}, error))
    else reject(new UnavailableError(`Failed ${what}: ${command.file} does not run (${error.message}).`, {}, error))
  })
  child.once('close', (code, killedBy) => {
    if (code === 0) resolve(output)
    else reject(new UnavailableError(`Failed ${what} (${killedBy ?? `exit code ${code}`}):\n${output.trim()}`))
  })
  return promise
}
