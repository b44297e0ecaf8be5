/**
 * What Trino does not check of the files it reads: a column that a file lacks reads as NULL, without a word. So each file's footer is read through the
 * lake when it is first attached: its columns by name and type, and its rows, which are then held against what Trino counts.
 */
import { CorruptError } from '#core/errors.ts'
import type { Lake, LakeFile, ParquetColumn, ParquetType } from '#core/ports.ts'
import { readFooter } from './parquet-footer.ts'
import type { ParquetField } from './parquet-footer.ts'
import { typeNameOf } from './trino-values.ts'

/** A footer of one row group takes some 3 KB: one request brings it, where three would each be sent from NameNode to DataNode. */
const tailBytes = 64 * 1024
const readsAtOnce = 8

/** (physical type, converted type) of the format under which Trino reads a type exactly; -1 stands for no converted type. */
const storedAs: Readonly<Record<ParquetType, readonly string[]>> = {
  int64: ['2:-1', '2:18'],
  int32: ['1:-1', '1:17'],
  text: ['6:0'],
  bytes: ['6:-1'],
  boolean: ['0:-1'],
  date: ['1:6'],
  // INT64 in milliseconds, and INT96, which Trino writes.
  timestamp: ['2:9', '3:-1'],
}

/** Rows of the file. Throws CorruptError where it is missing, torn, or lacks one of the columns in its type. */
export async function checkFile(lake: Lake, path: string, columns: readonly ParquetColumn[]): Promise<number> {
  const { rows, fields } = await readFooter(await withTail(await lake.get(path)))
  const found = new Map(fields.map((field) => [field.name, field]))
  for (const { name, type } of columns) {
    const field = found.get(name)
    if (field !== undefined && storedAs[type].includes(`${field.physicalType}:${field.convertedType}`)) continue
    throw new CorruptError(`Column "${name}" of ${path} should be ${typeNameOf[type]} and is ${describe(field)}; the file was written by another version`, { path, column: name })
  }
  return rows
}

function describe(field: ParquetField | undefined): string {
  return field === undefined ? 'missing' : `stored as type ${field.physicalType} with annotation ${field.convertedType}`
}

/** The file with its last bytes read once. */
async function withTail(file: LakeFile): Promise<LakeFile> {
  const start = Math.max(0, file.bytes - tailBytes)
  const tail = await file.read(start, file.bytes)
  const read = (from: number, to: number): Promise<Uint8Array> => (from >= start ? Promise.resolve(tail.subarray(from - start, to - start)) : file.read(from, to))
  return { path: file.path, bytes: file.bytes, read }
}

/** From so many files of one folder on, one listing costs less than asking for each. */
const listFrom = 4

/** Throws CorruptError that names the first of the files that is not there. */
export async function checkPresent(lake: Lake, paths: readonly string[]): Promise<void> {
  await inParallel([...byFolder(paths)], async ([folder, files]) => {
    if (files.length < listFrom || folder === '') {
      for (const path of files) if ((await lake.stat(path)) === null) throw missing(path)
      return
    }
    const present = new Set<string>()
    for await (const entry of lake.list(folder)) present.add(entry.path)
    for (const path of files) if (!present.has(path)) throw missing(path)
  })
}

export function byFolder(paths: readonly string[]): ReadonlyMap<string, readonly string[]> {
  return Map.groupBy(paths, folderOf)
}

export function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')))
}

/** A few at a time, in order of beginning. Ends with the first failure, after those under way have ended. */
export async function inParallel<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const item = items[next++]!
      try {
        await run(item)
      } catch (error) {
        next = items.length
        throw error
      }
    }
  }
  const settled = await Promise.allSettled(Array.from({ length: Math.min(readsAtOnce, items.length) }, worker))
  for (const one of settled) if (one.status === 'rejected') throw one.reason
}

function missing(path: string): CorruptError {
  return new CorruptError(`The lake's file ${path} is missing; restore it from a backup of the lake`, { path })
}
