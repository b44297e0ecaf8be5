/** What routes of the past share: a check of the parameters before anything is read, the bound on answers in flight, pages, and 404 with advice. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Database } from '#store/database.ts'
import type { Admission } from './admission.ts'
import { sendError } from './failures.ts'
import type { Given } from './parameters.ts'
import { readGiven } from './parameters.ts'
import { sendText } from './paging.ts'
import type { Parameters } from './schemas.ts'
import { errorAnswer } from './schemas.ts'

export type HistoryOptions = { readonly database: Database; readonly admission: Admission }

export type Asked = { readonly given: Given; readonly params: Readonly<Record<string, string>>; readonly request: FastifyRequest; readonly reply: FastifyReply }

export type HistoryRoute = {
  readonly url: string
  readonly tag: string
  readonly summary: string
  readonly parameters: Parameters
  readonly answer?: Parameters
  /** Reads the parameters at once, so that a wrong one costs nothing; what it gives back answers: an object as JSON, text as it is; unless it has sent. */
  readonly prepare: (asked: Asked) => () => Promise<unknown>
}

/** Thrown by a route where what was asked for is not there. */
export class NotFound extends Error {
  readonly details: Readonly<Record<string, unknown>>

  constructor(message: string, details: Readonly<Record<string, unknown>> = {}) {
    super(message)
    this.details = details
  }
}

export function routeHistory(app: FastifyInstance, admission: Admission, routes: readonly HistoryRoute[]): void {
  for (const { url, tag, summary, parameters, answer, prepare } of routes) {
    const names = [...url.matchAll(/:(\w+)/g)].map(([, name]) => name!)
    const schema = {
      summary,
      tags: [tag],
      querystring: parameters,
      ...(names.length > 0 && { params: { type: 'object', properties: Object.fromEntries(names.map((name) => [name, { type: 'string' }])), required: names } }),
      response: { ...(answer !== undefined && { 200: answer }), 400: errorAnswer, 404: errorAnswer, 500: errorAnswer, 503: errorAnswer },
    }
    app.get(url, { schema }, async (request, reply) => {
      const work = prepare({ given: readGiven(request.query, parameters), params: request.params as Record<string, string>, request, reply })
      try {
        const answered = await admission.admit(work)
        if (reply.sent) return undefined
        return await sendText(request, reply, typeof answered === 'string' ? answered : JSON.stringify(answered))
      } catch (thrown) {
        if (thrown instanceof NotFound) return sendError(reply, 404, 'not-found', thrown.message, thrown.details)
        throw thrown
      }
    })
  }
}
