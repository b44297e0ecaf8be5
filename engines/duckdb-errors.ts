/** What DuckDB's errors mean to the caller. DuckDB names the kind at the beginning of the message: "Binder Error: …". */
import { CorruptError, InvalidRequestError, TidemarkError, UnavailableError, messageOf } from '#core/errors.ts'

/** The statement is wrong, or its numbers do not fit the types it asks for. */
const statementErrors = /^(Parser|Syntax|Binder|Catalog|Conversion|Out of Range|Mismatch Type|Not implemented|Permission|Dependency|Constraint|Parameter[A-Za-z ]*) Error/
const missingFile = /No files found that match the pattern "(.*)"$|Cannot open file "(.*)": No such file/m
const brokenFile = /parquet|snappy|magic bytes|thrift|schema mismatch|Failed to read file/i
const diskFull = /No space left|Disk quota|max_temp_directory_size/

export function translateDuckDbError(doing: string, error: unknown): TidemarkError {
  if (error instanceof TidemarkError) return error
  const message = messageOf(error)
  const summary = message.split('\n\nLINE ')[0]!
  const missing = missingFile.exec(message)
  if (missing !== null) {
    const file = missing[1] ?? missing[2]
    return new CorruptError(`Cannot ${doing}: the lake's file ${file} is missing; restore it from a backup of the lake`, { file }, error)
  }
  if (diskFull.test(message)) {
    return new UnavailableError(`Cannot ${doing}: the disk of the lake or of DuckDB's temporary folder is full; free space (${summary})`, {}, error)
  }
  if (message.startsWith('Out of Memory Error')) {
    return new UnavailableError(`Cannot ${doing}: DuckDB's memory limit is too small for this query; raise memoryLimitMb (${summary})`, {}, error)
  }
  if (message.startsWith('INTERRUPT Error')) {
    return new UnavailableError(`Cannot ${doing}: the query was interrupted because DuckDB is closing; open it again`, {}, error)
  }
  if (statementErrors.test(message)) return new InvalidRequestError(`Cannot ${doing}: correct the SQL (${summary})`, { message })
  if (brokenFile.test(message)) {
    return new CorruptError(`Cannot ${doing}: a file of the lake is not the Parquet file it should be; restore it from a backup (${summary})`, { message }, error)
  }
  if (message.startsWith('Invalid Input Error')) return new InvalidRequestError(`Cannot ${doing}: correct the SQL (${summary})`, { message })
  return new UnavailableError(`Cannot ${doing}: DuckDB failed; try again, and open it anew if that does not help (${summary})`, {}, error)
}
