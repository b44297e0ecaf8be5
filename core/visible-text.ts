/**
 * Bytes as text that hides nothing: what is not valid UTF-8 shows as `\xff`, control and bidirectional characters as `\u202e`, a backslash as two. So
 * different bytes are different texts, and a terminal or a page shows them without obeying them.
 */

// oxlint-disable-next-line no-control-regex -- what a terminal would obey is the point
const concealed = /[\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\\]/g
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function visibleText(bytes: Uint8Array): string {
  let text = ''
  let from = 0
  while (from < bytes.length) {
    const to = validUpTo(bytes, from)
    if (to > from) text += strictDecoder.decode(bytes.subarray(from, to)).replace(concealed, escaped)
    if (to < bytes.length) text += `\\x${bytes[to]!.toString(16).padStart(2, '0')}`
    from = to + 1
  }
  return text
}

function escaped(character: string): string {
  return character === '\\' ? '\\\\' : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** The first byte from there on that is not part of a whole, shortest, assigned-range sequence (RFC 3629). */
function validUpTo(bytes: Uint8Array, from: number): number {
  let at = from
  while (at < bytes.length) {
    const length = sequenceLength(bytes, at)
    if (length === 0) return at
    at += length
  }
  return at
}

/** 0 where no valid sequence begins. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at]!
  if (lead < 0x80) return 1
  const length = lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0
  if (length === 0 || at + length > bytes.length) return 0
  const second = bytes[at + 1]!
  // Overlong forms, surrogates, and what lies above U+10FFFF.
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
  if (second < least || second > most) return 0
  for (let i = 2; i < length; i++) if ((bytes[at + i]! & 0xc0) !== 0x80) return 0
  return length
}
