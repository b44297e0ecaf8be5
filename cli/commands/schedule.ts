import type { Command } from 'commander'
import type { CommonOptions } from '../command.ts'
import { onEnvironment, withCommonOptions } from '../command.ts'
import { printJson } from '../output.ts'

export function addSchedule(program: Command): void {
  const schedule = program.command('schedule').description('what runs when').addHelpText('after', '\nExample:\n  ./tidemark schedule list')
  withCommonOptions(schedule.command('list'))
    .description('what runs when in the shop’s time, when it last ran and for how long, what comes next, what is due now and what waits for what')
    .addHelpText('after', '\nExamples:\n  ./tidemark schedule list\n  ./tidemark schedule list --json')
    .action(async (options: CommonOptions) => {
      await onEnvironment(options, 'schedule list', async (environment) => {
        const { printListing, readListing } = await import('../schedule-listing.ts')
        const listing = await readListing(environment)
        if (options.json === true) printJson(listing)
        else printListing(listing)
      })
    })
}
