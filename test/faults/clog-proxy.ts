/**
 * A TCP proxy that clogs: connections stand, nothing passes in either direction, and whatever was sent meanwhile arrives when it is unclogged, however late.
 * So a statement that its sender gave up long ago may still be done. It may also refuse: connections are reset, and new ones too.
 */
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

/** Bytes as they pass, which keep their length; `ownPort` is the proxy's. */
export type Turn = (bytes: Buffer, ownPort: number) => Buffer

export class ClogProxy implements AsyncDisposable {
  readonly #host: string
  readonly #port: number
  readonly #turn: Turn
  readonly #server
  readonly #sockets = new Set<Socket>()
  #state: 'open' | 'clogged' | 'refusing' = 'open'
  #clogsBefore: string | null = null
  /** Connections taken so far, refused ones included: who retries hot is seen here. */
  connections = 0

  private constructor(target: string, turn: Turn) {
    const { hostname, port } = new URL(`tcp://${target}`)
    this.#host = hostname
    this.#port = Number(port)
    this.#turn = turn
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client))
  }

  /** `target` is `host:port`; `turn` changes what the server says. */
  static async open(target: string, turn: Turn = (bytes) => bytes): Promise<ClogProxy> {
    const proxy = new ClogProxy(target, turn)
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve))
    return proxy
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  clog(): void {
    this.#state = 'clogged'
    for (const socket of this.#sockets) socket.pause()
  }

  /** Clogs when a client next sends this text, which does not pass then. */
  clogBefore(text: string): void {
    this.#clogsBefore = text
  }

  unclog(): void {
    this.#state = 'open'
    for (const socket of this.#sockets) socket.resume()
  }

  /** Until `unclog`. */
  refuse(): void {
    this.#state = 'refusing'
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  #accept(client: Socket): void {
    this.connections++
    if (this.#state === 'refusing') {
      client.on('error', () => undefined)
      client.resetAndDestroy()
      return
    }
    const server = connect({ host: this.#host, port: this.#port, allowHalfOpen: true })
    this.#carry(client, server, (bytes) => (this.#isLast(bytes) ? null : bytes))
    this.#carry(server, client, (bytes) => this.#turn(bytes, this.port))
  }

  #isLast(bytes: Buffer): boolean {
    if (this.#clogsBefore === null || !bytes.includes(this.#clogsBefore)) return false
    this.#clogsBefore = null
    this.clog()
    return true
  }

  /** What `turn` gives no bytes for is kept for later. */
  #carry(from: Socket, to: Socket, turn: (bytes: Buffer) => Buffer | null): void {
    this.#sockets.add(from)
    from.setNoDelay(true)
    from.on('data', (bytes) => {
      const turned = turn(bytes)
      if (turned === null) from.unshift(bytes)
      else if (!to.write(turned)) from.pause()
    })
    to.on('drain', () => {
      if (this.#state === 'open') from.resume()
    })
    from.on('end', () => to.end())
    from.on('error', () => to.resetAndDestroy())
    from.on('close', () => {
      this.#sockets.delete(from)
      to.end()
    })
    if (this.#state === 'clogged') from.pause()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}

/** For a proxy before PostgreSQL: the database's URL by way of it. */
export function urlVia(url: string, proxy: ClogProxy): string {
  const via = new URL(url)
  via.host = proxy.address
  return via.href
}

export function addressOf(url: string): string {
  const { hostname, port } = new URL(url)
  return `${hostname}:${port}`
}

/** Brokers name themselves in their answers: each mention of the real port becomes the proxy's. It stands as four bytes behind the host's name. */
export function renamesBroker(target: string): Turn {
  const host = target.split(':')[0]!
  const port = Number(target.split(':')[1])
  const name = Buffer.concat([Buffer.from(host), Buffer.from([0, 0, port >> 8, port & 0xff])])
  return (bytes, ownPort) => {
    for (let at = bytes.indexOf(name); at !== -1; at = bytes.indexOf(name, at + 1)) bytes.writeInt32BE(ownPort, at + name.length - 4)
    return bytes
  }
}

/** A NameNode sends its clients to a DataNode by name: to `substitute` instead. Both are `host:port` of the same length, as Content-Length counts them. */
export function renamesDataNode(dataNode: string, substitute: string): Turn {
  if (dataNode.length !== substitute.length) throw new Error(`${substitute} is not as long as ${dataNode}, and answers are not counted again`)
  return (bytes) => (bytes.includes(dataNode) ? Buffer.from(bytes.toString('latin1').replaceAll(dataNode, substitute), 'latin1') : bytes)
}
