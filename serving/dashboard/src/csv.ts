/** The CSV of a card's table: RFC 4180, UTF-8 with a mark so that Excel reads it as such, money as plain decimals. */

const plainNumber = /^-?\d+(\.\d+)?$/
/** A spreadsheet runs a cell that begins with one of these as a formula. After OWASP, "CSV Injection". */
const formulaStart = /^[=+\-@\t\r]/

export function writeCsv(header: readonly string[], rows: readonly (readonly string[])[]): string {
  return `\uFEFF${[header, ...rows].map((cells) => `${cells.map(writeCell).join(',')}\r\n`).join('')}`
}

function writeCell(text: string): string {
  const safe = formulaStart.test(text) && !plainNumber.test(text) ? `'${text}` : text
  return /[",\r\n']/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

export function downloadCsv(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/csv;charset=utf-8' }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  URL.revokeObjectURL(url)
}
