import { createReadStream, existsSync, statSync } from 'node:fs'
import type { Command } from 'commander'
import { ConfigError } from '#core/errors.ts'
import type { CommonOptions } from '../command.ts'
import { exitCodes, folderOf, guarded, withCommonOptions } from '../command.ts'
import type { EngineName } from '../engines/cluster.ts'
import { engineNames } from '../engines/cluster.ts'
import { cacheDirectoryOf } from '../engines/cache-directory.ts'
import { logTail } from '../engines/processes.ts'
import { startEngines } from '../engines/starter.ts'
import { logFile } from '../engines/state.ts'
import type { Engines } from '../engines/status.ts'
import { engineStatus, runningEngines, whatIsMissing } from '../engines/status.ts'
import { stopEngines } from '../engines/stop.ts'
import { Progress, isReaderGone, print, printJson, printTable } from '../output.ts'
import { controlProcess } from '../process-control.ts'

type UpOptions = CommonOptions & { readonly nodes?: string; readonly cache?: string }
type LogsOptions = CommonOptions & { readonly follow?: boolean; readonly lines: string }

const nodesAllowed = ['1', '3']
const followEveryMs = 500
const statusWithinMs = 20_000

export function addEngines(program: Command): void {
  const engines = program
    .command('engines')
    .description('the real engines on this machine, without containers: Kafka, HDFS, Trino, Elasticsearch, Redis')
    .addHelpText('after', '\nExamples:\n  ./tidemark engines up\n  ./tidemark engines up kafka redis --data /var/lib/tidemark\n  eval "$(./tidemark engines env)"')
  withCommonOptions(engines.command('up [names...]'))
    .description(`fetch, start and await engines: ${engineNames.join(', ')} (default: all that this machine can run)`)
    .option('--nodes <n>', 'brokers and DataNodes: 1 or 3 (default: 1)')
    .option('--cache <folder>', 'where the programs are kept (default: ~/.cache/tidemark/engines, or TIDEMARK_ENGINES_CACHE)')
    .action(async (names: string[], options: UpOptions) => guarded(() => up(names, options)))
  withCommonOptions(engines.command('status'))
    .description('which engines run, where, and whether they serve')
    .action(async (options: CommonOptions) => guarded(() => status(options)))
  withCommonOptions(engines.command('down [names...]'))
    .description('end the engines that were started in this folder, and nothing else; their data stays')
    .action(async (names: string[], options: CommonOptions) => guarded(() => down(names, options)))
  withCommonOptions(engines.command('env'))
    .description('the environment that points Tidemark at the engines that run, for a shell')
    .action(async (options: CommonOptions) => guarded(() => env(options)))
  withCommonOptions(engines.command('logs <name>'))
    .description('what an engine said')
    .option('-f, --follow', 'and what it goes on to say')
    .option('--lines <n>', 'the last lines', '50')
    .action(async (name: string, options: LogsOptions) => guarded(() => logs(name, options)))
}

async function up(asked: readonly string[], options: UpOptions): Promise<void> {
  const dataDirectory = folderOf(options)
  const { signal } = controlProcess()
  if (options.nodes !== undefined && !nodesAllowed.includes(options.nodes)) throw new ConfigError(`--nodes takes ${nodesAllowed.join(' or ')}, not "${options.nodes}".`)
  const quiet = options.quiet === true
  const progress = new Progress(quiet)
  try {
    const engines = await startEngines({
      names: asked.length === 0 ? engineNames : asked.map(engineNamed),
      skipMissing: asked.length === 0,
      cacheDirectory: cacheDirectoryOf(process.env, options.cache),
      dataDirectory,
      ...(options.nodes === undefined ? {} : { nodes: Number(options.nodes) }),
      say: (line) => progress.done(line),
      progress: (line) => progress.show(line),
      signal,
    })
    if (engines.names.length === 0) process.exitCode = exitCodes.unavailable
    if (options.json === true) printJson({ dataDirectory, ...engines })
    else printUrls(engines, options.data)
  } catch (thrown) {
    if (!signal.aborted) throw thrown
    progress.done('Interrupted. What had started goes on: `engines status` shows it, `engines up` goes on with the rest, `engines down` ends it.')
    process.exitCode = exitCodes.interrupted
  }
}

function printUrls({ names, urls, started }: Engines, data: string | undefined): void {
  const flag = data === undefined ? '' : ` --data ${data}`
  const lines: readonly (readonly [string, string | undefined])[] = [
    ['Kafka', urls.kafka],
    ['NameNode', urls.hdfs],
    ['its files', urls.namenodePage],
    ['Trino', urls.trino],
    ['Elasticsearch', urls.elasticsearch],
    ['Redis', urls.redis],
  ]
  print(names.length === 0 ? 'No engine can be run here.' : started.length === 0 ? 'All of them run already.' : 'The engines are up.')
  for (const [name, url] of lines) if (url !== undefined) print(`  ${name.padEnd(14)} ${url}`)
  if (names.length === 0) return
  print(`They go on until \`./tidemark engines down${flag}\`. Point Tidemark at them:\n  eval "$(./tidemark engines env${flag})"`)
}

async function status(options: CommonOptions): Promise<void> {
  const dataDirectory = folderOf(options)
  const members = engineStatus(dataDirectory)
  const signal = AbortSignal.timeout(statusWithinMs)
  const names = [...new Set(members.map(({ engine }) => engine))]
  const missing = new Map(await Promise.all(names.map(async (name) => [name, await whatIsMissing(dataDirectory, name, signal)] as const)))
  const rows = members.map((member) => ({ ...member, serves: missing.get(member.engine) === null, missing: missing.get(member.engine) ?? null }))
  if (rows.some(({ serves }) => !serves)) process.exitCode = exitCodes.unavailable
  if (options.json === true) return printJson({ dataDirectory, processes: rows, ...withoutProcesses(runningEngines(dataDirectory)) })
  if (rows.length === 0) return print(`No engine was started in ${dataDirectory}. \`./tidemark engines up\` starts them.`)
  printTable(
    ['process', 'pid', 'state', 'ports'],
    rows.map(({ name, pid, ports, serves, missing: why }) => [
      name,
      pid === null ? '–' : String(pid),
      pid === null ? 'does not run' : serves ? 'serves' : `runs; ${why}`,
      Object.entries(ports).map(([use, port]) => `${use} ${port}`).join(', '),
    ]),
    4,
  )
}

function withoutProcesses({ names, urls, environment }: Engines) {
  return { names, urls, environment }
}

async function down(asked: readonly string[], options: CommonOptions): Promise<void> {
  const dataDirectory = folderOf(options)
  const names = asked.length === 0 ? {} : { names: asked.map(engineNamed) }
  const progress = new Progress(options.quiet === true)
  const ended = await stopEngines(dataDirectory, { ...names, signal: controlProcess().signal, say: (line) => progress.done(line) })
  if (options.json === true) printJson({ dataDirectory, ended })
  else print(ended.length === 0 ? `No engine of ${dataDirectory} was running.` : `Ended: ${ended.join(', ')}.`)
}

async function env(options: CommonOptions): Promise<void> {
  const dataDirectory = folderOf(options)
  const { names, environment } = runningEngines(dataDirectory)
  if (names.length === 0) throw new ConfigError(`No engine runs in ${dataDirectory}: \`./tidemark engines up\` starts them.`)
  if (options.json === true) printJson(environment)
  else for (const [name, value] of Object.entries(environment)) print(`export ${name}=${value}`)
  return Promise.resolve()
}

async function logs(name: string, options: LogsOptions): Promise<void> {
  const dataDirectory = folderOf(options)
  const lines = Number(options.lines)
  if (!Number.isInteger(lines) || lines < 0) throw new ConfigError(`--lines takes a number of lines, not "${options.lines}".`)
  const members = engineStatus(dataDirectory).filter((member) => member.name === name || member.engine === name)
  const known = engineStatus(dataDirectory).map((member) => member.name)
  if (members.length === 0) throw new ConfigError(`No engine ${name} was started in ${dataDirectory}; there are: ${known.join(', ') || 'none'}.`)
  for (const member of members) {
    if (members.length > 1) print(`── ${member.name}`)
    if (lines > 0) print(logTail(logFile(dataDirectory, member.name), lines))
  }
  if (options.follow !== true) return
  const { signal } = controlProcess()
  await Promise.all(members.map((member) => follow(member.log, signal)))
}

/** Prints what is appended until aborted; a file that was begun anew is followed from its beginning. */
async function follow(file: string, signal: AbortSignal): Promise<void> {
  let position = existsSync(file) ? statSync(file).size : 0
  while (!signal.aborted && !isReaderGone()) {
    const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0
    if (size < position) position = 0
    if (size > position) {
      for await (const chunk of createReadStream(file, { start: position, end: size - 1 })) process.stdout.write(chunk as Buffer)
      position = size
    }
    await new Promise((done) => setTimeout(done, followEveryMs))
  }
}

function engineNamed(name: string): EngineName {
  const found = engineNames.find((candidate) => candidate === name)
  if (found === undefined) throw new ConfigError(`There is no engine "${name}": ${engineNames.join(', ')}.`)
  return found
}

