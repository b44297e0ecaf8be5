/**
 * Keeps the figures live. Every connection begins with plain JSON requests (so the page paints where streams are blocked), then follows
 * `/v1/events`. When the stream ends it begins again, with back-off; when JSON answers but the stream does not, it polls and tries the
 * stream again now and then. A stream that silently stalls is noticed by the status request, which runs beside it: committed offsets that
 * moved while no figures came mean that the stream is dead. Nothing is shown as live that this file has not just heard of.
 */
import { fetchJson, Problem, type Status } from '../api.ts'
import { countCommitted, fetchFigures, positionOf, readFiguresEvent, type Figures, type FiguresEvent } from '../figures.ts'
import { backoffMs } from './backoff.ts'

export type LiveState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'live'; readonly by: 'stream' | 'polling' }
  | { readonly kind: 'lost'; readonly reason: string; readonly sinceMs: number }
  | { readonly kind: 'paused'; readonly sinceMs: number }

export type FeedListener = {
  onState(state: LiveState): void
  onFigures(figures: Figures): void
  onStatus(status: Status, serverNowMs: number | null): void
}

const statusIntervalMs = 10_000
const pollIntervalMs = 5_000
/** Polls between two attempts at the stream. */
const pollsPerStreamAttempt = 6
/** A stream that has not opened by then is taken as blocked. */
const streamOpenTimeoutMs = 6_000
/** Committed offsets may run ahead of the last figures by this much time: updates are at most two a second. */
const stallAfterMs = 8_000

export class LiveFeed {
  readonly #listener: FeedListener
  #state: LiveState = { kind: 'connecting' }
  #stream: EventSource | null = null
  /** Ends everything that the present connection has under way. */
  #run = new AbortController()
  #status: Status | null = null
  #figures: Figures | null = null
  #figuresAtMs = 0
  #lastContactMs = Date.now()
  #attempt = 0

  constructor(listener: FeedListener) {
    this.#listener = listener
  }

  /** Begins, or begins again at once: at the start, on "Try now", after a pause, when the page becomes visible. */
  connect(): void {
    this.#endRun()
    this.#attempt = 0
    if (this.#state.kind !== 'lost') this.#setState({ kind: 'connecting' })
    void this.#openConnection(this.#run.signal)
  }

  pause(): void {
    this.#endRun()
    this.#setState({ kind: 'paused', sinceMs: this.#lastContactMs })
  }

  /** Gives the connection back without a word: the page is hidden or goes away. */
  close(): void {
    this.#endRun()
  }

  async #openConnection(signal: AbortSignal): Promise<void> {
    try {
      await this.#load(signal)
      if (signal.aborted) return
      if (await this.#openStream(signal)) {
        this.#attempt = 0
        this.#setState({ kind: 'live', by: 'stream' })
        await this.#watchStream(signal)
      } else if (!signal.aborted) {
        await this.#poll(signal)
      }
    } catch (error) {
      if (signal.aborted) return
      this.#lose(error instanceof Problem ? error.message : String(error))
    }
  }

  async #load(signal: AbortSignal): Promise<void> {
    const status = await this.#loadStatus(signal)
    const figures = await fetchFigures(status, signal)
    if (!signal.aborted) this.#takeFigures(figures)
  }

  async #loadStatus(signal: AbortSignal): Promise<Status> {
    const { body, serverNowMs } = await fetchJson<Status>('/v1/status', signal)
    if (signal.aborted) return body
    this.#status = body
    this.#lastContactMs = Date.now()
    this.#listener.onStatus(body, serverNowMs)
    return body
  }

  #takeFigures(figures: Figures): void {
    this.#figures = figures
    this.#figuresAtMs = Date.now()
    this.#lastContactMs = this.#figuresAtMs
    this.#listener.onFigures(figures)
  }

  /** False where the stream does not open in time; once open, its end loses the connection. */
  #openStream(signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const stream = new EventSource('/v1/events')
      this.#stream = stream
      let open = false
      const giveUp = (): void => {
        clearTimeout(timer)
        stream.close()
        if (!signal.aborted && open) this.#lose('The connection to the server broke.')
        resolve(false)
      }
      const timer = setTimeout(giveUp, streamOpenTimeoutMs)
      signal.addEventListener('abort', giveUp, { once: true })
      stream.addEventListener('open', () => {
        open = true
        clearTimeout(timer)
        resolve(true)
      })
      stream.addEventListener('error', giveUp)
      stream.addEventListener('figures', (event: MessageEvent<string>) => {
        if (!signal.aborted) this.#takeFigures(readFiguresEvent(JSON.parse(event.data) as FiguresEvent))
      })
    })
  }

  async #watchStream(signal: AbortSignal): Promise<void> {
    while (await passed(statusIntervalMs, signal)) {
      const before = this.#status?.today
      const status = await this.#loadStatus(signal)
      if (signal.aborted) return
      if (status.today !== before) this.#takeFigures(await fetchFigures(status, signal))
      const committed = countCommitted(status.speed.partitions)
      const shown = this.#figures === null ? 0 : positionOf(this.#figures.receipt)
      if (committed > shown && Date.now() - this.#figuresAtMs > stallAfterMs) {
        this.#stream?.close()
        return this.#poll(signal)
      }
    }
  }

  async #poll(signal: AbortSignal): Promise<void> {
    this.#setState({ kind: 'live', by: 'polling' })
    for (let polls = 0; polls < pollsPerStreamAttempt; polls++) {
      if (!(await passed(pollIntervalMs, signal))) return
      await this.#load(signal)
    }
    if (signal.aborted) return
    this.#endRun()
    void this.#openConnection(this.#run.signal)
  }

  #lose(reason: string): void {
    this.#endRun()
    this.#setState({ kind: 'lost', reason, sinceMs: this.#state.kind === 'lost' ? this.#state.sinceMs : this.#lastContactMs })
    const { signal } = this.#run
    void passed(backoffMs(this.#attempt++), signal).then((due) => (due ? this.#openConnection(signal) : undefined))
  }

  #endRun(): void {
    this.#run.abort()
    this.#run = new AbortController()
    this.#stream?.close()
    this.#stream = null
  }

  #setState(state: LiveState): void {
    this.#state = state
    this.#listener.onState(state)
  }
}

/** True after the time, false at once when the signal ends it. */
function passed(waitMs: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(false)
    const timer = setTimeout(() => resolve(true), waitMs)
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve(false)), { once: true })
  })
}
