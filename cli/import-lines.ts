/** Chunks of the lines of an import's files, in order, with a running checksum: a re-run must bring what was imported before, to the byte. */
import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import { InvalidRequestError } from '#core/errors.ts'
import type { ImportChunk, ImportLine } from '#speed/import.ts'
import type { Import, ImportedFile } from '#store/imports.ts'
import { readNumberedLines } from './record-lines.ts'

export type ImportFormat = 'csv' | 'jsonl'

export type LinesOptions = {
  readonly name: string
  readonly paths: readonly string[]
  /** Refuse files whose first line is of another format; the decoder tells them apart line by line in any case. */
  readonly format?: ImportFormat
  readonly chunkLinesMax: number
  readonly chunkBytesMax: number
  readonly signal: AbortSignal
}

const lineFeed = Buffer.from('\n')

/** Looks at the first line of each file, before anything is begun. Throws as reading them would. */
export async function checkImportFiles(options: Pick<LinesOptions, 'paths' | 'format'>): Promise<void> {
  for (const path of options.paths) {
    // Standard input can be read only once.
    if (path === '-') continue
    for await (const line of readNumberedLines(path)) {
      checkFormat(options, path, line)
      break
    }
  }
}

/** From the first line on that is not imported. Throws InvalidRequestError where the lines before it are not those that were. */
export async function* readImportChunks(options: LinesOptions, stands: Pick<Import, 'nextOffset' | 'contentSha256' | 'finishedAt'>): AsyncGenerator<ImportChunk> {
  const digest = createHash('sha256')
  const files: ImportedFile[] = []
  let lines: ImportLine[] = []
  let bytes = 0
  let from = stands.nextOffset
  let offset = 0
  const chunk = (): ImportChunk => ({ from, to: offset, lines, files: [...files], contentSha256: digest.copy().digest('hex') })
  if (stands.nextOffset === 0) checkContent(options, stands, digest.copy().digest('hex'))
  for (const path of options.paths) {
    const first = offset
    for await (const line of readNumberedLines(path)) {
      if (options.signal.aborted) return
      if (offset === first) checkFormat(options, path, line)
      if (stands.finishedAt !== null && offset === stands.nextOffset) throw changed(options, `has more lines than the ${offset} that it finished with`)
      digest.update(line).update(lineFeed)
      if (offset >= stands.nextOffset && line.length > 0) {
        lines.push({ offset, value: line })
        bytes += line.length
      }
      offset++
      if (offset === stands.nextOffset) checkContent(options, stands, digest.copy().digest('hex'))
      if (offset - from < options.chunkLinesMax && bytes < options.chunkBytesMax) continue
      if (offset <= from) continue
      yield { ...chunk(), files: [...files, fileOf(path, first, offset)] }
      from = offset
      lines = []
      bytes = 0
    }
    files.push(fileOf(path, first, offset))
  }
  if (offset < stands.nextOffset) throw changed(options, `has ${offset} lines where ${stands.nextOffset} are imported`)
  if (offset > from) yield chunk()
}

function fileOf(path: string, fromOffset: number, toOffset: number): ImportedFile {
  return { name: path === '-' ? 'standard input' : basename(path), fromOffset, toOffset }
}

function checkContent(options: LinesOptions, { nextOffset, contentSha256 }: Pick<Import, 'nextOffset' | 'contentSha256'>, found: string): void {
  if (found !== contentSha256) throw changed(options, `brings other lines than the ${nextOffset} that are imported`)
}

function changed({ name }: LinesOptions, says: string): InvalidRequestError {
  return new InvalidRequestError(
    `The content ${says}: nothing was imported. Bring the files of ${name} as they were, in their order; what is new goes into an import of its own, ` +
      `with "--source" where its ids are of the same name space.`,
    { name },
  )
}

function checkFormat({ format }: Pick<LinesOptions, 'format'>, path: string, line: Uint8Array): void {
  if (format === undefined) return
  const isJson = line[0] === 0x7b
  if (isJson === (format === 'jsonl')) return
  throw new InvalidRequestError(`${path} begins with ${isJson ? 'JSON' : 'no JSON object'}, and --format says ${format}: name the format it has, or leave it out.`, { path })
}
