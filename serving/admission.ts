/** Bounds the answers in flight: a storm gets a quick 503, and those let in keep their latency. */
import { UnavailableError } from '#core/errors.ts'

export class Admission {
  readonly #max: number
  #running = 0
  #refused = 0

  constructor(max: number) {
    this.#max = max
  }

  get running(): number {
    return this.#running
  }

  get refused(): number {
    return this.#refused
  }

  /** Throws UnavailableError where too many are in flight. */
  async admit<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#max) {
      this.#refused++
      throw new UnavailableError(`More than ${this.#max} answers are in flight. Ask again in a moment.`)
    }
    this.#running++
    try {
      return await work()
    } finally {
      this.#running--
    }
  }
}
