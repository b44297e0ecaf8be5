/**
 * The generator's only source of chance: xoshiro128** (Blackman and Vigna, https://prng.di.unimi.it/xoshiro128starstar.c), seeded by
 * splitmix32 from (seed, purpose). Only 32-bit integer arithmetic and exact binary fractions, so that a seed gives the same
 * numbers on every machine; `Math.log`, `Math.pow` and `Math.sin` may differ in the last bit between engines and are not used.
 */
import assert from 'node:assert'

const TWO_POW_MINUS_32 = 2 ** -32
const GOLDEN = 0x9e3779b9

/** FNV-1a over UTF-16 code units, 32 bits. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

export class Random {
  #a: number
  #b: number
  #c: number
  #d: number

  /** `seed`: 0 to 2^53 − 1. Streams of different purposes do not disturb each other. */
  constructor(seed: number, purpose: string) {
    assert(Number.isSafeInteger(seed) && seed >= 0)
    let state = (seed ^ Math.imul(Math.floor(seed * TWO_POW_MINUS_32), 0x85ebca6b) ^ hashText(purpose)) | 0
    const split = (): number => {
      state = (state + GOLDEN) | 0
      let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad)
      mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97)
      return mixed ^ (mixed >>> 15)
    }
    this.#a = split()
    this.#b = split()
    this.#c = split()
    this.#d = split() | 1
  }

  /** A whole number, 0 to 2^32 − 1. */
  next(): number {
    const fives = Math.imul(this.#b, 5)
    const result = Math.imul((fives << 7) | (fives >>> 25), 9) >>> 0
    const shifted = this.#b << 9
    this.#c ^= this.#a
    this.#d ^= this.#b
    this.#b ^= this.#c
    this.#a ^= this.#d
    this.#c ^= shifted
    this.#d = (this.#d << 11) | (this.#d >>> 21)
    return result
  }

  /** 0 inclusive to 1 exclusive, in steps of 2^-32. */
  unit(): number {
    return this.next() * TWO_POW_MINUS_32
  }

  /** A whole number from 0 inclusive to `end` exclusive; spans above 2^32 are covered in steps. */
  below(end: number): number {
    return Math.floor(this.unit() * end)
  }

  /** A whole number, both ends inclusive. */
  between(first: number, last: number): number {
    return first + this.below(last - first + 1)
  }

  chance(share: number): boolean {
    return this.unit() < share
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)]
    assert(item !== undefined)
    return item
  }

  /** Exponential with mean 1, by comparisons alone (von Neumann 1951). */
  exponential(): number {
    for (let whole = 0; ; whole += 1) {
      const first = this.unit()
      let last = first
      for (let run = 1; ; run += 1) {
        const following = this.unit()
        if (following < last) {
          last = following
          continue
        }
        if (run % 2 === 1) return whole + first
        break
      }
    }
  }
}
