/**
 * Bytes to and from the DataNodes. A NameNode answers CREATE, OPEN and GETFILECHECKSUM with the URL of a DataNode. Whoever speaks for the NameNode could
 * make this process call anything inside its network, so the URL must be one of the DataNodes that the NameNode reports, or that the lake's URL names.
 */
import type { ClientRequest, IncomingMessage } from 'node:http'
import { ConfigError, UnavailableError } from '#core/errors.ts'
import type { TidemarkError } from '#core/errors.ts'
import type { FileChecksum } from './hdfs-checksum.ts'
import { parseJson, propertyOf, refusalOf, translateRefusal } from './hdfs-errors.ts'
import type { HdfsLimits } from './hdfs-http.ts'
import { authorityOf, chunksOf, exchange, networkFailure, startRequest, textOf, timedOut } from './hdfs-http.ts'
import type { NameNodes, Outcome } from './hdfs-name-nodes.ts'

/** Where the bytes of one operation go or come from. */
export type Located = { readonly url: URL } | { readonly direct: unknown }

/** Of a file as WebHDFS writes it; percent codes are compared as URLs write them. */
function pathnameOf(path: string): string {
  return new URL(`http://host/webhdfs/v1${path}`).pathname
}

/** A question whose answer is a DataNode. */
export type Location = { readonly method: 'GET' | 'PUT'; readonly op: string; readonly path: string; readonly params: Readonly<Record<string, string>>; readonly doing: string }

const errorBytesMax = 64 * 1024
const answerBytesMax = 1024 * 1024
const liveNodesBean = 'Hadoop:service=NameNode,name=NameNodeInfo'

export class DataNodes {
  readonly #nameNodes: NameNodes
  readonly #named: ReadonlySet<string>
  readonly #limits: HdfsLimits
  /** `host:port` of its web server → `host:port` of its data transfer, by which a NameNode is told to leave it out. */
  #reported: ReadonlyMap<string, string> = new Map()

  constructor(nameNodes: NameNodes, named: ReadonlySet<string>, limits: HdfsLimits) {
    this.#nameNodes = nameNodes
    this.#named = named
    this.#limits = limits
  }

  /** Asks a NameNode for a DataNode, leaving out those whose web servers are `excluded`. */
  async locate({ method, op, path, params, doing }: Location, excluded: ReadonlySet<string>): Promise<Outcome<Located>> {
    const left = [...excluded].flatMap((host) => this.#reported.get(host) ?? [])
    const outcome = await this.#nameNodes.ask<{ location: string } | { direct: unknown }>(
      { method, op, path, params: { ...params, noredirect: 'true', ...(left.length === 0 ? {} : { excludedatanodes: left.join(',') }) }, doing },
      (json) => {
        const location = propertyOf(json, 'Location')
        if (typeof location === 'string') return { location }
        return typeof json === 'object' && json !== null && propertyOf(json, 'RemoteException') === undefined ? { direct: json } : undefined
      },
    )
    if ('refusal' in outcome) return outcome
    return { value: 'direct' in outcome.value ? outcome.value : { url: await this.#check(outcome.value.location, op, path) } }
  }

  /** Throws ConfigError where the target is foreign. */
  async #check(location: string, op: string, path: string): Promise<URL> {
    const url = URL.canParse(location) ? new URL(location) : null
    const asked = [...(url?.searchParams ?? [])].find(([name]) => name.toLowerCase() === 'op')?.[1]
    if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '' || asked?.toUpperCase() !== op || url.pathname !== pathnameOf(path)) {
      throw new ConfigError(`HDFS redirects ${op} to "${location.slice(0, 200)}", which is no DataNode's address of what was asked for: see what answers in the NameNode's place`, { location })
    }
    const host = authorityOf(url)
    if (this.#isKnown(url.hostname, host)) return url
    await this.#learn(host)
    if (this.#isKnown(url.hostname, host)) return url
    throw new ConfigError(
      `HDFS redirects ${op} to ${host}, which is none of the DataNodes that it reports: nothing was sent there. If it is right, name it in the lake’s URL (?datanodes=${host})`,
      { host },
    )
  }

  #isKnown(hostname: string, host: string): boolean {
    return this.#named.has(host) || this.#named.has(hostname) || this.#reported.has(host) || this.#nameNodes.isOneOf(host)
  }

  async #learn(host: string): Promise<void> {
    const bean = await this.#nameNodes.bean(liveNodesBean).catch((error: unknown) => {
      if (!(error instanceof UnavailableError)) throw error
      const advice = `HDFS redirects to ${host}, and the NameNode does not tell its DataNodes: try again, or name it in the lake’s URL (?datanodes=${host})`
      throw new UnavailableError(`${advice}. ${error.message}`, { host }, error)
    })
    const text = propertyOf(bean, 'LiveNodes')
    const nodes = typeof text === 'string' ? parseJson(text) : undefined
    if (typeof nodes !== 'object' || nodes === null) return
    const reported = new Map<string, string>()
    for (const [name, node] of Object.entries(nodes)) {
      const transfer = propertyOf(node, 'xferaddr')
      const hostname = name.slice(0, name.lastIndexOf(':')).toLowerCase()
      for (const key of ['infoAddr', 'infoSecureAddr']) {
        const address = propertyOf(node, key)
        if (typeof address !== 'string') continue
        const port = address.slice(address.lastIndexOf(':'))
        // A redirect names the host by which the DataNode registered; its address is another name of the same.
        for (const host of [hostname + port, address]) reported.set(host, typeof transfer === 'string' ? transfer : name)
      }
    }
    this.#reported = reported
  }

  /** Connects for an upload. Nothing of the body is taken before it resolves, so that it may be tried again. */
  async beginUpload(url: URL, doing: string): Promise<Upload> {
    return Upload.begin(url, doing, this.#limits)
  }

  /** Exactly `length` bytes; fewer or more are an error. */
  async download(url: URL, length: number, doing: string): Promise<Uint8Array> {
    const reply = await exchange(url, 'GET', false, this.#limits)
    if (reply.status !== 200) throw await refused(url, reply.status, reply.body, doing, this.#limits)
    const bytes = new Uint8Array(length)
    let filled = 0
    for await (const chunk of chunksOf(url, reply.body, this.#limits.idleTimeoutMs)) {
      if (filled + chunk.length > length) throw new UnavailableError(`Cannot ${doing}: ${url.host} gives more than the ${length} bytes asked for`, { host: url.host, length })
      bytes.set(chunk, filled)
      filled += chunk.length
    }
    if (filled < length) throw new UnavailableError(`Cannot ${doing}: ${url.host} gives ${filled} bytes of the ${length} asked for`, { host: url.host, length, filled })
    return bytes
  }

  /** HDFS's checksum of a file, from a DataNode's answer or the NameNode's own. */
  async checksum(located: Located, doing: string): Promise<FileChecksum> {
    const json = 'direct' in located ? located.direct : await this.#askDataNode(located.url, doing)
    const checksum = propertyOf(json, 'FileChecksum')
    const algorithm = propertyOf(checksum, 'algorithm')
    const bytes = propertyOf(checksum, 'bytes')
    if (typeof algorithm === 'string' && typeof bytes === 'string') return { algorithm, bytes }
    throw new UnavailableError(`Cannot ${doing}: what HDFS answers is no checksum`, {})
  }

  async #askDataNode(url: URL, doing: string): Promise<unknown> {
    const reply = await exchange(url, 'GET', false, this.#limits)
    if (reply.status !== 200) throw await refused(url, reply.status, reply.body, doing, this.#limits)
    return parseJson(await textOf(url, reply.body, answerBytesMax, this.#limits.answerTimeoutMs))
  }
}

/** One PUT to a DataNode, its body sent as fast as the DataNode takes it. */
export class Upload {
  readonly #url: URL
  readonly #doing: string
  readonly #limits: HdfsLimits
  readonly #request: ClientRequest
  /** Resolves to the answer's head, rejects when the connection fails. */
  readonly #answer: Promise<IncomingMessage>
  #isAnswered = false

  private constructor(url: URL, doing: string, limits: HdfsLimits) {
    this.#url = url
    this.#doing = doing
    this.#limits = limits
    // The body's length is not known beforehand. The expectation lets a DataNode refuse before any of it is taken.
    const headers = { expect: '100-continue', 'content-type': 'application/octet-stream', 'transfer-encoding': 'chunked', connection: 'close' }
    this.#request = startRequest(url, 'PUT', headers, false, limits)
    this.#answer = new Promise((resolve, reject) => {
      this.#request.on('response', (response) => {
        this.#isAnswered = true
        resolve(response)
      })
      this.#request.on('error', (error) => reject(networkFailure(url, error)))
      this.#request.on('close', () => reject(networkFailure(url, new Error('the connection ended without an answer'))))
    })
    // It may fail while nobody waits for it; whoever waits next is told.
    this.#answer.catch(() => {})
  }

  /** True once the DataNode has answered: then it does nothing more with the file. */
  get isAnswered(): boolean {
    return this.#isAnswered
  }

  static async begin(url: URL, doing: string, limits: HdfsLimits): Promise<Upload> {
    const upload = new Upload(url, doing, limits)
    const { promise: ready, resolve: go } = Promise.withResolvers<null>()
    let waiting: NodeJS.Timeout | undefined
    upload.#request.on('continue', () => go(null))
    upload.#request.on('socket', (socket) => {
      const connected = (): void => {
        // Servers of HTTP/1.0 never say it.
        waiting = setTimeout(() => go(null), limits.continueWaitMs)
      }
      if (socket.connecting) socket.once('connect', connected)
      else connected()
    })
    upload.#request.flushHeaders()
    try {
      const early = await Promise.race([ready, upload.#answer])
      if (early === null) return upload
      throw await upload.#refusedBy(early)
    } catch (error) {
      upload.abort()
      throw error
    } finally {
      clearTimeout(waiting)
    }
  }

  /** Sends the body; `onChunk` sees each chunk. Resolves once the DataNode says that the file is there, which is to be checked. */
  async send(body: AsyncIterable<Uint8Array>, onChunk: (chunk: Uint8Array) => void): Promise<void> {
    try {
      for await (const chunk of body) {
        if (this.#isAnswered) break
        onChunk(chunk)
        await this.#write(chunk)
      }
      if (this.#isAnswered) throw await this.#refusedBy(await this.#answer)
      this.#request.end()
      const response = await this.#within(this.#answer, 'confirm the file', this.#limits.answerTimeoutMs)
      if (response.statusCode !== 201 && response.statusCode !== 200) throw await this.#refusedBy(response)
      response.resume()
    } catch (error) {
      this.abort()
      throw error
    }
  }

  abort(): void {
    this.#request.destroy()
  }

  async #write(chunk: Uint8Array): Promise<void> {
    if (chunk.byteLength === 0 || this.#request.write(chunk)) return
    const drained = new Promise<void>((resolve) => {
      this.#request.once('drain', resolve)
    })
    await this.#within(Promise.race([drained, this.#answer]), 'take more of the file', this.#limits.idleTimeoutMs)
  }

  async #within<T>(waited: Promise<T>, what: string, timeoutMs: number): Promise<T> {
    const { promise: late, reject } = Promise.withResolvers<never>()
    const deadline = setTimeout(() => reject(timedOut(this.#url, what, timeoutMs)), timeoutMs)
    try {
      return await Promise.race([waited, late])
    } finally {
      clearTimeout(deadline)
    }
  }

  async #refusedBy(response: IncomingMessage): Promise<TidemarkError> {
    const status = response.statusCode ?? 0
    if (status < 300) return new UnavailableError(`Cannot ${this.#doing}: ${this.#url.host} says ${status} before it has the file`, { host: this.#url.host, status })
    return refused(this.#url, status, response, this.#doing, this.#limits)
  }
}

async function refused(url: URL, status: number, body: IncomingMessage, doing: string, limits: HdfsLimits): Promise<TidemarkError> {
  const text = await textOf(url, body, errorBytesMax, limits.answerTimeoutMs, true).catch(() => '')
  return translateRefusal(doing, url.host, refusalOf(status, parseJson(text) ?? text))
}
