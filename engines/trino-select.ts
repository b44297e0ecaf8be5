/** What may be sent to Trino as a query. Trino's own parser refuses a second statement and parameters. */
import { InvalidRequestError } from '#core/errors.ts'

/** Blanks and comments before the first word. */
const leading = /^(?:\s|--[^\n]*(?:\n|$)|\/\*[^]*?\*\/)*/
const beginning = /^(?:select|with)\b/i
/** The tokens between which a semicolon may stand at the end. */
const token = /--[^\n]*(?:\n|$)|\/\*[^]*?\*\/|'(?:[^']|'')*'|"(?:[^"]|"")*"|[^]/g

/**
 * The text without a semicolon at its end. A statement of Trino that begins with SELECT or WITH is a query and changes nothing. Throws
 * InvalidRequestError for any other.
 */
export function checkSelect(select: string): string {
  const text = select.replace(leading, '')
  if (!beginning.test(text)) throw new InvalidRequestError('The query engine runs one SELECT without parameters: correct the SQL', { select })
  let end = 0
  let last = ''
  let at = 0
  for (const [piece] of text.matchAll(token)) {
    at += piece.length
    if (/^\s$|^--|^\/\*/.test(piece)) continue
    if (last === ';') throw new InvalidRequestError('The query engine runs one SELECT, and this text goes on behind a semicolon: correct the SQL', { select })
    last = piece
    end = at
  }
  return last === ';' ? text.slice(0, end - 1) : text
}

/** Whether the text names the table, or might: a word is enough. */
export function mentions(select: string, table: string): boolean {
  return new RegExp(`(?<![A-Za-z0-9_])${table}(?![A-Za-z0-9_])`, 'i').test(select)
}
