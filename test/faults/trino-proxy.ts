/** Stands before a real Trino: may refuse a request, change a statement on its way in, or a page on its way out. */
import { createServer, request as httpRequest } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

export type Page = { readonly id: string; readonly nextUri?: string; readonly data?: readonly unknown[][]; readonly [member: string]: unknown }

export type TrinoFaults = {
  /** A status to answer with instead, or null. */
  refuse?: (method: string, requests: number) => number | null
  /** The statement as Trino gets it. */
  rewrite?: (sql: string) => string
  /** The answer as the client gets it. */
  turn?: (page: Page, sql: string) => Page
}

export class TrinoProxy implements AsyncDisposable {
  readonly #target: URL
  readonly #server = createServer((request, response) => void this.#pass(request, response))
  readonly #statements = new Map<string, string>()
  faults: TrinoFaults = {}
  requests = 0
  refused = 0

  private constructor(target: string) {
    this.#target = new URL(target)
  }

  static async open(target: string): Promise<TrinoProxy> {
    const proxy = new TrinoProxy(target)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const sql = await text(request)
    this.requests++
    const status = this.faults.refuse?.(request.method!, this.requests) ?? null
    if (status !== null) {
      this.refused++
      response.writeHead(status).end()
      return
    }
    try {
      const { code, body } = await this.#ask(request, this.faults.rewrite?.(sql) ?? sql)
      response.writeHead(code, { 'Content-Type': 'application/json' }).end(this.#turned(body, sql))
    } catch {
      response.destroy()
    }
  }

  async #ask(request: IncomingMessage, body: string): Promise<{ code: number; body: string }> {
    const { 'content-length': _length, 'accept-encoding': _encoding, ...headers } = request.headers
    // With the client's own Host, so that Trino names this proxy in its addresses.
    const asked = httpRequest({ host: this.#target.hostname, port: this.#target.port, method: request.method, path: request.url, headers, agent: false })
    asked.end(body)
    const [answer] = (await once(asked, 'response')) as [IncomingMessage]
    return { code: answer.statusCode!, body: await text(answer) }
  }

  #turned(body: string, posted: string): string {
    if (this.faults.turn === undefined || !body.startsWith('{')) return body
    const page = JSON.parse(body) as Page
    if (posted !== '') this.#statements.set(page.id, posted)
    const turned = this.faults.turn(page, this.#statements.get(page.id) ?? '')
    return turned === page ? body : JSON.stringify(turned)
  }
}
