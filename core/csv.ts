/** CSV after RFC 4180: lines end with CR LF, UTF-8 with a mark so that a spreadsheet reads it as such. Pure. */

/** A spreadsheet runs a cell that begins with one of these as a formula. After OWASP, "CSV Injection". */
const formulaStart = /^[=+\-@\t\r]/

/** Text that somebody else wrote: never a formula. Null is an empty cell. */
export function textCell(text: string | null): string {
  if (text === null) return ''
  return quoted(formulaStart.test(text) ? `'${text}` : text)
}

/** A number of ours, with `.` and no separators. Null is an empty cell. */
export function numberCell(value: number | bigint | string | null): string {
  return value === null ? '' : String(value)
}

/** Cells as `textCell` and `numberCell` write them. */
export function writeCsv(header: readonly string[], rows: Iterable<readonly string[]>): string {
  return `\uFEFF${writeRows([header.map(textCell)])}${writeRows(rows)}`
}

/** Of a table that is written piece by piece. */
export function writeRows(rows: Iterable<readonly string[]>): string {
  const lines: string[] = []
  for (const row of rows) lines.push(`${row.join(',')}\r\n`)
  return lines.join('')
}

function quoted(text: string): string {
  return /[",\r\n']/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
