import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { shareOf } from '#engines/partition-leases.ts'

describe('shares', () => {
  test('add up to all partitions and differ by one at most', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 4_000_000 }), { minLength: 1, maxLength: 30 }), fc.nat(200), (members, partitions) => {
        const shares = members.map((member) => shareOf(member, members, partitions))
        expect(shares.reduce((sum, share) => sum + share, 0)).toBe(partitions)
        expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1)
      }),
    )
  })

  test('are only for members', () => {
    expect(() => shareOf(3, [1, 2], 4)).toThrow(/place/)
  })
})
