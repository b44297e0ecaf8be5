/** One connection of DuckDB for one task, which can be ended from outside: DuckDB runs on other threads and knows no AbortSignal. */
import { setTimeout as delay } from 'node:timers/promises'
import type { DuckDBConnection } from '@duckdb/node-api'
import { UnavailableError } from '#core/errors.ts'

/** An interrupt that comes just before a statement begins is forgotten, so it is repeated. */
const interruptIntervalMs = 5

export class DuckDbSession implements Disposable {
  readonly connection: DuckDBConnection
  readonly #onClosed: (session: DuckDbSession) => void
  #running: Promise<unknown> | null = null
  #ended = false

  constructor(connection: DuckDBConnection, onClosed: (session: DuckDbSession) => void) {
    this.connection = connection
    this.#onClosed = onClosed
  }

  /** Runs one call at a time. Throws UnavailableError once the session was ended. */
  async run<T>(call: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
    if (this.#ended) throw new UnavailableError('DuckDB was closed while a query was running: open it again')
    const running = call(this.connection)
    this.#running = running
    try {
      return await running
    } finally {
      this.#running = null
    }
  }

  /** Interrupts what runs and closes. A reader that goes on afterwards gets an UnavailableError, never the end of the rows. */
  async end(): Promise<void> {
    this.#ended = true
    while (this.#running !== null) {
      this.connection.interrupt()
      await Promise.race([this.#running.catch(() => {}), delay(interruptIntervalMs)])
    }
    this[Symbol.dispose]()
  }

  [Symbol.dispose](): void {
    this.#ended = true
    this.connection.disconnectSync()
    this.#onClosed(this)
  }
}
