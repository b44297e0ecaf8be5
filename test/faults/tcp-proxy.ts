/**
 * A proxy before PostgreSQL that can lose a commit's answer: the COMMIT reaches the server, the server's reply does not come back, and the connection is
 * reset. Or the COMMIT itself is lost.
 */
import { createServer, connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

export type CommitLoss = 'reply' | 'request'

export class CommitProxy implements AsyncDisposable {
  readonly #server
  readonly #url: URL
  readonly #sockets = new Set<Socket>()
  #armed: CommitLoss | null = null
  losses = 0

  private constructor(url: string) {
    this.#url = new URL(url)
    this.#server = createServer((client) => this.#accept(client))
  }

  static async open(url: string): Promise<CommitProxy> {
    const proxy = new CommitProxy(url)
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve))
    return proxy
  }

  /** The database's address by way of the proxy. */
  get url(): string {
    const url = new URL(this.#url)
    url.hostname = '127.0.0.1'
    url.port = String((this.#server.address() as AddressInfo).port)
    return url.href
  }

  /** Loses the next COMMIT that passes. */
  loseNext(what: CommitLoss): void {
    this.#armed = what
  }

  #accept(client: Socket): void {
    const server = connect(Number(this.#url.port), this.#url.hostname)
    for (const socket of [client, server]) {
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        this.#sockets.delete(socket)
        client.destroy()
        server.destroy()
      })
    }
    let losing = false
    client.on('data', (bytes) => {
      // A simple query: 'Q', length, text, NUL.
      if (this.#armed !== null && bytes.includes('COMMIT\0')) {
        const what = this.#armed
        this.#armed = null
        this.losses++
        losing = true
        if (what === 'request') {
          client.resetAndDestroy()
          return
        }
      }
      server.write(bytes)
    })
    server.on('data', (bytes) => {
      // The server answers once the transaction is committed.
      if (losing) client.resetAndDestroy()
      else client.write(bytes)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}
