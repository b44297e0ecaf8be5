/**
 * The routes of figures. An answer's version is its ETag: where the store has not moved, 304 is said without computing. An answer as of a batch stays what
 * it was whatever moves, so its ETag is a digest of its bytes.
 */
import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Database } from '#store/database.ts'
import type { Answer } from '#core/receipt.ts'
import type { AnswerTerms, AsOfRequest } from '#store/answers.ts'
import { readAnswerVersion } from '#store/answers.ts'
import { answerMinutes } from '#store/answer-minutes.ts'
import { answerPace } from '#store/answer-pace.ts'
import { answerTopProducts } from '#store/answer-products.ts'
import { answerRevenue } from '#store/answer-revenue.ts'
import type { Admission } from './admission.ts'
import { readPaceRequest, readProductsRequest, readRevenueRequest, refuseParameters } from './parameters.ts'
import { renderMinutes, renderPace, renderProducts, renderRevenue } from './render.ts'
import {
  errorAnswer,
  minutesAnswer,
  noParameters,
  paceAnswer,
  paceParameters,
  productsAnswer,
  productsParameters,
  revenueAnswer,
  revenueParameters,
} from './schemas.ts'
import type { Parameters } from './schemas.ts'

export type FiguresOptions = { readonly database: Database; readonly terms: AnswerTerms; readonly admission: Admission; readonly apiVersion: string }

type Rendered = { readonly version: string; readonly asOf: string | null; readonly body: string }

type FiguresRoute = {
  readonly url: string
  readonly summary: string
  readonly parameters: Parameters
  readonly answer: Parameters
  /** Reads the parameters at once, so that a wrong one costs nothing; then computes. */
  readonly prepare: (query: unknown) => Prepared
}

type Prepared = { readonly isAsOf: boolean; readonly compute: () => Promise<Rendered> }

function prepared<Row>(request: AsOfRequest, ask: () => Promise<Answer<Row>>, render: (answer: Answer<Row>) => string): Prepared {
  const isAsOf = request.asOf !== undefined
  return {
    isAsOf,
    compute: async () => {
      const answer = await ask()
      const body = render(answer)
      return { version: isAsOf ? createHash('sha256').update(body).digest('base64url').slice(0, 27) : answer.version, asOf: answer.receipt.asOf, body }
    },
  }
}

export function routeFigures(app: FastifyInstance, options: FiguresOptions): void {
  const { database, terms } = options
  const routes: readonly FiguresRoute[] = [
    {
      url: '/v1/revenue',
      summary: 'Revenue by any of day, month, season, year, city and category; both layers merged.',
      parameters: revenueParameters,
      answer: revenueAnswer,
      prepare: (query) => {
        const request = readRevenueRequest(query)
        return prepared(request, () => answerRevenue(database.pool, request, terms), renderRevenue)
      },
    },
    {
      url: '/v1/products/top',
      summary: 'Top products of a period, one list per currency, from merged full sums.',
      parameters: productsParameters,
      answer: productsAnswer,
      prepare: (query) => {
        const request = readProductsRequest(query)
        return prepared(request, () => answerTopProducts(database.pool, request, terms), renderProducts)
      },
    },
    {
      url: '/v1/pace',
      summary: 'The shop’s pace by weekday (1 is Monday) and hour.',
      parameters: paceParameters,
      answer: paceAnswer,
      prepare: (query) => {
        const request = readPaceRequest(query)
        return prepared(request, () => answerPace(database.pool, request, terms), renderPace)
      },
    },
    {
      url: '/v1/minutes',
      summary: 'The last three hours by minute, from the speed layer alone.',
      parameters: noParameters,
      answer: minutesAnswer,
      prepare: (query) => {
        refuseParameters(query)
        return {
          isAsOf: false,
          compute: async () => {
            const answer = await answerMinutes(database.pool, terms)
            return { version: answer.version, asOf: answer.asOf, body: renderMinutes(answer) }
          },
        }
      },
    },
  ]
  for (const route of routes) {
    const schema = {
      summary: route.summary,
      tags: ['figures'],
      querystring: route.parameters,
      response: { 200: route.answer, 400: errorAnswer, 500: errorAnswer, 503: errorAnswer },
    }
    app.get(route.url, { schema }, async (request, reply) => {
      const asked = route.prepare(request.query)
      return options.admission.admit(() => respond(request, reply, options, asked))
    })
  }
}

async function respond(request: FastifyRequest, reply: FastifyReply, { database, terms, apiVersion }: FiguresOptions, { isAsOf, compute }: Prepared) {
  const given = request.headers['if-none-match']
  if (given !== undefined && !isAsOf) {
    const now = await readAnswerVersion(database.pool, terms)
    if (matches(given, tagOf(now.version, apiVersion))) {
      setVersion(reply, tagOf(now.version, apiVersion), now.asOf)
      return reply.code(304).send()
    }
  }
  const { version, asOf, body } = await compute()
  setVersion(reply, tagOf(version, apiVersion), asOf)
  if (given !== undefined && isAsOf && matches(given, tagOf(version, apiVersion))) return reply.code(304).send()
  return reply.type('application/json; charset=utf-8').send(body)
}

/** The program's version is part of it: a newer one may word the same figures otherwise. */
function tagOf(version: string, apiVersion: string): string {
  return `"${apiVersion}-${version}"`
}

function setVersion(reply: FastifyReply, tag: string, asOf: string | null): void {
  void reply.header('ETag', tag).header('Cache-Control', 'no-cache')
  if (asOf !== null) void reply.header('X-Data-As-Of', asOf)
}

/** `*` is no promise about any version, so it never gives 304. */
function matches(given: string, tag: string): boolean {
  return given.split(',').some((candidate) => candidate.trim().replace(/^W\//, '') === tag)
}
