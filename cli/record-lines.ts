/** Lines of files or standard input as records of the log. CSV and JSON lines are told apart by the decoder, record by record. */
import { createReadStream } from 'node:fs'
import { createGunzip } from 'node:zlib'
import { ConfigError, InvalidRequestError, messageOf } from '#core/errors.ts'
import type { Decoder } from '#core/decode.ts'
import { sourceHeader } from '#core/decode.ts'
import { isReferenceTopic, referenceId } from '#core/decode-reference.ts'
import type { LogAppend } from '#core/ports.ts'

/** A longer line would have to be held whole; what is cut is refused, so nothing is lost by saying so. */
export const lineBytesMax = 64 * 1024 * 1024
const lineFeed = 10
const carriageReturn = 13

export type LineOptions = { readonly decoder: Decoder; readonly topic: string; readonly source: string | null }

/** Each line once, without its end; empty lines are left out. */
export async function* readLines(file: string): AsyncGenerator<Uint8Array> {
  for await (const line of readNumberedLines(file)) if (line.length > 0) yield line
}

/**
 * Every line, without its end, empty ones too; a file whose name ends with `.gz` is unpacked on the way. A byte-order mark at the start of a file is its
 * encoding, not its first id. Throws ConfigError where the file is not there, InvalidRequestError where it is no file of lines.
 */
export async function* readNumberedLines(file: string): AsyncGenerator<Uint8Array> {
  const input = openInput(file)
  let rest: Buffer = Buffer.alloc(0)
  let first = true
  let number = 0
  try {
    for await (const chunk of input) {
      let from = 0
      for (;;) {
        const end = chunk.indexOf(lineFeed, from)
        if (end < 0) break
        number++
        const line = rest.length === 0 ? chunk.subarray(from, end) : Buffer.concat([rest, chunk.subarray(from, end)])
        rest = Buffer.alloc(0)
        from = end + 1
        const trimmed = trimLine(line, first)
        first = false
        yield trimmed
      }
      rest = rest.length === 0 ? Buffer.from(chunk.subarray(from)) : Buffer.concat([rest, chunk.subarray(from)])
      if (rest.length > lineBytesMax) throw new InvalidRequestError(`Line ${number + 1} of ${file} is longer than ${lineBytesMax} bytes: is this a file of lines? Nothing after line ${number} was read.`)
    }
  } catch (thrown) {
    const { code } = thrown as { code?: string }
    if (code?.startsWith('Z_') === true) throw new InvalidRequestError(`${file} cannot be unpacked behind line ${number} (${messageOf(thrown)}): it is no whole gzip file. Nothing behind it was read.`, { file })
    if (code === 'ENOENT') throw new ConfigError(`There is no file ${file}.`, { file }, thrown)
    if (code === 'EISDIR') throw new ConfigError(`${file} is a folder; name its files.`, { file }, thrown)
    throw thrown
  }
  if (rest.length > 0) yield trimLine(rest, first)
}

function openInput(file: string): AsyncIterable<Buffer> {
  if (file === '-') return process.stdin
  const packed = createReadStream(file, { highWaterMark: 1024 * 1024 })
  if (!file.endsWith('.gz')) return packed
  const unpacked = createGunzip({ chunkSize: 1024 * 1024 })
  // A pipe does not pass errors on, and a reader that stops early must close the file.
  packed.on('error', (cause) => unpacked.destroy(cause))
  unpacked.on('close', () => packed.destroy())
  return packed.pipe(unpacked)
}

function trimLine(line: Buffer, first: boolean): Buffer {
  let trimmed = line.at(-1) === carriageReturn ? line.subarray(0, -1) : line
  if (first && trimmed[0] === 0xef && trimmed[1] === 0xbb && trimmed[2] === 0xbf) trimmed = trimmed.subarray(3)
  return trimmed
}

/** The record of a line, keyed by its order so that copies and refunds share a partition, or by its user or product; what cannot be decoded is spread. */
export function recordOfLine(line: Uint8Array, options: LineOptions, nowMs: number): LogAppend {
  const headers = options.source === null ? null : { [sourceHeader]: options.source }
  if (isReferenceTopic(options.topic)) return { key: referenceId(options.topic, { value: line }), value: line, ...(headers && { headers }) }
  const decoded = options.decoder.decode({ value: line, logTimeMs: nowMs, headers }, options.topic)
  const key = 'events' in decoded ? (decoded.events[0]?.orderId ?? null) : null
  return { key, value: line, ...(headers && { headers }) }
}
