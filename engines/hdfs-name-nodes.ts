/**
 * Questions to the NameNodes. One of several is active: the one that answered last is asked first, and one that is away, or says that it stands by,
 * hands over to the next. What may pass is tried again, with pauses; every other refusal is the caller's to read.
 */
import { Agent } from 'node:http'
import webhdfs from 'webhdfs'
import type { PendingRequest, WebHdfsClient } from 'webhdfs'
import { UnavailableError } from '#core/errors.ts'
import type { TidemarkError } from '#core/errors.ts'
import type { HdfsRefusal } from './hdfs-errors.ts'
import { isException, isPassing, parseJson, propertyOf, refusalOf, translateRefusal } from './hdfs-errors.ts'
import type { HdfsLimits } from './hdfs-http.ts'
import { authorityOf, backOff, exchange, networkFailure, textOf, timedOut } from './hdfs-http.ts'
import type { HdfsAddress } from './hdfs-url.ts'

export type Outcome<T> = { readonly value: T } | { readonly refusal: HdfsRefusal; readonly host: string }

/** `params` are WebHDFS's; `path` is absolute and not yet encoded; `doing` completes "Cannot …". */
export type Question = {
  readonly method: 'GET' | 'PUT'
  readonly op: string
  readonly path: string
  readonly params?: Readonly<Record<string, string>>
  readonly doing: string
}

/** Takes the answer's JSON; undefined where it is not of the expected form, which no NameNode sends. */
export type Reading<T> = (json: unknown) => T | undefined

type NameNode = { readonly url: URL; readonly packaged: WebHdfsClient }
type Answer = { readonly status: number; readonly location: string | undefined; readonly body: unknown }

const prefix = '/webhdfs/v1'
const answerBytesMax = 16 * 1024 * 1024
const connectionsMax = 8

export class NameNodes implements Disposable {
  readonly #user: string | null
  readonly #limits: HdfsLimits
  readonly #agent = new Agent({ keepAlive: true, maxSockets: connectionsMax })
  readonly #nodes: readonly NameNode[]
  #active = 0

  constructor(address: HdfsAddress, limits: HdfsLimits) {
    this.#user = address.user
    this.#limits = limits
    this.#nodes = address.nameNodes.map((base) => {
      const url = new URL(base)
      return { url, packaged: openPackage(url, address.user, this.#agent, limits) }
    })
  }

  /** Asks until there is an answer that will not change by asking again. Throws UnavailableError after the last round. */
  async ask<T>(question: Question, reading: Reading<T>, roundsMax = this.#limits.roundsMax): Promise<Outcome<T>> {
    return this.#untilAnswered(question.doing, roundsMax, async ({ url }) => {
      const { status, location, body } = await this.#send(questionUrl(url, question, this.#user), question.method)
      // A server that does not know `noredirect` redirects; so does HttpFS, to itself.
      if (status === 307 && location !== undefined) return { status: 200, body: { Location: location }, reading }
      return { status, body, reading }
    })
  }

  /** MKDIRS. False where HDFS says so, which may mean anything: look. */
  async makeFolder(path: string, permission: string, doing: string): Promise<Outcome<boolean>> {
    return this.#throughPackage(doing, (client) => client.mkdir(encodePath(path), permission, () => {}), this.#limits.roundsMax)
  }

  /** DELETE of a file or an empty folder. False where HDFS says so: mostly that there was nothing. */
  async delete(path: string, doing: string, roundsMax = this.#limits.roundsMax): Promise<Outcome<boolean>> {
    return this.#throughPackage(doing, (client) => client.unlink(encodePath(path), false, () => {}), roundsMax)
  }

  /** What a NameNode tells about itself beside WebHDFS. Throws UnavailableError where it does not. */
  async bean(name: string): Promise<unknown> {
    const doing = `ask for ${name}`
    const outcome = await this.#untilAnswered(doing, this.#limits.roundsMax, async ({ url }) => {
      const { status, body } = await this.#send(new URL(`/jmx?qry=${encodeURIComponent(name)}`, url), 'GET')
      return { status, body, reading: firstBean }
    })
    return valueOf(outcome, doing).bean
  }

  /** Whether this is the `host:port` of a NameNode. */
  isOneOf(host: string): boolean {
    return this.#nodes.some(({ url }) => authorityOf(url) === host)
  }

  [Symbol.dispose](): void {
    this.#agent.destroy()
  }

  async #send(url: URL, method: string): Promise<Answer> {
    const reply = await exchange(url, method, this.#agent, this.#limits)
    const text = await textOf(url, reply.body, answerBytesMax, this.#limits.answerTimeoutMs)
    return { status: reply.status, location: reply.headers.location, body: text === '' ? null : (parseJson(text) ?? text) }
  }

  async #throughPackage(doing: string, start: (client: WebHdfsClient) => PendingRequest, roundsMax: number): Promise<Outcome<boolean>> {
    return this.#untilAnswered(doing, roundsMax, async ({ url, packaged }) => ({ ...(await completed(url, start(packaged), this.#limits.answerTimeoutMs)), reading: booleanOf }))
  }

  async #untilAnswered<T>(
    doing: string,
    roundsMax: number,
    attempt: (node: NameNode) => Promise<{ readonly status: number; readonly body: unknown; readonly reading: Reading<T> }>,
  ): Promise<Outcome<T>> {
    let failure: TidemarkError = new UnavailableError(`Cannot ${doing}: no NameNode was asked`)
    for (let round = 0; round < roundsMax; round++) {
      if (round > 0) await backOff(round - 1, this.#limits)
      for (let asked = 0; asked < this.#nodes.length; asked++) {
        const index = this.#active
        const node = this.#nodes[index]!
        try {
          const { status, body, reading } = await attempt(node)
          const value = status >= 200 && status < 300 ? reading(body) : undefined
          if (value !== undefined) return { value }
          const refusal = refusalOf(status, body)
          if (!isPassing(refusal)) return { refusal, host: node.url.host }
          failure = translateRefusal(doing, node.url.host, refusal)
          // Only an active NameNode says this: no other would serve.
          if (isException(refusal, 'SafeModeException')) break
        } catch (thrown) {
          failure = networkFailure(node.url, thrown)
        }
        // Of several askers the first moves on.
        if (this.#active === index) this.#active = (index + 1) % this.#nodes.length
      }
    }
    throw failure
  }
}

/** The value of an outcome; a refusal as the error that it means. */
export function valueOf<T>(outcome: Outcome<T>, doing: string): T {
  if ('value' in outcome) return outcome.value
  throw translateRefusal(doing, outcome.host, outcome.refusal)
}

/** The package and the server decode differently: a path without a character that either touches is the same to both. */
export function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}

function questionUrl(base: URL, { op, path, params }: Question, user: string | null): URL {
  const url = new URL(prefix + encodePath(path === '' ? '/' : path), base)
  url.searchParams.set('op', op)
  if (user !== null) url.searchParams.set('user.name', user)
  for (const [name, value] of Object.entries(params ?? {})) url.searchParams.set(name, value)
  return url
}

/**
 * The package's client of one NameNode. Its callbacks report failures as successes and its parser throws, outside every `try`, on an answer that it does
 * not expect: so its callbacks are ignored, its parser is put out of use, and the answer is read from the request that it returns.
 */
function openPackage(url: URL, user: string | null, agent: Agent, limits: HdfsLimits): WebHdfsClient {
  const client = webhdfs.createClient(
    { protocol: 'http', host: url.hostname, port: url.port === '' ? '80' : url.port, path: prefix, ...(user === null ? {} : { user }) },
    { agent, proxy: null, followRedirect: false, timeout: limits.connectTimeoutMs },
  )
  client._parseError = () => new Error('The answer is read elsewhere.')
  return client
}

function completed(url: URL, request: PendingRequest, timeoutMs: number): Promise<{ status: number; body: unknown }> {
  return new Promise((resolve, reject) => {
    const deadline = setTimeout(() => {
      request.abort()
      reject(timedOut(url, 'answer', timeoutMs))
    }, timeoutMs)
    request.on('complete', (response: { statusCode: number }, body: unknown) => {
      clearTimeout(deadline)
      resolve({ status: response.statusCode, body })
    })
    request.on('error', (error: unknown) => {
      clearTimeout(deadline)
      reject(networkFailure(url, error))
    })
  })
}

function booleanOf(json: unknown): boolean | undefined {
  const value = propertyOf(json, 'boolean')
  return typeof value === 'boolean' ? value : undefined
}

function firstBean(json: unknown): { bean: unknown } | undefined {
  const beans = propertyOf(json, 'beans')
  return Array.isArray(beans) ? { bean: beans[0] as unknown } : undefined
}
