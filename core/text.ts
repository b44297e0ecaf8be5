/** What text may stand in an event: NFC, no control or bidirectional-override characters, no lone surrogates, bounded in UTF-8 bytes. */
import type { RefusalReason } from './events.ts'

/** A dimension of a view: city, category, product id. */
export const dimensionBytesMax = 256
/** Names are labels and no part of any key, so they may be longer. */
export const labelBytesMax = 1024

const plainAscii = /^[\x20-\x7e]*$/
// oxlint-disable-next-line no-control-regex -- finding control characters is the point
const forbidden = /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]|\p{Surrogate}/u
const encoder = new TextEncoder()
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function isPlainAscii(text: string): boolean {
  return plainAscii.test(text)
}

/** Null where the bytes are not valid UTF-8. A byte-order mark stays in the text. */
export function decodeUtf8(bytes: Uint8Array): string | null {
  try {
    return strictDecoder.decode(bytes)
  } catch {
    return null
  }
}

/** Why this text may not stand in an event, or null. */
export function textFault(text: string, bytesMax: number): RefusalReason | null {
  if (plainAscii.test(text)) return text.length > bytesMax ? 'too-long' : null
  if (forbidden.test(text)) return 'forbidden-character'
  // A UTF-16 unit takes at most three bytes, so short texts need no counting.
  if (text.length * 3 <= bytesMax) return null
  return text.length > bytesMax || encoder.encode(text).length > bytesMax ? 'too-long' : null
}

/** UUIDs are compared in lower case; every other id bytewise as it is. */
export function normaliseId(id: string): string {
  return id.length === 36 && uuid.test(id) ? id.toLowerCase() : id
}
const uuid = /^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$/
