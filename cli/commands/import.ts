import type { Command } from 'commander'
import { ConfigError, InvalidRequestError } from '#core/errors.ts'
import type { Import } from '#store/imports.ts'
import { listImports } from '#store/imports.ts'
import type { CommonOptions } from '../command.ts'
import { guarded, onEnvironment, withCommonOptions } from '../command.ts'
import type { ImportFormat } from '../import-lines.ts'
import { Progress, count, print, printJson, printTable } from '../output.ts'

type ImportCommandOptions = CommonOptions & { readonly name?: string; readonly source?: string; readonly format?: string; readonly dryRun?: boolean }

export function addImport(program: Command): void {
  withCommonOptions(program.command('import <files...>'))
    .description('bring history from before the log into the figures and the lake; "import list" shows what was')
    .option('--name <name>', 'of the import, for example of the shop that it came from; also the name space of its ids')
    .option('--source <name>', 'another name space of its ids: that of an import before, or of lines that were ingested with --source')
    .option('--format <format>', 'csv or jsonl: refuse files that begin otherwise (default: each line tells)')
    .option('--dry-run', 'count what would be accepted and refused, and change nothing')
    .addHelpText(
      'after',
      `
Each import is a partition of its own beside the log's: the same checks, copies count once, what is refused becomes a dead letter with its file and line, and
the next batch reads it from the lake like everything else. Files are read line by line, packed ones (.gz) too, - is standard input.

Stopped or killed, it goes on where it was when the same command is run again; run again when it is finished, it changes nothing. Files that are not what they
were are refused.

Examples:
  ./tidemark import 2019.csv.gz 2020.csv.gz --name old-shop --dry-run
  ./tidemark import 2019.csv.gz 2020.csv.gz --name old-shop
  ./tidemark import list --json`,
    )
    .action(async (files: string[], options: ImportCommandOptions) => {
      if (files.length === 1 && files[0] === 'list' && options.name === undefined) return showImports(options)
      await guarded(async () => {
        const { name } = options
        if (name === undefined) throw new ConfigError('Name the import with --name, for example --name old-shop: it is the name space of its ids.')
        const request = { name, source: options.source ?? name, paths: files, ...formatOf(options.format) }
        if (options.dryRun === true) await runDry(request, options)
        else await run(request, options)
      })
    })
}

type Request = { readonly name: string; readonly source: string; readonly paths: readonly string[]; readonly format?: ImportFormat }

function formatOf(format: string | undefined): { format?: ImportFormat } {
  if (format === undefined) return {}
  if (format === 'csv' || format === 'jsonl') return { format }
  throw new InvalidRequestError(`--format ${format}: csv or jsonl is expected.`)
}

async function run(request: Request, options: ImportCommandOptions): Promise<void> {
  await onEnvironment(options, 'import', async (environment, { signal }) => {
    const { importFiles } = await import('../import-layer.ts')
    const progress = new Progress(options.quiet === true)
    const outcome = await importFiles(environment, { ...request, nowMs: Date.now(), onChunk: (chunk, sums) => showChunk(progress, chunk.files.at(-1)?.name ?? '', chunk.to, sums.lines) }, signal)
    const { sums, isFinished } = outcome
    progress.done(`${count(sums.lines)} lines (${count(Math.round(sums.lines / Math.max(progress.seconds, 0.001)))}/s)`)
    if (options.json === true) return printJson({ isFinished, ofThisRun: sums, import: outcome.import })
    const { name, accepted, copies, conflicts, refused, nextOffset } = outcome.import
    if (!isFinished) return print(`${name} is imported up to line ${count(nextOffset)}: run the same command again, and it goes on.`)
    if (sums.lines === 0 && nextOffset > 0) print(`${name} was imported already: nothing was done.`)
    print(`${name}: ${count(accepted)} events count, ${count(copies)} were copies, ${count(conflicts)} conflicts, ${count(refused)} lines refused.`)
    if (conflicts + refused > 0) print('"tidemark dead-letters list" shows what was not accepted, with file and line.')
  })
}

async function runDry(request: Request, options: ImportCommandOptions): Promise<void> {
  await onEnvironment(options, 'import', async (environment, { signal }) => {
    const { importDry } = await import('../import-layer.ts')
    const progress = new Progress(options.quiet === true)
    const dry = await importDry(environment, { ...request, nowMs: Date.now(), onChunk: (chunk, sums) => showChunk(progress, chunk.files.at(-1)?.name ?? '', chunk.to, sums.lines) }, signal)
    progress.done(`${count(dry.sums.lines)} lines read`)
    if (options.json === true) return printJson({ isDryRun: true, ...dry })
    const { accepted, copies, conflicts, refused } = dry.sums
    print(`${request.name}: ${count(accepted)} events would count, ${count(copies)} are copies, ${count(conflicts)} conflicts, ${count(refused)} lines would be refused. Nothing was changed.`)
    if (refused + conflicts === 0) return
    print(Object.entries(dry.byReason).map(([reason, n]) => `${reason} ${count(n)}`).join(' · '))
    printTable(['line', 'reason', 'detail'], dry.firstRefused.map(({ offset, reason, detail }) => [String(offset + 1), reason, detail]), 99)
  })
}

function showChunk(progress: Progress, file: string, to: number, lines: number): void {
  progress.show(`${file} · line ${count(to)} · ${count(Math.round(lines / progress.seconds))}/s`)
}

async function showImports(options: CommonOptions): Promise<void> {
  await onEnvironment(options, 'import list', async ({ database }) => {
    const imports = await listImports(database.pool)
    if (options.json === true) return printJson({ imports })
    if (imports.length === 0) return print('Nothing was imported.')
    printTable(['name', 'partition', 'state', 'began', 'files', 'lines', 'accepted', 'copies', 'conflicts', 'refused'], imports.map(rowOf), 4)
  })
}

function rowOf(one: Import): string[] {
  const state = one.finishedAt === null ? 'not finished' : 'finished'
  return [one.name, String(one.partition), state, one.startedAt.slice(0, 19).replace('T', ' '), ...[one.files.length, one.nextOffset, one.accepted, one.copies, one.conflicts, one.refused].map(count)]
}
