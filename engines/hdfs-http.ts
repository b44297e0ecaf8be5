/** One HTTP exchange with a time-out on each of its steps. Failures of the network are UnavailableError; what an answer means is its reader's affair. */
import { request as requestHttp } from 'node:http'
import type { Agent, ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { request as requestHttps } from 'node:https'
import { TidemarkError, UnavailableError, messageOf } from '#core/errors.ts'

export type HdfsLimits = {
  readonly connectTimeoutMs: number
  /** From the request to the whole answer of a NameNode, or to the head of a DataNode's. */
  readonly answerTimeoutMs: number
  /** The longest pause within a body, in either direction. */
  readonly idleTimeoutMs: number
  /** How long a DataNode may take to say `100 Continue` before the body is sent all the same. */
  readonly continueWaitMs: number
  /** How often all NameNodes, or another DataNode, are tried before the caller hears of it. */
  readonly roundsMax: number
  /** The pause after the first round; doubles with each, with jitter. */
  readonly backoffMs: number
  readonly backoffMaxMs: number
}

export const defaultLimits: HdfsLimits = {
  connectTimeoutMs: 5_000,
  answerTimeoutMs: 30_000,
  idleTimeoutMs: 30_000,
  continueWaitMs: 3_000,
  roundsMax: 5,
  backoffMs: 200,
  backoffMaxMs: 5_000,
}

/** `host:port`, the port also where the protocol's own goes without saying. */
export function authorityOf(url: URL): string {
  return url.port === '' ? `${url.host}:${url.protocol === 'https:' ? '443' : '80'}` : url.host
}

export type HttpReply = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: IncomingMessage }

const fixes: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there: start it, or correct the address',
  ENOTFOUND: 'this machine does not know that name: for a DataNode set dfs.datanode.hostname to one that it knows',
  EAI_AGAIN: 'the name service does not answer',
  EHOSTUNREACH: 'there is no way to that host',
  ENETUNREACH: 'there is no way to that network',
  ECONNRESET: 'the connection was cut',
  EPIPE: 'the connection was cut',
}

/** The network's failure, with who did not answer and what to look at. */
export function networkFailure(who: URL, thrown: unknown): TidemarkError {
  if (thrown instanceof TidemarkError) return thrown
  const code = thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined
  const fix = (code === undefined ? undefined : fixes[code]) ?? messageOf(thrown)
  return new UnavailableError(`HDFS at ${who.host} cannot be reached: ${fix}${code === undefined ? '' : ` (${code})`}`, { host: who.host, code }, thrown)
}

export function timedOut(who: URL, what: string, timeoutMs: number): UnavailableError {
  return new UnavailableError(`HDFS at ${who.host} did not ${what} within ${timeoutMs} ms: see whether it hangs`, { host: who.host, timeoutMs })
}

/** A request whose connection has its time-out; the caller sets the others. */
export function startRequest(url: URL, method: string, headers: Record<string, string>, agent: Agent | false, limits: HdfsLimits): ClientRequest {
  const start = url.protocol === 'https:' ? requestHttps : requestHttp
  // An agent that keeps connections serves NameNodes; a DataNode closes after each answer.
  const request = start(url, { method, headers, ...(agent === false ? { agent: false } : { agent }) })
  request.on('socket', (socket) => {
    if (!socket.connecting) return
    const connecting = setTimeout(() => request.destroy(timedOut(url, 'take the connection', limits.connectTimeoutMs)), limits.connectTimeoutMs)
    for (const event of ['connect', 'close']) socket.once(event, () => clearTimeout(connecting))
  })
  return request
}

/** A request without a body, up to the head of its answer. */
export function exchange(url: URL, method: string, agent: Agent | false, limits: HdfsLimits): Promise<HttpReply> {
  return new Promise((resolve, reject) => {
    const request = startRequest(url, method, {}, agent, limits)
    const answering = setTimeout(() => request.destroy(timedOut(url, 'answer', limits.answerTimeoutMs)), limits.answerTimeoutMs)
    request.on('response', (response) => {
      clearTimeout(answering)
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: response })
    })
    request.on('error', (error) => {
      clearTimeout(answering)
      reject(networkFailure(url, error))
    })
    request.end()
  })
}

/** The chunks of a body; a pause longer than `idleTimeoutMs` or an end before the announced one is an error. */
export async function* chunksOf(url: URL, body: IncomingMessage, idleTimeoutMs: number): AsyncGenerator<Buffer> {
  const giveUp = (): void => void body.destroy(timedOut(url, 'go on with its answer', idleTimeoutMs))
  let idle = setTimeout(giveUp, idleTimeoutMs)
  try {
    for await (const chunk of body) {
      clearTimeout(idle)
      yield chunk as Buffer
      idle = setTimeout(giveUp, idleTimeoutMs)
    }
  } catch (error) {
    throw networkFailure(url, error)
  } finally {
    clearTimeout(idle)
    body.destroy()
  }
}

/** A body of at most `bytesMax` as text; a longer one is an error, or cut where `cut` says so. */
export async function textOf(url: URL, body: IncomingMessage, bytesMax: number, totalTimeoutMs: number, cut = false): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  // Bounds the whole: a byte a second would never be idle.
  const total = setTimeout(() => body.destroy(timedOut(url, 'finish its answer', totalTimeoutMs)), totalTimeoutMs)
  try {
    for await (const chunk of chunksOf(url, body, totalTimeoutMs)) {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes <= bytesMax) continue
      if (cut) break
      throw new UnavailableError(`HDFS at ${url.host} answers with more than ${bytesMax} bytes where a few are expected: see what answers there`, { host: url.host })
    }
  } finally {
    clearTimeout(total)
  }
  return Buffer.concat(chunks).subarray(0, bytesMax).toString()
}

/** Waits before the next try: doubling, between half and all of it, so that clients of a server that comes back do not come at once. */
export async function backOff(round: number, limits: HdfsLimits): Promise<void> {
  const waitMs = Math.min(limits.backoffMaxMs, limits.backoffMs * 2 ** round) * (0.5 + Math.random() / 2)
  await new Promise((resolve) => setTimeout(resolve, waitMs))
}
