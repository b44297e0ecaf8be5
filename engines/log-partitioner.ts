/**
 * Which partition a record goes to: like Kafka's default partitioner, murmur2 of the key's UTF-8 bytes, so that a shop that moves to
 * Kafka keeps its keys where they were. Records without a key stick to one partition until a batch is full, then go on to the next:
 * spread evenly over time, yet in few large batches (KIP-480).
 */

const SEED = 0x9747b28c
const MULTIPLIER = 0x5bd1e995

/** Records without a key that go to one partition before the next one's turn. */
export const STICKY_RECORDS_MAX = 1_000

/** Kafka's 32-bit murmur2 of the bytes, as a signed integer. Source: org.apache.kafka.common.utils.Utils. */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length
  const words = length >> 2
  let hash = SEED ^ length
  for (let word = 0; word < words; word += 1) {
    const at = word << 2
    let mixed = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    mixed = Math.imul(mixed, MULTIPLIER)
    mixed ^= mixed >>> 24
    hash = Math.imul(hash, MULTIPLIER) ^ Math.imul(mixed, MULTIPLIER)
  }
  const tail = words << 2
  const left = length & 3
  if (left === 3) hash ^= bytes[tail + 2]! << 16
  if (left >= 2) hash ^= bytes[tail + 1]! << 8
  if (left >= 1) {
    hash ^= bytes[tail]!
    hash = Math.imul(hash, MULTIPLIER)
  }
  hash ^= hash >>> 13
  hash = Math.imul(hash, MULTIPLIER)
  return hash ^ (hash >>> 15)
}

/** The partition of a key among so many, 0 to partitions − 1. */
export function partitionOfKey(key: string, partitions: number): number {
  return (murmur2(Buffer.from(key)) & 0x7fffffff) % partitions
}

/** Spreads the records of one topic. Keeps the turn of keyless records between calls. */
export class LogPartitioner {
  #turn = 0

  /** Partition → indices into `keys`, in their order. */
  spread(keys: readonly (string | null)[], partitions: number): Map<number, number[]> {
    const indices = new Map<number, number[]>()
    let stuck = 0
    let lastKey: string | null = null
    let lastPartition = 0
    for (const [index, key] of keys.entries()) {
      let partition: number
      if (key === null) {
        if (stuck === STICKY_RECORDS_MAX) {
          stuck = 0
          this.#turn += 1
        }
        stuck += 1
        partition = this.#turn % partitions
      } else {
        // The lines of an order follow each other and share its key.
        if (lastKey !== key) lastPartition = partitionOfKey(key, partitions)
        lastKey = key
        partition = lastPartition
      }
      const of = indices.get(partition)
      if (of === undefined) indices.set(partition, [index])
      else of.push(index)
    }
    if (stuck > 0) this.#turn += 1
    return indices
  }
}
