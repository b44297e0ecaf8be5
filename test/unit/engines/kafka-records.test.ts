import { readFileSync } from 'node:fs'
import { zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sourceHeader } from '#core/decode.ts'
import { CorruptError } from '#core/errors.ts'
import type { LogAppend, LogRecord } from '#core/ports.ts'
import { unpack } from '#engines/kafka-codecs.ts'
import { decodeRecords, endOfBatches, headersMax, omittedHeader } from '#engines/kafka-records.ts'
import { testSeed } from '../../contract/seeded-property.ts'
import { appendOf, batchOf, decodeAll, markerOf, sealed } from './kafka-batches.ts'

/** One batch of each codec by the Java client 4.3.1: 100 shop lines, record 7 with a null value, every tenth from 3 on with headers; taken by a log on log-append time. */
const golden = JSON.parse(readFileSync(new URL('./kafka-golden.json', import.meta.url), 'utf8')) as Readonly<Record<string, string>>
const codecs = ['none', 'gzip', 'snappy', 'xerial', 'lz4', 'zstd'] as const
const texts = (records: readonly LogRecord[]): string[] => records.map(({ value }) => Buffer.from(value).toString())

function failureOf(work: () => unknown): unknown {
  try {
    work()
  } catch (thrown) {
    return thrown
  }
  throw new Error('It should have failed.')
}

describe('batches of other clients', () => {
  test.each(Object.keys(golden))('a batch that the Java client packed with %s reads as it was sent', (codec) => {
    const { records, to } = decodeAll(Buffer.from(golden[codec]!, 'base64'))
    expect(to).toBe(100)
    expect(records.map(({ offset }) => offset)).toEqual(Array.from({ length: 100 }, (_, n) => n))
    expect(new Set(records.map(({ logTimeMs }) => logTimeMs)).size).toBe(1)
    for (const [n, { value, headers }] of records.entries()) {
      const minute = String(n % 60).padStart(2, '0')
      const line = `${n},1001,200${n % 9},"Läptop ${n % 13}","Electronics",${1 + (n % 4)},1500.00,3000.00,2024-12-30 14:${minute}:00,"Zürich"`
      expect(Buffer.from(value).toString()).toBe(n === 7 ? '' : line)
      expect(headers).toEqual(n % 10 === 3 ? { n: String(n), źródło: 'sklep żółty' } : null)
    }
  })
})

const anyHeaders = fc.option(fc.dictionary(fc.string({ maxLength: 9, unit: 'binary' }).filter((name) => name !== '__proto__' && name.isWellFormed()), fc.string({ maxLength: 30 }), { minKeys: 1, maxKeys: 4 }), { nil: undefined })
const anyAppend: fc.Arbitrary<LogAppend> = fc
  .record({ key: fc.option(fc.string({ maxLength: 20 })), value: fc.uint8Array({ maxLength: 300 }), headers: anyHeaders, repeated: fc.integer({ min: 1, max: 40 }) })
  .map(({ key, value, headers, repeated }) => ({ key, value: Buffer.concat(Array.from({ length: repeated }, () => value)), ...(headers && { headers }) }))

describe('what is encoded is what is decoded', () => {
  test('with every codec, from and to any offset', () => {
    fc.assert(
      fc.property(fc.array(fc.array(anyAppend, { minLength: 1, maxLength: 30 }), { minLength: 1, maxLength: 5 }), fc.constantFrom(...codecs), fc.nat(160), fc.nat(160), (batches, codec, a, b) => {
        const appends = batches.flat()
        let baseOffset = 0
        const stored = batches.map((records) => {
          const batch = batchOf(records, { codec, baseOffset, logAppendTimeMs: 1_700_000_000_000 + baseOffset })
          baseOffset += records.length
          return batch
        })
        const [from, limit] = [Math.min(a, b, baseOffset), Math.max(a, b)]
        const first = batches.findIndex((_, index) => batches.slice(0, index + 1).flat().length > from)
        if (first === -1) return
        const bytes = Buffer.concat(stored.slice(first))
        const { records, to } = decodeAll(bytes, from, limit)
        expect(to).toBe(Math.min(limit, baseOffset))
        expect(endOfBatches(bytes, from)).toEqual({ next: baseOffset, damaged: false })
        const expected = appends.map(({ value, headers }, offset) => ({ offset, value: Buffer.from(value).toString('hex'), headers: headers ?? null })).slice(from, limit)
        expect(records.map(({ offset, value, headers }) => ({ offset, value: Buffer.from(value).toString('hex'), headers }))).toEqual(expected)
      }),
      { seed: testSeed(), numRuns: 300 },
    )
  })

  test('a large batch comes in several runs that follow on each other', () => {
    const bytes = Buffer.concat([batchOf(Array.from({ length: 12_345 }, (_, n) => appendOf(`v${n}`))), batchOf([appendOf('last')], { baseOffset: 12_345 })])
    const chunks = [...decodeRecords({ topic: 't', partition: 0, bytes, aborted: [] }, 3, 12_346)]
    expect(chunks.length).toBe(3)
    expect(chunks.at(-1)!.to).toBe(12_346)
    for (const [index, { to, records }] of chunks.entries()) {
      expect(records[0]!.offset).toBe(index === 0 ? 3 : chunks[index - 1]!.to)
      expect(records.at(-1)!.offset).toBe(to - 1)
    }
  })

  test('log-append time is every record\'s time; else each has its own', () => {
    const appends = [appendOf('a'), appendOf('b')]
    expect(decodeAll(batchOf(appends, { logAppendTimeMs: 1_234_567_890_123 })).records.map(({ logTimeMs }) => logTimeMs)).toEqual([1_234_567_890_123, 1_234_567_890_123])
    const own = batchOf(appends)
    own.writeBigInt64BE(1_000_000_000_000n, 27)
    expect(decodeAll(sealed(own)).records.map(({ logTimeMs }) => logTimeMs)).toEqual([1_000_000_000_000, 1_000_000_000_000])
  })

  test('values are views into the response, not copies', () => {
    const bytes = batchOf([appendOf('abc')])
    expect(decodeAll(bytes).records[0]!.value.buffer).toBe(bytes.buffer)
  })
})

describe('transactions', () => {
  const one = (value: string, producerId: number, baseOffset: number): Buffer => batchOf([appendOf(value)], { producerId, baseOffset, transactional: true })

  test('aborted records and markers are stepped over, and the run ends after them', () => {
    const bytes = Buffer.concat([
      one('kept 5', 5, 0),
      one('aborted 9', 9, 1),
      one('kept 5 too', 5, 2),
      markerOf('abort', 9, 3),
      markerOf('commit', 5, 4),
      one('kept 9', 9, 5),
      batchOf([appendOf('plain')], { baseOffset: 6 }),
      markerOf('commit', 9, 7),
    ])
    const { records, to } = decodeAll(bytes, 0, 8, [{ producerId: 9n, firstOffset: 1 }])
    expect(texts(records)).toEqual(['kept 5', 'kept 5 too', 'kept 9', 'plain'])
    expect(to).toBe(8)
    expect(endOfBatches(bytes, 0)).toEqual({ next: 8, damaged: false })
  })

  test('of one producer that aborts, commits and aborts again, the middle is kept', () => {
    const bytes = Buffer.concat([one('a', 9, 0), markerOf('abort', 9, 1), one('b', 9, 2), markerOf('commit', 9, 3), one('c', 9, 4), markerOf('abort', 9, 5)])
    const aborted = [{ producerId: 9n, firstOffset: 0 }, { producerId: 9n, firstOffset: 4 }]
    expect(texts(decodeAll(bytes, 0, 99, aborted).records)).toEqual(['b'])
  })

  test('a fetch with markers alone gives an empty run that ends after them', () => {
    const chunks = [...decodeRecords({ topic: 't', partition: 0, bytes: markerOf('commit', 3, 10), aborted: [] }, 10, 11)]
    expect(chunks).toEqual([{ to: 11, records: [] }])
  })
})

describe('damage', () => {
  const batches = [batchOf([appendOf('zero', 'k'), { ...appendOf('one'), headers: { a: 'b' } }]), batchOf([appendOf('two'), appendOf('three')], { baseOffset: 2, codec: 'lz4' })]
  const whole = Buffer.concat(batches)
  /** Base offset and leader epoch, which brokers write, lie outside the checksum. */
  const unprotected = (at: number): boolean => at < 8 || (at >= 12 && at < 16)

  test('any changed byte is a CorruptError that names the partition, or changes nothing but a base offset', () => {
    for (const [name, bytes] of [['ours', whole], ...Object.entries(golden).map(([codec, text]) => [codec, Buffer.from(text, 'base64')] as const)] as const) {
      const before = texts(decodeAll(bytes).records)
      for (let at = 0; at < Math.min(bytes.length, 400); at++) {
        const damaged = Buffer.from(bytes)
        damaged[at]! ^= 1 << at % 8
        const where = at < batches[0]!.length || name !== 'ours' ? at : at - batches[0]!.length
        let seen: string[] = []
        try {
          seen = texts(decodeAll(damaged).records)
        } catch (thrown) {
          expect(thrown, `${name} ${at}`).toBeInstanceOf(CorruptError)
          expect((thrown as CorruptError).details).toMatchObject({ topic: 't', partition: 7 })
          continue
        }
        // A longer second batch ends beyond the response: that is how a response is cut, and the next fetch begins with it.
        const isCut = where >= 8 && where < 12 && name === 'ours' && at !== where
        expect(unprotected(where) || isCut, `${name}: byte ${at} of ${bytes.length}`).toBe(true)
        expect(before.slice(0, seen.length)).toEqual(seen)
      }
    }
  })

  test('what stands before the damage is handed out first', () => {
    const damaged = Buffer.from(whole)
    damaged[damaged.length - 1]! ^= 1
    const seen: LogRecord[] = []
    const error = failureOf(() => {
      for (const { records } of decodeRecords({ topic: 't', partition: 7, bytes: damaged, aborted: [] }, 0, 9)) seen.push(...records)
    })
    expect(texts(seen)).toEqual(['zero', 'one'])
    expect(error).toBeInstanceOf(CorruptError)
    expect((error as CorruptError).details).toEqual({ topic: 't', partition: 7, from: 2, to: 4 })
    expect((error as CorruptError).message).toMatch(/does not match its checksum/)
  })

  test('a response that ends within a batch is read to there; one that begins with half a batch is damaged', () => {
    for (let cut = 0; cut < whole.length; cut++) {
      const bytes = whole.subarray(0, cut)
      if (cut >= batches[0]!.length) {
        expect(decodeAll(bytes)).toMatchObject({ to: 2, records: [{ offset: 0 }, { offset: 1 }] })
        expect(endOfBatches(bytes, 0)).toEqual({ next: 2, damaged: false })
      } else if (cut > 0) {
        expect(failureOf(() => decodeAll(bytes)), `cut at ${cut}`).toBeInstanceOf(CorruptError)
        expect(endOfBatches(bytes, 0)).toEqual({ next: 0, damaged: true })
      }
    }
  })

  test('bytes that carry a right checksum and are nonsense are a CorruptError, and never hang', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), fc.nat(4), fc.integer({ min: -3, max: 2 ** 31 - 1 }), (content, codec, count) => {
        const batch = Buffer.concat([whole.subarray(0, 61), content])
        batch.writeInt16BE(codec, 21)
        batch.writeInt32BE(count, 57)
        try {
          expect(decodeAll(sealed(batch)).records.length).toBe(count)
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(CorruptError)
        }
      }),
      { seed: testSeed(), numRuns: 3_000 },
    )
  })

  test.each([5, 6, 7])('an unknown codec (%i) is named with the partition and the range', (codec) => {
    const batch = batchOf([appendOf('a'), appendOf('b')], { baseOffset: 40 })
    batch.writeInt16BE(codec, 21)
    const error = failureOf(() => decodeAll(sealed(batch), 40)) as CorruptError
    expect(error).toBeInstanceOf(CorruptError)
    expect(error.message).toMatch(new RegExp(`codec ${codec}`))
    expect(error.details).toEqual({ topic: 't', partition: 7, from: 40, to: 42 })
  })

  test('a message format of before Kafka 0.11 is a CorruptError that says so', () => {
    const old = Buffer.from(whole)
    old[16] = 1
    expect(endOfBatches(old, 0)).toEqual({ next: 0, damaged: true })
    expect((failureOf(() => decodeAll(old)) as CorruptError).message).toMatch(/message format 1/)
  })
})

describe('bombs', () => {
  test('a record with 50,000 headers keeps the source of its ids and a note', () => {
    const headers: Record<string, string> = {}
    for (let n = 0; n < 50_000; n++) headers[`h${n}`] = ''
    headers[sourceHeader] = 'till-4'
    const { records } = decodeAll(batchOf([{ ...appendOf('sale'), headers }, appendOf('next')]))
    expect(texts(records)).toEqual(['sale', 'next'])
    expect(records[0]!.headers).toEqual({ [sourceHeader]: 'till-4', [omittedHeader]: expect.stringMatching(/^50001 headers of \d+ bytes$/) })
    expect(records[1]!.headers).toBeNull()
  })

  test('a header of a megabyte is left out with a note, and as many headers as allowed are kept', () => {
    const { records } = decodeAll(batchOf([{ ...appendOf('sale'), headers: { big: 'x'.repeat(1 << 20) } }]))
    expect(Object.keys(records[0]!.headers!)).toEqual([omittedHeader])
    const many = Object.fromEntries(Array.from({ length: headersMax }, (_, n) => [`h${n}`, `${n}`]))
    expect(decodeAll(batchOf([{ ...appendOf('sale'), headers: many }])).records[0]!.headers).toEqual(many)
  })

  test('header text that is not UTF-8 reads the same every time, and a name of the prototype is a name', () => {
    const batch = batchOf([{ ...appendOf('v'), headers: Object.fromEntries([['__proto__', 'ab']]) }])
    const at = batch.lastIndexOf('ab')
    batch[at] = 0xff
    const [first, second] = [decodeAll(sealed(batch)).records[0]!, decodeAll(sealed(batch)).records[0]!]
    expect(Object.entries(first.headers!)).toEqual([['__proto__', '\ufffdb']])
    expect(second).toEqual(first)
  })

  test.each(['gzip', 'zstd', 'snappy', 'lz4'] as const)('what %s would unpack beyond the limit is refused', (codec) => {
    const records = [appendOf('x'.repeat(200_000))]
    const batch = batchOf(records, { codec })
    const packed = batch.subarray(61)
    expect(unpack(codec, packed, 300_000).length).toBeGreaterThan(200_000)
    expect(() => unpack(codec, packed, 100_000)).toThrow()
  })

  test('a batch that would unpack to 160 MiB is a CorruptError', () => {
    const batch = Buffer.concat([batchOf([appendOf('a')]).subarray(0, 61), zstdCompressSync(Buffer.alloc(160 * 1024 * 1024))])
    batch.writeInt16BE(4, 21)
    const error = failureOf(() => decodeAll(sealed(batch))) as CorruptError
    expect(error).toBeInstanceOf(CorruptError)
    expect(error.message).toMatch(/zstd/)
  })
})

describe('times and offsets at their limits', () => {
  /** A record as bytes: its own time and offset, and the value `v`. */
  function recordOf(timeDelta: bigint, offsetDelta: number): Buffer {
    const body = Buffer.concat([Buffer.from([0]), varint(timeDelta), varint(BigInt(offsetDelta)), varint(-1n), varint(1n), Buffer.from('v'), varint(0n)])
    return Buffer.concat([varint(BigInt(body.length)), body])
  }

  function varint(value: bigint): Buffer {
    let left = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
    const bytes: number[] = []
    while (left >= 0x80n) {
      bytes.push(Number(left & 0x7fn) | 0x80)
      left >>= 7n
    }
    return Buffer.from([...bytes, Number(left)])
  }

  /** Three records' header with this content in their place. */
  function withContent(...records: readonly Buffer[]): Buffer {
    const batch = batchOf(['a', 'b', 'c'].map((value) => appendOf(value)), { baseOffset: 10 })
    return sealed(Buffer.concat([batch.subarray(0, 61), ...records]))
  }

  test.each([2n ** 31n, 2n ** 53n, 2n ** 55n, -(2n ** 55n), 2n ** 62n, -(2n ** 62n), 2n ** 63n - 1n, -(2n ** 63n)])('a record whose time is %s ms from the first is read, and its neighbours too', (delta) => {
    const { records } = decodeAll(withContent(recordOf(0n, 0), recordOf(delta, 1), recordOf(5n, 2)))
    expect(records.map(({ offset }) => offset)).toEqual([10, 11, 12])
    for (const { logTimeMs, value } of records) {
      expect(Number.isSafeInteger(logTimeMs) && logTimeMs >= 0).toBe(true)
      expect(Buffer.from(value).toString()).toBe('v')
    }
  })

  test.each([
    ['below the first', [0, -1, 2]],
    ['beyond the last', [0, 1, 3]],
    ['twice', [0, 0, 2]],
    ['going back', [1, 0, 2]],
  ])('an offset %s is damage, also of a record that nobody asked for', (_what, deltas) => {
    const bytes = withContent(...deltas.map((delta) => recordOf(0n, delta)))
    expect(() => decodeAll(bytes, 10)).toThrow(CorruptError)
    expect(() => decodeAll(bytes, 12)).toThrow(CorruptError)
  })

  test('a number of eleven bytes is damage', () => {
    const long = Buffer.from([...Array<number>(10).fill(0x80), 0])
    const body = Buffer.concat([Buffer.from([0]), long, varint(1n), varint(-1n), varint(1n), Buffer.from('v'), varint(0n)])
    expect(() => decodeAll(withContent(recordOf(0n, 0), Buffer.concat([varint(BigInt(body.length)), body]), recordOf(0n, 2)))).toThrow(CorruptError)
  })
})
