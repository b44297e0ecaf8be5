/** Errors at the edge: which status each asks for. Statuses exist only in this layer; no answer holds a stack or a payload. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { TidemarkError } from '#core/errors.ts'
import { translateError } from '#store/database.ts'
import { retryAfterSeconds } from './limits.ts'

export function sendError(reply: FastifyReply, status: number, code: string, message: string, details: Readonly<Record<string, unknown>> = {}): FastifyReply {
  if (status === 503) void reply.header('Retry-After', String(retryAfterSeconds))
  return reply
    .code(status)
    .header('Cache-Control', 'no-store')
    .type('application/json; charset=utf-8')
    .send(JSON.stringify({ error: { code, message, details } }))
}

const statusOf: Readonly<Partial<Record<TidemarkError['code'], number>>> = { 'invalid-request': 400, unavailable: 503, 'stale-horizon': 503 }

const codeOf: Readonly<Record<number, string>> = {
  404: 'not-found',
  405: 'method-not-allowed',
  406: 'not-acceptable',
  408: 'timeout',
  413: 'too-large',
  414: 'too-long',
  415: 'unsupported-media-type',
  429: 'too-many-requests',
}

export function answerFailure(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const error = translateError(thrown)
  if (error instanceof TidemarkError) {
    const status = statusOf[error.code] ?? 500
    if (status === 500) request.log.error({ code: error.code, details: error.details }, error.message)
    // Driver texts are not for callers; what we wrote ourselves is.
    if (status === 503 && error.cause !== undefined) return sendError(reply, 503, error.code, 'The database does not answer now. Ask again in a moment.')
    return sendError(reply, status, error.code, error.message, error.details)
  }
  const status = (error as { statusCode?: unknown }).statusCode
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return sendError(reply, status, codeOf[status] ?? 'invalid-request', (error as Error).message)
  }
  request.log.error({ err: error }, 'A request failed for a reason of ours.')
  return sendError(reply, 500, 'internal', 'This is our fault. The log of the server says more.')
}

/** 404, or 405 where the address exists for another method. To be called before any route is added. */
export function answerUnknown(app: FastifyInstance): void {
  const routes: { readonly methods: readonly string[]; readonly address: RegExp }[] = []
  // The router looks up patterns, and throws at some that a caller may send as an address.
  app.addHook('onRoute', ({ method, url }) => {
    // One of files: which there are is asked of the folder.
    if (url.includes('*')) return
    const address = url.split(/:\w+/).map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[^/]+')
    routes.push({ methods: [method].flat(), address: new RegExp(`^${address}$`) })
  })
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0]!
    const known = new Set(routes.flatMap(({ methods, address }) => (address.test(path) ? methods : [])))
    const allowed = ['GET', 'HEAD'].filter((method) => method !== request.method && known.has(method))
    if (allowed.length > 0) {
      void reply.header('Allow', allowed.join(', '))
      return sendError(reply, 405, 'method-not-allowed', `Ask with ${allowed.join(' or ')}.`)
    }
    return sendError(reply, 404, 'not-found', 'There is nothing here. /openapi.json lists what there is.')
  })
}
