/**
 * The records of the topics `users` and `products`: what is known of a user or a product from there on, as one JSON object. Names for people, and no part of
 * any figure. Like the decoder of events it is total and pure, and unknown extra fields are accepted: they stay in the kept bytes.
 *
 *     {"productId":"2001","name":"Laptop","category":"Electronics","brand":"Acme"}
 *     {"userId":"1001","name":"Ada","email":"ada@example.com","city":"London"}
 */
import type { Fields } from './decode-json.ts'
import { parseObject } from './decode-json.ts'
import type { RecordToDecode } from './decode.ts'
import { recordBytesMax } from './decode.ts'
import type { Refusal, RefusalReason } from './events.ts'
import { decodeUtf8, dimensionBytesMax, labelBytesMax, textFault } from './text.ts'

export const usersTopic = 'users'
export const productsTopic = 'products'
export const referenceTopics = [usersTopic, productsTopic] as const
export type ReferenceTopic = (typeof referenceTopics)[number]

export type ReferenceUser = { readonly kind: 'user'; readonly userId: string; readonly name: string | null; readonly email: string | null; readonly city: string | null }
export type ReferenceProduct = { readonly kind: 'product'; readonly productId: string; readonly name: string; readonly category: string | null; readonly brand: string | null }
export type Reference = ReferenceUser | ReferenceProduct

export type DecodedReference = { readonly reference: Reference } | { readonly refusal: Refusal }

export function isReferenceTopic(topic: string): topic is ReferenceTopic {
  return (referenceTopics as readonly string[]).includes(topic)
}

export function decodeReference(topic: ReferenceTopic, { value }: Pick<RecordToDecode, 'value'>): DecodedReference {
  if (value.length > recordBytesMax) return { refusal: { reason: 'too-large', detail: `${value.length} bytes; at most ${recordBytesMax}` } }
  const text = decodeUtf8(value)
  if (text === null) return { refusal: { reason: 'unreadable', detail: 'not valid UTF-8' } }
  const parsed = parseObject(text)
  if ('refusal' in parsed) return parsed
  const reader = new FieldReader(parsed.fields)
  const reference = topic === usersTopic ? readUser(reader) : readProduct(reader)
  return reader.fault === null ? { reference } : { refusal: reader.fault }
}

/** The id, which also keys the record in the log; null where the record is refused. */
export function referenceId(topic: ReferenceTopic, record: Pick<RecordToDecode, 'value'>): string | null {
  const decoded = decodeReference(topic, record)
  if ('refusal' in decoded) return null
  return decoded.reference.kind === 'user' ? decoded.reference.userId : decoded.reference.productId
}

// Ids stand as events have them, or no product of a sale would be found.
function readUser(reader: FieldReader): ReferenceUser {
  return {
    kind: 'user',
    userId: reader.required('userId', dimensionBytesMax),
    name: reader.optional('name', labelBytesMax),
    email: reader.optional('email', labelBytesMax),
    city: reader.optional('city', dimensionBytesMax),
  }
}

function readProduct(reader: FieldReader): ReferenceProduct {
  return {
    kind: 'product',
    productId: reader.required('productId', dimensionBytesMax),
    name: reader.optional('productName', labelBytesMax) ?? reader.required('name', labelBytesMax),
    category: reader.optional('category', dimensionBytesMax),
    brand: reader.optional('brand', dimensionBytesMax),
  }
}

/** The first fault stands. */
class FieldReader {
  readonly #fields: Fields
  fault: Refusal | null = null

  constructor(fields: Fields) {
    this.#fields = fields
  }

  required(name: string, bytesMax: number): string {
    const text = this.optional(name, bytesMax)
    if (text === null) this.#refuse('missing-field', name)
    return text ?? ''
  }

  optional(name: string, bytesMax: number): string | null {
    let value = Object.hasOwn(this.#fields, name) ? this.#fields[name] : null
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) value = String(value)
    if (value === null) return null
    if (typeof value !== 'string') {
      this.#refuse('mistyped-field', name)
      return null
    }
    if (value.trim() === '') return null
    const normal = value.normalize('NFC')
    const fault = textFault(normal, bytesMax)
    if (fault !== null) this.#refuse(fault, name)
    return normal
  }

  #refuse(reason: RefusalReason, detail: string): void {
    this.fault ??= { reason, detail }
  }
}
