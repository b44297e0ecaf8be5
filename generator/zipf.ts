/**
 * Zipf's law over ranks: weight(rank) = rank^(−tenths/10). The tenth root comes from Newton's iteration, which uses only the four
 * exact IEEE operations, because `Math.pow` may differ between engines in the last bit and a seed must not.
 */
import type { Random } from './random.ts'

function tenthRoot(value: number, guess: number): number {
  let root = guess
  for (let step = 0; step < 100; step += 1) {
    const square = root * root
    const eighth = square * square * (square * square)
    const next = (9 * root + value / (eighth * root)) / 10
    if (Math.abs(next - root) <= 1e-15 * root) return next
    root = next
  }
  return root
}

export class Zipf {
  readonly #cumulative: Float64Array

  /** Ranks 0 to `count` − 1; `tenths` is the exponent times ten (11 for Zipf 1.1, 0 for an even spread). */
  constructor(count: number, tenths: number) {
    this.#cumulative = new Float64Array(count)
    let sum = 0
    let root = 1
    for (let rank = 1; rank <= count; rank += 1) {
      root = tenthRoot(rank, root)
      let power = 1
      for (let i = 0; i < tenths; i += 1) power *= root
      sum += 1 / power
      this.#cumulative[rank - 1] = sum
    }
  }

  /** A rank, the smallest first in frequency. */
  draw(random: Random): number {
    const cumulative = this.#cumulative
    const wanted = random.unit() * (cumulative[cumulative.length - 1] ?? 0)
    let low = 0
    let high = cumulative.length - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((cumulative[middle] ?? 0) > wanted) high = middle
      else low = middle + 1
    }
    return low
  }
}
