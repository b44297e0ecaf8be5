/**
 * The live feed: one poller for all clients. While somebody listens it looks for a change of the version, computes the figures once, and hands the
 * same text to everyone. A client that reads slowly gets the newest text when it is ready again, never a queue. A lost database is told once, and
 * its return is told by new figures.
 */
import { UnavailableError, messageOf } from '#core/errors.ts'
import { readAnswerVersion } from '#store/answers.ts'
import type { AnswerTerms } from '#store/answers.ts'
import type { Database } from '#store/database.ts'
import { eventClientsMax, feedIntervalMs, feedShareMax } from './limits.ts'
import { readLiveFigures } from './live-figures.ts'
import type { Clock } from './settings.ts'

export type FeedMessage = { readonly id?: string; readonly event: 'figures' | 'trouble'; readonly data: string }

/** Resolves when the client has taken the message. */
export type FeedSend = (message: FeedMessage) => Promise<void>

export type FeedOptions = {
  readonly database: Database
  readonly terms: AnswerTerms
  readonly today: () => number
  readonly clock: Clock
  readonly onTrouble: (message: string) => void
}

type Client = { readonly send: FeedSend; busy: boolean; next: FeedMessage | null }

export class LiveFeed {
  readonly #options: FeedOptions
  readonly #clients = new Set<Client>()
  #timer: NodeJS.Timeout | null = null
  #polling = false
  #stopped = false
  /** What the newest message was made from. */
  #version: string | null = null
  #newest: FeedMessage | null = null
  #trouble: FeedMessage | null = null

  constructor(options: FeedOptions) {
    this.#options = options
  }

  get clients(): number {
    return this.#clients.size
  }

  /** Returns the way to leave. Throws UnavailableError where the feed is full. */
  join(send: FeedSend): () => void {
    if (this.#stopped || this.#clients.size >= eventClientsMax) {
      throw new UnavailableError(`The live feed has ${eventClientsMax} clients already. Ask /v1/revenue every few seconds instead.`)
    }
    const client: Client = { send, busy: false, next: null }
    this.#clients.add(client)
    // What was computed while others listened; a feed that slept does not know how old its message is.
    if (this.#clients.size > 1) {
      if (this.#trouble !== null) this.#hand(client, this.#trouble)
      else if (this.#newest !== null) this.#hand(client, this.#newest)
    } else {
      this.#version = null
      this.#schedule(0)
    }
    return () => {
      this.#clients.delete(client)
    }
  }

  stop(): void {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#clients.clear()
  }

  #schedule(delayMs: number): void {
    if (this.#stopped || this.#polling) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#poll(), delayMs)
  }

  async #poll(): Promise<void> {
    if (this.#clients.size === 0) return
    this.#polling = true
    const startMs = performance.now()
    try {
      await this.#look()
    } catch (thrown) {
      this.#tellTrouble(thrown)
    } finally {
      this.#polling = false
    }
    const tookMs = performance.now() - startMs
    this.#schedule(Math.max(feedIntervalMs, tookMs / feedShareMax))
  }

  async #look(): Promise<void> {
    const { database, terms } = this.#options
    const today = this.#options.today()
    const seen = `${today} ${(await readAnswerVersion(database.pool, terms)).version}`
    if (seen === this.#version) return
    const { version, id, figures } = await readLiveFigures(database, terms, today)
    this.#version = `${today} ${version}`
    this.#trouble = null
    this.#newest = { id, event: 'figures', data: JSON.stringify(figures) }
    for (const client of this.#clients) this.#hand(client, this.#newest)
  }

  #tellTrouble(thrown: unknown): void {
    // The next success is news even where nothing changed.
    this.#version = null
    if (this.#trouble !== null) return
    this.#options.onTrouble(messageOf(thrown))
    const since = new Date(this.#options.clock()).toISOString()
    const data = { code: 'unavailable', message: 'The database does not answer: these figures are no longer live.', since }
    this.#trouble = { event: 'trouble', data: JSON.stringify(data) }
    for (const client of this.#clients) this.#hand(client, this.#trouble)
  }

  #hand(client: Client, message: FeedMessage): void {
    client.next = message
    if (!client.busy) void this.#drain(client)
  }

  async #drain(client: Client): Promise<void> {
    client.busy = true
    try {
      while (client.next !== null) {
        const message = client.next
        client.next = null
        await client.send(message)
      }
      client.busy = false
    } catch {
      // The client went away in between; its connection says so by itself.
      this.#clients.delete(client)
    }
  }
}
