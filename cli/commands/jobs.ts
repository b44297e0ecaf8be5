import type { Command } from 'commander'
import type { QueueReport, QueuedJob } from '#batch/jobs.ts'
import { jobStates, queueNames, readQueue } from '#batch/jobs.ts'
import { openCalendar } from '#core/calendar.ts'
import { InvalidRequestError, TidemarkError, UnavailableError, messageOf } from '#core/errors.ts'
import type { CommonOptions } from '../command.ts'
import { onEnvironment, withCommonOptions } from '../command.ts'
import { print, printJson, printTable } from '../output.ts'
import { jobsOptions } from '../schedule-layer.ts'
import { durationText, localText } from './schedule.ts'

const jobsMaxMax = 100

export function addJobs(program: Command): void {
  withCommonOptions(program.command('jobs'))
    .description('the job queues: how many jobs wait, run, failed and ended, and the newest of each')
    .option('--limit <n>', 'newest jobs of each state', '5')
    .addHelpText('after', '\nThe page /jobs of "tidemark serve" shows the same. "tidemark schedule list" says what is due.\n\nExamples:\n  ./tidemark jobs\n  ./tidemark jobs --limit 20 --json')
    .action(async (options: CommonOptions & { limit: string }) => {
      const limit = /^\d{1,3}$/.test(options.limit) ? Number(options.limit) : 0
      await onEnvironment(options, 'jobs', async ({ settings, databaseUrl }) => {
        if (limit < 1 || limit > jobsMaxMax) throw new InvalidRequestError(`--limit takes a number from 1 to ${jobsMaxMax}, not "${options.limit}".`)
        const queues: QueueReport[] = []
        for (const name of queueNames) queues.push(await readQueue(jobsOptions(settings, databaseUrl, name), limit).catch(explain))
        if (options.json === true) return printJson({ queues: queues.map(asJson) })
        const calendar = openCalendar(settings.zone)
        for (const queue of queues) printQueue(queue, (ms) => (ms === null ? '' : localText(calendar, ms)))
      })
    })
}

function explain(thrown: unknown): never {
  if (thrown instanceof TidemarkError) throw thrown
  throw new UnavailableError(`The job queue cannot be read: ${messageOf(thrown)}. "tidemark batch work", which "tidemark up" starts, makes it; "tidemark doctor" looks at it.`, {}, thrown)
}

function asJson({ name, counts, jobs }: QueueReport): object {
  const time = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString())
  return {
    name,
    counts,
    jobs: jobs.map(({ id, name: job, state, addedMs, startedMs, finishedMs, dueMs, failedReason }) => ({ id, job, state, addedAt: time(addedMs), startedAt: time(startedMs), finishedAt: time(finishedMs), dueAt: time(dueMs), failedReason })),
  }
}

function printQueue({ name, counts, jobs }: QueueReport, local: (ms: number | null) => string): void {
  print(`${name}: ${jobStates.map((state) => `${state} ${counts[state]}`).join(' · ')}`)
  if (jobs.length > 0) {
    printTable(
      ['state', 'job', 'due or begun', 'took', 'id'],
      jobs.map((job) => [job.state, job.name, local(job.dueMs ?? job.startedMs ?? job.addedMs), tookText(job), job.id]),
      99,
    )
  }
  for (const { id, failedReason } of jobs) if (failedReason !== null && failedReason !== '') print(`  ${id} failed: ${failedReason}`)
  print('')
}

function tookText({ startedMs, finishedMs }: QueuedJob): string {
  return startedMs === null || finishedMs === null ? '' : durationText(finishedMs - startedMs)
}
