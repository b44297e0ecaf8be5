/** DuckDB's values as the port's, exactly or not at all: nothing that passes here is a floating-point number. */
import { strict as assert } from 'node:assert'
import { DuckDBBlobValue, DuckDBDateValue, DuckDBTimestampMillisecondsValue, DuckDBTimestampSecondsValue, DuckDBTimestampValue, DuckDBTypeId } from '@duckdb/node-api'
import type { DuckDBDataChunk, DuckDBPreparedStatement, DuckDBValue } from '@duckdb/node-api'
import { CorruptError, InvalidRequestError } from '#core/errors.ts'
import type { ParquetType, QueryValue } from '#core/ports.ts'

type Convert = (value: Exclude<DuckDBValue, null>) => QueryValue

export type ResultColumn = { readonly name: string; readonly typeId: DuckDBTypeId; readonly typeName: string }

/** The type under which DuckDB reads each type that the Parquet codec writes. */
export const typeIdOf: Readonly<Record<ParquetType, DuckDBTypeId>> = {
  int64: DuckDBTypeId.BIGINT,
  int32: DuckDBTypeId.INTEGER,
  text: DuckDBTypeId.VARCHAR,
  bytes: DuckDBTypeId.BLOB,
  boolean: DuckDBTypeId.BOOLEAN,
  date: DuckDBTypeId.DATE,
  timestamp: DuckDBTypeId.TIMESTAMP,
}

export const typeNameOf: Readonly<Record<ParquetType, string>> = {
  int64: 'BIGINT',
  int32: 'INTEGER',
  text: 'VARCHAR',
  bytes: 'BLOB',
  boolean: 'BOOLEAN',
  date: 'DATE',
  timestamp: 'TIMESTAMP',
}

/** What Parquet keeps as it is. DuckDB writes HUGEINT, the type of a bare `sum(bigint)`, as a floating-point number. */
const parquetTypeIds: ReadonlySet<DuckDBTypeId> = new Set(Object.values(typeIdOf))

const millisPerDay = 86_400_000
const dayMin = Date.parse('0001-01-01') / millisPerDay
const dayMax = Date.parse('9999-12-31') / millisPerDay

const converts: ReadonlyMap<DuckDBTypeId, Convert> = new Map<DuckDBTypeId, Convert>([
  [DuckDBTypeId.BOOLEAN, convertBoolean],
  [DuckDBTypeId.TINYINT, convertInteger],
  [DuckDBTypeId.SMALLINT, convertInteger],
  [DuckDBTypeId.INTEGER, convertInteger],
  [DuckDBTypeId.UTINYINT, convertInteger],
  [DuckDBTypeId.USMALLINT, convertInteger],
  [DuckDBTypeId.UINTEGER, convertInteger],
  [DuckDBTypeId.BIGINT, convertInteger],
  [DuckDBTypeId.UBIGINT, convertInteger],
  [DuckDBTypeId.HUGEINT, convertInteger],
  [DuckDBTypeId.UHUGEINT, convertInteger],
  [DuckDBTypeId.VARCHAR, convertText],
  [DuckDBTypeId.BLOB, convertBlob],
  [DuckDBTypeId.DATE, convertDate],
  [DuckDBTypeId.TIMESTAMP, convertTimestamp],
  [DuckDBTypeId.TIMESTAMP_MS, convertTimestamp],
  [DuckDBTypeId.TIMESTAMP_S, convertTimestamp],
  [DuckDBTypeId.SQLNULL, () => null],
])

export function resultColumnsOf(statement: DuckDBPreparedStatement): readonly ResultColumn[] {
  return Array.from({ length: statement.columnCount }, (_, index) => ({
    name: statement.columnName(index),
    typeId: statement.columnTypeId(index),
    typeName: statement.columnType(index).toString(),
  }))
}

/** Throws InvalidRequestError, naming the column and the cast, where a column could not be returned exactly. */
export function checkReturnable(columns: readonly ResultColumn[]): void {
  for (const column of columns) if (!converts.has(column.typeId)) throw refusal(column, 'be returned')
}

/** Throws InvalidRequestError, naming the column and the cast, where a column could not be kept exactly in Parquet. */
export function checkStorable(columns: readonly ResultColumn[]): void {
  for (const column of columns) if (!parquetTypeIds.has(column.typeId)) throw refusal(column, 'be kept in Parquet')
}

/**
 * The SELECT list that passes a column on. Text goes as bytes: the package decodes text with a TextDecoder, which drops a byte order mark
 * at its beginning, and two keys would become one.
 */
export function passOn(column: ResultColumn): string {
  const name = `"${column.name.replaceAll('"', '""')}"`
  return column.typeId === DuckDBTypeId.VARCHAR ? `encode(${name})` : name
}

/** Rows of a chunk selected by `passOn`, in the order of `columns`, which `checkReturnable` has accepted. */
export function convertChunk(chunk: DuckDBDataChunk, columns: readonly ResultColumn[]): QueryValue[][] {
  const rows: QueryValue[][] = Array.from({ length: chunk.rowCount }, () => new Array<QueryValue>(columns.length))
  for (const [index, column] of columns.entries()) {
    const convert = converts.get(column.typeId)
    assert(convert !== undefined, `column "${column.name}" was not checked`)
    const values = chunk.getColumnValues(index)
    for (const [row, value] of values.entries()) rows[row]![index] = value === null ? null : convert(value)
  }
  return rows
}

function refusal(column: ResultColumn, cannot: string): InvalidRequestError {
  return new InvalidRequestError(
    `Column "${column.name}" is ${column.typeName} and cannot ${cannot} exactly: cast it to bigint, varchar, boolean or date in the SELECT`,
    { column: column.name, type: column.typeName },
  )
}

function convertBoolean(value: DuckDBValue): boolean {
  assert(typeof value === 'boolean')
  return value
}

function convertInteger(value: DuckDBValue): bigint {
  assert(typeof value === 'number' || typeof value === 'bigint')
  return BigInt(value)
}

function convertText(value: DuckDBValue): string {
  return bufferOf(value).toString('utf8')
}

function convertBlob(value: DuckDBValue): string {
  return bufferOf(value).toString('hex')
}

function bufferOf(value: DuckDBValue): Buffer {
  assert(value instanceof DuckDBBlobValue)
  const { buffer, byteOffset, byteLength } = value.bytes
  return Buffer.from(buffer, byteOffset, byteLength)
}

function convertDate(value: DuckDBValue): string {
  assert(value instanceof DuckDBDateValue)
  const { days } = value
  if (days >= dayMin && days <= dayMax) return new Date(days * millisPerDay).toISOString().slice(0, 10)
  throw new CorruptError(`A date ${days} days from 1970-01-01 lies outside the years 0001 to 9999`, { days })
}

/** UTC epoch milliseconds. */
function convertTimestamp(value: DuckDBValue): bigint {
  if (value instanceof DuckDBTimestampMillisecondsValue) return value.millis
  if (value instanceof DuckDBTimestampSecondsValue) return value.seconds * 1000n
  assert(value instanceof DuckDBTimestampValue)
  if (value.micros % 1000n === 0n) return value.micros / 1000n
  throw new InvalidRequestError('A timestamp is no whole number of milliseconds: truncate it in the SELECT', { micros: String(value.micros) })
}
