import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { ConfigError, InvalidRequestError } from '#core/errors.ts'
import type { SeasonTable, SeasonVersion } from '#core/season-table.ts'
import { dateText, parseSeasonTable, plain, seasonFileBytesMax, seasonsCsvExample, seasonsExample } from '#core/season-table.ts'
import { listSeasonVersions, readSeasonVersion, setSeasons } from '#store/seasons.ts'
import type { CommonOptions } from '../command.ts'
import { guarded, onEnvironment, withCommonOptions } from '../command.ts'
import { print, printJson, printTable } from '../output.ts'

const fileHelp = `
FILE is JSON:
${indent(seasonsExample)}
or CSV with these columns:
${indent(seasonsCsvExample)}

Days are month and day; both the first and the last belong to the season. Every day of a leap year must lie in exactly one season. A season may run over
the end of the year, and belongs to the year it starts in: 2024-winter ends in February 2025. A last day of 02-28 or 02-29 is the last of February in every
year; only where another season starts on 02-29 does the one before end on 02-28. Up to 12 seasons; names are small letters, digits and _.`

export function addSeasons(program: Command): void {
  const seasons = program
    .command('seasons')
    .description('the table of seasons: its versions, and another one')
    .addHelpText('after', '\nExamples:\n  ./tidemark seasons list\n  ./tidemark seasons check seasons.json\n  ./tidemark seasons set seasons.json')
  withCommonOptions(seasons.command('list'))
    .description('the seasons in use')
    .option('--version <n>', 'those of a version')
    .option('--all', 'every version, newest first')
    .addHelpText('after', '\nExample:\n  ./tidemark seasons list --version 1 --json')
    .action(async (options: CommonOptions & { version?: string; all?: boolean }) => {
      await onEnvironment(options, 'seasons list', async ({ database }) => {
        const versions = options.all === true ? await listSeasonVersions(database.pool) : [await readSeasonVersion(database.pool, versionOf(options.version))]
        if (options.json === true) return printJson(options.all === true ? versions.map(jsonOf) : jsonOf(versions[0]!))
        for (const version of versions) show(version)
      })
    })
  withCommonOptions(seasons.command('set <file>'))
    .description('use the seasons of a file from now on, as a new version; the same seasons again change nothing')
    .addHelpText('after', `${fileHelp}\n\nExample:\n  ./tidemark seasons set seasons.json`)
    .action(async (file: string, options: CommonOptions) => {
      await guarded(async () => {
        // Before anything is opened: a table with a fault needs no database.
        const table = await readTable(file)
        await onEnvironment(options, 'seasons set', async ({ database }) => {
          const { version, isNew } = await setSeasons(database, table)
          if (options.json === true) return printJson({ ...jsonOf(version), isNew })
          print(isNew ? `Version ${version.version} is in use from now on; reports that were published keep theirs.` : `Version ${version.version} is that table already: nothing changed.`)
        })
      })
    })
  withCommonOptions(seasons.command('check <file>'))
    .description('say whether the seasons of a file can be used, and change nothing')
    .addHelpText('after', `${fileHelp}\n\nExample:\n  ./tidemark seasons check seasons.json`)
    .action(async (file: string, options: CommonOptions) => {
      await guarded(async () => {
        const table = await readTable(file)
        if (options.json === true) printJson(plain(table))
        else showTable(table)
      })
    })
}

async function readTable(file: string): Promise<SeasonTable> {
  const bytes = await readFile(file).catch((thrown: unknown) => {
    throw new ConfigError(`${file} cannot be read: name a file with a table of seasons.`, { file }, thrown)
  })
  if (bytes.length > seasonFileBytesMax) throw new InvalidRequestError(`${file} has ${bytes.length} bytes: a table of seasons has a few hundred.`)
  return parseSeasonTable(bytes.toString('utf8'))
}

function versionOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d{1,9}$/.test(text)) throw new InvalidRequestError(`--version takes a number such as 1, not "${text}".`, { parameter: 'version' })
  return Number(text)
}

function jsonOf(version: SeasonVersion): object {
  return { version: version.version, isCurrent: version.isCurrent, createdAt: version.createdAt, ...plain(version) }
}

function show(version: SeasonVersion): void {
  print(`Version ${version.version}${version.isCurrent ? ', in use' : ''} · since ${version.createdAt.slice(0, 19).replace('T', ' ')}`)
  showTable(version)
}

function showTable(table: SeasonTable): void {
  print(`Calendar: ${table.calendar}`)
  printTable(['season', 'from', 'to'], table.seasons.map(({ name, from, to }) => [name, dateText(from), dateText(to)]), 99)
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '  ')
}
