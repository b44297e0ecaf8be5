import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { CorruptError } from '#core/errors.ts'
import { decodeFrame, encodeFrame, type FrameRecord } from '#engines/log-frames.ts'

const place = (count: number, baseOffset = 0, baseLogTimeMs = 0) => ({ partition: 3, baseOffset, nextOffset: baseOffset + count, baseLogTimeMs })

describe('log frames', () => {
  test('have this form', () => {
    // Written by hand from the form in the file's header, the checksum by another CRC-32.
    const golden = Buffer.from('01' + '2acc61c9' + '0004' + '6162' + 'ac02' + '01' + '01' + '0178' + '0179', 'hex')
    const records: FrameRecord[] = [
      { value: Buffer.from('ab'), headers: null, logTimeMs: 1_000 },
      { value: Buffer.alloc(0), headers: { x: 'y' }, logTimeMs: 1_300 },
    ]
    expect(encodeFrame(records).toString('hex')).toBe(golden.toString('hex'))
    expect(decodeFrame(golden, place(2, 7, 1_000), 0, 100)).toEqual([
      { offset: 7, logTimeMs: 1_000, value: Buffer.from('ab'), headers: null },
      { offset: 8, logTimeMs: 1_300, value: Buffer.alloc(0), headers: { x: 'y' } },
    ])
  })

  test('come back as they were, and any part of them', () => {
    const text = fc.string({ unit: 'grapheme' })
    const record = fc.record({
      value: fc.uint8Array({ maxLength: 300 }),
      headers: fc.option(fc.dictionary(text, text, { minKeys: 1, maxKeys: 4, noNullPrototype: true }), { nil: null }),
      laterMs: fc.oneof(fc.nat(3), fc.nat(1_000_000), fc.constant(2 ** 50)),
    })
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 8 }), fc.nat(10), fc.nat(10), (raw, from, to) => {
        let logTimeMs = 0
        const records = raw.map(({ value, headers, laterMs }) => ({ value, headers, logTimeMs: (logTimeMs += laterMs) }))
        const at = place(records.length, 2 ** 52, records[0]!.logTimeMs)
        const decoded = decodeFrame(encodeFrame(records), at, at.baseOffset + from, at.baseOffset + to)
        const expected = records.map((each, index) => ({ ...each, offset: at.baseOffset + index })).filter((_, index) => index >= from && index < to)
        expect(decoded.map((each) => ({ ...each, value: [...each.value] }))).toEqual(expected.map((each) => ({ ...each, value: [...each.value] })))
      }),
    )
  })

  test('take the header names that objects treat specially', () => {
    const headers = Object.fromEntries([['__proto__', 'a'], ['constructor', 'b']])
    const [read] = decodeFrame(encodeFrame([{ value: Buffer.from('v'), headers, logTimeMs: 0 }]), place(1), 0, 1)
    expect(Object.entries(read!.headers!)).toEqual([['__proto__', 'a'], ['constructor', 'b']])
  })

  test('show every changed byte, every cut and every wrong count', () => {
    const frame = encodeFrame([0, 1, 2].map((i) => ({ value: Buffer.from(`value ${i}`), headers: i === 1 ? { a: 'b' } : null, logTimeMs: i })))
    for (let at = 0; at < frame.length; at += 1) {
      const changed = Buffer.from(frame)
      changed[at]! ^= 1
      expect(() => decodeFrame(changed, place(3), 0, 3), `byte ${at}`).toThrow(CorruptError)
    }
    for (let length = 0; length < frame.length; length += 1) {
      expect(() => decodeFrame(frame.subarray(0, length), place(3), 0, 3), `length ${length}`).toThrow(CorruptError)
    }
    expect(() => decodeFrame(frame, place(2), 0, 2)).toThrow(CorruptError)
    expect(() => decodeFrame(frame, place(4), 0, 4)).toThrow(CorruptError)
  })
})
