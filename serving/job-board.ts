/**
 * Bull Board at `/jobs`: the job queues, to be looked at. Whatever would change a queue is refused twice, here by its method and by the board's own read-only
 * mode. The page loads nothing from elsewhere. While the queue cannot be reached the answer is 503, and the next request tries again.
 */
import { createBullBoard } from '@bull-board/api'
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter'
import { FastifyAdapter } from '@bull-board/fastify'
import type { Queue } from 'bullmq'
import type { FastifyInstance } from 'fastify'
import { sendError } from './failures.ts'

export const jobBoardPath = '/jobs'
const probeTimeoutMs = 3_000
/** A queue that was found away is not asked by every request at once. */
const retryAfterMs = 2_000

export type JobBoard = {
  /** Opens the queues to be read. May throw where they are away. */
  readonly open: () => Promise<readonly Queue[]>
  readonly close: (queue: Queue) => Promise<void>
}

/** Bull Board's page has a base address, styles within elements, and a link to fonts of another host, which is taken out. */
const contentPolicy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
const foreignLink = /<link [^>]*href="https?:\/\/[^>]*>/g

export async function routeJobBoard(app: FastifyInstance, board: JobBoard): Promise<void> {
  const adapter = new FastifyAdapter()
  adapter.setBasePath(jobBoardPath)
  const { replaceQueues } = createBullBoard({
    queues: [],
    serverAdapter: adapter,
    options: { uiConfig: { boardTitle: 'Tidemark jobs', hideDocsLink: true, hideRedisDetails: true, showWorkers: false } },
  })
  let queues: readonly Queue[] | null = null
  let opening: Promise<boolean> | null = null
  let triedAt = Number.NEGATIVE_INFINITY
  let isClosed = false

  async function open(): Promise<boolean> {
    const opened = await board.open().catch(() => null)
    if (opened === null) return false
    if (isClosed || !(await answers(opened))) {
      await Promise.all(opened.map(board.close))
      return false
    }
    queues = opened
    replaceQueues(opened.map((queue) => new BullMQAdapter(queue, { readOnlyMode: true, allowRetries: false })))
    return true
  }

  async function isReachable(): Promise<boolean> {
    if (queues !== null) {
      if (await answers(queues)) return true
      const lost = queues
      queues = null
      replaceQueues([])
      void Promise.all(lost.map(board.close))
    }
    if (opening === null) {
      if (performance.now() - triedAt < retryAfterMs) return false
      triedAt = performance.now()
      opening = open().finally(() => (opening = null))
    }
    return opening
  }

  await app.register(
    async (routes) => {
      routes.addHook('onRequest', async (request, reply) => {
        if (request.method !== 'GET' && request.method !== 'HEAD') return sendError(reply.header('allow', 'GET, HEAD'), 405, 'read-only', 'The jobs can be looked at here, and not changed. The run ledger decides what is done: "tidemark schedule list".')
        if (!(await isReachable())) return sendError(reply, 503, 'unavailable', 'The job queue cannot be reached: "tidemark batch work", which "tidemark up" starts, makes it, and "tidemark doctor" looks at it.')
        return undefined
      })
      routes.addHook('onSend', async (_request, reply, payload: unknown) => {
        reply.header('content-security-policy', contentPolicy)
        const isPage = typeof payload === 'string' && String(reply.getHeader('content-type')).startsWith('text/html')
        return isPage ? payload.replaceAll(foreignLink, '') : payload
      })
      await routes.register(adapter.registerPlugin())
    },
    { prefix: jobBoardPath },
  )
  app.addHook('onClose', async () => {
    isClosed = true
    if (queues !== null) await Promise.all(queues.map(board.close))
  })
}

async function answers(queues: readonly Queue[]): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), probeTimeoutMs)
  })
  try {
    const asked = Promise.all(queues.map((queue) => queue.getJobCounts('active'))).then(
      () => true,
      () => false,
    )
    return await Promise.race([asked, late])
  } finally {
    clearTimeout(timer)
  }
}
