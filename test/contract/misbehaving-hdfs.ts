/**
 * A small WebHDFS in memory, on real sockets, that a test makes misbehave: one server speaks as the NameNode, two as DataNodes. A test's `fault` sees each
 * request first and may answer it, hold it, cut it, or let the server do it and lose the answer.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

export type HdfsRequest = {
  /** 0 is the NameNode, 1 and 2 are DataNodes. */
  readonly server: number
  readonly op: string
  readonly path: string
  readonly query: URLSearchParams
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** How many of this operation this server has seen, this one included. */
  readonly count: number
  /** Does what was asked; the answer goes to `response` unless it is to be lost. */
  readonly perform: () => Promise<Reply>
}

export type Reply = { readonly status: number; readonly body: unknown }

/** True where it has dealt with the request. */
export type HdfsFault = (asked: HdfsRequest) => boolean | Promise<boolean>

type StoredFile = { bytes: Buffer; id: number; isOpen: boolean; permission: string }

const modificationTime = 1_700_000_000_000

export class MisbehavingHdfs implements AsyncDisposable {
  fault: HdfsFault = () => false
  readonly files = new Map<string, StoredFile>()
  readonly folders = new Map<string, string>([['/', '755']])
  /** Every request as `server op path`, in order. */
  readonly seen: string[] = []
  /** What a NameNode reports as alive; DataNodes 1 and 2 unless a test says otherwise. */
  reported: readonly number[] = [1, 2]
  /** Entries of one page of a listing. */
  pageEntries = 3
  readonly #servers: readonly ReturnType<typeof createServer>[]
  readonly #sockets = new Set<Socket>()
  readonly #counts = new Map<string, number>()
  readonly #gone = new Map<number, string>()
  #nextId = 1000

  private constructor() {
    this.#servers = [0, 1, 2].map((server) => {
      const take = (request: IncomingMessage, response: ServerResponse): void => void this.#take(server, request, response)
      const http = createServer({ keepAliveTimeout: 60_000 }, take)
      http.on('checkContinue', take)
      http.on('connection', (socket) => {
        this.#sockets.add(socket)
        socket.on('error', () => undefined)
        socket.on('close', () => this.#sockets.delete(socket))
      })
      return http
    })
  }

  static async open(): Promise<MisbehavingHdfs> {
    const hdfs = new MisbehavingHdfs()
    for (const server of hdfs.#servers) {
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
    }
    return hdfs
  }

  address(server: number): string {
    return this.#gone.get(server) ?? `127.0.0.1:${(this.#servers[server]!.address() as AddressInfo).port}`
  }

  url(nameNodes: readonly string[] = [this.address(0)]): string {
    return `webhdfs://${nameNodes.join(',')}/lake?user=tidemark`
  }

  seenOf(op: string): number {
    return this.seen.filter((line) => line.split(' ')[1] === op).length
  }

  /** From now on refuses connections, and keeps its address. */
  async stop(server: number): Promise<void> {
    this.#gone.set(server, this.address(server))
    const closed = once(this.#servers[server]!, 'close')
    this.#servers[server]!.close()
    this.#servers[server]!.closeAllConnections()
    await closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    for (const server of this.#servers) if (server.listening) await new Promise<void>((resolve) => server.close(() => resolve()))
  }

  async #take(server: number, request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on('error', () => undefined)
    response.on('error', () => undefined)
    const url = new URL(request.url ?? '', 'http://hdfs')
    const op = url.pathname === '/jmx' ? 'JMX' : (url.searchParams.get('op') ?? '').toUpperCase()
    const path = decodeURIComponent(url.pathname.replace('/webhdfs/v1', ''))
    const key = `${server} ${op}`
    const count = (this.#counts.get(key) ?? 0) + 1
    this.#counts.set(key, count)
    this.seen.push(`${key} ${path}`)
    const perform = (): Promise<Reply> => (server === 0 ? Promise.resolve(this.#nameNode(op, path, url.searchParams)) : this.#dataNode(op, path, url.searchParams, request, response))
    if (await this.fault({ server, op, path, query: url.searchParams, request, response, count, perform })) return
    const { status, body } = await perform()
    answer(response, status, body)
  }

  #nameNode(op: string, path: string, query: URLSearchParams): Reply {
    const file = this.files.get(path)
    switch (op) {
      case 'JMX': {
        const nodes = this.reported.map((server) => [this.address(server), { infoAddr: this.address(server), infoSecureAddr: '127.0.0.1:0', xferaddr: this.address(server) }])
        return ok({ beans: [{ LiveNodes: JSON.stringify(Object.fromEntries(nodes)) }] })
      }
      case 'GETFILESTATUS':
        if (file === undefined && !this.folders.has(path)) return notFound(path)
        return ok({ FileStatus: this.#status(path, '') })
      case 'GET_BLOCK_LOCATIONS':
        if (file === undefined) return notFound(path)
        return ok({ LocatedBlocks: { fileLength: file.bytes.length, isUnderConstruction: file.isOpen, locatedBlocks: [] } })
      case 'MKDIRS':
        for (let at = path; !this.folders.has(at); at = parentOf(at)) this.folders.set(at, query.get('permission') ?? '')
        return ok({ boolean: true })
      case 'DELETE':
        return ok({ boolean: this.files.delete(path) })
      case 'RENAME': {
        const target = query.get('destination') ?? ''
        if (file === undefined) return notFound(path)
        if (this.files.has(target) || this.folders.has(target)) return exception(403, 'FileAlreadyExistsException', `rename destination ${target} already exists`)
        this.files.delete(path)
        this.files.set(target, file)
        return { status: 200, body: '' }
      }
      case 'LISTSTATUS_BATCH': {
        if (!this.folders.has(path)) return notFound(path)
        const prefix = path === '/' ? '/' : `${path}/`
        const names = [...this.files.keys(), ...this.folders.keys()].flatMap((one) => (one.startsWith(prefix) && one !== path && !one.slice(prefix.length).includes('/') ? [one.slice(prefix.length)] : []))
        const left = names.sort().filter((name) => name > (query.get('startafter') ?? ''))
        const page = left.slice(0, this.pageEntries).map((name) => this.#status(prefix + name, name))
        return ok({ DirectoryListing: { partialListing: { FileStatuses: { FileStatus: page } }, remainingEntries: left.length - page.length } })
      }
      case 'CREATE':
      case 'OPEN':
      case 'GETFILECHECKSUM': {
        if (op !== 'CREATE' && file === undefined) return notFound(path)
        const excluded = new Set((query.get('excludedatanodes') ?? '').split(','))
        const chosen = this.reported.find((server) => !excluded.has(this.address(server)))
        if (chosen === undefined) return exception(403, 'IOException', `Failed to find datanode, suggest to check cluster health. excludeDatanodes=${query.get('excludedatanodes')}`)
        query.delete('noredirect')
        return ok({ Location: `http://${this.address(chosen)}/webhdfs/v1${path}?${query.toString()}` })
      }
      default:
        return exception(400, 'IllegalArgumentException', `Invalid value for webhdfs parameter "op": ${op}`)
    }
  }

  async #dataNode(op: string, path: string, query: URLSearchParams, request: IncomingMessage, response: ServerResponse): Promise<Reply> {
    const file = this.files.get(path)
    if (op === 'CREATE') {
      if (file !== undefined) return exception(403, 'FileAlreadyExistsException', `${path} already exists`)
      const stored: StoredFile = { bytes: Buffer.alloc(0), id: this.#nextId++, isOpen: true, permission: query.get('permission') ?? '' }
      this.files.set(path, stored)
      response.writeContinue()
      stored.bytes = await bodyOf(request)
      stored.isOpen = false
      return { status: 201, body: '' }
    }
    if (file === undefined) return notFound(path)
    if (op === 'OPEN') {
      const offset = Number(query.get('offset') ?? 0)
      return { status: 200, body: file.bytes.subarray(offset, offset + Number(query.get('length') ?? file.bytes.length)) }
    }
    // A cluster with other checksums, which are left uncompared.
    return ok({ FileChecksum: { algorithm: 'COMPOSITE-CRC32C', bytes: '00', length: 1 } })
  }

  #status(path: string, pathSuffix: string): Record<string, unknown> {
    const file = this.files.get(path)
    if (file === undefined) return { pathSuffix, type: 'DIRECTORY', length: 0, modificationTime, fileId: 1 }
    return { pathSuffix, type: 'FILE', length: file.isOpen ? 0 : file.bytes.length, modificationTime, fileId: file.id }
  }
}

/** Sends bytes as they are, text as it is, anything else as JSON. */
export function answer(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): true {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  response.writeHead(status, { 'content-length': String(bytes.length), ...headers })
  response.end(bytes)
  return true
}

export function ok(body: unknown): Reply {
  return { status: 200, body }
}

export function exception(status: number, name: string, message: string): Reply {
  return { status, body: { RemoteException: { exception: name, javaClassName: `org.apache.hadoop.${name}`, message } } }
}

function notFound(path: string): Reply {
  return exception(404, 'FileNotFoundException', `File does not exist: ${path}`)
}

export async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf('/')))
}
