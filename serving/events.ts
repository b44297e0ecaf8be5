/** Server-sent events: a thin skin on the live feed. */
import type { FastifyInstance } from 'fastify'
import { reconnectMs } from './limits.ts'
import type { LiveFeed } from './live-feed.ts'
import { refuseParameters } from './parameters.ts'
import { noParameters } from './schemas.ts'

export function routeEvents(app: FastifyInstance, feed: LiveFeed): void {
  const schema = {
    summary: 'Live figures as server-sent events: `figures` on every change, at most two a second, and `trouble` where the database is lost.',
    tags: ['figures'],
    querystring: noParameters,
    produces: ['text/event-stream'],
  }
  // The feed's data is text already, made once for all.
  const sse = { kind: 'only', serializer: String } as const
  app.get('/v1/events', { schema, sse, exposeHeadRoute: false }, async (request, reply) => {
    refuseParameters(request.query)
    const leave = feed.join((message) => reply.sse.send(message))
    reply.sse.onClose(leave)
    reply.sse.keepAlive()
    await reply.sse.send({ data: undefined, retry: reconnectMs })
  })
}
