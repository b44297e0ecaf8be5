/**
 * A ledger page: the ids that one flush counted in one partition, with their fields' checksum and position, 28 bytes an entry, little-endian:
 * key (4 × u32), checksum (u32), offset (low u32, high u16), index in the record (u16). Entries stand in offset order.
 */
export const pageEntryBytes = 28

export type PageEntry = {
  readonly checksum: number
  readonly offset: number
  readonly index: number
}

/** Collects entries of one partition. */
export class PageWriter {
  #bytes = new Uint8Array(pageEntryBytes * 256)
  #view = new DataView(this.#bytes.buffer)
  #count = 0
  /** Sums of the two id-hash halves, exact below 2^21 ids a page. */
  #hashHiSum = 0
  #hashLoSum = 0

  get count(): number {
    return this.#count
  }

  get hashHiSum(): number {
    return this.#hashHiSum
  }

  get hashLoSum(): number {
    return this.#hashLoSum
  }

  add(key: Uint32Array, at: number, checksum: number, offset: number, index: number): void {
    const to = this.#count * pageEntryBytes
    if (to === this.#bytes.length) this.#grow()
    const view = this.#view
    view.setUint32(to, key[at]!, true)
    view.setUint32(to + 4, key[at + 1]!, true)
    view.setUint32(to + 8, key[at + 2]!, true)
    view.setUint32(to + 12, key[at + 3]!, true)
    view.setUint32(to + 16, checksum, true)
    view.setUint32(to + 20, offset >>> 0, true)
    view.setUint16(to + 24, Math.floor(offset / 0x1_0000_0000), true)
    view.setUint16(to + 26, index, true)
    this.#count++
    this.#hashHiSum += key[at]!
    this.#hashLoSum += key[at + 1]!
  }

  bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#count * pageEntryBytes)
  }

  #grow(): void {
    const bytes = new Uint8Array(this.#bytes.length * 2)
    bytes.set(this.#bytes)
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer)
  }
}

/** Calls back for each entry; the key stands in `key[0…3]` during the call only. Throws RangeError on a torn page. */
export function readPage(bytes: Uint8Array, visit: (key: Uint32Array, entry: PageEntry) => void): void {
  if (bytes.length % pageEntryBytes !== 0) throw new RangeError(`a ledger page of ${bytes.length} bytes is torn`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const key = new Uint32Array(4)
  for (let at = 0; at < bytes.length; at += pageEntryBytes) {
    key[0] = view.getUint32(at, true)
    key[1] = view.getUint32(at + 4, true)
    key[2] = view.getUint32(at + 8, true)
    key[3] = view.getUint32(at + 12, true)
    visit(key, {
      checksum: view.getUint32(at + 16, true),
      offset: view.getUint32(at + 20, true) + view.getUint16(at + 24, true) * 0x1_0000_0000,
      index: view.getUint16(at + 26, true),
    })
  }
}
