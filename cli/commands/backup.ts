import { resolve } from 'node:path'
import type { Command } from 'commander'
import { writeBackup } from '../backup/write.ts'
import { describeBackup, logSchemaOf } from '../backup/place.ts'
import type { CommonOptions } from '../command.ts'
import { onEnvironment, withCommonOptions } from '../command.ts'
import { Progress, print, printJson } from '../output.ts'

export function addBackup(program: Command): void {
  withCommonOptions(program.command('backup <folder>'))
    .description('write the store, the embedded log and the files of the lake to a new folder, all of one moment, while the shop goes on')
    .option('--no-lake', 'name the files of the lake with their checksums, and copy none: for a lake with snapshots of its own')
    .addHelpText(
      'after',
      '\nThe folder must not exist; it takes its name once everything in it is written and synced. No password and no setting is in it; everything else that the\nshop knows is: keep it where nobody reads it who should not. docs/BACKUP.md says how to back up a cluster.\n\nExamples:\n  ./tidemark backup /backups/$(date +%F)\n  ./tidemark backup /backups/$(date +%F) --no-lake --json',
    )
    .action(async (folder: string, options: CommonOptions & { lake: boolean }) => {
      await onEnvironment(options, 'backup', async (environment, { signal }) => {
        const progress = new Progress(options.quiet === true)
        const { settings, database } = environment
        const manifest = await writeBackup({
          database,
          logSchema: logSchemaOf(settings),
          lake: await environment.lake(),
          holdsLake: options.lake,
          directory: resolve(folder),
          signal,
          onStep: (step, detail) => progress.show(`${step.padEnd(8)} ${detail}`),
        })
        progress.done(`backup written after ${progress.seconds.toFixed(1)} s`)
        const said = describeBackup(manifest)
        if (options.json === true) printJson({ folder: resolve(folder), ...said.json })
        else print(`${resolve(folder)} holds ${said.text}.`)
      })
    })
}
