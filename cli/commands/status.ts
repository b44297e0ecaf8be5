import type { Command } from 'commander'
import { listImports } from '#store/imports.ts'
import { readStatus } from '#store/status.ts'
import type { CommonOptions } from '../command.ts'
import { onEnvironment, withCommonOptions } from '../command.ts'
import { transactionsTopic } from '../environment.ts'
import { count, print, printJson, printTable } from '../output.ts'
import { version } from '../version.ts'

export function addStatus(program: Command): void {
  withCommonOptions(program.command('status'))
    .description('where everything stands: lag, epoch, batch, dead letters, archive')
    .addHelpText('after', '\nExample:\n  ./tidemark status --json')
    .action(async (options: CommonOptions) => {
      await onEnvironment(options, 'status', async (environment) => {
        const status = await readStatus(environment.database.pool)
        const log = await environment.log()
        const { end } = await log.bounds(transactionsTopic)
        const imports = new Map((await listImports(environment.database.pool)).map(({ name, topic, partition }) => [`${topic} ${partition}`, name]))
        // What was imported has no log to lag behind.
        const lagOf = ({ topic, partition, nextOffset }: (typeof status.partitions)[number]): string => {
          const logEnd = topic === transactionsTopic ? end.get(partition) : undefined
          return logEnd === undefined ? '' : count(Math.max(0, logEnd - nextOffset))
        }
        if (options.json === true) {
          const logEnd = Object.fromEntries(end)
          return printJson({ version, zone: environment.settings.zone, currency: environment.settings.currency, logEnd, ...status })
        }
        print(`Tidemark ${version} · ${environment.settings.zone} · ${environment.settings.currency} · epoch ${status.epoch}`)
        const { batch } = status
        print(`batch ${batch.id}${batch.publishedAt === null ? '' : ` of ${batch.publishedAt.slice(0, 19).replace('T', ' ')}`} serves${batch.pausedReason === null ? '' : `; publishing is paused: ${batch.pausedReason}`}`)
        print(`archive: ${count(status.archive.files)} files, ${count(status.archive.rows)} rows, ${count(Math.round(status.archive.bytes / 1024))} KiB`)
        print('')
        printTable(
          ['partition', 'next offset', 'lag', 'accepted', 'copies', 'conflicts', 'refused', 'late'],
          status.partitions.map((one) => [
            imports.has(`${one.topic} ${one.partition}`) ? `import ${imports.get(`${one.topic} ${one.partition}`)}` : `${one.topic} ${one.partition}`,
            count(one.nextOffset),
            lagOf(one),
            ...[one.accepted, one.copies, one.conflicts, one.refused, one.late].map(count),
          ]),
          1,
        )
        const reasons = Object.entries(status.deadLettersByReason)
        if (reasons.length > 0) print(`\ndead letters: ${reasons.map(([reason, letters]) => `${reason} ${count(letters)}`).join(' · ')}`)
        for (const one of status.stopped) print(`\nstopped: ${one.topic} ${one.partition}: ${one.reason}`)
      })
    })
}
