/**
 * The ledger answers "have I counted this id, with these fields, and where?". An open-addressing table in typed arrays: seven 32-bit words
 * an entry (128-bit key, checksum of the fields, position), where an entry object would cost ten times that.
 *
 * Memory is bounded by generations: ids go into the younger table; when that is full, the older one is dropped and they change places.
 * So the window reaches back between half of `idsMax` and all of it, and forgetting costs nothing.
 */
const words = 7
const firstCapacity = 4096
/** Above this share of used slots probing gets long. */
const loadMax = 0.85

export type LedgerPosition = { readonly partition: number; readonly offset: number }

/** What the ledger knows of an id: nothing, the same fields, or other fields. */
export type LedgerAnswer = 'new' | 'copy' | 'conflict'

/** Partitions and offsets are packed into 64 bits; both are far above what a log of ours or Kafka's reaches. */
export const partitionMax = 0xffff
export const offsetMax = 2 ** 48 - 1

export class Ledger {
  readonly idsMax: number
  #younger: Generation
  #older: Generation | null = null
  /** Where `count` found the id it called a copy or a conflict. */
  #found: LedgerPosition = { partition: 0, offset: 0 }

  constructor(idsMax: number) {
    this.idsMax = idsMax
    this.#younger = new Generation(idsMax / 2)
  }

  get size(): number {
    return this.#younger.size + (this.#older?.size ?? 0)
  }

  /** Bytes held by the tables. */
  get bytes(): number {
    return this.#younger.bytes + (this.#older?.bytes ?? 0)
  }

  /** Position of the first copy, after an answer other than `new`. */
  get found(): LedgerPosition {
    return this.#found
  }

  /** Looks the key at `key[at…at+3]` up, and remembers it where it is new. */
  count(key: Uint32Array, at: number, checksum: number, partition: number, offset: number): LedgerAnswer {
    const older = this.#older
    if (older !== null) {
      const slot = older.find(key, at)
      if (slot >= 0) return this.#answer(older, slot, checksum)
    }
    const slot = this.#younger.findOrAdd(key, at, checksum, partition, offset)
    if (slot >= 0) return this.#answer(this.#younger, slot, checksum)
    if (this.#younger.size * 2 >= this.idsMax) {
      this.#older = this.#younger
      this.#younger = new Generation(this.idsMax / 2)
    }
    return 'new'
  }

  #answer(generation: Generation, slot: number, checksum: number): LedgerAnswer {
    this.#found = generation.position(slot)
    return generation.checksum(slot) === checksum ? 'copy' : 'conflict'
  }
}

class Generation {
  #entries = new Uint32Array(firstCapacity * words)
  /** One byte a slot: a key of four zero words is a key like any other. */
  #used = new Uint8Array(firstCapacity)
  #capacity = firstCapacity
  /** Slots for as many ids as a generation ever holds: doubling past it would waste up to half of the memory. */
  readonly #capacityMax: number
  size = 0

  constructor(idsMax: number) {
    this.#capacityMax = Math.max(firstCapacity, Math.ceil((idsMax + 1) / loadMax) + 1)
  }

  get bytes(): number {
    return this.#entries.byteLength + this.#used.byteLength
  }

  find(key: Uint32Array, at: number): number {
    const slot = this.#probe(key, at)
    return this.#used[slot] === 1 ? slot : -1
  }

  /** The slot of a known key, or −1 after adding it. */
  findOrAdd(key: Uint32Array, at: number, checksum: number, partition: number, offset: number): number {
    const slot = this.#probe(key, at)
    if (this.#used[slot] === 1) return slot
    const entries = this.#entries
    const to = slot * words
    entries[to] = key[at]!
    entries[to + 1] = key[at + 1]!
    entries[to + 2] = key[at + 2]!
    entries[to + 3] = key[at + 3]!
    entries[to + 4] = checksum
    entries[to + 5] = offset
    entries[to + 6] = (Math.floor(offset / 0x1_0000_0000) << 16) | partition
    this.#used[slot] = 1
    this.size++
    if (this.size > this.#capacity * loadMax && this.#capacity < this.#capacityMax) this.#grow()
    return -1
  }

  checksum(slot: number): number {
    return this.#entries[slot * words + 4]!
  }

  position(slot: number): LedgerPosition {
    const at = slot * words
    const high = this.#entries[at + 6]!
    return { partition: high & 0xffff, offset: (high >>> 16) * 0x1_0000_0000 + this.#entries[at + 5]! }
  }

  #probe(key: Uint32Array, at: number): number {
    const entries = this.#entries
    const used = this.#used
    const capacity = this.#capacity
    const k0 = key[at]!
    const k1 = key[at + 1]!
    const k2 = key[at + 2]!
    const k3 = key[at + 3]!
    // The keys are mixed already; a multiplication maps them onto a table of any size.
    let slot = Math.floor(((k0 ^ k3) >>> 0) * (capacity / 0x1_0000_0000))
    while (used[slot] === 1) {
      const from = slot * words
      if (entries[from] === k0 && entries[from + 1] === k1 && entries[from + 2] === k2 && entries[from + 3] === k3) return slot
      if (++slot === capacity) slot = 0
    }
    return slot
  }

  #grow(): void {
    const entries = this.#entries
    const used = this.#used
    const before = this.#capacity
    this.#capacity = Math.min(before * 2, this.#capacityMax)
    this.#entries = new Uint32Array(this.#capacity * words)
    this.#used = new Uint8Array(this.#capacity)
    for (let slot = 0; slot < before; slot++) {
      if (used[slot] === 0) continue
      const from = slot * words
      const to = this.#probe(entries, from)
      this.#entries.set(entries.subarray(from, from + words), to * words)
      this.#used[to] = 1
    }
  }
}
