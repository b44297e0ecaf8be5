/** A Redis of a test's own, to be emptied, ended and started again. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '#test/free-port.ts'
import { waitUntil } from '#test/wait-until.ts'

export class OwnRedis implements AsyncDisposable {
  readonly #folder: string
  readonly #port: number
  #server: ChildProcess | null = null

  private constructor(folder: string, port: number) {
    this.#folder = folder
    this.#port = port
  }

  /** Not started yet. */
  static async prepare(): Promise<OwnRedis> {
    return new OwnRedis(await mkdtemp(join(tmpdir(), 'tidemark-redis-')), await freePort())
  }

  get url(): string {
    return `redis://127.0.0.1:${this.#port}`
  }

  async start(...options: readonly string[]): Promise<void> {
    this.#server = spawn('redis-server', ['--port', String(this.#port), '--bind', '127.0.0.1', '--dir', this.#folder, '--save', '', ...options], { stdio: 'ignore' })
    await waitUntil('Redis to answer', () => this.command('PING').then((answer) => answer.includes('PONG'), () => false))
  }

  async stop(): Promise<void> {
    const server = this.#server
    if (server === null || server.exitCode !== null || server.signalCode !== null) return
    const ended = once(server, 'exit')
    server.kill('SIGKILL')
    await ended
  }

  /** One inline command, and the answer's first bytes. */
  async command(text: string): Promise<string> {
    const socket = connect(this.#port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      socket.write(`${text}\r\n`)
      const [answer] = (await once(socket, 'data')) as [Buffer]
      return answer.toString()
    } finally {
      socket.destroy()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await rm(this.#folder, { recursive: true, force: true })
  }
}
