/** What commands print: results on standard output, everything else on standard error. */

let isLeft = false

/**
 * A reader may leave early, as `head` and `grep -q` do: what is printed from then on goes nowhere, and the command does the rest of its work and ends as
 * ever. Unheard, the error would end it in the midst of a batch.
 */
export function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
      if (stream === process.stdout) isLeft = true
    })
  }
}

/** Nobody reads standard output any more: what only prints may end. */
export function isReaderGone(): boolean {
  return isLeft
}

/** A number with thousands separators; null is one that nobody knows. */
export function count(value: number | bigint | null): string {
  return value === null ? 'unknown' : value.toLocaleString('en-GB')
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? item.toString() : item), 2)}\n`)
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** Columns of text, the numeric ones to the right. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[], rightFrom: number): void {
  const widths = head.map((title, i) => Math.max(width(title), ...rows.map((row) => width(row[i] ?? ''))))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => {
        const padding = ' '.repeat(Math.max(0, widths[i]! - width(cell)))
        return i < rightFrom ? cell + padding : padding + cell
      })
      .join('  ')
      .trimEnd()
  print(line(head))
  print(widths.map((size) => '─'.repeat(size)).join('  '))
  for (const row of rows) print(line(row))
}

function width(text: string): number {
  return Array.from(text).length
}

/** A line of progress: rewritten in place on a terminal, now and then a new one elsewhere. */
export class Progress {
  readonly #quiet: boolean
  readonly #startedAt = performance.now()
  #shownAt = 0
  #open = false

  constructor(quiet: boolean) {
    this.#quiet = quiet
  }

  /** Seconds since this progress began. */
  get seconds(): number {
    return (performance.now() - this.#startedAt) / 1000
  }

  show(line: string): void {
    const everyMs = process.stderr.isTTY ? 100 : 5_000
    if (this.#quiet || performance.now() - this.#shownAt < everyMs) return
    this.#shownAt = performance.now()
    if (process.stderr.isTTY) {
      process.stderr.write(`\r\u001b[2K${line}`)
      this.#open = true
    } else process.stderr.write(`${line}\n`)
  }

  /** The last word, on a line of its own. */
  done(line: string): void {
    if (this.#quiet) return
    process.stderr.write(`${this.#open ? '\r\u001b[2K' : ''}${line}\n`)
    this.#open = false
  }
}
