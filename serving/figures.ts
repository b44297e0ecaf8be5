/** The routes of figures. An answer's version is its ETag: where the store has not moved, 304 is said without computing. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Database } from '#store/database.ts'
import type { AnswerTerms } from '#store/answers.ts'
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
  readonly prepare: (query: unknown) => () => Promise<Rendered>
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
        return async () => {
          const answer = await answerRevenue(database.pool, request, terms)
          return { version: answer.version, asOf: answer.receipt.asOf, body: renderRevenue(answer) }
        }
      },
    },
    {
      url: '/v1/products/top',
      summary: 'Top products of a period, one list per currency, from merged full sums.',
      parameters: productsParameters,
      answer: productsAnswer,
      prepare: (query) => {
        const request = readProductsRequest(query)
        return async () => {
          const answer = await answerTopProducts(database.pool, request, terms)
          return { version: answer.version, asOf: answer.receipt.asOf, body: renderProducts(answer) }
        }
      },
    },
    {
      url: '/v1/pace',
      summary: 'The shop’s pace by weekday (1 is Monday) and hour.',
      parameters: paceParameters,
      answer: paceAnswer,
      prepare: (query) => {
        const request = readPaceRequest(query)
        return async () => {
          const answer = await answerPace(database.pool, request, terms)
          return { version: answer.version, asOf: answer.receipt.asOf, body: renderPace(answer) }
        }
      },
    },
    {
      url: '/v1/minutes',
      summary: 'The last three hours by minute, from the speed layer alone.',
      parameters: noParameters,
      answer: minutesAnswer,
      prepare: (query) => {
        refuseParameters(query)
        return async () => {
          const answer = await answerMinutes(database.pool, terms)
          return { version: answer.version, asOf: answer.asOf, body: renderMinutes(answer) }
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
      const compute = route.prepare(request.query)
      return options.admission.admit(() => respond(request, reply, options, compute))
    })
  }
}

async function respond(request: FastifyRequest, reply: FastifyReply, { database, terms, apiVersion }: FiguresOptions, compute: () => Promise<Rendered>) {
  const given = request.headers['if-none-match']
  if (given !== undefined) {
    const now = await readAnswerVersion(database.pool, terms)
    if (matches(given, tagOf(now.version, apiVersion))) {
      setVersion(reply, tagOf(now.version, apiVersion), now.asOf)
      return reply.code(304).send()
    }
  }
  const { version, asOf, body } = await compute()
  setVersion(reply, tagOf(version, apiVersion), asOf)
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
