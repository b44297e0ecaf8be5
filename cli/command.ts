/** What every command shares: options, opening the environment, exit codes, errors as people read them. */
import type { Command } from 'commander'
import { TidemarkError } from '#core/errors.ts'
import { clusterEnvironment } from './cluster-environment.ts'
import type { Environment } from './environment.ts'
import { openEnvironment } from './environment.ts'
import type { ProcessControl } from './process-control.ts'
import { controlProcess } from './process-control.ts'
import type { Settings } from './settings.ts'
import { readSettings } from './settings.ts'

/** 0 done · 1 failed · 2 asked wrongly or configured wrongly · 3 a difference was found · 4 a dependency is away, try again · 130 interrupted */
export const exitCodes = { failed: 1, usage: 2, difference: 3, unavailable: 4, interrupted: 130 } as const

export type CommonOptions = { readonly data?: string; readonly json?: boolean; readonly quiet?: boolean }

/** Of a command that prints a result. */
export function withCommonOptions(command: Command): Command {
  return withLayerOptions(command).option('--json', 'print results as JSON')
}

/** Of a command that runs until it is stopped. */
export function withLayerOptions(command: Command): Command {
  return command
    .option('--data <folder>', 'folder of the embedded engines (default: .tidemark here, or TIDEMARK_DATA)')
    .option('--quiet', 'no progress')
}

export function settingsOf(options: CommonOptions): Settings {
  // What the environment says goes before, also in a file that it names.
  const cluster = Object.entries(clusterEnvironment(folderOf(options))).filter(([name]) => process.env[`${name}_FILE`] === undefined)
  return readSettings({ ...Object.fromEntries(cluster), ...process.env }, overridesOf(options))
}

/** The data folder alone, whatever the engines of its shop are. */
export function folderOf(options: CommonOptions): string {
  return readSettings(process.env, overridesOf(options)).dataDirectory
}

function overridesOf(options: CommonOptions): { dataDirectory?: string } {
  return options.data === undefined ? {} : { dataDirectory: options.data }
}

/**
 * Of the layers whose statements are short by design: a flush or a page of the ledger, an answer. So a connection that died without a word costs them a
 * minute at most. The statements of the other commands grow with what the store holds.
 */
const statementTimeoutsMs: Readonly<Record<string, number>> = { speed: 60_000, serve: 20_000 }

/** Runs a command's work on an open environment; closes it whatever happens; sets the exit code. */
export async function onEnvironment(
  options: CommonOptions,
  name: string,
  work: (environment: Environment, control: ProcessControl) => Promise<void>,
  { anyLogic = false }: { readonly anyLogic?: boolean } = {},
): Promise<void> {
  await guarded(async () => {
    const control = controlProcess()
    const say = options.quiet === true ? () => undefined : (line: string) => process.stderr.write(`${line}\n`)
    await using environment = await openEnvironment(settingsOf(options), { applicationName: `tidemark ${name}`, say, statementTimeoutMs: statementTimeoutsMs[name] ?? 0, anyLogic })
    try {
      await work(environment, control)
    } catch (thrown) {
      if (!control.signal.aborted) throw thrown
    }
    if (control.signal.aborted) process.exitCode = exitCodes.interrupted
  })
}

/** Errors as one message on standard error with the code that fits. */
export async function guarded(work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (thrown) {
    process.exitCode = reportError(thrown)
  }
}

export function reportError(thrown: unknown): number {
  if (!(thrown instanceof TidemarkError)) {
    process.stderr.write(`${thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)}\n`)
    return exitCodes.failed
  }
  process.stderr.write(`${thrown.message}\n`)
  if (thrown.code === 'config' || thrown.code === 'invalid-request') return exitCodes.usage
  if (thrown.code === 'unavailable') return exitCodes.unavailable
  if (thrown.code === 'held') return exitCodes.difference
  return exitCodes.failed
}
