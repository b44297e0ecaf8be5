/** The rows of one file of the archive, as they were written: every column, record by record, in the order of the log. */
import { parseDay } from '#core/calendar.ts'
import { CorruptError } from '#core/errors.ts'
import type { LogHeaders, LogRecord, ParquetColumn, QueryEngine, QueryValue } from '#core/ports.ts'
import type { ArchiveRow, ArchiveValue } from './archive-columns.ts'
import { archiveColumns, columnAt } from './archive-columns.ts'

const at = { offset: columnAt('log_offset'), logTime: columnAt('log_time'), headers: columnAt('headers'), bytes: columnAt('bytes') } as const

/** The rows of one record, in the order of its events. */
export type RecordRows = readonly [ArchiveRow, ...ArchiveRow[]]

let tables = 0

/** Of one file, or of several files of one partition as if they were one. Throws CorruptError where a value is none of its column. */
export async function* readFileRecords(engine: QueryEngine, files: string | readonly string[]): AsyncGenerator<RecordRows> {
  const paths = typeof files === 'string' ? [files] : files
  const path = paths.length === 1 ? paths[0]! : `One of ${paths.length} files from ${paths[0]} on`
  const table = `file_rows_${++tables}`
  await engine.attach(table, paths, archiveColumns)
  try {
    let record: [ArchiveRow, ...ArchiveRow[]] | null = null
    for await (const { rows } of engine.query(selectOf(table))) {
      for (const values of rows) {
        const row = archiveColumns.map((column, i) => valueOf(path, column, values[i]!))
        if (record !== null && record[0][at.offset] === row[at.offset]) record.push(row)
        else {
          if (record !== null) yield record
          record = [row]
        }
      }
    }
    if (record !== null) yield record
  } finally {
    await engine.detach(table)
  }
}

/** The record as the log had it; null where its bytes were erased. */
export function logRecordOf([first]: RecordRows): LogRecord | null {
  const value = first[at.bytes] as Uint8Array | null
  const headers = first[at.headers] as string | null
  if (value === null) return null
  return { offset: first[at.offset] as number, logTimeMs: first[at.logTime] as number, value, headers: headers === null ? null : (JSON.parse(headers) as LogHeaders) }
}

function selectOf(table: string): string {
  const columns = archiveColumns.map(({ name, type }) => {
    if (type === 'timestamp') return `CAST(${name} AS varchar) AS ${name}`
    if (type === 'bytes') return `to_base64(${name}) AS ${name}`
    return type === 'int32' ? `CAST(${name} AS bigint) AS ${name}` : name
  })
  return `SELECT ${columns.join(', ')} FROM ${table} ORDER BY log_partition, log_offset, record_index`
}

function valueOf(path: string, { name, type }: ParquetColumn, value: QueryValue): ArchiveValue {
  if (value === null) return null
  if (type === 'bytes') return Buffer.from(value as string, 'base64')
  if (type === 'text' || type === 'boolean') return value
  const number = type === 'date' ? parseDay(value as string) : type === 'timestamp' ? parseTimestamp(value as string) : Number(value)
  if (number === null || !Number.isSafeInteger(number)) throw new CorruptError(`${path} holds ${String(value)} as ${name}, which is none. Put the file back from a copy.`, { path })
  return number
}

const timestampPattern = /^(\d{4})-(\d\d)-(\d\d) (?:\(BC\) )?(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?: UTC)?( \(BC\))?$/

/** As DuckDB and Trino write a timestamp: the year before the year 1 is `0001 (BC)` to the one and `0000` to the other. */
export function parseTimestamp(text: string): number | null {
  const match = timestampPattern.exec(text)
  if (match === null) return null
  const [, yearText, month, day, hour, minute, second, fraction = ''] = match
  const year = text.includes('(BC)') ? 1 - Number(yearText) : Number(yearText)
  const date = new Date(0)
  date.setUTCFullYear(year, Number(month) - 1, Number(day))
  return date.getTime() + ((Number(hour) * 60 + Number(minute)) * 60 + Number(second)) * 1000 + Number(fraction.padEnd(3, '0').slice(0, 3))
}
