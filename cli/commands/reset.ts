import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Command } from 'commander'
import { ConfigError } from '#core/errors.ts'
import { removeEmbeddedPostgres } from '#engines/embedded-postgres.ts'
import { markFile } from '../cluster-environment.ts'
import type { CommonOptions } from '../command.ts'
import { folderOf, guarded, withCommonOptions } from '../command.ts'
import { removeEngines } from '../engines/remove.ts'
import { print, printJson } from '../output.ts'
import { controlProcess } from '../process-control.ts'
import { readSettings } from '../settings.ts'

/** What Tidemark itself puts into a data folder; nothing else is ever removed. */
const ours = ['lake', markFile, 'logs', 'tmp', 'demo.json', 'up.lock', 'postgres.lock', 'postgres.users']

export function addReset(program: Command): void {
  withCommonOptions(program.command('reset'))
    .description('delete the store, log and lake of a data folder, on whichever engines of this machine')
    .option('--yes', 'really')
    .addHelpText('after', '\nExample:\n  ./tidemark reset --yes')
    .action(async (options: CommonOptions & { yes?: boolean }) => {
      await guarded(async () => {
        const dataDirectory = folderOf(options)
        const { databaseUrl } = readSettings(process.env)
        if (options.yes !== true) throw new ConfigError(`This would delete every event, figure and file in ${dataDirectory}. Say --yes to do it.`)
        if (databaseUrl !== '') throw new ConfigError('DATABASE_URL names a database that is not ours to delete; drop its schemas by hand.')
        const existed = existsSync(dataDirectory)
        const say = (line: string): void => void process.stderr.write(`${line}\n`)
        // First, since it refuses while they run: then nothing at all is deleted.
        const hadEngines = await removeEngines(dataDirectory, { signal: controlProcess().signal, say })
        await removeEmbeddedPostgres(dataDirectory, say)
        for (const name of ours) await rm(join(dataDirectory, name), { recursive: true, force: true })
        if (options.json === true) printJson({ dataDirectory, existed, engines: hadEngines })
        else if (!existed) print(`There was nothing in ${dataDirectory}.`)
        else if (hadEngines) print(`The store in ${dataDirectory} and its engines, with the log, the lake, the search index and the jobs that they held, are deleted.`)
        else print(`The store, log and lake in ${dataDirectory} are deleted.`)
      })
    })
}
