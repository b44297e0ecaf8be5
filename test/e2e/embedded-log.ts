/** The log of a shop on the embedded engines, whose PostgreSQL comes back at another port after it was killed. */
import type { EventLog } from '#core/ports.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'

export class EmbeddedLog implements AsyncDisposable {
  readonly #url: string
  readonly #port: () => number | null
  #log: { readonly opened: EventLog; readonly port: number } | null = null

  constructor(url: string, port: () => number | null) {
    this.#url = url
    this.#port = port
  }

  /** As it is now; while the server has no port the one before, which will fail. */
  async open(): Promise<EventLog> {
    const port = this.#port()
    if (port !== null && this.#log?.port !== port) {
      await this.#log?.opened[Symbol.asyncDispose]()
      this.#log = null
      const url = new URL(this.#url)
      url.port = String(port)
      this.#log = { port, opened: await openPostgresLog({ connectionString: url.href, schema: 'tidemark_log' }) }
    }
    return this.#log!.opened
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#log?.opened[Symbol.asyncDispose]()
  }
}
