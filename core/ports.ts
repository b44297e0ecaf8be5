/**
 * The ports: what the layers ask of an event log, a lake and a query engine. Ports move bytes and rows and never decide; where two
 * adapters would need the same `if`, it belongs above the port. Each port has one contract suite in `test/contract/`, run on every
 * adapter. PostgreSQL has no port: embedded or not, it is PostgreSQL.
 */

/** Partition → next offset (exclusive end of what is meant). A partition that is missing stands at its beginning. */
export type Vector = ReadonlyMap<number, number>

export type LogHeaders = Readonly<Record<string, string>>

export type LogRecord = {
  /** Position in its partition, 0 to 2^53 − 1. Offsets rise, and may have gaps. */
  readonly offset: number
  /** When the log took the record, UTC epoch milliseconds; the only "now" that decides about an event. */
  readonly logTimeMs: number
  readonly value: Uint8Array
  readonly headers: LogHeaders | null
}

export type LogAppend = {
  /** Records of one key keep their order and share a partition. `null` spreads them. */
  readonly key: string | null
  readonly value: Uint8Array
  readonly headers?: LogHeaders
  /**
   * The time the log should record, for generated history. A log may ignore it (Kafka on log-append time does); none lets log time
   * go back within a partition, and none takes a time in the future.
   */
  readonly logTimeMs?: number
}

/** A run of records of one partition, `from` inclusive to `to` exclusive; `to` may lie beyond the last record where offsets have gaps. */
export type LogBatch = {
  readonly partition: number
  readonly from: number
  readonly to: number
  readonly records: readonly LogRecord[]
}

export type LogBounds = {
  /** Partition → oldest offset still kept. */
  readonly first: Vector
  /** Partition → next offset that will be written. */
  readonly end: Vector
}

export type LogReadOptions = {
  /** Stop after this vector (exclusive). Without it, wait for new records until aborted. */
  readonly to?: Vector
  readonly signal: AbortSignal
}

export interface EventLog extends AsyncDisposable {
  /** Makes the topic with so many partitions unless it exists; never changes an existing one. */
  create(topic: string, partitions: number): Promise<void>
  /** Durable when it resolves; all records or none. Returns each touched partition's next offset. */
  append(topic: string, records: readonly LogAppend[]): Promise<Vector>
  /**
   * The partitions that are this process's to read, again each time they change, until aborted. Two processes may both hold one for
   * a moment: safety is the committed offset's compare-and-set, never this.
   */
  assigned(topic: string, signal: AbortSignal): AsyncIterable<readonly number[]>
  /**
   * Reads the partitions named in `from`, each in offset order, committed records only. Ends when `to` is reached, or promptly and
   * without an error when aborted. Throws LossError when the next offset wanted is older than the log's first or lies beyond its end.
   */
  read(topic: string, from: Vector, options: LogReadOptions): AsyncIterable<LogBatch>
  bounds(topic: string): Promise<LogBounds>
  /** Allows the log to forget records below the vector that are older than `before` (UTC ms). A log with its own retention ignores it. */
  prune(topic: string, below: Vector, beforeMs: number): Promise<void>
  /** Tells the log how far its reader's own books go, for tools that show lag. Best effort: nothing waits for it and nothing reads it back. */
  reportPosition?(topic: string, positions: Vector): Promise<void>
}

export type LakeEntry = { readonly path: string; readonly bytes: number; readonly modifiedMs: number }

/** Checks the finished bytes before they get their name: given a local readable copy or range reader. Throws to refuse. */
export type LakeVerify = (file: LakeFile) => Promise<void>

/** Random access to one file's bytes. */
export interface LakeFile {
  readonly path: string
  readonly bytes: number
  /** Bytes `from` inclusive to `to` exclusive. */
  read(from: number, to: number): Promise<Uint8Array>
  /** Within a put: the lake has compared a checksum of the stored bytes with one of the bytes it was given, so that reading them back would tell no more. */
  readonly isProven?: boolean
}

export interface Lake extends AsyncDisposable {
  /**
   * All or nothing, and never replaces: written under a name that starts with `_`, closed, synced, verified, then renamed. Resolves to
   * the file's entry. Throws ConflictError where the path exists, whoever wrote it. Paths are relative to the lake's root,
   * `/`-separated, of the characters `[A-Za-z0-9._=+-]`, no segment `.` or `..`.
   */
  put(path: string, body: AsyncIterable<Uint8Array>, verify: LakeVerify): Promise<LakeEntry>
  /** Throws CorruptError where the path does not exist. */
  get(path: string): Promise<LakeFile>
  /** null where the path does not exist; any other trouble is an error. */
  stat(path: string): Promise<LakeEntry | null>
  /** Finished and unfinished files below the prefix, by path. For finding orphans only: a listing never decides what is read. */
  list(prefix: string): AsyncIterable<LakeEntry>
  /** Moves a file; never replaces. Throws ConflictError where the target exists. */
  move(from: string, to: string): Promise<void>
  /** Removing what is not there is no error. */
  remove(path: string): Promise<void>
  /** What the paired query engine calls this file. */
  location(path: string): string
}

/** INT64 columns come as bigint, dates as `YYYY-MM-DD`, text as string, absent values as null. */
export type QueryValue = string | bigint | boolean | null
export type QueryRows = { readonly columns: readonly string[]; readonly rows: readonly (readonly QueryValue[])[] }

export interface QueryEngine extends AsyncDisposable {
  /**
   * Names a table over exactly these Parquet files of the lake (paths, not folders); again with other files replaces it. No files
   * need `like`: an empty table with the columns of that attached table.
   */
  attach(table: string, paths: readonly string[], columns: readonly ParquetColumn[]): Promise<void>
  detach(table: string): Promise<void>
  /** Batches of rows of one SELECT in the part of SQL that DuckDB and Trino share. A failure throws; it never ends the rows early. */
  query(select: string): AsyncIterable<QueryRows>
  /**
   * Writes the SELECT's rows as Parquet files below a new folder of the lake and returns their paths. A failure leaves nothing that a
   * reader finds.
   */
  materialize(select: string, into: string): Promise<readonly string[]>
  /**
   * Names a table over exactly these files, lastingly, for people who ask the engine themselves; again with other files replaces it at once. An engine
   * inside this process has nobody to share with, and not this function.
   */
  share?(table: string, paths: readonly string[], columns: readonly ParquetColumn[]): Promise<void>
}

/** `date` is days since 1970-01-01 (may be negative), `timestamp` UTC epoch milliseconds (may be negative). */
export type ParquetType = 'int64' | 'int32' | 'text' | 'bytes' | 'boolean' | 'date' | 'timestamp'
export type ParquetColumn = { readonly name: string; readonly type: ParquetType; readonly nullable: boolean }

/** Values of one column, one per row. `int64` takes safe integers or bigint, `date` and `timestamp` whole numbers. Never text for a number. */
export type ParquetValues = readonly (number | bigint | string | Uint8Array | boolean | null)[]

/** Encodes tables as Parquet, whole columns at a time. */
export interface ParquetCodec {
  /**
   * Yields the file's bytes. Every row group holds equally long columns in the order of `columns`. Throws on a value that its column
   * cannot hold exactly. An empty input is an error: no file has zero rows.
   */
  encode(columns: readonly ParquetColumn[], rowGroups: AsyncIterable<readonly ParquetValues[]> | Iterable<readonly ParquetValues[]>): AsyncIterable<Uint8Array>
  /** Reads the footer: total rows. Throws CorruptError where this is no whole Parquet file. */
  rowCount(file: LakeFile): Promise<number>
}

/** `body` is JSON text, so that 64-bit integers stay exact; null deletes. Versions only rise: an older one changes nothing. */
export type SearchDocument = { readonly id: string; readonly version: number; readonly body: string | null }

export type SearchPut = {
  readonly written: number
  /** What stands there with the same or a higher version, and stays. */
  readonly newer: readonly { readonly id: string; readonly version: number; readonly versionThere: number }[]
  /** Refused for what they are: sending them again helps nothing. */
  readonly refused: readonly { readonly id: string; readonly reason: string }[]
}

/** Whole numbers above 2^53 come as bigint. */
export type FoundDocument = { readonly id: string; readonly version: number; readonly source: Readonly<Record<string, unknown>> }

export type SearchFieldType = 'keyword' | 'date' | 'long' | 'boolean'
/** Fields that are not listed are refused, never guessed. Applies to indices whose names match `pattern` (it ends with `*`) when they are created. */
export type SearchTemplate = { readonly name: string; readonly pattern: string; readonly version: number; readonly fields: Readonly<Record<string, SearchFieldType>> }

/** Sums of one month, `YYYY-MM`. Sums are doubles: exact below 2^53 only. */
export type SearchMonth = { readonly month: string; readonly documents: number; readonly sums: Readonly<Record<string, number>> }

/** An index that is asked for and is not there throws ConflictError with `details.missingIndex`. */
export interface SearchIndex extends AsyncDisposable {
  define(template: SearchTemplate): Promise<void>
  /** Makes the index unless it exists. Nothing else ever makes one. */
  create(index: string): Promise<void>
  /** Removing what is not there is no error. */
  remove(index: string): Promise<void>
  /** Names that match the pattern, which ends with `*`; sorted. */
  list(pattern: string): Promise<string[]>
  /** From one moment to the next the alias names exactly these indices. */
  point(alias: string, indices: readonly string[]): Promise<void>
  /** Indices that the alias names; sorted, empty where there is none. */
  pointed(alias: string): Promise<string[]>
  /** Durable when it resolves. Throws UnavailableError where some were neither taken nor refused: send all again. */
  put(index: string, documents: readonly SearchDocument[], signal?: AbortSignal): Promise<SearchPut>
  /** What was put is found by `sumByMonth`, `highest` and `scan` from now on. */
  refresh(index: string): Promise<void>
  sumByMonth(index: string, dateField: string, fields: readonly string[]): Promise<SearchMonth[]>
  /** Of a field of small whole numbers; null where there is none. */
  highest(index: string, field: string): Promise<number | null>
  /** Documents whose `dateField` lies in `from` inclusive to `to` exclusive (`YYYY-MM-DD`), once each, in any order. */
  scan(index: string, dateField: string, from: string, to: string): AsyncIterable<readonly FoundDocument[]>
  /** Of a document that is there; null where it is not. */
  get(index: string, id: string): Promise<FoundDocument | null>
}

export type MailAttachment = { readonly name: string; readonly type: string; readonly content: Uint8Array }

/** To one address. The same mail is the same bytes: whoever gets it twice knows it by `messageId` (without angle brackets). */
export type Mail = {
  readonly from: string
  readonly to: string
  readonly messageId: string
  /** Of the mail that this one follows. */
  readonly inReplyTo: string | null
  readonly date: Date
  readonly subject: string
  readonly text: string
  readonly html: string
  readonly attachments: readonly MailAttachment[]
}

export interface ReportMail extends AsyncDisposable {
  /**
   * Resolves once the server has taken the mail. Throws UnavailableError where it may have or may do so later: send it again; InvalidRequestError where it
   * refuses this mail or address for good; ConfigError where it refuses us. No error tells of a password.
   */
  send(mail: Mail, signal: AbortSignal): Promise<void>
}

export interface Webhook {
  /** Who it is, without what may be a secret in its address. */
  readonly target: string
  /**
   * Resolves once it has answered with a 2xx. The same key means the same post. Throws UnavailableError where it may take it later, InvalidRequestError
   * where it refuses it for good. No error tells more of the address than `target`.
   */
  post(body: string, idempotencyKey: string, signal: AbortSignal): Promise<void>
}
