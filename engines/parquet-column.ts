/**
 * One column of one row group as Parquet pages: every value checked, then encoded a page at a time.
 *
 * parquetjs-lite makes pages of rows, in `shredRecord`, where most of its time goes, and writes no dictionaries. Here the pages are made of
 * whole columns: values that repeat go into a dictionary page and are named by number, which makes smaller files and is less to compress.
 */
import type { EncodedPage } from 'parquetjs-lite'
import thrift from 'parquetjs-lite/gen-nodejs/parquet_types.js'
import type { StatisticsFields } from 'parquetjs-lite/gen-nodejs/parquet_types.js'
import compression from 'parquetjs-lite/lib/compression.js'
import util from 'parquetjs-lite/lib/util.js'
import { InvalidRequestError } from '#core/errors.ts'
import type { ParquetColumn, ParquetValues } from '#core/ports.ts'
import { bitWidthOf, encodeBitPacked, encodeRun } from './parquet-levels.ts'
import { valueKinds } from './parquet-values.ts'
import type { ParquetValue, ValueKind } from './parquet-values.ts'

/** As parquet-mr: readers skip and hold whole pages. */
const pageRowsMax = 20_000
const pageBytesMax = 1024 * 1024
/** As parquet-mr's limit of a dictionary page. */
const dictionaryBytesMax = 1024 * 1024
const dictionaryEntriesMax = 65_536
/** After so many values it is plain whether a dictionary pays. */
const dictionarySampleValues = 2_048
/** The bounds of longer text would bloat the footer and help no query. */
const statisticsBytesMax = 64

export type EncodedColumn = {
  readonly pages: readonly EncodedPage[]
  /** Size of the dictionary page, which comes first; 0 without one. */
  readonly dictionaryBytes: number
  /** Size of all pages with their headers, were they not compressed. */
  readonly uncompressedBytes: number
  readonly statistics: StatisticsFields
}

type Dictionary = { readonly entries: readonly ParquetValue[]; readonly indexes: Uint32Array }
type Page = EncodedPage & { readonly uncompressedBytes: number }
type RowRange = { readonly from: number; readonly to: number }

/** Throws InvalidRequestError on the first value that the column cannot hold exactly, naming column and row. */
export function encodeColumn(column: ParquetColumn, values: ParquetValues): EncodedColumn {
  const kind = valueKinds[column.type]
  const nullCount = checkValues(column, kind, values)
  const present = (nullCount === 0 ? values : values.filter((value) => value !== null)) as readonly ParquetValue[]
  const dictionary = kind.dictionary ? buildDictionary(kind, present) : null
  const statistics = statisticsOf(kind, dictionary === null ? present : dictionary.entries, nullCount)

  const pages: Page[] = []
  if (dictionary !== null) pages.push(encodeDictionaryPage(kind, dictionary.entries))
  let presentFrom = 0
  for (const rows of cutPages(values, dictionary !== null || kind.fixedSize ? null : kind.sizeBound)) {
    const defined = column.nullable ? definedOf(values, rows) : null
    const presentTo = presentFrom + (defined === null ? rows.to - rows.from : countOnes(defined))
    const levels = defined === null ? null : encodeLevels(defined, presentTo - presentFrom)
    const body =
      dictionary === null ? kind.encode(present, presentFrom, presentTo) : encodeIndexes(dictionary, presentFrom, presentTo)
    pages.push(encodeDataPage(rows, levels, body, dictionary !== null))
    presentFrom = presentTo
  }
  return {
    pages,
    dictionaryBytes: dictionary === null ? 0 : pages[0]!.page.length,
    uncompressedBytes: pages.reduce((sum, page) => sum + page.uncompressedBytes, 0),
    statistics,
  }
}

/** Returns the number of nulls. */
function checkValues(column: ParquetColumn, kind: ValueKind, values: ParquetValues): number {
  let nullCount = 0
  for (let row = 0; row < values.length; row++) {
    const value = values[row]
    if (value === null && column.nullable) nullCount++
    else if (!kind.fits(value)) throw misfit(column, kind, row, value)
  }
  return nullCount
}

function misfit(column: ParquetColumn, kind: ValueKind, row: number, value: unknown): InvalidRequestError {
  const shown = typeof value === 'string' ? 'a text' : value instanceof Uint8Array ? 'bytes' : `${typeof value} ${String(value)}`
  const accepted = column.nullable ? `${kind.accepts} or null` : kind.accepts
  return new InvalidRequestError(`Column "${column.name}" of type ${column.type} cannot hold ${shown} (row ${row} of its row group): pass ${accepted}`, {
    column: column.name,
    type: column.type,
    row,
  })
}

/** null where too few values repeat for a dictionary to pay. */
function buildDictionary(kind: ValueKind, present: readonly ParquetValue[]): Dictionary | null {
  const numbers = new Map<ParquetValue, number>()
  const indexes = new Uint32Array(present.length)
  let bytes = 0
  for (let index = 0; index < present.length; index++) {
    const value = present[index]!
    let number = numbers.get(value)
    if (number === undefined) {
      number = numbers.size
      numbers.set(value, number)
      bytes += kind.sizeBound(value)
      if (number >= dictionaryEntriesMax || bytes > dictionaryBytesMax) return null
    }
    indexes[index] = number
    if (index === dictionarySampleValues && numbers.size * 2 > index) return null
  }
  return numbers.size * 2 > present.length ? null : { entries: [...numbers.keys()], indexes }
}

function statisticsOf(kind: ValueKind, present: readonly ParquetValue[], nullCount: number): StatisticsFields {
  const { compare } = kind
  if (compare === null || present.length === 0) return { null_count: nullCount }
  let min = present[0]!
  let max = min
  for (const value of present) {
    if (compare(value, min) < 0) min = value
    else if (compare(value, max) > 0) max = value
  }
  const minBytes = encodeBound(kind, min)
  const maxBytes = encodeBound(kind, max)
  if (minBytes.length > statisticsBytesMax || maxBytes.length > statisticsBytesMax) return { null_count: nullCount }
  const bounds = { min_value: minBytes, max_value: maxBytes, null_count: nullCount }
  return kind.signed ? { ...bounds, min: minBytes, max: maxBytes } : bounds
}

/** As PLAIN, but text without its length. */
function encodeBound(kind: ValueKind, value: ParquetValue): Buffer {
  return typeof value === 'string' ? Buffer.from(value, 'utf8') : kind.encode([value], 0, 1)
}

/** `sizeOf`: null where a page full of rows is small in any case. */
function* cutPages(values: ParquetValues, sizeOf: ValueKind['sizeBound'] | null): Generator<RowRange> {
  let from = 0
  let bytes = 0
  if (sizeOf === null) {
    for (; values.length - from > pageRowsMax; from += pageRowsMax) yield { from, to: from + pageRowsMax }
  } else {
    for (const [row, value] of values.entries()) {
      const size = value === null ? 0 : sizeOf(value)
      if (row > from && (row - from >= pageRowsMax || bytes + size > pageBytesMax)) {
        yield { from, to: row }
        from = row
        bytes = 0
      }
      bytes += size
    }
  }
  yield { from, to: values.length }
}

/** 1 where a row has a value, 0 where it has null. */
function definedOf(values: ParquetValues, rows: RowRange): Uint8Array {
  const defined = new Uint8Array(rows.to - rows.from)
  for (let row = rows.from; row < rows.to; row++) defined[row - rows.from] = values[row] === null ? 0 : 1
  return defined
}

function countOnes(defined: Uint8Array): number {
  let count = 0
  for (const one of defined) count += one
  return count
}

function encodeLevels(defined: Uint8Array, ones: number): Buffer {
  const uniform = ones === 0 || ones === defined.length
  const runs = uniform ? encodeRun(ones === 0 ? 0 : 1, defined.length, 1) : encodeBitPacked(defined, 1)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(runs.length)
  return Buffer.concat([length, runs])
}

function encodeIndexes(dictionary: Dictionary, from: number, to: number): Buffer {
  const width = bitWidthOf(dictionary.entries.length - 1)
  const indexes = dictionary.indexes.subarray(from, to)
  const uniform = indexes.every((index) => index === indexes[0])
  const runs = uniform ? encodeRun(indexes[0] ?? 0, indexes.length, width) : encodeBitPacked(indexes, width)
  return Buffer.concat([Buffer.of(width), runs])
}

function encodeDictionaryPage(kind: ValueKind, entries: readonly ParquetValue[]): Page {
  const header = new thrift.PageHeader()
  header.type = thrift.PageType.DICTIONARY_PAGE
  header.dictionary_page_header = new thrift.DictionaryPageHeader({ num_values: entries.length, encoding: thrift.Encoding.PLAIN })
  const page = finishPage(header, kind.encode(entries, 0, entries.length))
  return { ...page, num_values: 0, first_row_index: 0 }
}

/** A page of version 1, which every reader knows: levels and values compressed as one. */
function encodeDataPage(rows: RowRange, levels: Buffer | null, body: Buffer, numbered: boolean): Page {
  const header = new thrift.PageHeader()
  header.type = thrift.PageType.DATA_PAGE
  header.data_page_header = new thrift.DataPageHeader({
    num_values: rows.to - rows.from,
    encoding: numbered ? thrift.Encoding.RLE_DICTIONARY : thrift.Encoding.PLAIN,
    definition_level_encoding: thrift.Encoding.RLE,
    repetition_level_encoding: thrift.Encoding.RLE,
  })
  const page = finishPage(header, levels === null ? body : Buffer.concat([levels, body]))
  return { ...page, num_values: rows.to - rows.from, first_row_index: rows.from }
}

function finishPage(header: InstanceType<typeof thrift.PageHeader>, body: Buffer): { page: Buffer; uncompressedBytes: number } {
  const compressed = compression.deflate('SNAPPY', body)
  header.uncompressed_page_size = body.length
  header.compressed_page_size = compressed.length
  const headerBytes = util.serializeThrift(header)
  return { page: Buffer.concat([headerBytes, compressed]), uncompressedBytes: headerBytes.length + body.length }
}
