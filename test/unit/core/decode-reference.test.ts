/** Records of users and products: what is read of them, and why one is refused. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeReference, referenceId, referenceTopics } from '#core/decode-reference.ts'
import { refusalReasons } from '#core/events.ts'

const decode = (topic: 'users' | 'products', value: unknown) => decodeReference(topic, { value: Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)) })

describe('a record of a product', () => {
  test('has an id and a name, and what else is known', () => {
    expect(decode('products', { productId: 2001, name: 'Café', category: 'Food', brand: 'Acme', weight: [1] })).toEqual({
      reference: { kind: 'product', productId: '2001', name: 'Café', category: 'Food', brand: 'Acme' },
    })
    expect(decode('products', { productId: 'p', productName: 'As events have it', category: ' ', brand: null })).toEqual({
      reference: { kind: 'product', productId: 'p', name: 'As events have it', category: null, brand: null },
    })
  })

  test.each([
    ['{"productId":"p"}', 'missing-field', 'name'],
    ['{"name":"n"}', 'missing-field', 'productId'],
    ['{"productId":["p"],"name":"n"}', 'mistyped-field', 'productId'],
    ['{"productId":"p","name":"n\\u202e"}', 'forbidden-character', 'name'],
    [`{"productId":"${'p'.repeat(257)}","name":"n"}`, 'too-long', 'productId'],
    ['{"productId":"p","productId":"q","name":"n"}', 'unreadable', 'a key is given twice'],
    ['2001,Laptop', 'unreadable', 'not valid JSON'],
    ['[]', 'unreadable', 'a JSON object is expected'],
    ['', 'unreadable', 'not valid JSON'],
  ])('%s is refused', (text, reason, detail) => {
    expect(decode('products', text)).toEqual({ refusal: { reason, detail } })
  })
})

test('a record of a user has an id, and may have a name, an address and a city', () => {
  expect(decode('users', { userId: 1001, name: 'Ada', email: 'ada@example.com', city: 'London' })).toEqual({
    reference: { kind: 'user', userId: '1001', name: 'Ada', email: 'ada@example.com', city: 'London' },
  })
  expect(decode('users', { userId: 'u' })).toEqual({ reference: { kind: 'user', userId: 'u', name: null, email: null, city: null } })
  expect(referenceId('users', { value: Buffer.from('{"userId":7}') })).toBe('7')
  expect(referenceId('users', { value: Buffer.from('{}') })).toBeNull()
})

test('any bytes are a record or have a reason', () => {
  fc.assert(
    fc.property(fc.constantFrom(...referenceTopics), fc.oneof(fc.uint8Array(), fc.json().map((text) => Buffer.from(text))), (topic, value) => {
      const decoded = decodeReference(topic, { value })
      if ('refusal' in decoded) expect(refusalReasons).toContain(decoded.refusal.reason)
      else expect(decoded.reference.kind).toBe(topic === 'users' ? 'user' : 'product')
    }),
  )
})
