/** The job queues as they stand, for people and for programs. */
import type { QueueReport, QueuedJob } from '#batch/jobs.ts'
import { jobStates, queueNames, readQueue } from '#batch/jobs.ts'
import { openCalendar } from '#core/calendar.ts'
import { TidemarkError, UnavailableError, messageOf } from '#core/errors.ts'
import type { Environment } from './environment.ts'
import { print, printTable } from './output.ts'
import { jobsOptions } from './job-queues.ts'
import { durationText, localText } from './schedule-listing.ts'

/** Throws UnavailableError where a queue cannot be read. */
export async function readQueues({ settings, databaseUrl }: Environment, jobsMax: number): Promise<QueueReport[]> {
  const queues: QueueReport[] = []
  for (const name of queueNames) queues.push(await readQueue(jobsOptions(settings, databaseUrl, name), jobsMax).catch(explain))
  return queues
}

function explain(thrown: unknown): never {
  if (thrown instanceof TidemarkError) throw thrown
  throw new UnavailableError(`The job queue cannot be read: ${messageOf(thrown)}. "tidemark batch work", which "tidemark up" starts, makes it; "tidemark doctor" looks at it.`, {}, thrown)
}

export function asJson({ name, counts, jobs }: QueueReport): object {
  const time = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString())
  return {
    name,
    counts,
    jobs: jobs.map(({ id, name: job, state, addedMs, startedMs, finishedMs, dueMs, failedReason }) => ({ id, job, state, addedAt: time(addedMs), startedAt: time(startedMs), finishedAt: time(finishedMs), dueAt: time(dueMs), failedReason })),
  }
}

export function printQueues(queues: readonly QueueReport[], zone: string): void {
  const calendar = openCalendar(zone)
  for (const queue of queues) printQueue(queue, (ms) => (ms === null ? '' : localText(calendar, ms)))
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
