/**
 * How the members of a group share partitions out: fairly, moving as little as possible, and cooperatively (KIP-429): a partition is given to another member
 * only once the one that reads it has let it go. It lets it go when its consumer has heard of it, and then joins again.
 */

export type Claim = {
  readonly memberId: string
  /** What it may be reading now. */
  readonly owned: readonly number[]
  /** Of the group, when it got them: of two that claim one partition the later one has it. */
  readonly generation: number
}

/** Member → its partitions, ascending. What its new member must wait for is nobody's in this round. */
export function shareOut(claims: readonly Claim[], partitions: readonly number[]): Map<string, number[]> {
  const owners = ownersOf(claims, new Set(partitions))
  const held = new Map<string, number[]>(claims.map(({ memberId }) => [memberId, []]))
  for (const [partition, { memberId }] of owners) held.get(memberId)!.push(partition)
  // Who has more may keep more; the order of ids settles the rest, the same at every member.
  const ranked = [...held.keys()].sort((a, b) => held.get(b)!.length - held.get(a)!.length || (a < b ? -1 : 1))
  const least = Math.floor(partitions.length / ranked.length)
  const larger = partitions.length % ranked.length
  const shares = new Map(ranked.map((memberId, rank) => [memberId, least + (rank < larger ? 1 : 0)]))
  const given = new Map(ranked.map((memberId) => [memberId, held.get(memberId)!.sort((a, b) => a - b).slice(0, shares.get(memberId))]))
  const free = partitions.filter((partition) => !owners.has(partition))
  // Partitions that wait for their owner count towards the share of the member that will get them.
  for (const memberId of ranked) given.get(memberId)!.push(...free.splice(0, shares.get(memberId)! - given.get(memberId)!.length))
  for (const list of given.values()) list.sort((a, b) => a - b)
  return given
}

function ownersOf(claims: readonly Claim[], existing: ReadonlySet<number>): Map<number, Claim> {
  const owners = new Map<number, Claim>()
  for (const claim of claims) {
    for (const partition of claim.owned) {
      const other = owners.get(partition)
      if (existing.has(partition) && (other === undefined || claim.generation > other.generation)) owners.set(partition, claim)
    }
  }
  return owners
}
