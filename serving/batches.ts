/** The routes of batches and dead letters. */
import type { FastifyInstance } from 'fastify'
import { InvalidRequestError } from '#core/errors.ts'
import { textFault } from '#core/text.ts'
import { findBatchDetail, pageOfBatches } from '#store/batch-pages.ts'
import { countLetters, listLetters, readLetter } from '#store/dead-letters.ts'
import type { HistoryOptions, HistoryRoute } from './history.ts'
import { NotFound, routeHistory } from './history.ts'
import { letterTextMax } from './limits.ts'
import { pageOf, readPage } from './paging.ts'
import { readWhole } from './parameters.ts'
import { batchAnswer, batchesAnswer, batchesParameters, letterAnswer, lettersAnswer, lettersParameters } from './schemas-history.ts'
import { noParameters } from './schemas.ts'

const topicBytesMax = 249

export function routeBatches(app: FastifyInstance, { database, admission }: HistoryOptions): void {
  const { pool } = database
  const routes: readonly HistoryRoute[] = [
    {
      url: '/v1/batches',
      tag: 'batches',
      summary: 'Batches, newest first: horizon, cross-check, duration. Those published and kept can be asked for with asOfBatch.',
      parameters: batchesParameters,
      answer: batchesAnswer,
      prepare: ({ given, request }) => {
        const { limit, after } = readPage(given, ['number'])
        return async () => pageOf(request, await pageOfBatches(pool, { before: after?.[0] ?? null, limit: limit + 1 }), limit, (row) => [row.batch])
      },
    },
    {
      url: '/v1/batches/:batch',
      tag: 'batches',
      summary: 'One batch with its whole cross-check: of a held one, the keys and events that nothing explains.',
      parameters: noParameters,
      answer: batchAnswer,
      prepare: ({ params }) => {
        const batch = readWhole('batch', params['batch']!, 0)
        return async () => {
          const found = await findBatchDetail(pool, batch)
          if (found === null) throw new NotFound(`There is no batch ${batch}. /v1/batches lists those there are.`, { batch })
          return found
        }
      },
    },
    {
      url: '/v1/dead-letters',
      tag: 'dead letters',
      summary: 'What could not be accepted, newest first: why, where it stands in the log, and its bytes as text. With the counts by topic and reason.',
      parameters: lettersParameters,
      answer: lettersAnswer,
      prepare: ({ given, request }) => {
        const { limit, after } = readPage(given, ['number'])
        const { reason, topic } = given
        if (reason !== undefined && !/^[a-z-]{1,60}$/.test(reason)) throw new InvalidRequestError('reason must be one of those in counts, such as bad-time.', { parameter: 'reason' })
        if (topic !== undefined && textFault(topic, topicBytesMax) !== null) throw new InvalidRequestError('topic must be the name of a topic, such as transactions.', { parameter: 'topic' })
        const filter = { ...(reason !== undefined && { reason }), ...(topic !== undefined && { topic }), ...(after !== null && { after: after[0] }) }
        return async () => {
          const [letters, counts] = await Promise.all([listLetters(pool, { ...filter, limit: limit + 1 }), countLetters(pool, topic)])
          return { ...pageOf(request, letters, limit, (letter) => [letter.id]), counts }
        }
      },
    },
    {
      url: '/v1/dead-letters/:id',
      tag: 'dead letters',
      summary: 'One dead letter with more of its bytes as text.',
      parameters: noParameters,
      answer: letterAnswer,
      prepare: ({ params }) => {
        const id = readWhole('id', params['id']!, 1)
        return async () => {
          const { value: _value, ...letter } = await readLetter(pool, id).catch((thrown: unknown) => {
            if (thrown instanceof InvalidRequestError) throw new NotFound(`There is no dead letter ${id}: a batch may have settled it. /v1/dead-letters lists those there are.`, { id })
            throw thrown
          })
          return { ...letter, text: letter.text.slice(0, letterTextMax), isCut: letter.text.length > letterTextMax }
        }
      },
    },
  ]
  routeHistory(app, admission, routes)
}
