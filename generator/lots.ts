/**
 * Who is copied, refunded, contradicted. History draws an exact number out of a known population, one candidate at a time
 * (selection sampling, Knuth, TAOCP 3.4.2, algorithm S), so that `--events N` means N. Live traffic has no end and draws by share.
 */
import type { Random } from './random.ts'

export interface Lot {
  /** Whether the next candidate is drawn. */
  take(): boolean
  /** Draws so many more beside the candidates, all or none. */
  takeExtra(count: number): boolean
}

export class ExactLot implements Lot {
  readonly #random: Random
  #candidates: number
  #picks: number

  constructor(random: Random, candidates: number, picks: number) {
    this.#random = random
    this.#candidates = candidates
    this.#picks = Math.min(picks, candidates)
  }

  take(): boolean {
    const drawn = this.#picks > 0 && this.#random.unit() * this.#candidates < this.#picks
    this.#candidates -= 1
    if (drawn) this.#picks -= 1
    return drawn
  }

  takeExtra(count: number): boolean {
    if (count > this.#picks) return false
    this.#picks -= count
    return true
  }
}

export class ShareLot implements Lot {
  readonly #random: Random
  readonly #share: number
  /** Draws already spent on extras, paid back by later candidates so that the share holds. */
  #debt = 0

  constructor(random: Random, share: number) {
    this.#random = random
    this.#share = share
  }

  take(): boolean {
    if (!this.#random.chance(this.#share)) return false
    if (this.#debt === 0) return true
    this.#debt -= 1
    return false
  }

  takeExtra(count: number): boolean {
    if (this.#share === 0) return false
    this.#debt += count
    return true
  }
}
