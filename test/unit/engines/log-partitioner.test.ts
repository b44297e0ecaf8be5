import { describe, expect, test } from 'vitest'

import { LogPartitioner, STICKY_RECORDS_MAX, murmur2, partitionOfKey } from '#engines/log-partitioner.ts'

describe('murmur2', () => {
  // Kafka's own UtilsTest.testMurmur2, and the empty key.
  test.each([
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
    ['', 275646681],
  ])('of %j is %d', (text, hash) => {
    expect(murmur2(Buffer.from(text))).toBe(hash)
  })
})

describe('partitions', () => {
  test('of keys are those of the positive hash', () => {
    expect(partitionOfKey('21', 12)).toBe((-973932308 + 2 ** 31) % 12)
    expect(partitionOfKey('abc', 12)).toBe(479470107 % 12)
  })

  test('keep the order of what they get, by key alone', () => {
    const keys = Array.from({ length: 1_000 }, (_, i) => `k${i % 37}`)
    const spread = new LogPartitioner().spread(keys, 7)
    expect([...spread.values()].flat().sort((a, b) => a - b)).toEqual(keys.map((_, index) => index))
    for (const [partition, indices] of spread) {
      expect(indices).toEqual([...indices].sort((a, b) => a - b))
      for (const index of indices) expect(partitionOfKey(keys[index]!, 7)).toBe(partition)
    }
  })

  test('of records without a key take turns, in long runs', () => {
    const partitioner = new LogPartitioner()
    const homes = Array.from({ length: 6 }, () => [...partitioner.spread([null, null], 3).keys()])
    expect(homes).toEqual([[0], [1], [2], [0], [1], [2]])
    const spread = partitioner.spread(Array.from({ length: 3 * STICKY_RECORDS_MAX }, () => null), 3)
    expect([...spread.values()].map((indices) => indices.length)).toEqual([STICKY_RECORDS_MAX, STICKY_RECORDS_MAX, STICKY_RECORDS_MAX])
    for (const indices of spread.values()) expect(indices.at(-1)! - indices[0]!).toBe(STICKY_RECORDS_MAX - 1)
  })
})
