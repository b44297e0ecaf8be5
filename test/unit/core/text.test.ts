import { describe, expect, test } from 'vitest'
import { decodeUtf8, dimensionBytesMax, isPlainAscii, normaliseId, textFault } from '#core/text.ts'

describe('textFault', () => {
  test.each(['London', 'القاهرة', '東京', 'Zürich', '🛍️', 'a\u200db', 'a\u200eb', "O'Brien; DROP TABLE", '\\N', ' '])('lets %j stand', (text) => {
    expect(textFault(text, dimensionBytesMax)).toBeNull()
  })

  test.each(['a\u0000', 'a\tb', 'a\nb', '\u007f', '\u0085', '\u202e', '\u202a', '\u2066', '\u2069', '\ud800', 'a\udc00b'])('forbids %j', (text) => {
    expect(textFault(text, dimensionBytesMax)).toBe('forbidden-character')
  })

  test('counts bytes and not characters', () => {
    expect(textFault('x'.repeat(256), 256)).toBeNull()
    expect(textFault('x'.repeat(257), 256)).toBe('too-long')
    expect(textFault('é'.repeat(128), 256)).toBeNull()
    expect(textFault('é'.repeat(129), 256)).toBe('too-long')
    expect(textFault('🛍'.repeat(64), 256)).toBeNull()
    expect(textFault('🛍'.repeat(65), 256)).toBe('too-long')
  })
})

test('bytes that are no UTF-8 are no text', () => {
  for (const bytes of [[0xff], [0xc3], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80]]) expect(decodeUtf8(Uint8Array.from(bytes))).toBeNull()
  expect(decodeUtf8(Buffer.from('Zürich 東京 🛍'))).toBe('Zürich 東京 🛍')
  expect(decodeUtf8(Uint8Array.from([0xef, 0xbb, 0xbf, 0x61]))).toBe('\ufeffa')
})

test('a UUID is compared in lower case, and nothing else is changed', () => {
  expect(normaliseId('123E4567-E89B-42D3-A456-426614174000')).toBe('123e4567-e89b-42d3-a456-426614174000')
  for (const id of ['ABC', '01', 'Z23E4567-E89B-42D3-A456-426614174000', '123E4567E89B42D3A456426614174000']) expect(normaliseId(id)).toBe(id)
})

test('plain ASCII is printable ASCII', () => {
  expect(isPlainAscii('Laptop, 15"')).toBe(true)
  for (const text of ['a\n', 'é', '\u007f', '\u0000']) expect(isPlainAscii(text)).toBe(false)
})
