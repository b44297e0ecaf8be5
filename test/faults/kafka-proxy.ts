/**
 * A proxy before a Kafka broker that misbehaves when told. Brokers name themselves in their answers; here each mention of the real port becomes the proxy's, so
 * that clients come back through it.
 */
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

/**
 * `pass`; `refuse`: the broker is gone; `hang`: connections stand and nothing comes back; `half-close`: the broker ends its side and says nothing;
 * `reset`: each connection is reset in the middle of an answer; `cut-short`: an answer ends after its half, and its frame says so; `garble`: all is
 * rubbish. Or so many bytes a second; or the first byte of a text is changed wherever it passes.
 */
export type ProxyMode = 'pass' | 'refuse' | 'hang' | 'half-close' | 'reset' | 'cut-short' | 'garble' | { readonly bytesPerSecond: number } | { readonly damages: string }

const tickMs = 20
/** What tells the length of an answer. */
const lengthBytes = 4

/** Whole answers only: of a part nobody knows where it ends. */
function cutShort(answer: Buffer): Buffer {
  if (answer.length < lengthBytes) return answer
  const length = answer.readInt32BE()
  if (lengthBytes + length !== answer.length) return answer
  answer.writeInt32BE(length >> 1)
  return answer.subarray(0, lengthBytes + (length >> 1))
}

export class KafkaProxy implements AsyncDisposable {
  readonly #host: string
  readonly #port: number
  readonly #server
  readonly #sockets = new Set<Socket>()
  #mode: ProxyMode = 'pass'
  /** Connections that were ended by the mode, and answers that it spoilt. */
  faults = 0

  private constructor(address: string) {
    this.#host = address.split(':')[0]!
    this.#port = Number(address.split(':')[1])
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client))
  }

  static async open(address: string): Promise<KafkaProxy> {
    const proxy = new KafkaProxy(address)
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve))
    return proxy
  }

  get url(): string {
    return `kafka://127.0.0.1:${this.#ownPort}`
  }

  get #ownPort(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** `refuse` and `half-close` also end what stands. */
  set mode(mode: ProxyMode) {
    this.#mode = mode
    if (mode === 'refuse') for (const socket of this.#sockets) this.#end(socket)
    if (mode === 'half-close') for (const socket of this.#sockets) socket.end()
  }

  #accept(client: Socket): void {
    if (this.#mode === 'refuse') {
      this.#end(client)
      return
    }
    const server = connect(this.#port, this.#host)
    for (const socket of [client, server]) {
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        this.#sockets.delete(socket)
        client.destroy()
        server.destroy()
      })
    }
    client.on('data', (bytes) => {
      if (this.#mode !== 'hang') server.write(bytes)
    })
    server.on('data', (bytes) => this.#answer(client, server, bytes))
  }

  #answer(client: Socket, server: Socket, bytes: Buffer): void {
    const mode = this.#mode
    if (mode === 'hang' || mode === 'half-close') return
    const named = this.#renamed(bytes)
    if (mode === 'garble' || mode === 'cut-short') {
      const spoilt = mode === 'garble' ? named.fill(0xff) : cutShort(named)
      if (spoilt !== named || mode === 'garble') this.faults++
      client.write(spoilt)
      return
    }
    if (typeof mode === 'object' && 'damages' in mode) {
      for (let at = named.indexOf(mode.damages); at !== -1; at = named.indexOf(mode.damages, at + 1)) named[at]! ^= 0x20
      client.write(named)
      return
    }
    if (mode === 'reset') {
      client.write(named.subarray(0, Math.ceil(named.length / 2)), () => this.#end(client))
    } else if (typeof mode === 'object') {
      server.pause()
      client.write(named, () => setTimeout(() => server.resume(), (named.length / mode.bytesPerSecond) * 1_000 + tickMs))
    } else client.write(named)
  }

  #end(socket: Socket): void {
    this.faults++
    socket.resetAndDestroy()
  }

  /** The port stands as four bytes behind the host's name. */
  #renamed(bytes: Buffer): Buffer {
    const name = Buffer.concat([Buffer.from(this.#host), Buffer.from([0, 0, this.#port >> 8, this.#port & 0xff])])
    for (let at = bytes.indexOf(name); at !== -1; at = bytes.indexOf(name, at + 1)) bytes.writeInt32BE(this.#ownPort, at + name.length - 4)
    return bytes
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}
