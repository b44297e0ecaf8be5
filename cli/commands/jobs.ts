import type { Command } from 'commander'
import { InvalidRequestError } from '#core/errors.ts'
import type { CommonOptions } from '../command.ts'
import { onEnvironment, withCommonOptions } from '../command.ts'
import { printJson } from '../output.ts'

const jobsMaxMax = 100

export function addJobs(program: Command): void {
  withCommonOptions(program.command('jobs'))
    .description('the job queues: how many jobs wait, run, failed and ended, and the newest of each')
    .option('--limit <n>', 'newest jobs of each state', '5')
    .addHelpText('after', '\nThe page /jobs of "tidemark serve" shows the same. "tidemark schedule list" says what is due.\n\nExamples:\n  ./tidemark jobs\n  ./tidemark jobs --limit 20 --json')
    .action(async (options: CommonOptions & { limit: string }) => {
      const limit = /^\d{1,3}$/.test(options.limit) ? Number(options.limit) : 0
      await onEnvironment(options, 'jobs', async (environment) => {
        if (limit < 1 || limit > jobsMaxMax) throw new InvalidRequestError(`--limit takes a number from 1 to ${jobsMaxMax}, not "${options.limit}".`)
        const { asJson, printQueues, readQueues } = await import('../job-listing.ts')
        const queues = await readQueues(environment, limit)
        if (options.json === true) printJson({ queues: queues.map(asJson) })
        else printQueues(queues, environment.settings.zone)
      })
    })
}
