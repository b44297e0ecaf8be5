/**
 * The one decode function of both layers: (bytes, log time, settings) → accepted events or a refusal with its reason. It is total, it
 * is pure, and no record's outcome depends on its neighbours. A change of what it answers needs a new `decodeVersion`.
 */
import { openCalendar } from './calendar.ts'
import type { DecodeContext } from './decode-context.ts'
import { refuse } from './decode-context.ts'
import { decodeJson } from './decode-json.ts'
import { decodeLine } from './decode-line.ts'
import type { Decoded, ShopSettings } from './events.ts'
import { currencyExponent } from './money.ts'
import { decodeUtf8, isPlainAscii } from './text.ts'

export const decodeVersion = 1

/** A record above this is refused whole; its bytes are kept like any other's. */
export const recordBytesMax = 1_048_576
/** The record header that names the source of its ids. */
export const sourceHeader = 'tidemark-source'

export type RecordToDecode = {
  readonly value: Uint8Array
  readonly logTimeMs: number
  readonly headers: Readonly<Record<string, string>> | null
}

export type Decoder = {
  /** What the outcome depends on, as text: stored with every epoch. */
  readonly logicVersion: string
  /** `topic` names the source of ids where neither the event nor its record does. */
  decode(record: RecordToDecode, topic: string): Decoded
}

/** The decoder that a logic version names; null where that was another version of this code. */
export function decoderOf(logicVersion: string): Decoder | null {
  const [, version, zone, currency] = /^decode (\d+); zone (.+); currency ([A-Z]{3})$/.exec(logicVersion) ?? []
  return zone === undefined || currency === undefined || Number(version) !== decodeVersion ? null : openDecoder({ zone, currency })
}

/** Throws RangeError for an unknown zone or currency: settings are checked before they come here. */
export function openDecoder(settings: ShopSettings): Decoder {
  const exponent = currencyExponent(settings.currency)
  if (exponent === undefined) throw new RangeError(`${settings.currency} is no ISO 4217 currency.`)
  const context: DecodeContext = { calendar: openCalendar(settings.zone), currency: settings.currency, currencyExponent: exponent }
  return {
    logicVersion: `decode ${decodeVersion}; zone ${settings.zone}; currency ${settings.currency}`,
    decode(record, topic) {
      const { value } = record
      if (value.length > recordBytesMax) return refuse('too-large', `${value.length} bytes; at most ${recordBytesMax}`)
      const source = (record.headers?.[sourceHeader] ?? topic).normalize('NFC')
      // Nearly all records are printable ASCII, where Latin-1 is the same text at a fraction of the price of a checked decoding.
      const latin = latin1Slice.call(value, 0, value.length)
      const plain = isPlainAscii(latin)
      const text = plain || ascii.test(latin) ? latin : decodeUtf8(value)
      if (text === null) return refuse('unreadable', 'not valid UTF-8')
      const first = text.charCodeAt(0)
      if (first === 0xfeff) return refuse('unreadable', 'begins with a byte-order mark')
      // A line begins with its id; only JSON begins with a brace or white space.
      return first === 123 || first === 32 || first === 10 || first === 13 || first === 9
        ? decodeJson(text, source, record.logTimeMs, context)
        : decodeLine(text, plain, source, record.logTimeMs, context)
    },
  }
}

/** The method behind `buffer.latin1Slice`, which takes any byte view without making a Buffer of it first. */
const { latin1Slice } = Buffer.prototype as unknown as { readonly latin1Slice: (this: Uint8Array, start: number, end: number) => string }
// oxlint-disable-next-line no-control-regex -- every ASCII character is meant
const ascii = /^[\x00-\x7f]*$/
