/** A small seeded generator, so that a run is its seed. After "mulberry32" by Tommy Ettinger. */
export type Random = { below(limit: number): number; pick<T>(from: readonly T[]): T; chance(share: number): boolean }

export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit: number): number => Math.floor(next() * limit)
  return { below, pick: (from) => from[below(from.length)]!, chance: (share) => next() < share }
}
