/** Trino's values as the port's, exactly or not at all: nothing that passes here is a floating-point number. */
import { CorruptError, InvalidRequestError, UnavailableError } from '#core/errors.ts'
import type { ParquetType, QueryValue } from '#core/ports.ts'

export type TrinoColumn = { readonly name: string; readonly type: string }

type Convert = (value: NonNullable<unknown>) => QueryValue

/** The type under which Trino reads each type that the Parquet codec writes. */
export const typeNameOf: Readonly<Record<ParquetType, string>> = {
  int64: 'bigint',
  int32: 'integer',
  text: 'varchar',
  bytes: 'varbinary',
  boolean: 'boolean',
  date: 'date',
  timestamp: 'timestamp(3)',
}

const integerType = /^(tinyint|smallint|integer|bigint|decimal\(\d+,\s*0\))$/
const textType = /^(varchar|char)(\(\d+\))?$/
const timestampType = /^timestamp\(\d+\)$/
const storableType = /^(integer|bigint|boolean|date|varbinary|varchar(\(\d+\))?|timestamp\(3\))$/

/** Parses a page. An integer that JSON.parse would round comes as a bigint. */
export function parsePage(text: string): unknown {
  // The slow way only where some digits are that many.
  return /\d{16}/.test(text) ? JSON.parse(text, exactInteger) : JSON.parse(text)
}

/** Node 24 passes the number's own text. */
function exactInteger(this: unknown, _key: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value) || context?.source === undefined) return value
  return /^-?\d+$/.test(context.source) ? BigInt(context.source) : value
}

/**
 * Converts rows of these columns. Throws InvalidRequestError, naming the column and the cast, where one could not be returned exactly; the function it
 * returns throws UnavailableError on values that are not of the column's type.
 */
export function converterOf(columns: readonly TrinoColumn[]): (row: readonly unknown[]) => readonly QueryValue[] {
  const converts = columns.map((column) => {
    const convert = convertOf(column.type)
    if (convert === null) throw refusal(column, 'be returned')
    return convert
  })
  return (row) => {
    if (!Array.isArray(row) || row.length !== converts.length) throw new UnavailableError(`Trino sent a row that has not the ${converts.length} values of its columns: check what stands between`)
    return row.map((value, index) => (value === null || value === undefined ? null : converts[index]!(value)))
  }
}

/** Throws InvalidRequestError, naming the column and the cast, where a column could not be kept exactly in Parquet. */
export function checkStorable(columns: readonly TrinoColumn[]): void {
  for (const column of columns) if (!storableType.test(column.type)) throw refusal(column, 'be kept in Parquet')
}

function convertOf(type: string): Convert | null {
  if (integerType.test(type)) return convertInteger
  if (textType.test(type)) return convertText
  if (timestampType.test(type)) return convertTimestamp
  if (type === 'boolean') return convertBoolean
  if (type === 'date') return convertDate
  if (type === 'varbinary') return convertBytes
  if (type === 'unknown') return () => null
  return null
}

function refusal(column: TrinoColumn, cannot: string): InvalidRequestError {
  return new InvalidRequestError(`Column "${column.name}" is ${column.type} and cannot ${cannot} exactly: cast it to bigint, varchar, boolean or date in the SELECT`, {
    column: column.name,
    type: column.type,
  })
}

/** Decimals come as text. */
function convertInteger(value: NonNullable<unknown>): bigint {
  if (typeof value === 'bigint') return value
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value)
  if (typeof value === 'string' && /^-?\d+$/.test(value)) return BigInt(value)
  throw mistyped('an integer', value)
}

function convertText(value: NonNullable<unknown>): string {
  if (typeof value === 'string') return value
  throw mistyped('text', value)
}

function convertBoolean(value: NonNullable<unknown>): boolean {
  if (typeof value === 'boolean') return value
  throw mistyped('a boolean', value)
}

/** Base64 in the protocol, hexadecimal digits in the port. */
function convertBytes(value: NonNullable<unknown>): string {
  return Buffer.from(convertText(value), 'base64').toString('hex')
}

function convertDate(value: NonNullable<unknown>): string {
  const text = convertText(value)
  if (/^(?!0000)\d{4}-\d\d-\d\d$/.test(text)) return text
  throw new CorruptError(`A date ${text} lies outside the years 0001 to 9999`, { date: text })
}

/** UTC epoch milliseconds. */
function convertTimestamp(value: NonNullable<unknown>): bigint {
  const text = convertText(value)
  const parts = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,3})(\d*))?$/.exec(text)
  if (parts === null) throw new CorruptError(`A timestamp ${text} lies outside the years 0000 to 9999`, { timestamp: text })
  const [, day, time, millis = '', rest = ''] = parts
  if (/[1-9]/.test(rest)) throw new InvalidRequestError('A timestamp is no whole number of milliseconds: truncate it in the SELECT', { timestamp: text })
  return BigInt(Date.parse(`${day}T${time}.${millis.padEnd(3, '0')}Z`))
}

function mistyped(expected: string, value: unknown): UnavailableError {
  return new UnavailableError(`Trino sent ${typeof value} where the column's type says ${expected}: check what stands between, and its version`)
}
