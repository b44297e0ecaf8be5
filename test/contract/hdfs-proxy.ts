/** A proxy before a NameNode that can be taken away: then its port refuses connections and those it had are cut. */
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

export class HdfsProxy implements AsyncDisposable {
  readonly address: string
  readonly #server
  readonly #sockets: Set<Socket>

  private constructor(server: ReturnType<typeof createServer>, sockets: Set<Socket>) {
    this.#server = server
    this.#sockets = sockets
    this.address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  static async open(target: string): Promise<HdfsProxy> {
    const { hostname, port } = new URL(`http://${target}`)
    const sockets = new Set<Socket>()
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
        socket.pipe(other)
      }
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new HdfsProxy(server, sockets)
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    if (this.#server.listening) await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
