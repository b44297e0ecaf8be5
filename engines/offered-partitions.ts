/**
 * What a reader of a topic is given, list by list. It works with one list at a time and with nothing else; until it asks for the next, it may still be at
 * work on the one before, so those partitions are given back only then. Whoever shares the partitions out gives lists as often as they change.
 */
import { pause } from './waiting.ts'

export class OfferedPartitions {
  readonly #stopping = new AbortController()
  #failure: Error | null = null
  #list: readonly number[] | null = null
  /** The newest list that the consumer was given, and the one it has certainly left behind once it asks for more. */
  #offered: readonly number[] | null = null
  #acknowledged: readonly number[] = []
  /** Cuts a rest short, and tells the consumer's side that something changed. */
  #wake = new AbortController()
  #changed = Promise.withResolvers<void>()

  /** What the consumer should read now; `null` until that is known. */
  get list(): readonly number[] | null {
    return this.#list
  }

  get stopped(): AbortSignal {
    return this.#stopping.signal
  }

  /** Partitions that the consumer has, or may still have, ascending. */
  get inUse(): readonly number[] {
    return [...new Set([...(this.#list ?? []), ...(this.#offered ?? []), ...this.#acknowledged])].sort((a, b) => a - b)
  }

  give(list: readonly number[]): void {
    this.#list = list
    this.#changed.resolve()
  }

  /** Ends the lists, with the first failure that is told. */
  stop(failure: Error | null = null): void {
    this.#failure ??= failure
    this.#stopping.abort()
    this.#wake.abort()
    this.#changed.resolve()
  }

  wake(): void {
    this.#wake.abort()
  }

  /** Waits so long, until woken, or until the consumer asks for its next list. */
  async rest(ms: number): Promise<void> {
    await pause(ms, this.#wake.signal)
    if (!this.#stopping.signal.aborted) this.#wake = new AbortController()
  }

  /** The lists, each differing from the one before, until stopped. Throws what it was stopped with. */
  async *lists(): AsyncGenerator<readonly number[]> {
    for (;;) {
      const list = await this.#next()
      if (list === null) return
      yield list
      this.#acknowledged = list
      this.#wake.abort()
    }
  }

  async #next(): Promise<readonly number[] | null> {
    for (;;) {
      if (this.#failure !== null) throw this.#failure
      if (this.#stopping.signal.aborted) return null
      if (this.#list !== null && !isSameList(this.#list, this.#offered)) {
        this.#offered = this.#list
        return this.#offered
      }
      await this.#changed.promise
      this.#changed = Promise.withResolvers<void>()
    }
  }
}

export function isSameList(a: readonly number[], b: readonly number[] | null): boolean {
  return b !== null && a.length === b.length && a.every((partition, index) => partition === b[index])
}
