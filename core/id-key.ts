/**
 * The ledger's key of a (source, event id): 128 bits, exact for whole numbers and UUIDs (the map is injective within a source), MurmurHash3
 * x86_128 for other texts. And a 32-bit checksum of an event's decoded fields, to tell a copy from a conflict.
 * Written into typed arrays: at half a million events a second, an object per key is what costs.
 */
import type { ShopEvent } from './events.ts'

const sourceLanes = new Map<string, Uint32Array>()
const sourceLanesMax = 10_000

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}

function finalMix(value: number): number {
  let h = value
  h ^= h >>> 16
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return h ^ (h >>> 16)
}

/** Mixes four lanes in place; every step can be undone, so different lanes stay different. */
function mixLanes(out: Uint32Array, at: number, a: number, b: number, c: number, d: number): void {
  let h1 = a
  let h2 = b
  let h3 = c
  let h4 = d
  h1 = (h1 + h2 + h3 + h4) | 0
  h2 = (h2 + h1) | 0
  h3 = (h3 + h1) | 0
  h4 = (h4 + h1) | 0
  h1 = finalMix(h1)
  h2 = finalMix(h2)
  h3 = finalMix(h3)
  h4 = finalMix(h4)
  h1 = (h1 + h2 + h3 + h4) | 0
  h2 = (h2 + h1) | 0
  h3 = (h3 + h1) | 0
  h4 = (h4 + h1) | 0
  out[at] = h1
  out[at + 1] = h2
  out[at + 2] = h3
  out[at + 3] = h4
}

const c1 = 0x239b961b
const c2 = 0xab0e9789
const c3 = 0x38b34ae5
const c4 = 0xa1e38b93

/** MurmurHash3 x86_128 over the text's UTF-16 units, two to a word, seeded by the source's lanes. */
function hashText(text: string, seed: Uint32Array | null, out: Uint32Array, at: number): void {
  let h1 = seed === null ? 0 : seed[0]!
  let h2 = seed === null ? 0 : seed[1]!
  let h3 = seed === null ? 0 : seed[2]!
  let h4 = seed === null ? 0 : seed[3]!
  const length = text.length
  const whole = length - (length % 8)
  let i = 0
  // Reading past the end gives NaN, which makes every value a double; so whole blocks first, then what is left.
  for (; i < whole; i += 8) {
    const k1 = text.charCodeAt(i) | (text.charCodeAt(i + 1) << 16)
    const k2 = text.charCodeAt(i + 2) | (text.charCodeAt(i + 3) << 16)
    const k3 = text.charCodeAt(i + 4) | (text.charCodeAt(i + 5) << 16)
    const k4 = text.charCodeAt(i + 6) | (text.charCodeAt(i + 7) << 16)
    h1 ^= Math.imul(rotate(Math.imul(k1, c1), 15), c2)
    h1 = (Math.imul((rotate(h1, 19) + h2) | 0, 5) + 0x561ccd1b) | 0
    h2 ^= Math.imul(rotate(Math.imul(k2, c2), 16), c3)
    h2 = (Math.imul((rotate(h2, 17) + h3) | 0, 5) + 0x0bcaa747) | 0
    h3 ^= Math.imul(rotate(Math.imul(k3, c3), 17), c4)
    h3 = (Math.imul((rotate(h3, 15) + h4) | 0, 5) + 0x96cd1c35) | 0
    h4 ^= Math.imul(rotate(Math.imul(k4, c4), 18), c1)
    h4 = (Math.imul((rotate(h4, 13) + h1) | 0, 5) + 0x32ac3b17) | 0
  }
  if (i < length) h1 ^= Math.imul(rotate(Math.imul(unitsAt(text, i, length), c1), 15), c2)
  if (i + 2 < length) h2 ^= Math.imul(rotate(Math.imul(unitsAt(text, i + 2, length), c2), 16), c3)
  if (i + 4 < length) h3 ^= Math.imul(rotate(Math.imul(unitsAt(text, i + 4, length), c3), 17), c4)
  if (i + 6 < length) h4 ^= Math.imul(rotate(Math.imul(unitsAt(text, i + 6, length), c4), 18), c1)
  mixLanes(out, at, h1 ^ length, h2 ^ length, h3 ^ length, h4 ^ length)
}

/** One or two units at `at`. */
function unitsAt(text: string, at: number, length: number): number {
  return at + 1 < length ? text.charCodeAt(at) | (text.charCodeAt(at + 1) << 16) : text.charCodeAt(at)
}

function lanesOfSource(source: string): Uint32Array {
  const known = sourceLanes.get(source)
  if (known !== undefined) return known
  if (sourceLanes.size >= sourceLanesMax) sourceLanes.clear()
  const lanes = new Uint32Array(4)
  hashText(source, null, lanes, 0)
  sourceLanes.set(source, lanes)
  return lanes
}

/** Up to 15 digits without leading zero: exact in a number. */
function wholeNumber(text: string): number {
  const length = text.length
  if (length === 0 || length > 15 || (length > 1 && text.charCodeAt(0) === 48)) return -1
  let value = 0
  for (let i = 0; i < length; i++) {
    const digit = text.charCodeAt(i) - 48
    if (digit < 0 || digit > 9) return -1
    value = value * 10 + digit
  }
  return value
}

/** With a version: the nibble that is 0 in the key of a whole number keeps the two apart. */
const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** Writes the four lanes of the key at `out[at…at+3]`. The first two are the id hash of the cross-check. */
export function writeIdKey(source: string, eventId: string, out: Uint32Array, at: number): void {
  const lanes = lanesOfSource(source)
  const whole = wholeNumber(eventId)
  if (whole >= 0) {
    mixLanes(out, at, lanes[0]!, lanes[1]!, lanes[2]! ^ (whole / 0x1_0000_0000), lanes[3]! ^ (whole >>> 0))
  } else if (eventId.length === 36 && uuidPattern.test(eventId)) {
    mixLanes(
      out,
      at,
      ~lanes[0]! ^ parseInt(eventId.slice(0, 8), 16),
      lanes[1]! ^ parseInt(eventId.slice(9, 13) + eventId.slice(14, 18), 16),
      lanes[2]! ^ parseInt(eventId.slice(19, 23) + eventId.slice(24, 28), 16),
      lanes[3]! ^ parseInt(eventId.slice(28, 36), 16),
    )
  } else hashText(eventId, lanes, out, at)
}

const scratch = new Uint32Array(4)

/** The id hash as the archive stores it: two unsigned 32-bit halves, so that their sums are exact in any engine's BIGINT. */
export function idHash(source: string, eventId: string): { hi: number; lo: number } {
  writeIdKey(source, eventId, scratch, 0)
  return { hi: scratch[0]!, lo: scratch[1]! }
}

function mixText(hash: number, text: string): number {
  const length = text.length
  let h = Math.imul(hash ^ length, 0x9e3779b1)
  const last = length - 1
  for (let i = 0; i < last; i += 2) {
    h = Math.imul(h ^ (text.charCodeAt(i) | (text.charCodeAt(i + 1) << 16)), 0x85ebca6b)
    h ^= h >>> 15
  }
  if (length % 2 === 1) h = Math.imul(h ^ text.charCodeAt(last), 0x85ebca6b)
  return h ^ (h >>> 15)
}

function mixHash(hash: number, added: number): number {
  const h = Math.imul(hash ^ added, 0xc2b2ae35)
  return h ^ (h >>> 16)
}

function mixNumber(hash: number, value: number): number {
  const low = value | 0
  // Most fields fit 32 bits; times and large amounts bring their upper half too.
  const h = Math.imul(hash ^ low, 0x9e3779b1)
  return low === value ? h ^ (h >>> 16) : finalMix(h ^ Math.floor(value / 0x1_0000_0000))
}

/**
 * An unsigned 32-bit checksum of everything an event says except its id, its source and what depends on its position (`late`). Equal
 * fields give equal checksums whatever the bytes were.
 */
export function fieldsChecksum(event: ShopEvent): number {
  let h = event.kind === 'sale' ? 0x811c9dc5 : 0x2f0b4c47
  // Only events of one id are compared, so an order id that is the event id says nothing.
  h = event.orderId === event.eventId ? mixHash(h, 1) : mixText(h, event.orderId)
  h = mixText(h, event.userId)
  h = mixHash(h, mixText(0, event.productId))
  h = mixHash(h, mixText(0, event.productName))
  h = mixHash(h, mixText(0, event.category))
  h = mixHash(h, mixText(0, event.city))
  h = mixHash(h, mixText(0, event.currency))
  h = mixHash(h, event.brand === null ? 0 : mixText(0, event.brand) | 1)
  h = event.refundOf === null ? mixHash(h, 0) : mixText(h, event.refundOf)
  h = mixNumber(h, event.orderLine)
  h = mixNumber(h, event.quantity)
  h = mixNumber(h, event.unitPriceMinor ?? -1)
  h = mixNumber(h, event.discountMinor)
  h = mixNumber(h, event.taxMinor)
  h = mixNumber(h, event.shippingMinor)
  h = mixNumber(h, event.totalMinor)
  h = mixNumber(h, event.eventTimeMs)
  h = mixNumber(h, event.saleDay ?? -1_000_000)
  return h >>> 0
}
