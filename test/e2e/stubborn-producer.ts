/** The shop's customers, who keep coming while the log is away. */
import { setTimeout as pause } from 'node:timers/promises'
import { TidemarkError, UnavailableError } from '#core/errors.ts'
import type { EventLog } from '#core/ports.ts'
import type { GeneratedRecord } from '#generator/fact.ts'
import type { HistoryOptions } from '#generator/history.ts'
import { generateEvents, planHistory } from '#generator/history.ts'
import { Truth } from '#generator/truth.ts'

const topic = 'transactions'
const partRecords = 150
const restMsDefault = 20
/** An append is tried again for so long. */
const awayMaxMs = 90_000

/** Sends a generated history again and again until the log has acknowledged each part of it; counts only what it acknowledged. */
export class StubbornProducer implements AsyncDisposable {
  readonly truth: Truth
  failure: unknown = null
  acknowledged = 0
  readonly #openLog: () => Promise<EventLog> | null
  readonly #records: Iterator<GeneratedRecord>
  readonly #restMs: number
  #running: { readonly stop: AbortController; readonly done: Promise<void> } | null = null
  readonly #ends = new Map<number, number>()

  /** `openLog` gives the log as it is now, again at each append, or null while it cannot be found; the producer closes none. It rests for `restMs` after each part of 150 records. */
  constructor(seed: number, openLog: () => Promise<EventLog> | null, restMs = restMsDefault) {
    this.#openLog = openLog
    this.#restMs = restMs
    const toMs = Date.now()
    const options: HistoryOptions = { profile: 'shop', seed, events: 2_000_000, fromMs: toMs - 400 * 86_400_000, toMs, zone: 'Europe/London', currency: 'GBP', portable: true }
    this.truth = new Truth(planHistory(options).origin)
    this.#records = generateEvents(options)[Symbol.iterator]()
  }

  run(): void {
    const stop = new AbortController()
    const done = this.#produce(stop.signal).catch((thrown: unknown) => {
      this.failure = thrown
    })
    this.#running = { stop, done }
  }

  /** Finishes the part in hand, however long the log is away. */
  async hold(): Promise<void> {
    this.#running?.stop.abort()
    await this.#running?.done
    this.#running = null
  }

  /** Where the log ends, of what it has acknowledged. */
  ends(): ReadonlyMap<number, number> {
    return new Map(this.#ends)
  }

  async #produce(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      const part: GeneratedRecord[] = []
      while (part.length < partRecords) {
        const next = this.#records.next()
        if (next.done === true) throw new Error('the history is over before the test')
        part.push(next.value)
      }
      await this.#send(part)
      for (const record of part) this.truth.add(record)
      this.acknowledged += part.length
      await pause(this.#restMs)
    }
  }

  /** The outcome of an append that failed is unknown, so the same records go again: their ids make that harmless. */
  async #send(part: readonly GeneratedRecord[]): Promise<void> {
    const deadlineMs = performance.now() + awayMaxMs
    for (;;) {
      try {
        const log = await this.#openLog()
        if (log === null) throw new UnavailableError('The log is not there.')
        for (const [partition, end] of await log.append(topic, part.map((record) => record.append))) this.#ends.set(partition, end)
        return
      } catch (thrown) {
        if (!(thrown instanceof TidemarkError && thrown.retryable) || performance.now() > deadlineMs) throw thrown
        await pause(50)
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hold()
  }
}
