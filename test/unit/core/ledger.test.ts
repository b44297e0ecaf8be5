import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Ledger, offsetMax, partitionMax } from '#core/ledger.ts'
import { PageWriter, pageEntryBytes, readPage } from '#core/ledger-page.ts'
import { seededRandom } from '#test/lab/random.ts'

/** The same promise with two plain Maps: the older half is forgotten when the younger one is full. */
class PlainLedger {
  readonly #half: number
  #younger = new Map<string, { checksum: number; partition: number; offset: number }>()
  #older = new Map<string, { checksum: number; partition: number; offset: number }>()

  constructor(idsMax: number) {
    this.#half = idsMax / 2
  }

  count(key: string, checksum: number, partition: number, offset: number): string {
    const known = this.#older.get(key) ?? this.#younger.get(key)
    if (known !== undefined) return `${known.checksum === checksum ? 'copy' : 'conflict'} of ${known.partition}:${known.offset}`
    this.#younger.set(key, { checksum, partition, offset })
    if (this.#younger.size >= this.#half) {
      this.#older = this.#younger
      this.#younger = new Map()
    }
    return 'new'
  }
}

describe('the ledger', () => {
  test.each([
    [10, 200, 1],
    [64, 3_000, 2],
    [20_000, 60_000, 3],
    [200_000, 60_000, 4],
  ])('of %i ids answers as two Maps would, over %i look-ups', (idsMax, lookUps, seed) => {
    const random = seededRandom(seed)
    const ledger = new Ledger(idsMax)
    const plain = new PlainLedger(idsMax)
    const key = new Uint32Array(8)
    const wrong: string[] = []
    for (let i = 0; i < lookUps; i++) {
      // Ids come again, some keys share the slot that they ask for first, and zero is a key like any other.
      const id = random.below(idsMax * 2)
      const mixed = Math.imul(id, 0x9e3779b1)
      key.set(id % 50 === 0 ? [0, 0, 0, id % 3] : [mixed, id % 7, 0, 0], 4)
      const checksum = random.below(2)
      const partition = random.below(partitionMax + 1)
      const offset = random.chance(0.1) ? offsetMax - random.below(10) : random.below(2 ** 40)
      const answer = ledger.count(key, 4, checksum, partition, offset)
      const said = answer === 'new' ? 'new' : `${answer} of ${ledger.found.partition}:${ledger.found.offset}`
      const expected = plain.count(key.slice(4).join(), checksum, partition, offset)
      if (said !== expected) wrong.push(`look-up ${i}: ${said}, not ${expected}`)
      if (ledger.size > idsMax) wrong.push(`look-up ${i}: ${ledger.size} ids are held`)
    }
    expect(wrong.slice(0, 5)).toEqual([])
  })

  test('holds its memory to the bound that its ids ask for', () => {
    const ledger = new Ledger(1_000_000)
    const key = new Uint32Array(4)
    for (let i = 0; i < 2_500_000; i++) {
      key[0] = Math.imul(i, 0x9e3779b1)
      key[3] = i
      ledger.count(key, 0, 1, 0, i)
    }
    expect(ledger.size).toBeGreaterThanOrEqual(500_000)
    expect(ledger.bytes).toBeLessThan(1_000_000 * 36)
  })
})

describe('a ledger page', () => {
  test('gives back every entry as it was written', () => {
    const word = fc.integer({ min: 0, max: 0xffff_ffff })
    const entry = fc.record({ key: fc.tuple(word, word, word, word), checksum: word, offset: fc.integer({ min: 0, max: offsetMax }), index: fc.integer({ min: 0, max: 0xffff }) })
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 700 }), (entries) => {
        const page = new PageWriter()
        const key = new Uint32Array(4)
        for (const { key: words, checksum, offset, index } of entries) {
          key.set(words)
          page.add(key, 0, checksum, offset, index)
        }
        const read: unknown[] = []
        readPage(page.bytes(), (words, { checksum, offset, index }) => read.push({ key: [...words], checksum, offset, index }))
        expect(read).toEqual(entries)
        expect(page.count).toBe(entries.length)
        expect(page.hashHiSum).toBe(entries.reduce((sum, { key: words }) => sum + words[0], 0))
        expect(page.hashLoSum).toBe(entries.reduce((sum, { key: words }) => sum + words[1], 0))
      }),
      { numRuns: 50 },
    )
  })

  test('that is torn is an error', () => {
    expect(() => readPage(new Uint8Array(pageEntryBytes + 1), () => undefined)).toThrow(RangeError)
  })
})
