/** Reads the footer of a Parquet file and decides whether the file is whole, without reading its rows. */
import thrift from 'parquetjs-lite/gen-nodejs/parquet_types.js'
import type { RowGroup } from 'parquetjs-lite/gen-nodejs/parquet_types.js'
import util from 'parquetjs-lite/lib/util.js'
import { CorruptError, messageOf } from '#core/errors.ts'
import type { LakeFile } from '#core/ports.ts'

/** A column as the file names it. The numbers are those of the format's Type and ConvertedType; -1 stands for none. */
export type ParquetField = { readonly name: string; readonly physicalType: number; readonly convertedType: number }

/** `dataEnd`: the offset behind the last byte that a page takes. `fields`: the columns, without the root of the schema. */
export type ParquetFooter = { readonly rows: number; readonly dataEnd: number; readonly fields: readonly ParquetField[] }

const magic = 'PAR1'
/** Length of the footer and the magic number. */
const tailBytes = 8
/** A footer of our widest table takes about 3 KB a row group. Beyond this the length itself is rubbish. */
const footerBytesMax = 64 * 1024 * 1024

/**
 * Throws CorruptError where the file is torn or no Parquet file: its ends, its footer, the sums of its rows, and room for its pages.
 * Reads three short ranges and no page: a page damaged in place shows only when it is read.
 */
export async function readFooter(file: LakeFile): Promise<ParquetFooter> {
  if (file.bytes < magic.length + tailBytes) throw torn(file, `it has only ${file.bytes} bytes`)
  const head = Buffer.from(await file.read(0, magic.length))
  const tail = Buffer.from(await file.read(file.bytes - tailBytes, file.bytes))
  if (head.toString('latin1') !== magic) throw torn(file, 'it does not begin with PAR1')
  if (tail.toString('latin1', 4) !== magic) throw torn(file, 'it does not end with PAR1')
  const footerBytes = tail.readUInt32LE(0)
  const footerStart = file.bytes - tailBytes - footerBytes
  if (footerBytes > footerBytesMax || footerStart < magic.length) throw torn(file, `its footer cannot have ${footerBytes} bytes`)
  const bytes = await file.read(footerStart, file.bytes - tailBytes)
  const footer = decode(file, bytes)
  if (footer.dataEnd > footerStart) throw torn(file, `its pages should end at byte ${footer.dataEnd} and its footer begins at ${footerStart}`)
  return footer
}

/** Throws an Error that says what is wrong with these bytes. */
export function decodeFooter(bytes: Uint8Array): ParquetFooter {
  const metadata = new thrift.FileMetaData()
  const taken = util.decodeThrift(metadata, Buffer.from(bytes))
  if (taken !== bytes.byteLength) throw new Error(`the footer takes ${taken} of its ${bytes.byteLength} bytes`)
  if (metadata.num_rows === null || metadata.row_groups === null || metadata.schema === null) throw new Error('the footer lacks rows, row groups or schema')
  const rows = count(metadata.num_rows)
  const rowsOfGroups = metadata.row_groups.reduce((sum, group) => sum + count(group.num_rows), 0)
  if (rows !== rowsOfGroups) throw new Error(`the footer counts ${rows} rows and its row groups ${rowsOfGroups}`)
  const fields = metadata.schema.slice(1).map(({ name, type, converted_type: converted }) => ({ name, physicalType: type ?? -1, convertedType: converted ?? -1 }))
  return { rows, dataEnd: metadata.row_groups.reduce((end, group) => Math.max(end, dataEndOf(group)), 0), fields }
}

function dataEndOf(group: RowGroup): number {
  let end = 0
  for (const { meta_data: column } of group.columns) {
    if (column === null) throw new Error('a column has no entry in the footer')
    if (count(column.num_values) !== count(group.num_rows)) throw new Error('a column and its row group differ in rows')
    const start = column.dictionary_page_offset ?? column.data_page_offset
    end = Math.max(end, count(start) + count(column.total_compressed_size))
  }
  return end
}

function count(value: { valueOf(): number } | number | null): number {
  const number = Number(value)
  if (value !== null && Number.isSafeInteger(number) && number >= 0) return number
  throw new Error(`a count of ${String(value)} in the footer`)
}

function decode(file: LakeFile, bytes: Uint8Array): ParquetFooter {
  try {
    return decodeFooter(bytes)
  } catch (error) {
    // Some of the decoder's errors are plain text.
    throw torn(file, messageOf(error), error)
  }
}

function torn(file: LakeFile, why: string, cause?: unknown): CorruptError {
  return new CorruptError(`${file.path} is no whole Parquet file: ${why}`, { path: file.path, bytes: file.bytes }, cause)
}
