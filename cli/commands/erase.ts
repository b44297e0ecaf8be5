import type { Command } from 'commander'
import { parquetCodec } from '#engines/parquet.ts'
import type { CommonOptions } from '../command.ts'
import { exitCodes, onEnvironment, withCommonOptions } from '../command.ts'
import type { Environment } from '../environment.ts'
import { topics, transactionsTopic } from '../environment.ts'
import { Progress, count, print, printJson } from '../output.ts'

type EraseCommandOptions = CommonOptions & { readonly user: string; readonly dryRun?: boolean; readonly now?: boolean }

/** Documents of the person's sales go with the index that holds them. False where the store was never followed. */
async function rebuildSales(environment: Environment): Promise<boolean> {
  const { searchPrefix } = await import('../search-layer.ts')
  const { listIndices, replaceIndex, requestBuild } = await import('#store/search-indices.ts')
  const { database } = environment
  // One that is being built may hold documents of before.
  const building = (await listIndices(database.pool)).find((index) => index.kind === 'sales' && index.state === 'building')
  if (building !== undefined) await replaceIndex(database, searchPrefix(environment), building)
  return building !== undefined || requestBuild(database, searchPrefix(environment), 'sales')
}

export function addErase(program: Command): void {
  withCommonOptions(program.command('erase'))
    .description('blank one person: their id, and the original bytes of their records, in archive, tables and search; no figure changes')
    .requiredOption('--user <id>', 'as events carry it')
    .option('--dry-run', 'count what would be blanked')
    .option('--now', 'remove old files and archived records of the embedded log at once, not after their grace; what may be about to be registered is named and waits')
    .addHelpText('after', '\nExamples:\n  ./tidemark erase --user 1001 --dry-run\n  ./tidemark erase --user 1001 --now\n\nAn interrupted run goes on when started again. Free text of records is not searched for the id.\nExits with 4 where files are left that hold the person, or may: they are named.')
    .action(async (options: EraseCommandOptions) => {
      await onEnvironment(options, 'erase', async (environment, { signal }) => {
        const { archiveCommitted } = await import('#batch/archive.ts')
        const { eraseUser } = await import('#batch/erase.ts')
        const { batchOptions } = await import('../batch-layer.ts')
        const { archiveEnds } = await import('#store/register.ts')
        const progress = new Progress(options.quiet === true)
        const shared = await batchOptions(environment, signal)
        const { orphanAfterMinutes } = environment.settings
        const orphanAfterMs = orphanAfterMinutes * 60_000
        // What is counted and not archived yet would be archived with its bytes.
        if (options.dryRun !== true) await archiveCommitted(shared)
        const erased = await eraseUser(
          { ...shared, codec: parquetCodec, topics, sharedTopic: transactionsTopic, dryRun: options.dryRun === true, now: options.now === true, orphanAfterMs, onStep: (detail) => progress.show(detail) },
          options.user,
        )
        const isRebuilding = options.dryRun !== true && environment.settings.searchUrl !== '' && (await rebuildSales(environment))
        if (options.now === true && options.dryRun !== true) {
          const log = await environment.log()
          for (const topic of topics) await log.prune(topic, await archiveEnds(environment.database.pool, topic), Date.now())
        }
        progress.done(options.dryRun === true ? 'counted' : `erased after ${progress.seconds.toFixed(1)} s`)
        if (erased.waiting.length + erased.unreadable.length > 0) process.exitCode = exitCodes.unavailable
        if (options.json === true) return printJson({ ...erased, salesRebuilt: isRebuilding })
        const would = options.dryRun === true ? 'would be' : 'were'
        print(`${count(erased.records)} records in ${count(erased.files)} files of the archive ${would} blanked, ${count(erased.deadLetters)} dead letters, ${count(erased.references)} reference rows. No figure changes.`)
        if (options.dryRun === true) return
        if (isRebuilding) print('The documents of the sales are built anew without the person; the old ones go when the new ones serve ("tidemark search status").')
        if (options.now === true) print(`${count(erased.filesRemoved)} old files were removed.`)
        else print(`The files of before go after ${environment.settings.orphanKeepDays} days like other orphans; --now removes them at once.`)
        for (const path of erased.unreadable) print(`Could not be read, and may hold the person: ${path}`)
        for (const path of erased.waiting) print(`Holds the person, and may be about to be registered: ${path}`)
        if (erased.waiting.length > 0) print(`Run this again after ${orphanAfterMinutes} minutes: then they are in the archive, and blanked, or nobody's, and removed.`)
        print(
          environment.settings.logUrl.startsWith('kafka')
            ? `The topics ${topics.join(', ')} keep their records until their own retention ends, and backups what they hold.`
            : 'Backups keep what they hold, and the event log what is not archived yet.',
        )
      })
    })
}
