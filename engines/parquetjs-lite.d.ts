/** The parts of parquetjs-lite 0.8.7 that the Parquet codec uses; the package has no types of its own. */

declare module 'parquetjs-lite' {
  import type { RowGroup } from 'parquetjs-lite/gen-nodejs/parquet_types.js'

  export type FieldOptions = {
    readonly type: 'INT64' | 'INT32' | 'UTF8' | 'BYTE_ARRAY' | 'BOOLEAN' | 'DATE' | 'TIMESTAMP_MILLIS'
    readonly optional: boolean
    readonly compression: 'SNAPPY'
    readonly statistics: false
  }

  /** A finished page, header included. Without statistics of its own the writer looks at no other member. */
  export type EncodedPage = { readonly page: Buffer; readonly num_values: number; readonly first_row_index: number }

  export type RowBuffer = { readonly rowCount: number; readonly pages: Readonly<Record<string, readonly EncodedPage[]>> }

  export type EnvelopeWriter = {
    readonly rowCount: number
    /** Footer entries of the row groups written so far, encoded only by `writeFooter`. */
    readonly rowGroups: RowGroup[]
    writeHeader(): Promise<void>
    writeRowGroup(records: RowBuffer): Promise<void>
    writeFooter(userMetadata: Readonly<Record<string, string>>): Promise<void>
  }

  const parquet: {
    readonly ParquetSchema: new (fields: Readonly<Record<string, FieldOptions>>) => object
    readonly ParquetEnvelopeWriter: new (
      schema: object,
      write: (bytes: Buffer) => Promise<void>,
      close: () => Promise<void>,
      fileOffset: number,
      options: { readonly pageIndex: false; readonly useDataPageV2: false },
    ) => EnvelopeWriter
  }
  export default parquet
}

declare module 'parquetjs-lite/lib/util.js' {
  const util: {
    serializeThrift(value: object): Buffer
    /** Fills `value` from the bytes; returns how many it took. */
    decodeThrift(value: object, bytes: Buffer): number
  }
  export default util
}

declare module 'parquetjs-lite/lib/compression.js' {
  const compression: { deflate(method: 'SNAPPY', bytes: Uint8Array): Uint8Array }
  export default compression
}

declare module 'parquetjs-lite/gen-nodejs/parquet_types.js' {
  /** Decoded 64-bit numbers are objects with a `valueOf`; beyond 2^53 it gives Infinity. */
  export type Int64 = number | { valueOf(): number }

  export type StatisticsFields = {
    min?: Buffer
    max?: Buffer
    min_value?: Buffer
    max_value?: Buffer
    null_count: number
  }
  export type ColumnMetaData = {
    statistics: object | null
    encodings: number[]
    num_values: Int64
    total_uncompressed_size: Int64
    total_compressed_size: Int64
    data_page_offset: Int64
    dictionary_page_offset: Int64 | null
  }
  export type RowGroup = { columns: { meta_data: ColumnMetaData | null }[]; num_rows: Int64; total_byte_size: Int64 }
  export type SchemaElement = { name: string; type: number | null; converted_type: number | null }
  export type FileMetaData = { num_rows: Int64 | null; row_groups: RowGroup[] | null; schema: SchemaElement[] | null }
  export type PageHeader = {
    type: number
    uncompressed_page_size: number
    compressed_page_size: number
    data_page_header: object
    dictionary_page_header: object
  }

  const types: {
    readonly FileMetaData: new () => FileMetaData
    readonly PageHeader: new () => PageHeader
    readonly DataPageHeader: new (fields: {
      num_values: number
      encoding: number
      definition_level_encoding: number
      repetition_level_encoding: number
    }) => object
    readonly DictionaryPageHeader: new (fields: { num_values: number; encoding: number }) => object
    readonly Statistics: new (fields: StatisticsFields) => object
    readonly Encoding: { readonly PLAIN: number; readonly RLE: number; readonly RLE_DICTIONARY: number }
    readonly PageType: { readonly DATA_PAGE: number; readonly DICTIONARY_PAGE: number }
  }
  export default types
}
