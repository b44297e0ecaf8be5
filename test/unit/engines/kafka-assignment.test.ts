import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Claim } from '#engines/kafka-assignment.ts'
import { shareOut } from '#engines/kafka-assignment.ts'
import { testSeed } from '../../contract/seeded-property.ts'

const anyClaims = fc.record({
  partitions: fc.nat(20).map((count) => Array.from({ length: count + 1 }, (_, partition) => partition)),
  owners: fc.array(fc.nat(5), { minLength: 25, maxLength: 25 }),
  members: fc.integer({ min: 1, max: 5 }),
})

/** Each partition is some member's, or nobody's. */
function claimsOf({ owners, members }: { owners: readonly number[]; members: number }): Claim[] {
  return Array.from({ length: members }, (_, member) => ({ memberId: `m${member}`, generation: 3, owned: owners.flatMap((owner, partition) => (owner === member ? [partition] : [])) }))
}

test('no partition is given to one member while another may read it, and after two rounds all are shared out fairly', () => {
  fc.assert(
    fc.property(anyClaims, ({ partitions, owners, members }) => {
      const claims = claimsOf({ owners, members })
      const first = shareOut(claims, partitions)
      for (const { memberId, owned } of claims) {
        for (const [other, given] of first) if (other !== memberId) expect(given.filter((partition) => owned.includes(partition))).toEqual([])
      }
      const second = shareOut([...first].map(([memberId, owned]) => ({ memberId, owned, generation: 4 })), partitions)
      expect([...second.values()].flat().sort((a, b) => a - b)).toEqual(partitions)
      const sizes = [...second.values()].map((given) => given.length)
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1)
      // Once it is fair, nothing moves any more.
      expect(shareOut([...second].map(([memberId, owned]) => ({ memberId, owned, generation: 5 })), partitions)).toEqual(second)
      // What a member keeps in the first round it still has in the second.
      for (const [memberId, given] of first) expect(second.get(memberId)).toEqual(expect.arrayContaining(given))
    }),
    { seed: testSeed(), numRuns: 1_000 },
  )
})

test('of two that claim one partition the one of the later generation has it', () => {
  const claims = [{ memberId: 'zombie', owned: [0, 1], generation: 4 }, { memberId: 'owner', owned: [0, 1], generation: 9 }]
  expect(shareOut(claims, [0, 1])).toEqual(new Map([['owner', [0]], ['zombie', []]]))
})

test('partitions that no longer exist are nobody\'s', () => {
  expect(shareOut([{ memberId: 'a', owned: [0, 7], generation: 1 }], [0, 1])).toEqual(new Map([['a', [0, 1]]]))
})
