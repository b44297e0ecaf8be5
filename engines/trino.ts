/**
 * The query engine of the lake on HDFS: Trino, over the lake's Parquet files. How tables are made of files stands in `trino-tables.ts`, how statements
 * run in `trino-session.ts`.
 *
 * Each engine has a schema of its own, which is dropped at its end; those of engines that were killed are dropped by a later one. No table of Trino owns
 * a file: dropping any of them leaves the lake as it is.
 */
import { randomBytes } from 'node:crypto'
import { CorruptError, UnavailableError } from '#core/errors.ts'
import type { Lake, ParquetColumn, QueryEngine, QueryRows } from '#core/ports.ts'
import { checkLakePath } from './lake-path.ts'
import { parquetCodec } from './parquet.ts'
import { checkPresent } from './trino-files.ts'
import { checkSelect, mentions } from './trino-select.ts'
import { TrinoSession, limitsDefault } from './trino-session.ts'
import type { TrinoLimits } from './trino-session.ts'
import { TrinoTables } from './trino-tables.ts'
import { parseTrinoUrl, quoteName, quoteText } from './trino-transport.ts'
import type { TrinoAddress } from './trino-transport.ts'
import { checkStorable, converterOf } from './trino-values.ts'

export type TrinoOptions = {
  /** `trino://user[:password]@host:port/catalog`, `trinos://` for TLS; the catalog is of the Hive connector. */
  readonly url: string
  /** A lake whose `location` is the path under which Trino knows a file, `hdfs://host:port/…`. */
  readonly lake: Lake
  readonly limits?: Partial<TrinoLimits>
  /** Where `share` puts its tables. Default `shopsphere`. */
  readonly sharedSchema?: string
}

const sharedSchemaDefault = 'shopsphere'

const schemaPrefix = 'tidemark_session_'
const dayMs = 86_400_000
/** An engine that goes on for longer moves to a new schema, so that an old name is nobody's. */
const schemaAgeMaxMs = dayMs
const schemaStaleMs = 7 * dayMs

const closingLimits: TrinoLimits = { requestTimeoutMs: 5_000, queryTimeoutMs: 10_000, retryBudgetMs: 1_000 }

/** Opens Trino over a lake on HDFS. Throws ConfigError where the URL or the rights are wrong, UnavailableError where Trino does not answer. */
export async function openTrino(options: TrinoOptions): Promise<QueryEngine> {
  const engine = new TrinoEngine(parseTrinoUrl(options.url), { ...limitsDefault, ...options.limits }, options.lake, options.sharedSchema ?? sharedSchemaDefault)
  try {
    await engine.open()
    return engine
  } catch (error) {
    await engine[Symbol.asyncDispose]()
    throw error
  }
}

type Attached = { readonly paths: readonly string[]; readonly columns: readonly ParquetColumn[] }

class TrinoEngine implements QueryEngine {
  readonly #address: TrinoAddress
  readonly #session: TrinoSession
  readonly #lake: Lake
  readonly #shared: TrinoTables
  readonly #attached = new Map<string, Attached>()
  /** Made by this engine, to be dropped at its end. */
  readonly #schemas: string[] = []
  #tables: TrinoTables
  #madeAtMs = Date.now()
  /** Changes of tables, one after the other. */
  #changes: Promise<unknown> = Promise.resolve()

  constructor(address: TrinoAddress, limits: TrinoLimits, lake: Lake, sharedSchema: string) {
    this.#address = address
    this.#session = new TrinoSession(address, limits)
    this.#lake = lake
    this.#shared = new TrinoTables(this.#session, lake, sharedSchema, true)
    this.#tables = this.#newTables()
  }

  async open(): Promise<void> {
    await this.#tables.create()
    await this.#sweepSchemas()
  }

  async attach(table: string, paths: readonly string[], columns: readonly ParquetColumn[]): Promise<void> {
    quoteName(table)
    for (const path of paths) checkLakePath(path)
    await this.#change(async () => {
      if (Date.now() - this.#madeAtMs > schemaAgeMaxMs) await this.#moveToNewSchema(table)
      await this.#tables.define(table, paths, columns)
      this.#attached.set(table, { paths, columns })
    })
  }

  async detach(table: string): Promise<void> {
    quoteName(table)
    await this.#change(async () => {
      await this.#tables.drop(table)
      this.#attached.delete(table)
    })
  }

  async share(table: string, paths: readonly string[], columns: readonly ParquetColumn[]): Promise<void> {
    quoteName(table)
    for (const path of paths) checkLakePath(path)
    await this.#change(async () => {
      await this.#shared.create()
      await this.#shared.define(table, paths, columns)
    })
  }

  async *query(select: string): AsyncGenerator<QueryRows> {
    const sql = checkSelect(select)
    const read = this.#pathsRead(sql)
    const doing = 'run the query'
    let convert: ReturnType<typeof converterOf> | undefined
    let names: readonly string[] = []
    try {
      for await (const page of this.#session.pages({ doing, sql, schema: this.#tables.schema })) {
        if (page.columns !== undefined && convert === undefined) {
          convert = converterOf(page.columns)
          names = page.columns.map(({ name }) => name)
        }
        if (page.rows.length === 0) continue
        if (convert === undefined) throw new UnavailableError(`Cannot ${doing}: Trino sent rows without saying of what columns; check what stands between`)
        yield { columns: names, rows: page.rows.map(convert) }
      }
      if (convert === undefined) throw new UnavailableError(`Cannot ${doing}: Trino ended the query without naming its columns; check what stands between`)
    } catch (error) {
      throw await this.#explained(error, read)
    }
    // A file that is gone is no error to Trino, which lists the folder and finds one file less.
    await checkPresent(this.#lake, read)
  }

  async materialize(select: string, into: string): Promise<readonly string[]> {
    const sql = checkSelect(select)
    const read = this.#pathsRead(sql)
    const doing = `write into ${into}`
    const id = randomBytes(16).toString('hex')
    const { schema } = this.#tables
    // Under a name that starts with `_` no reader finds what is not finished; Trino wants the folder for itself.
    const staging = checkLakePath(`${into}/_${id}`)
    const written = `${quoteName(schema)}.${quoteName(`written_${id}`)}`
    const drop = { doing, sql: /* sql */ `DROP TABLE IF EXISTS ${written}`, schema }
    checkStorable((await this.#session.run({ doing, sql: /* sql */ `SELECT * FROM (\n${sql}\n) LIMIT 0`, schema })).columns)
    const moved: string[] = []
    try {
      const updateCount = await this.#write(doing, sql, written, staging)
      await checkPresent(this.#lake, read)
      await this.#session.run(drop)
      for (const [index, path] of (await this.#checkWritten(doing, staging, updateCount)).entries()) {
        const target = `${into}/part-${id}-${index}.parquet`
        await this.#lake.move(path, target)
        moved.push(target)
      }
      await this.#removeBelow(staging)
      return moved
    } catch (error) {
      // The first error is the one to tell; what stays under a `_` name is found by no reader and swept later.
      await this.#session.run(drop).catch(() => {})
      for (const path of moved) await this.#lake.remove(path).catch(() => {})
      await this.#removeBelow(staging).catch(() => {})
      throw await this.#explained(error, read)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#session.closed) return
    await this.#session.close()
    const last = new TrinoSession(this.#address, closingLimits)
    // What this does not reach is swept by a later engine.
    for (const schema of this.#schemas) await last.run({ doing: 'close', sql: dropSchema(schema) }).catch(() => {})
    await last.close()
  }

  async #change(change: () => Promise<void>): Promise<void> {
    const changed = this.#changes.then(change)
    this.#changes = changed.catch(() => {})
    await changed
  }

  #newTables(): TrinoTables {
    const schema = `${schemaPrefix}${Date.now().toString(36)}_${randomBytes(4).toString('hex')}`
    this.#schemas.push(schema)
    return new TrinoTables(this.#session, this.#lake, schema, false)
  }

  /** All tables but the one, which is about to be attached. Queries under way go on in the old schema. */
  async #moveToNewSchema(except: string): Promise<void> {
    const tables = this.#newTables()
    await tables.create()
    for (const [name, { paths, columns }] of this.#attached) if (name !== except) await tables.define(name, paths, columns)
    this.#tables = tables
    this.#madeAtMs = Date.now()
  }

  async #sweepSchemas(): Promise<void> {
    const doing = 'remove the schemas of engines that were killed'
    const { rows } = await this.#session.run({ doing, sql: /* sql */ `SHOW SCHEMAS LIKE '${schemaPrefix}%'` })
    for (const [name] of rows) {
      const madeAtMs = Number.parseInt(/^tidemark_session_([0-9a-z]+)_[0-9a-f]+$/.exec(String(name))?.[1] ?? '', 36)
      if (!(Date.now() - madeAtMs > schemaStaleMs)) continue
      // Another engine may be sweeping it as well.
      await this.#session.run({ doing, sql: dropSchema(String(name)) }).catch(() => {})
    }
  }

  #pathsRead(sql: string): readonly string[] {
    return [...new Set([...this.#attached].flatMap(([table, { paths }]) => (mentions(sql, table) ? paths : [])))]
  }

  /** Trino's word on a file that it could not read may leave out that the file is gone. */
  async #explained(error: unknown, read: readonly string[]): Promise<unknown> {
    if (!(error instanceof CorruptError || error instanceof UnavailableError) || this.#session.closed) return error
    const found = await checkPresent(this.#lake, read).catch((thrown: unknown) => thrown)
    return found instanceof CorruptError ? new CorruptError(found.message, found.details, error) : error
  }

  /** Returns the number of rows written. */
  async #write(doing: string, sql: string, table: string, staging: string): Promise<bigint | undefined> {
    const { schema } = this.#tables
    const location = quoteText(this.#lake.location(staging))
    try {
      const { updateCount } = await this.#session.run({
        doing,
        sql: /* sql */ `CREATE TABLE ${table} WITH (external_location = ${location}, format = 'PARQUET') AS\n${sql}`,
        schema,
        session: { [`${this.#address.catalog}.compression_codec`]: 'SNAPPY' },
      })
      return updateCount
    } catch (error) {
      // Where the planner sees that no row will come, no writer makes the folder, and the table is refused for it.
      if (!(error instanceof UnavailableError && error.message.includes('External table location does not exist'))) throw error
      const { rows } = await this.#session.run({ doing, sql: /* sql */ `SELECT count(*) FROM (\n${sql}\n)`, schema })
      if (rows[0]?.[0] !== 0) throw error
      return 0n
    }
  }

  /** The files below the folder that have rows, once their footers count as many as Trino says it has written. */
  async #checkWritten(doing: string, staging: string, updateCount: bigint | undefined): Promise<readonly string[]> {
    const files: string[] = []
    let rows = 0
    for await (const { path } of this.#lake.list(staging)) {
      const counted = await parquetCodec.rowCount(await this.#lake.get(path))
      rows += counted
      if (counted > 0) files.push(path)
    }
    if (updateCount === BigInt(rows)) return files
    throw new CorruptError(`Cannot ${doing}: Trino says that it wrote ${String(updateCount)} rows, and the footers of its files count ${rows}; check HDFS, then run it again`, {
      staging,
      written: String(updateCount),
      counted: String(rows),
    })
  }

  async #removeBelow(staging: string): Promise<void> {
    for await (const { path } of this.#lake.list(staging)) await this.#lake.remove(path)
    // Folders are no matter of the port: HDFS may keep this empty one.
    await this.#lake.remove(staging).catch(() => {})
  }
}

function dropSchema(schema: string): string {
  return /* sql */ `DROP SCHEMA IF EXISTS ${quoteName(schema)} CASCADE`
}
