/** The HTTP server: hardening first, then the routes. Everything it needs is passed in; it opens nothing but its port. */
import { fileURLToPath } from 'node:url'
import helmet from '@fastify/helmet'
import rateLimit from '@fastify/rate-limit'
import { fastifySSE } from '@fastify/sse'
import swagger from '@fastify/swagger'
import Fastify, { LogController } from 'fastify'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { Lake } from '#core/ports.ts'
import type { Database } from '#store/database.ts'
import { Admission } from './admission.ts'
import { routeBatches } from './batches.ts'
import { routeEvents } from './events.ts'
import { answerFailure, answerUnknown, sendError } from './failures.ts'
import { routeFigures } from './figures.ts'
import { routeHealth } from './health.ts'
import * as limits from './limits.ts'
import type { JobBoard } from './job-board.ts'
import { routeJobBoard } from './job-board.ts'
import type { LogEnds } from './log-ends.ts'
import { LiveFeed } from './live-feed.ts'
import { routeMetrics } from './metrics.ts'
import { routePage } from './page.ts'
import { routeReports } from './reports.ts'
import type { Clock, ServingSettings } from './settings.ts'
import { openToday } from './settings.ts'

/** Of the interface, not of the program. */
const apiVersion = '1.0.0'

const dashboardFolder = fileURLToPath(new URL('./dashboard/dist', import.meta.url))

export type ServerOptions = {
  readonly database: Database
  readonly settings: ServingSettings
  readonly clock: Clock
  /** To say how far behind the log the figures are; without it that is left open. */
  readonly log?: LogEnds
  /** Where files of reports lie; without it they are not served. */
  readonly lake?: Lake
  readonly logger?: FastifyBaseLogger
  /** The job queues, to be shown at `/jobs`. */
  readonly jobBoard?: JobBoard
  /** Where the built page lies. */
  readonly pageFolder?: string
  readonly heartbeatMs?: number
}

/** Not listening yet. Closing it ends every live feed at once. */
export async function buildServer(options: ServerOptions): Promise<FastifyInstance> {
  const { database, settings, clock } = options
  const app = Fastify({
    ...(options.logger === undefined ? { logger: false } : { loggerInstance: options.logger }),
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: limits.bodyBytesMax,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    // Without it a connected live feed would keep close() waiting for ever.
    forceCloseConnections: true,
    http: { maxHeaderSize: limits.headerBytesMax, headersTimeout: limits.headersTimeoutMs, connectionsCheckingInterval: 1_000 },
    frameworkErrors: (error, request, reply) => {
      answerFailure(error, request, reply)
    },
  })
  app.server.maxConnections = limits.connectionsMax
  // The schemas describe; parameters.ts reads, and says more clearly what is wrong. Answers are rendered as text already.
  app.setValidatorCompiler(() => (value: unknown) => ({ value }))
  app.setSerializerCompiler(() => (value: unknown) => JSON.stringify(value))
  app.setErrorHandler(answerFailure)
  answerUnknown(app)
  await app.register(helmet, {
    // Served on the local machine without TLS: a browser must not be told otherwise.
    strictTransportSecurity: false,
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'self'"],
        imgSrc: ["'self'", 'data:'],
        objectSrc: ["'none'"],
        baseUri: ["'none'"],
        formAction: ["'none'"],
        frameAncestors: ["'none'"],
      },
    },
  })
  app.addHook('onRequest', async (request, reply) => {
    if (request.url.length > limits.urlBytesMax) return sendError(reply, 414, 'too-long', `The address is longer than ${limits.urlBytesMax} bytes.`)
    return undefined
  })
  if (settings.requestsPerMinuteMax !== undefined) {
    await app.register(rateLimit, { max: settings.requestsPerMinuteMax, timeWindow: 60_000, allowList: (request) => request.url.startsWith('/v1/events') })
  }
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Tidemark',
        version: apiVersion,
        description: 'Exact e-commerce figures, batch and live merged in one snapshot, each answer with its receipt. Intervals are half-open; money comes as digits of minor units with the decimal text beside it.',
      },
      tags: [{ name: 'figures' }, { name: 'reports' }, { name: 'batches' }, { name: 'dead letters' }, { name: 'status' }],
    },
  })
  await app.register(fastifySSE, { heartbeatInterval: options.heartbeatMs ?? limits.heartbeatMs })

  const terms = { ledgerIdsMax: settings.ledgerIdsMax }
  const admission = new Admission(limits.answersInFlightMax)
  const today = openToday(settings.zone, clock)
  const feed = new LiveFeed({ database, terms, today, clock, onTrouble: (message) => app.log.warn({ reason: message }, 'The live feed lost the database.') })
  app.addHook('preClose', async () => feed.stop())

  await app.register(async (routes) => {
    routeMetrics(routes, { database, admission, clock, settings, eventClients: () => feed.clients, log: options.log })
    routeFigures(routes, { database, terms, admission, apiVersion: settings.version })
    routeReports(routes, { database, admission, lake: options.lake })
    routeBatches(routes, { database, admission })
    routeHealth(routes, { database, settings, today, log: options.log })
    routeEvents(routes, feed)
    routes.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) => {
      return reply.type('application/json; charset=utf-8').send(JSON.stringify(app.swagger()))
    })
  })
  if (options.jobBoard !== undefined) await routeJobBoard(app, options.jobBoard)
  await routePage(app, options.pageFolder ?? dashboardFolder)
  return app
}
