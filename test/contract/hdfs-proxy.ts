/** A proxy before a NameNode that can be taken away (its port refuses connections, those it had are cut), or that loses the answer to one request. */
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

type Loss = { request: string | null; count: number }

export class HdfsProxy implements AsyncDisposable {
  readonly address: string
  readonly #server
  readonly #sockets: Set<Socket>
  readonly #loss: Loss

  private constructor(server: ReturnType<typeof createServer>, sockets: Set<Socket>, loss: Loss) {
    this.#server = server
    this.#sockets = sockets
    this.#loss = loss
    this.address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  static async open(target: string): Promise<HdfsProxy> {
    const { hostname, port } = new URL(`http://${target}`)
    const sockets = new Set<Socket>()
    const loss: Loss = { request: null, count: 0 }
    const server = createServer((client) => {
      const upstream = connect(Number(port), hostname)
      for (const [socket, other] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        sockets.add(socket)
        socket.on('error', () => undefined)
        socket.on('close', () => {
          sockets.delete(socket)
          other.destroy()
        })
      }
      let losing = false
      client.on('data', (bytes) => {
        if (loss.request !== null && bytes.includes(loss.request)) {
          losing = true
          loss.request = null
        }
        upstream.write(bytes)
      })
      upstream.on('data', (bytes) => {
        if (!losing) return void client.write(bytes)
        // It has done what was asked; nobody hears of it.
        loss.count++
        client.resetAndDestroy()
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new HdfsProxy(server, sockets, loss)
  }

  /** Loses the answer to the next request whose first line holds this. */
  loseAnswerTo(request: string): void {
    this.#loss.request = request
  }

  /** Answers lost so far. */
  get losses(): number {
    return this.#loss.count
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    if (this.#server.listening) await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
