/**
 * The query engine of the local lake: DuckDB in this process, in memory, over the lake's Parquet files.
 *
 * A table is a view over exactly the files it was given, so DuckDB never lists a folder. DuckDB may read the lake and its own temporary
 * folder and nothing else: no network, no extensions, no settings changed by a statement.
 */
import { strict as assert } from 'node:assert'
import { randomUUID } from 'node:crypto'
import { mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { DuckDBInstance, StatementType } from '@duckdb/node-api'
import type { DuckDBPreparedStatement, DuckDBResult } from '@duckdb/node-api'
import { ConfigError, CorruptError, InvalidRequestError, UnavailableError } from '#core/errors.ts'
import type { Lake, ParquetColumn, QueryEngine, QueryRows } from '#core/ports.ts'
import { translateDuckDbError } from './duckdb-errors.ts'
import { DuckDbSession } from './duckdb-session.ts'
import { checkReturnable, checkStorable, convertChunk, passOn, resultColumnsOf, typeIdOf, typeNameOf } from './duckdb-values.ts'
import type { TemporaryFolder } from './temporary-folder.ts'
import { openTemporaryFolder } from './temporary-folder.ts'

export type DuckDbOptions = {
  /** A lake whose `location` is a path on this machine. */
  readonly lake: Lake
  /** Default 2. */
  readonly threads?: number
  /** Larger sorts and groupings spill into the temporary folder. Default 256. */
  readonly memoryLimitMb?: number
  /** A folder of this process is made below it, and removed at the end; those that killed processes left there are removed too. Default: the system's. */
  readonly tempDirectory?: string
}

const threadsDefault = 2
const memoryLimitMbDefault = 256

/** Temporary tables belong to one connection and end with it. */
const resultTable = 'tidemark_result'

const namePattern = /^[A-Za-z_][A-Za-z0-9_]*$/
/** `read_parquet` would search for these instead of opening the file. */
const globPattern = /[*?[\]{}]/

/** Opens DuckDB over a local lake. Throws ConfigError where the lake's folder cannot be named to DuckDB, UnavailableError where DuckDB does not start. */
export async function openDuckDb(options: DuckDbOptions): Promise<QueryEngine> {
  const root = dirname(options.lake.location('_'))
  if (globPattern.test(root)) throw new ConfigError(`DuckDB cannot read a lake in ${root}: choose a folder without * ? [ ] { } in its path`, { root })
  let tempFolder: TemporaryFolder | undefined
  try {
    tempFolder = await openTemporaryFolder('duckdb', options.tempDirectory === undefined ? {} : { parent: options.tempDirectory })
    const instance = await DuckDBInstance.create(':memory:', {
      threads: String(options.threads ?? threadsDefault),
      memory_limit: `${options.memoryLimitMb ?? memoryLimitMbDefault}MB`,
      temp_directory: tempFolder.path,
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
      allow_community_extensions: 'false',
      // Rows pass through a temporary table on their way out and must leave it in the order of their ORDER BY.
      preserve_insertion_order: 'true',
      // The files lie on this machine, where the system's cache serves every process.
      enable_external_file_cache: 'false',
    })
    await lockDown(instance, [root, tempFolder.path])
    return new DuckDb(instance, options.lake, tempFolder)
  } catch (error) {
    await tempFolder?.[Symbol.asyncDispose]()
    throw translateDuckDbError('open DuckDB', error)
  }
}

async function lockDown(instance: DuckDBInstance, folders: readonly string[]): Promise<void> {
  const connection = await instance.connect()
  try {
    await connection.run(/* sql */ `SET GLOBAL TimeZone = 'UTC'`)
    await connection.run(/* sql */ `SET GLOBAL allowed_directories = [${folders.map(quoteText).join(', ')}]`)
    await connection.run(/* sql */ `SET GLOBAL enable_external_access = false`)
    await connection.run(/* sql */ `SET GLOBAL lock_configuration = true`)
  } finally {
    connection.disconnectSync()
  }
}

class DuckDb implements QueryEngine {
  readonly #instance: DuckDBInstance
  readonly #lake: Lake
  readonly #tempFolder: TemporaryFolder
  readonly #sessions = new Set<DuckDbSession>()
  #closed = false
  /** Two views made at once conflict in DuckDB's catalog, so they are made one after the other. */
  #catalog: Promise<unknown> = Promise.resolve()

  constructor(instance: DuckDBInstance, lake: Lake, tempFolder: TemporaryFolder) {
    this.#instance = instance
    this.#lake = lake
    this.#tempFolder = tempFolder
  }

  async attach(table: string, paths: readonly string[], columns: readonly ParquetColumn[]): Promise<void> {
    const view = quoteName(table)
    const select = paths.length === 0 ? selectNothing(columns) : this.#selectFiles(paths, columns)
    await this.#changeCatalog(`attach "${table}"`, async (session) => {
      if (paths.length > 0) await checkColumns(session, table, this.#readFiles(paths), columns)
      await session.run((connection) => connection.run(/* sql */ `CREATE OR REPLACE VIEW ${view} AS ${select}`))
    })
  }

  async detach(table: string): Promise<void> {
    const view = quoteName(table)
    await this.#changeCatalog(`detach "${table}"`, async (session) => {
      await session.run((connection) => connection.run(/* sql */ `DROP VIEW IF EXISTS ${view}`))
    })
  }

  /**
   * A streaming result of DuckDB that fails half-way looks like one that has ended: the error stays behind in the C interface
   * (duckdb-rs#832 describes the same). So the SELECT runs to its end into a temporary table, which may spill to disk, where an error is
   * thrown; then its rows are streamed and counted.
   */
  async *query(select: string): AsyncGenerator<QueryRows> {
    const doing = 'run the query'
    using session = await this.#openSession(doing)
    try {
      const resultColumns = resultColumnsOf(await prepareSelect(session, select))
      checkReturnable(resultColumns)
      const columns = resultColumns.map(({ name }) => name)
      let missing = await storeResult(session, select)
      const result = await streamResult(session)
      for (;;) {
        const chunk = await session.run(() => result.fetchChunk())
        if (chunk === null || chunk.rowCount === 0) break
        missing -= BigInt(chunk.rowCount)
        yield { columns, rows: convertChunk(chunk, resultColumns) }
      }
      if (missing !== 0n) throw new UnavailableError(`Cannot ${doing}: DuckDB lost ${missing} rows of the result; check its temporary folder and run the query again`)
    } catch (error) {
      throw translateDuckDbError(doing, error)
    }
  }

  async materialize(select: string, into: string): Promise<readonly string[]> {
    const doing = `write into ${into}`
    const id = randomUUID()
    const temporary = `${into}/_${id}.parquet`
    const path = `${into}/part-${id}.parquet`
    const location = this.#lake.location(temporary)
    using session = await this.#openSession(doing)
    try {
      checkStorable(resultColumnsOf(await prepareSelect(session, select)))
      await mkdir(dirname(location), { recursive: true })
      const rows = await copyRows(session, select, location)
      if (rows === 0n) {
        // No file has zero rows: nothing is the empty list of files.
        await this.#lake.remove(temporary)
        return []
      }
      await syncFile(location)
      await this.#lake.move(temporary, path)
      return [path]
    } catch (error) {
      // The first error is the one to tell; what stays under a `_` name is found by no reader and swept later.
      await this.#lake.remove(temporary).catch(() => {})
      throw translateDuckDbError(doing, error)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await Promise.all([...this.#sessions].map((session) => session.end()))
    this.#instance.closeSync()
    await this.#tempFolder[Symbol.asyncDispose]()
  }

  async #openSession(doing: string): Promise<DuckDbSession> {
    if (this.#closed) throw new UnavailableError(`Cannot ${doing}: DuckDB is closed; open it again`)
    const connection = await this.#instance.connect()
    if (this.#closed) {
      connection.disconnectSync()
      throw new UnavailableError(`Cannot ${doing}: DuckDB is closed; open it again`)
    }
    const session = new DuckDbSession(connection, (closed) => this.#sessions.delete(closed))
    this.#sessions.add(session)
    return session
  }

  async #changeCatalog(doing: string, change: (session: DuckDbSession) => Promise<void>): Promise<void> {
    const changed = this.#catalog.then(async () => {
      using session = await this.#openSession(doing)
      await change(session)
    })
    this.#catalog = changed.catch(() => {})
    try {
      await changed
    } catch (error) {
      throw translateDuckDbError(doing, error)
    }
  }

  /** Columns by name, so that what stands in the path (`logged=2025-03`) or beside them in the file is no part of the table. */
  #selectFiles(paths: readonly string[], columns: readonly ParquetColumn[]): string {
    return /* sql */ `SELECT ${columns.map(({ name }) => quoteName(name)).join(', ')} FROM ${this.#readFiles(paths)}`
  }

  #readFiles(paths: readonly string[]): string {
    const files = paths.map((path) => quoteText(this.#lake.location(path)))
    return /* sql */ `read_parquet([${files.join(', ')}], hive_partitioning = false, union_by_name = false)`
  }
}

function selectNothing(columns: readonly ParquetColumn[]): string {
  const nulls = columns.map(({ name, type }) => `CAST(NULL AS ${typeNameOf[type]}) AS ${quoteName(name)}`)
  return /* sql */ `SELECT ${nulls.join(', ')} WHERE false`
}

/** DuckDB takes the columns from the first file; another type there would change the answers of a view's SQL without a word. */
async function checkColumns(session: DuckDbSession, table: string, files: string, columns: readonly ParquetColumn[]): Promise<void> {
  const found = resultColumnsOf(await prepareSelect(session, /* sql */ `SELECT * FROM ${files}`))
  const types = new Map(found.map((column) => [column.name, column]))
  for (const { name, type } of columns) {
    const column = types.get(name)
    if (column?.typeId === typeIdOf[type]) continue
    const actual = column === undefined ? 'missing' : column.typeName
    throw new CorruptError(
      `Cannot attach "${table}": column "${name}" of its files should be ${typeNameOf[type]} and is ${actual}; the files were written by another version`,
      { table, column: name },
    )
  }
}

/** Throws InvalidRequestError unless the text is one SELECT without parameters. */
async function prepareSelect(session: DuckDbSession, select: string): Promise<DuckDBPreparedStatement> {
  const statement = await session.run((connection) => connection.prepare(select))
  if (statement.statementType === StatementType.SELECT && statement.parameterCount === 0) return statement
  throw new InvalidRequestError('The query engine runs one SELECT without parameters: correct the SQL', { select })
}

/** Runs the SELECT to its end. Returns its rows' number. */
async function storeResult(session: DuckDbSession, select: string): Promise<bigint> {
  const stored = await session.run((connection) =>
    connection.runAndReadAll(/* sql */ `CREATE TEMP TABLE ${resultTable} AS ${enclose(select)}`),
  )
  const rows = stored.value(0, 0)
  assert(typeof rows === 'bigint', 'DuckDB did not count the rows of its result')
  return rows
}

async function streamResult(session: DuckDbSession): Promise<DuckDBResult> {
  // The table's own names, since those of the SELECT may be there twice.
  const stored = resultColumnsOf(await prepareSelect(session, /* sql */ `SELECT * FROM temp.${resultTable}`))
  const list = stored.map(passOn).join(', ')
  return session.run((connection) => connection.stream(/* sql */ `SELECT ${list} FROM temp.${resultTable}`))
}

/** Returns the rows written, having compared them with the file's footer. */
async function copyRows(session: DuckDbSession, select: string, location: string): Promise<bigint> {
  const file = quoteText(location)
  const copied = await session.run((connection) =>
    connection.runAndReadAll(/* sql */ `COPY ${enclose(select)} TO ${file} (FORMAT parquet, COMPRESSION snappy)`),
  )
  const counted = await session.run((connection) => connection.runAndReadAll(/* sql */ `SELECT num_rows FROM parquet_file_metadata(${file})`))
  const rows = copied.value(0, 0)
  if (typeof rows === 'bigint' && rows === counted.value(0, 0)) return rows
  throw new CorruptError(`DuckDB wrote ${String(rows)} rows into ${location} and its footer counts ${String(counted.value(0, 0))}: check the disk`, { location })
}

/** The SELECT may end in a comment, hence the line breaks. It was prepared by itself before, so it cannot reach beyond the brackets. */
function enclose(select: string): string {
  return `(\n${select.trim().replace(/;$/, '')}\n)`
}

/** `COPY` closes its file without syncing it. */
async function syncFile(location: string): Promise<void> {
  try {
    // Windows syncs only what was opened for writing.
    await using handle = await open(location, 'r+')
    await handle.sync()
  } catch (error) {
    throw new UnavailableError(`Cannot sync ${location}: check the disk and its free space`, { location }, error)
  }
}

function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

function quoteName(name: string): string {
  if (namePattern.test(name)) return `"${name}"`
  throw new InvalidRequestError(`"${name}" is no name of a table or column: use letters, digits and _, beginning with no digit`, { name })
}
