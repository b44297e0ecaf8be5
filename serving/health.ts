/** Status and health: `/livez` says that the process runs, `/readyz` that it can answer. */
import type { FastifyInstance } from 'fastify'
import { formatDay } from '#core/calendar.ts'
import { messageOf } from '#core/errors.ts'
import type { Database } from '#store/database.ts'
import { readReadiness } from '#store/readiness.ts'
import { readStatus } from '#store/status.ts'
import type { LogEnds } from './log-ends.ts'
import { withLogEnds } from './log-ends.ts'
import { refuseParameters } from './parameters.ts'
import { errorAnswer, noParameters, statusAnswer } from './schemas.ts'
import { retryAfterSeconds } from './limits.ts'
import type { ServingSettings } from './settings.ts'

export type HealthOptions = { readonly database: Database; readonly settings: ServingSettings; readonly today: () => number; readonly log?: LogEnds | undefined }

export function routeHealth(app: FastifyInstance, { database, settings, today, log }: HealthOptions): void {
  app.get(
    '/v1/status',
    {
      schema: {
        summary: 'Where the store stands: batch, positions, workers, dead letters, stopped partitions, archive.',
        tags: ['status'],
        querystring: noParameters,
        response: { 200: statusAnswer, 400: errorAnswer, 503: errorAnswer },
      },
    },
    async (request, reply) => {
      refuseParameters(request.query)
      const status = await readStatus(database.pool)
      const body = {
        version: settings.version,
        incarnation: status.incarnation,
        zone: settings.zone,
        currency: settings.currency,
        today: formatDay(today()),
        booksOpenOn: settings.booksOpenOn,
        epoch: status.epoch,
        batch: status.batch,
        speed: { partitions: await withLogEnds(status.partitions, log), workers: status.workers },
        batches: status.batches,
        deadLetters: { byReason: status.deadLettersByReason },
        stopped: status.stopped,
        archive: status.archive,
      }
      return reply.header('Cache-Control', 'no-cache').type('application/json; charset=utf-8').send(JSON.stringify(body))
    },
  )

  app.get('/livez', { schema: { hide: true } }, async (_request, reply) => {
    return reply.header('Cache-Control', 'no-store').type('application/json; charset=utf-8').send('{"live":true}')
  })

  app.get('/readyz', { schema: { hide: true } }, async (request, reply) => {
    const body = await readReadiness(database.pool).then(
      (readiness) => ({ ...readiness, database: 'answers' }),
      (thrown: unknown) => {
        request.log.warn({ reason: messageOf(thrown) }, 'Not ready: the database does not answer.')
        return { ready: false, database: 'does not answer' }
      },
    )
    if (!body.ready) void reply.code(503).header('Retry-After', String(retryAfterSeconds))
    return reply.header('Cache-Control', 'no-store').type('application/json; charset=utf-8').send(JSON.stringify(body))
  })
}
