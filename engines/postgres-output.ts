// The server's own output goes to a file, as it outlives whoever started it. The file is bounded in three ways: little is printed
// (postgres-settings.ts), a long file moves away at the next start, and one that grows without end is emptied as it runs.
import { closeSync, copyFileSync, openSync, readSync, renameSync, statSync, truncateSync } from 'node:fs'

const BYTES_AT_START_MAX = 4 * 1024 * 1024
const BYTES_MAX = 16 * 1024 * 1024
const CHECK_INTERVAL_MS = 30_000
const READ_BYTES_MAX = 64 * 1024

/** Moves a long file to `….1`; returns where the output of the next start begins, in bytes. */
export function rotateOutput(file: string): number {
  const bytes = statSync(file, { throwIfNoEntry: false })?.size ?? 0
  if (bytes <= BYTES_AT_START_MAX) return bytes
  renameSync(file, `${file}.1`)
  return 0
}

/** The end of what was printed since `start`, at most 64 KiB. */
export function readOutput(file: string, start: number): string {
  const descriptor = openSync(file, 'r')
  try {
    const from = Math.max(start, statSync(file).size - READ_BYTES_MAX)
    const bytes = Buffer.alloc(READ_BYTES_MAX)
    return bytes.subarray(0, readSync(descriptor, bytes, 0, READ_BYTES_MAX, from)).toString('utf8')
  } finally {
    closeSync(descriptor)
  }
}

/** Keeps the file of a running server bounded until disposed; does not keep the process alive. */
export function boundOutput(file: string): Disposable {
  const timer = setInterval(() => emptyWhenLong(file), CHECK_INTERVAL_MS).unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

function emptyWhenLong(file: string): void {
  try {
    if (statSync(file).size <= BYTES_MAX) return
    // The server holds it open for appending: copied and emptied in place, it goes on at the beginning.
    copyFileSync(file, `${file}.1`)
    truncateSync(file)
  } catch {
    // A full disk or a removed folder is noticed, and said, by what needs it; this is looked at again soon.
  }
}
