/**
 * The Parquet codec on parquetjs-lite: it writes the envelope (header, row groups, footer), the pages come from `parquet-column.ts`.
 *
 * Its column index lacks required members and makes Trino refuse the file, so none is written (`pageIndex: false`). Its statistics are
 * compared in the wrong order, so it is given none and the footer gets ours. It writes what reached it and says nothing about the rest,
 * so the footer is read back and its rows are compared with what was passed.
 */
import { strict as assert } from 'node:assert'
import { setImmediate as nextTurn } from 'node:timers/promises'
import parquet from 'parquetjs-lite'
import type { EnvelopeWriter, FieldOptions } from 'parquetjs-lite'
import thrift from 'parquetjs-lite/gen-nodejs/parquet_types.js'
import { CorruptError, InvalidRequestError } from '#core/errors.ts'
import type { ParquetCodec, ParquetColumn, ParquetValues } from '#core/ports.ts'
import { encodeColumn } from './parquet-column.ts'
import type { EncodedColumn } from './parquet-column.ts'
import { decodeFooter, readFooter } from './parquet-footer.ts'
import { valueKinds } from './parquet-values.ts'

const columnNamePattern = /^[A-Za-z_][A-Za-z0-9_]*$/

export const parquetCodec: ParquetCodec = {
  async *encode(columns, rowGroups) {
    let written: Buffer[] = []
    const writer = openWriter(columns, (bytes) => written.push(bytes))
    await writer.writeHeader()
    let rowsGiven = 0
    for await (const values of rowGroups) {
      rowsGiven += await writeRowGroup(writer, columns, values)
      yield* written
      written = []
    }
    if (rowsGiven === 0) throw new InvalidRequestError('A Parquet file needs at least one row: write no file where there is nothing to keep')
    await writer.writeFooter({})
    checkFooter(written, rowsGiven)
    yield* written
  },

  async rowCount(file) {
    return (await readFooter(file)).rows
  },
}

function openWriter(columns: readonly ParquetColumn[], keep: (bytes: Buffer) => void): EnvelopeWriter {
  assert(columns.length > 0, 'a table needs a column')
  const fields: Record<string, FieldOptions> = {}
  for (const { name, type, nullable } of columns) {
    assert(columnNamePattern.test(name) && name !== '__proto__', `"${name}" is no column name`)
    assert(!Object.hasOwn(fields, name), `column "${name}" is named twice`)
    fields[name] = { type: valueKinds[type].fieldType, optional: nullable, compression: 'SNAPPY', statistics: false }
  }
  const write = async (bytes: Buffer): Promise<void> => keep(bytes)
  const close = async (): Promise<void> => {}
  return new parquet.ParquetEnvelopeWriter(new parquet.ParquetSchema(fields), write, close, 0, { pageIndex: false, useDataPageV2: false })
}

/** Returns the rows of the group. */
async function writeRowGroup(writer: EnvelopeWriter, columns: readonly ParquetColumn[], values: readonly ParquetValues[]): Promise<number> {
  const rowCount = values[0]?.length ?? 0
  assert(rowCount > 0, 'a row group needs a row')
  assert(values.length === columns.length, `a row group needs ${columns.length} columns and has ${values.length}`)
  assert(values.every((column) => column.length === rowCount), 'the columns of a row group differ in length')

  const encoded: EncodedColumn[] = []
  for (const [index, column] of columns.entries()) {
    encoded.push(encodeColumn(column, values[index]!))
    // A column of 100,000 rows takes some 10 ms; the process may have requests to answer in between.
    await nextTurn()
  }
  const pages = Object.fromEntries(columns.map((column, index) => [column.name, encoded[index]!.pages]))
  await writer.writeRowGroup({ rowCount, pages })
  describeColumns(writer, encoded)
  return rowCount
}

/** Adds to the footer's entry of the newest row group what the envelope writer does not know: statistics, dictionaries, true sizes. */
function describeColumns(writer: EnvelopeWriter, encoded: readonly EncodedColumn[]): void {
  const group = writer.rowGroups.at(-1)
  assert(group !== undefined && group.columns.length === encoded.length, 'parquetjs-lite kept no entry for the row group')
  const { PLAIN, RLE, RLE_DICTIONARY } = thrift.Encoding
  let uncompressedBytes = 0
  for (const [index, { statistics, dictionaryBytes, ...column }] of encoded.entries()) {
    const entry = group.columns[index]!.meta_data
    assert(entry !== null, 'parquetjs-lite kept no entry for the column')
    entry.statistics = new thrift.Statistics(statistics)
    entry.total_uncompressed_size = column.uncompressedBytes
    entry.encodings = [PLAIN, RLE]
    if (dictionaryBytes > 0) {
      const start = Number(entry.data_page_offset)
      entry.dictionary_page_offset = start
      entry.data_page_offset = start + dictionaryBytes
      entry.encodings = [PLAIN, RLE, RLE_DICTIONARY]
    }
    uncompressedBytes += column.uncompressedBytes
  }
  group.total_byte_size = uncompressedBytes
}

/** `tail` ends with the footer, its length and the magic number. */
function checkFooter(tail: readonly Buffer[], rowsGiven: number): void {
  const bytes = tail.at(-1)
  assert(bytes !== undefined, 'parquetjs-lite wrote no footer')
  const { rows } = decodeFooter(bytes.subarray(0, -8))
  if (rows === rowsGiven) return
  throw new CorruptError(`The Parquet writer was given ${rowsGiven} rows and its footer counts ${rows}: the file is not used, report this as a fault`, {
    rowsGiven,
    rows,
  })
}
