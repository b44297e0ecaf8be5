/**
 * Runs statements on Trino by its paging protocol: POST the text, then GET `nextUri` until there is none. Every answer may carry an error, the first one
 * too. A POST alone starts nothing (a query begins with the first GET), and a page may be asked for again, so both are repeated safely.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { ConfigError, UnavailableError, messageOf } from '#core/errors.ts'
import { translateTrinoError } from './trino-errors.ts'
import type { TrinoError } from './trino-errors.ts'
import { belongsTo, openExchange } from './trino-transport.ts'
import type { TrinoAddress, TrinoExchange, TrinoReply, TrinoRequest } from './trino-transport.ts'
import { parsePage } from './trino-values.ts'
import type { TrinoColumn } from './trino-values.ts'

export type TrinoLimits = {
  /** One HTTP request. Trino answers within a second or two, if only to say that it is still busy. */
  readonly requestTimeoutMs: number
  /** One query with the reading of its rows. */
  readonly queryTimeoutMs: number
  /** How long "come back later" (429, 502, 503, 504) and broken connections are borne before a query is given up. */
  readonly retryBudgetMs: number
}

export const limitsDefault: TrinoLimits = { requestTimeoutMs: 60_000, queryTimeoutMs: 3_600_000, retryBudgetMs: 20_000 }

export type TrinoPage = {
  readonly columns: readonly TrinoColumn[] | undefined
  readonly rows: readonly (readonly unknown[])[]
  /** Rows written, where a statement writes some. */
  readonly updateCount: bigint | undefined
}

type Answer = {
  readonly nextUri?: string
  readonly columns?: readonly TrinoColumn[]
  readonly data?: readonly (readonly unknown[])[]
  readonly error?: TrinoError
  readonly stats: { readonly state: string }
  readonly updateCount?: number | bigint
}

export type TrinoStatement = {
  /** For messages: "run the query". */
  readonly doing: string
  readonly sql: string
  readonly schema?: string
  readonly session?: Readonly<Record<string, string>>
}

const busyStatuses: ReadonlySet<number> = new Set([429, 502, 503, 504])
/** The connection broke, before the answer or within it. The package calls the latter a bad response. */
const brokenCodes: ReadonlySet<unknown> = new Set(['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ERR_BAD_RESPONSE'])
/** The protocol asks for 50 to 100 ms; a server that goes on refusing is asked less and less often. */
const pauseMinMs = 50
const pauseMaxMs = 1_000
const cancelTimeoutMs = 2_000

export class TrinoSession {
  readonly #address: TrinoAddress
  readonly #limits: TrinoLimits
  readonly #closing = new AbortController()
  /** Where each query under way would be cancelled. */
  readonly #running = new Map<symbol, { readonly exchange: TrinoExchange; readonly uri: string }>()

  constructor(address: TrinoAddress, limits: TrinoLimits) {
    this.#address = address
    this.#limits = limits
  }

  get closed(): boolean {
    return this.#closing.signal.aborted
  }

  /** The statement's pages, to the last. Leaving early, or closing the session, cancels it on the server. */
  async *pages(statement: TrinoStatement): AsyncGenerator<TrinoPage> {
    const { doing, sql } = statement
    const session = { query_max_run_time: `${Math.ceil(this.#limits.queryTimeoutMs / 1_000)}s`, ...statement.session }
    const exchange = openExchange(this.#address, statement.schema ?? 'default', session)
    const deadline = AbortSignal.timeout(this.#limits.queryTimeoutMs)
    const id = Symbol(doing)
    try {
      let answer = await this.#ask(exchange, doing, { method: 'POST', url: '/v1/statement', body: sql }, deadline)
      for (;;) {
        const next = this.#next(doing, answer)
        if (next === undefined) this.#running.delete(id)
        else this.#running.set(id, { exchange, uri: next })
        if (answer.error !== undefined && answer.error !== null) {
          this.#running.delete(id)
          throw translateTrinoError(doing, answer.error)
        }
        if (next === undefined && answer.stats.state !== 'FINISHED') {
          throw new UnavailableError(`Cannot ${doing}: Trino's last answer leaves the query ${answer.stats.state}; run it again`, { state: answer.stats.state })
        }
        yield { columns: answer.columns, rows: answer.data ?? [], updateCount: answer.updateCount === undefined ? undefined : BigInt(answer.updateCount) }
        if (next === undefined) return
        answer = await this.#ask(exchange, doing, { method: 'GET', url: next }, deadline)
      }
    } finally {
      await this.#cancel(id)
    }
  }

  /** Runs to the end. Returns the rows, which must be few. */
  async run(statement: TrinoStatement): Promise<{ readonly rows: readonly (readonly unknown[])[]; readonly columns: readonly TrinoColumn[]; readonly updateCount: bigint | undefined }> {
    const rows: (readonly unknown[])[] = []
    let columns: readonly TrinoColumn[] = []
    let updateCount: bigint | undefined
    for await (const page of this.pages(statement)) {
      rows.push(...page.rows)
      columns = page.columns ?? columns
      updateCount = page.updateCount ?? updateCount
    }
    return { rows, columns, updateCount }
  }

  /** Cancels what runs. Whoever still reads gets an UnavailableError, never the end of the rows. */
  async close(): Promise<void> {
    this.#closing.abort()
    await Promise.all([...this.#running.keys()].map((id) => this.#cancel(id)))
  }

  async #cancel(id: symbol): Promise<void> {
    const query = this.#running.get(id)
    if (query === undefined) return
    this.#running.delete(id)
    // Where this fails, Trino itself ends a query whose client is silent for five minutes.
    await query.exchange({ method: 'DELETE', url: query.uri, signal: AbortSignal.timeout(cancelTimeoutMs) }).catch(() => {})
  }

  #next(doing: string, { nextUri }: Answer): string | undefined {
    if (nextUri === undefined || nextUri === null) return undefined
    if (belongsTo(this.#address, nextUri)) return nextUri
    throw new UnavailableError(
      `Cannot ${doing}: Trino names ${nextUri} as the address of its next page, which is not ${this.#address.origin}; ` +
        'put the address that Trino knows itself by into QUERY_URL, or let it process forwarded headers (http-server.process-forwarded)',
      { nextUri },
    )
  }

  /** One answer, with repetitions while the server or the way to it says "later". */
  async #ask(exchange: TrinoExchange, doing: string, request: Omit<TrinoRequest, 'signal'>, deadline: AbortSignal): Promise<Answer> {
    const start = performance.now()
    for (let attempt = 0; ; attempt++) {
      const outcome = await this.#send(exchange, doing, request, deadline)
      if (!(outcome instanceof UnavailableError)) return parseAnswer(doing, outcome)
      const pauseMs = Math.min(pauseMaxMs, pauseMinMs * (1 + Math.random()) * 2 ** Math.max(0, attempt - 3))
      if (performance.now() - start + pauseMs > this.#limits.retryBudgetMs) throw outcome
      await delay(pauseMs, undefined, { signal: AbortSignal.any([deadline, this.#closing.signal]) }).catch(() => {})
    }
  }

  /** The reply, or an UnavailableError that asking again may mend. Throws what it does not. */
  async #send(exchange: TrinoExchange, doing: string, request: Omit<TrinoRequest, 'signal'>, deadline: AbortSignal): Promise<TrinoReply | UnavailableError> {
    this.#checkOpen(doing, deadline)
    const timeout = AbortSignal.timeout(this.#limits.requestTimeoutMs)
    let reply: TrinoReply
    try {
      reply = await exchange({ ...request, signal: AbortSignal.any([timeout, deadline, this.#closing.signal]) })
    } catch (error) {
      this.#checkOpen(doing, deadline, error)
      if (timeout.aborted) {
        throw new UnavailableError(`Cannot ${doing}: Trino at ${this.#address.origin} gave no answer within ${this.#limits.requestTimeoutMs} ms; see whether it is stuck`, {}, error)
      }
      const failure = new UnavailableError(`Cannot ${doing}: Trino at ${this.#address.origin} cannot be reached (${messageOf(error)}); start it, or correct QUERY_URL`, {}, error)
      // Where nobody listens, neither a new query nor one that its coordinator has taken with it will come back within a moment.
      if (!brokenCodes.has(codeOf(error))) throw failure
      return failure
    }
    const { status } = reply
    if (busyStatuses.has(status)) return new UnavailableError(`Cannot ${doing}: Trino at ${this.#address.origin} answers ${status} and does not come back; try again later`, { status })
    if (status >= 200 && status < 300) return reply
    if (status === 401 || status === 403) throw new ConfigError(`Trino answers ${status}: correct user and password in QUERY_URL (a password needs trinos://)`, { status })
    if (status === 404 || status === 410) {
      throw new UnavailableError(`Cannot ${doing}: Trino no longer knows the query (${status}), as after a restart; run it again`, { status })
    }
    throw new UnavailableError(`Cannot ${doing}: Trino at ${this.#address.origin} answers ${status}: ${reply.text.slice(0, 200)}`, { status })
  }

  #checkOpen(doing: string, deadline: AbortSignal, cause?: unknown): void {
    if (this.closed) throw new UnavailableError(`Cannot ${doing}: the query engine is closed; open it again`, {}, cause)
    if (deadline.aborted) {
      throw new UnavailableError(`Cannot ${doing}: it was not done within ${this.#limits.queryTimeoutMs} ms and was cancelled; see what else Trino is busy with`, {}, cause)
    }
  }
}

function parseAnswer(doing: string, reply: TrinoReply): Answer {
  let answer: unknown
  try {
    answer = parsePage(reply.text)
  } catch (error) {
    throw notTrino(doing, reply, error)
  }
  if (!isAnswer(answer)) throw notTrino(doing, reply)
  return answer
}

function isAnswer(answer: unknown): answer is Answer {
  if (typeof answer !== 'object' || answer === null || !('stats' in answer) || !('id' in answer)) return false
  const { stats } = answer
  return typeof stats === 'object' && stats !== null && 'state' in stats && typeof stats.state === 'string'
}

function notTrino(doing: string, reply: TrinoReply, cause?: unknown): UnavailableError {
  return new UnavailableError(`Cannot ${doing}: what answers is not Trino, or only half of its answer came: ${JSON.stringify(reply.text.slice(0, 80))}; check QUERY_URL and what stands between`, {}, cause)
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
}
