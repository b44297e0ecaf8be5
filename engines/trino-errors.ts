/** What the error of a Trino query means to the caller. Trino gives a name, a type and the chain of causes with their Java classes. */
import { ConfigError, CorruptError, InvalidRequestError, UnavailableError } from '#core/errors.ts'
import type { TidemarkError } from '#core/errors.ts'

export type TrinoFailure = { readonly type?: string; readonly message?: string; readonly cause?: TrinoFailure; readonly stack?: readonly string[] }

export type TrinoError = {
  readonly message: string
  readonly errorName: string
  readonly errorType: string
  readonly failureInfo?: TrinoFailure
}

/** Reading a file failed: because of the file, unless the causes say that HDFS was away. */
const readingNames: ReadonlySet<string> = new Set([
  'HIVE_BAD_DATA',
  'HIVE_CANNOT_OPEN_SPLIT',
  'HIVE_CURSOR_ERROR',
  'HIVE_FILE_NOT_FOUND',
  'HIVE_FILESYSTEM_ERROR',
  'HIVE_UNKNOWN_ERROR',
  'HIVE_MISSING_DATA',
  'HIVE_UNSUPPORTED_FORMAT',
])
/** Of the type "user error", and yet no mistake in the SQL. */
const endedFromOutside: ReadonlySet<string> = new Set(['USER_CANCELED', 'ADMINISTRATIVELY_KILLED', 'ADMINISTRATIVELY_PREEMPTED', 'ABANDONED_QUERY', 'ABANDONED_TASK'])
const settingNames: ReadonlySet<string> = new Set(['PERMISSION_DENIED', 'CATALOG_NOT_FOUND', 'CATALOG_NOT_AVAILABLE', 'MISSING_CATALOG_NAME'])

/** HDFS, or the way there, is away. `RemoteException` is the NameNode's word, for example that it is in safe mode. */
const awayTypes = /^java\.net\.|^org\.apache\.hadoop\.(ipc|net)\.|BlockMissingException|StandbyException|SafeModeException|ClosedChannelException|RetriableException/
/** `INVALID_TABLE_PROPERTY` is what Trino says of a folder that it could not look into, for whatever reason. */
const locationName = 'INVALID_TABLE_PROPERTY'
const rightsTypes = /AccessControlException/
const missingFile = /FileNotFoundException|NoSuchFileException/
const missingText = /File does not exist|No such file|does not exist: hdfs/
/** Damaged pages can break the reader in any way: then the fault lies within its code for the format. */
const formatFrames = /^io\.trino\.parquet\.|^io\.airlift\.compress|^org\.apache\.parquet\./

export function translateTrinoError(doing: string, error: TrinoError): TidemarkError {
  const { errorName, errorType, message } = error
  const details = { errorName, message }
  const causes = causesOf(error.failureInfo)
  if (endedFromOutside.has(errorName)) {
    return new UnavailableError(`Cannot ${doing}: the query was ended from outside (${errorName}: ${message}); run it again`, details)
  }
  if (settingNames.has(errorName)) {
    return new ConfigError(`Cannot ${doing}: Trino refuses it (${message}); correct user and catalog in QUERY_URL, or the rights of that user`, details)
  }
  if (causes.some(lacksRights)) {
    return new ConfigError(`Cannot ${doing}: HDFS does not let Trino look into the lake (${message}); run Trino as the lake's user on HDFS (HADOOP_USER_NAME), or give it the rights`, details)
  }
  if (errorName === locationName) return locationError(doing, error, causes)
  if (errorType === 'USER_ERROR') return new InvalidRequestError(`Cannot ${doing}: correct the SQL (${errorName}: ${message})`, details)
  if (errorType === 'INSUFFICIENT_RESOURCES') {
    return new UnavailableError(
      `Cannot ${doing}: Trino lacks the memory or time for it (${errorName}: ${message}); raise query.max-memory and its heap, or try again when less is running`,
      details,
    )
  }
  if (readingNames.has(errorName) || causes.some(breaksInFormat)) return readingError(doing, error, causes)
  return new UnavailableError(`Cannot ${doing}: Trino failed (${errorName}: ${message}); try again, and see its log if that does not help`, details)
}

function locationError(doing: string, { errorName, message }: TrinoError, causes: readonly TrinoFailure[]): TidemarkError {
  if (causes.some(({ type }) => awayTypes.test(type ?? ''))) {
    return new UnavailableError(`Cannot ${doing}: Trino cannot reach HDFS (${errorName}: ${message}); start its NameNode and DataNodes, then try again`, { errorName, message })
  }
  return new ConfigError(`Cannot ${doing}: Trino cannot use a folder of the lake (${message}); check that Trino knows HDFS by the name that LAKE_LOCATION gives`, { errorName, message })
}

function readingError(doing: string, { errorName, message }: TrinoError, causes: readonly TrinoFailure[]): TidemarkError {
  const details = { errorName, message }
  if (errorName === 'HIVE_FILE_NOT_FOUND' || causes.some(saysMissing)) {
    return new CorruptError(`Cannot ${doing}: a file of the lake is missing; restore it from a backup of the lake (${message})`, details)
  }
  if (causes.some(({ type }) => awayTypes.test(type ?? ''))) {
    return new UnavailableError(`Cannot ${doing}: Trino cannot read from HDFS (${errorName}: ${message}); start its NameNode and DataNodes, then try again`, details)
  }
  if (errorName === 'HIVE_FILESYSTEM_ERROR' || errorName === 'HIVE_UNKNOWN_ERROR') {
    return new UnavailableError(`Cannot ${doing}: Trino failed at HDFS (${errorName}: ${message}); try again`, details)
  }
  return new CorruptError(`Cannot ${doing}: a file of the lake is not the Parquet file it should be; restore it from a backup (${errorName}: ${message})`, details)
}

/** The failure and its causes, outermost first. */
function causesOf(failure: TrinoFailure | undefined): readonly TrinoFailure[] {
  const causes: TrinoFailure[] = []
  for (let next = failure; next !== undefined && next !== null && causes.length < 20; next = next.cause) causes.push(next)
  return causes
}

function saysMissing({ type, message }: TrinoFailure): boolean {
  return missingFile.test(type ?? '') || missingText.test(message ?? '')
}

function lacksRights({ type, message }: TrinoFailure): boolean {
  return rightsTypes.test(type ?? '') || rightsTypes.test(message ?? '')
}

function breaksInFormat({ type, stack }: TrinoFailure): boolean {
  return formatFrames.test(type ?? '') || (stack ?? []).slice(0, 3).some((frame) => formatFrames.test(frame))
}
