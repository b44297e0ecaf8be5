import { describe, expect, test } from 'vitest'
import { ExactLot, ShareLot } from '#generator/lots.ts'
import { Pending } from '#generator/pending.ts'
import { Random } from '#generator/random.ts'
import { Zipf } from '#generator/zipf.ts'

/** xoshiro128** in BigInt, after the authors' C text, to check the 32-bit arithmetic. */
function* reference(state: [bigint, bigint, bigint, bigint]): Generator<number> {
  const mask = 0xffffffffn
  const rotl = (x: bigint, k: bigint): bigint => ((x << k) | (x >> (32n - k))) & mask
  for (;;) {
    yield Number((rotl((state[1] * 5n) & mask, 7n) * 9n) & mask)
    const t = (state[1] << 9n) & mask
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= t
    state[3] = rotl(state[3], 11n)
  }
}

/** FNV-1a of the purpose, folded with the seed, spread by splitmix32. */
function seededState(seed: number, purpose: string): [bigint, bigint, bigint, bigint] {
  let hash = 0x811c9dc5n
  for (const character of purpose) hash = ((hash ^ BigInt(character.charCodeAt(0))) * 0x01000193n) & 0xffffffffn
  const high = BigInt(Math.floor(seed / 2 ** 32))
  let state = ((BigInt(seed) & 0xffffffffn) ^ ((high * 0x85ebca6bn) & 0xffffffffn) ^ hash) & 0xffffffffn
  const split = (): bigint => {
    state = (state + 0x9e3779b9n) & 0xffffffffn
    let mixed = ((state ^ (state >> 16n)) * 0x21f0aaadn) & 0xffffffffn
    mixed = ((mixed ^ (mixed >> 15n)) * 0x735a2d97n) & 0xffffffffn
    return mixed ^ (mixed >> 15n)
  }
  const [a, b, c, d] = [split(), split(), split(), split()]
  return [a, b, c, d | 1n]
}

describe('Random', () => {
  test.each([0, 1, 42, 2 ** 32, 2 ** 53 - 1])('is xoshiro128** for seed %d', (seed) => {
    const random = new Random(seed, 'test')
    const expected = reference(seededState(seed, 'test'))
    for (let i = 0; i < 1000; i += 1) expect(random.next()).toBe(expected.next().value)
  })

  test('is even, and its exponential has mean and variance 1', () => {
    const random = new Random(1, 'evenness')
    const buckets = Array.from({ length: 64 }, () => 0)
    for (let i = 0; i < 64_000; i += 1) {
      const bucket = random.below(64)
      buckets[bucket] = (buckets[bucket] ?? 0) + 1
    }
    const chiSquare = buckets.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0)
    // 63 degrees of freedom: 99.9 % lie below 104.
    expect(chiSquare).toBeLessThan(104)
    let sum = 0
    let squares = 0
    for (let i = 0; i < 100_000; i += 1) {
      const drawn = random.exponential()
      sum += drawn
      squares += drawn * drawn
    }
    expect(sum / 100_000).toBeCloseTo(1, 1)
    expect(squares / 100_000).toBeCloseTo(2, 0)
  })
})

test('Zipf falls as its exponent says, and tenths 0 is even', () => {
  const random = new Random(2, 'zipf')
  const counts = Array.from({ length: 100 }, () => 0)
  const even = Array.from({ length: 4 }, () => 0)
  const zipf = new Zipf(100, 11)
  const flat = new Zipf(4, 0)
  for (let i = 0; i < 200_000; i += 1) {
    const rank = zipf.draw(random)
    counts[rank] = (counts[rank] ?? 0) + 1
    const any = flat.draw(random)
    even[any] = (even[any] ?? 0) + 1
  }
  expect((counts[0] ?? 0) / (counts[9] ?? 1)).toBeCloseTo(10 ** 1.1, -0.5)
  for (const count of even) expect(count / 50_000).toBeCloseTo(1, 1)
})

describe('lots', () => {
  test('an exact lot draws exactly its number, extras included', () => {
    for (let seed = 0; seed < 50; seed += 1) {
      const lot = new ExactLot(new Random(seed, 'lot'), 1000, 40)
      let drawn = 0
      for (let i = 0; i < 1000; i += 1) {
        if (!lot.take()) continue
        drawn += 1
        if (drawn % 5 === 0 && lot.takeExtra(2)) drawn += 2
      }
      expect(drawn).toBe(40)
      expect(lot.takeExtra(1)).toBe(false)
    }
  })

  test('a share lot keeps its share with extras', () => {
    const lot = new ShareLot(new Random(1, 'share'), 0.05)
    let drawn = 0
    for (let i = 0; i < 100_000; i += 1) if (lot.take()) drawn += lot.takeExtra(1) ? 2 : 1
    expect(drawn / 100_000).toBeCloseTo(0.05, 2)
  })
})

test('Pending gives items by due time, then by order of entry', () => {
  const random = new Random(3, 'pending')
  const pending = new Pending<number>()
  const added: { dueMs: number; entry: number }[] = []
  for (let entry = 0; entry < 2000; entry += 1) {
    const dueMs = random.below(300)
    pending.add(dueMs, entry)
    added.push({ dueMs, entry })
  }
  added.sort((a, b) => a.dueMs - b.dueMs || a.entry - b.entry)
  expect(pending.takeDue(-1)).toBeNull()
  for (const { dueMs, entry } of added) {
    expect(pending.nextDueMs).toBe(dueMs)
    expect(pending.takeDue(1000)).toMatchObject({ dueMs, item: entry })
  }
  expect(pending.size).toBe(0)
  expect(pending.nextDueMs).toBe(Infinity)
})
