import { expect, test } from 'vitest'
import { decoderOf, openDecoder } from '#core/decode.ts'
import { namesUser } from '#core/names-user.ts'

test.each([
  ['a JSON text', '{"userId":"u-1","quantity":-1}', true],
  ['a JSON number', '{"userId":1001}', false],
  ['a field of another name', '{"customer":"u-1"}', false],
  ['any depth', '{"order":{"lines":[{"userId":"u-1"}]}}', true],
  ['an escape', String.raw`{"userId":"\u0075-1"}`, true],
  ['broken JSON', '{"userId": "u-1","quantity":', true],
  ['broken JSON of a longer id', '{"userId":"u-12","quantity":', false],
  ['the second field of a line', '1,u-1,P1,Lamp', true],
  ['a quoted second field', '1,"u-1",P1,Lamp', true],
  ['another field of a line', 'u-1,7,u-1,Lamp', false],
  ['a longer id in a line', '1,u-12,P1,Lamp', false],
  ['invalid UTF-8 behind it', '1,u-1,\u{fffd}', true],
])('the person u-1 in %s', (_name, text, expected) => {
  expect(namesUser(Buffer.from(text), 'u-1')).toBe(expected)
})

test('a number in JSON is the id of its digits, and another spelling of a name is the name', () => {
  expect(namesUser(Buffer.from('{"userId":1001}'), '1001')).toBe(true)
  expect(namesUser(Buffer.from('{"userId":"Zu\u0308rich"}'), 'Zürich')).toBe(true)
})

test('a logic version names its decoder, unless it is of another version of the code', () => {
  const { logicVersion } = openDecoder({ zone: 'Pacific/Auckland', currency: 'KWD' })
  expect(decoderOf(logicVersion)?.logicVersion).toBe(logicVersion)
  expect(decoderOf(logicVersion.replace('decode 1', 'decode 0'))).toBeNull()
  expect(decoderOf('other')).toBeNull()
})
