/** Bytes as text that hides nothing. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { visibleText } from '#core/visible-text.ts'

test.each([
  ['plain', Buffer.from('1,"Café",ελ 漢 🙂'), '1,"Café",ελ 漢 🙂'],
  ['a backslash', Buffer.from('a\\b'), 'a\\\\b'],
  ['what a terminal would obey', Buffer.from('a\u001b[2Jb\u202ec\n'), 'a\\u001b[2Jb\\u202ec\\u000a'],
  ['bytes that begin nothing', Buffer.from([0x61, 0xff, 0x80, 0x62]), 'a\\xff\\x80b'],
  ['a sequence that is cut off', Buffer.from([0xe2, 0x82]), '\\xe2\\x82'],
  ['a surrogate', Buffer.from([0xed, 0xa0, 0x80]), '\\xed\\xa0\\x80'],
  ['an overlong form', Buffer.from([0xc0, 0xaf, 0xe0, 0x80, 0xaf]), '\\xc0\\xaf\\xe0\\x80\\xaf'],
  ['beyond the last character', Buffer.from([0xf4, 0x90, 0x80, 0x80]), '\\xf4\\x90\\x80\\x80'],
  ['a byte-order mark', Buffer.from('\ufeffa'), '\\ufeffa'],
])('%s', (_what, bytes, text) => {
  expect(visibleText(bytes)).toBe(text)
})

/** The bytes that a text stands for. */
function bytesOf(text: string): Buffer {
  const parts = text.match(/\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\\\|[^\\]+/g) ?? []
  return Buffer.concat(
    parts.map((part) => {
      if (part.startsWith('\\x')) return Buffer.from(part.slice(2), 'hex')
      if (part.startsWith('\\u')) return Buffer.from(String.fromCharCode(Number.parseInt(part.slice(2), 16)))
      return Buffer.from(part === '\\\\' ? '\\' : part)
    }),
  )
}

test('other bytes are another text: each text gives its bytes back', () => {
  const bytes = fc.oneof(fc.uint8Array(), fc.string({ unit: 'binary' }).map((text) => new Uint8Array(Buffer.from(text))))
  fc.assert(
    fc.property(bytes, (given) => {
      expect(bytesOf(visibleText(given)).toString('hex')).toBe(Buffer.from(given).toString('hex'))
    }),
  )
})
