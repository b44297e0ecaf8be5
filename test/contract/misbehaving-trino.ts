/** An HTTP server that speaks Trino's protocol and, where a test says so, breaks it. It knows no SQL: a test scripts the pages of its SELECT. */
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { text } from 'node:stream/consumers'

/** A page as the server would send it, without ids and addresses; text is sent as it is. */
export type Page = Readonly<Record<string, unknown>> | string

export type Asked = {
  readonly method: string
  /** 0 is the answer to the POST; a DELETE has the number of the page it names. */
  readonly page: number
  readonly sql: string
  /** How often this page was asked for before. */
  readonly times: number
  readonly headers: IncomingMessage['headers']
}

/** Answers by itself and returns true, or leaves it to the server. */
export type Fault = (asked: Asked, response: ServerResponse, request: IncomingMessage) => boolean

export const column = (name: string, type: string): Readonly<Record<string, unknown>> => ({ name, type, typeSignature: { rawType: type, arguments: [] } })

export class MisbehavingTrino implements AsyncDisposable {
  readonly #server = createServer((request, response) => void this.#answer(request, response))
  readonly #sockets = new Set<Socket>()
  readonly #times = new Map<string, number>()
  readonly #statements: string[] = []
  /** Of each statement that begins with SELECT and is no check of the adapter's own. */
  pages: readonly Page[] = []
  fault: Fault = () => false
  readonly asked: Asked[] = []

  static async open(): Promise<MisbehavingTrino> {
    const trino = new MisbehavingTrino()
    trino.#server.on('connection', (socket) => {
      trino.#sockets.add(socket)
      socket.on('close', () => trino.#sockets.delete(socket))
    })
    trino.#server.listen(0, '127.0.0.1')
    await once(trino.#server, 'listening')
    return trino
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get url(): string {
    return `trino://tidemark@${this.host}/hive`
  }

  /** What was asked about the scripted statement. */
  askedOf(method: string): readonly Asked[] {
    return this.asked.filter((asked) => asked.method === method && isScripted(asked.sql))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request)
    const [, query, page] = /^\/v1\/page\/(\d+)\/(\d+)$/.exec(request.url ?? '') ?? []
    const isNew = request.method === 'POST'
    const number = isNew ? this.#statements.length : Number(query)
    const sql = isNew ? body : this.#statements[number]!
    const key = `${request.method} ${isNew ? sql : `${number}/${page}`}`
    const times = this.#times.get(key) ?? 0
    this.#times.set(key, times + 1)
    const asked: Asked = { method: request.method!, page: isNew ? 0 : Number(page), sql, times, headers: request.headers }
    this.asked.push(asked)
    if (this.fault(asked, response, request)) return
    if (request.method === 'DELETE') {
      response.writeHead(204).end()
      return
    }
    if (isNew) this.#statements.push(sql)
    const script = isScripted(sql) ? this.pages : [{ stats: { state: 'FINISHED' }, columns: [column('x', 'bigint')], data: [] }]
    const sent = script[asked.page]
    if (typeof sent === 'string') {
      response.writeHead(200, { 'Content-Type': 'text/html' }).end(sent)
      return
    }
    const isLast = asked.page === script.length - 1 || (sent !== undefined && 'error' in sent)
    const next = isLast ? {} : { nextUri: `http://${this.host}/v1/page/${number}/${asked.page + 1}` }
    const whole = { id: `query_${number}`, infoUri: '', stats: { state: isLast ? 'FINISHED' : 'RUNNING' }, ...next, ...sent }
    response.writeHead(200, { 'Content-Type': 'application/json' }).end(textOf(whole))
  }
}

/** JSON, in which a bigint stands with all its digits. */
export function textOf(value: unknown): string {
  return JSON.stringify(value, (_key, one: unknown) => (typeof one === 'bigint' ? `#${one}#` : one)).replaceAll(/"#(-?\d+)#"/g, '$1')
}

function isScripted(sql: string): boolean {
  return sql.startsWith('SELECT') && !sql.includes('tidemark_')
}
