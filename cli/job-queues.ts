/** Where the job queues of an environment are. */
import type { Queue } from 'bullmq'
import type { JobsOptions, QueueName } from '#batch/jobs.ts'
import { closeQueue, openQueueToRead, queueNames } from '#batch/jobs.ts'
import type { Environment } from './environment.ts'
import type { Settings } from './settings.ts'

export function jobsOptions(settings: Settings, databaseUrl: string, queue: QueueName = queueNames[0]): JobsOptions {
  return { url: settings.jobsUrl === '' ? databaseUrl : settings.jobsUrl, namespace: `${settings.schema}_jobs`, queue }
}

/** The queues as the page at `/jobs` reads them. */
export function jobBoard({ settings, databaseUrl }: Pick<Environment, 'settings' | 'databaseUrl'>): { readonly open: () => Promise<Queue[]>; readonly close: (queue: Queue) => Promise<void> } {
  return { open: async () => queueNames.map((name) => openQueueToRead(jobsOptions(settings, databaseUrl, name))), close: closeQueue }
}
