/**
 * Tables over exactly the files named, in one schema of Trino.
 *
 * Trino reads folders, so below each table lies one external Hive table per set of columns, with one partition per folder of the lake. The table itself is
 * a view that names the files: `WHERE "$path" IN (…)`. Hive compares "$path" while it lists, so a file that is not named is not opened. One partitioned
 * table costs one scan however many folders there are; a table per folder, joined by UNION ALL, costs a stage each, of which a query may have 150.
 */
import { createHash, randomBytes } from 'node:crypto'
import { CorruptError, InvalidRequestError } from '#core/errors.ts'
import type { Lake, ParquetColumn } from '#core/ports.ts'
import { byFolder, checkFile, inParallel } from './trino-files.ts'
import type { TrinoSession } from './trino-session.ts'
import { quoteName, quoteText } from './trino-transport.ts'
import { typeNameOf } from './trino-values.ts'

/** Beyond 1,000 values the connector keeps only their smallest and largest, and files in between would be opened. */
const pathsPerViewMax = 900

const folderColumn = 'tidemark_folder'

/** Of the table's own pieces, which no name of a column or table of ours contains. */
const divider = '__'

export class TrinoTables {
  readonly schema: string
  readonly #isShared: boolean
  readonly #session: TrinoSession
  readonly #lake: Lake
  /** Name of the partitioned table → folders registered; missing until the table was made or looked at. */
  readonly #folders = new Map<string, Set<string>>()
  /** Name of the partitioned table → files whose columns and rows were checked. */
  readonly #checked = new Map<string, Set<string>>()

  /** Tables that lie in several views. */
  readonly #hadParts = new Set<string>()

  /** `isShared`: other processes define tables in the schema too. */
  constructor(session: TrinoSession, lake: Lake, schema: string, isShared: boolean) {
    this.#isShared = isShared
    this.#session = session
    this.#lake = lake
    this.schema = schema
  }

  async create(): Promise<void> {
    await this.#run('open its schema', /* sql */ `CREATE SCHEMA IF NOT EXISTS ${quoteName(this.schema)}`)
  }

  async define(table: string, paths: readonly string[], columns: readonly ParquetColumn[]): Promise<void> {
    const doing = `attach "${table}"`
    if (columns.length === 0) throw new InvalidRequestError(`Cannot ${doing}: a table needs a column`, { table })
    const view = this.#qualified(quoteName(table))
    const distinct = [...new Set(paths)].sort()
    if (distinct.length === 0) {
      await this.#run(doing, /* sql */ `CREATE OR REPLACE VIEW ${view} AS ${selectNothing(columns)}`)
      return
    }
    const files = `files${divider}${hashOf(columns, this.#lake.location('_'))}`
    const source = this.#qualified(quoteName(files))
    await this.#registerFolders(doing, files, source, distinct, columns)
    await this.#checkFiles(doing, files, source, distinct, columns)
    const selects: string[] = []
    for (let from = 0; from < distinct.length; from += pathsPerViewMax) selects.push(this.#selectFiles(source, distinct.slice(from, from + pathsPerViewMax), columns))
    if (selects.length > 1) selects.splice(0, selects.length, ...(await this.#defineParts(doing, table, selects, columns)))
    await this.#run(doing, /* sql */ `CREATE OR REPLACE VIEW ${view} AS ${selects.join(' UNION ALL ')}`)
    if (this.#isShared || this.#hadParts.has(table)) await this.#dropParts(doing, table, selects)
  }

  async drop(table: string): Promise<void> {
    const doing = `detach "${table}"`
    await this.#run(doing, /* sql */ `DROP VIEW IF EXISTS ${this.#qualified(quoteName(table))}`)
    if (this.#hadParts.has(table)) await this.#dropParts(doing, table, [])
  }

  /** A statement may have a million characters, that is some 7,000 files: more lie in views of their own, made anew each time so that the table changes at once. */
  async #defineParts(doing: string, table: string, selects: readonly string[], columns: readonly ParquetColumn[]): Promise<string[]> {
    this.#hadParts.add(table)
    const generation = randomBytes(4).toString('hex')
    const parts: string[] = []
    for (const [index, select] of selects.entries()) {
      const part = this.#qualified(quoteName(`${table}${divider}${generation}_${index}`))
      await this.#run(doing, /* sql */ `CREATE VIEW ${part} AS ${select}`)
      parts.push(/* sql */ `SELECT ${listOf(columns)} FROM ${part}`)
    }
    return parts
  }

  async #dropParts(doing: string, table: string, selects: readonly string[]): Promise<void> {
    const { rows } = await this.#run(doing, /* sql */ `SHOW TABLES FROM ${quoteName(this.schema)} LIKE ${quoteText(`${table.toLowerCase().replaceAll('_', '\\_')}\\_\\_%`)} ESCAPE '\\'`)
    for (const [name] of rows) {
      const part = this.#qualified(quoteName(String(name)))
      if (!selects.some((select) => select.endsWith(part))) await this.#run(doing, /* sql */ `DROP VIEW IF EXISTS ${part}`)
    }
  }

  #selectFiles(source: string, paths: readonly string[], columns: readonly ParquetColumn[]): string {
    const folders = [...byFolder(paths).keys()].map(quoteFolder)
    const locations = paths.map((path) => quoteText(this.#lake.location(path)))
    return /* sql */ `SELECT ${listOf(columns)} FROM ${source} WHERE ${folderColumn} IN (${folders.join(', ')}) AND "$path" IN (${locations.join(', ')})`
  }

  async #registerFolders(doing: string, files: string, source: string, paths: readonly string[], columns: readonly ParquetColumn[]): Promise<void> {
    let known = this.#folders.get(files)
    if (known === undefined) {
      const base = quoteText(this.#lake.location(paths[0]!).replace(/\/[^/]*$/, ''))
      const types = columns.map(({ name, type }) => `${quoteName(name)} ${typeNameOf[type]}`)
      await this.#run(
        doing,
        /* sql */ `CREATE TABLE IF NOT EXISTS ${source} (${types.join(', ')}, ${folderColumn} varchar)
          WITH (external_location = ${base}, format = 'PARQUET', partitioned_by = ARRAY['${folderColumn}'])`,
      )
      const { rows } = await this.#run(doing, /* sql */ `SELECT ${folderColumn} FROM ${this.#qualified(`"${files}$partitions"`)}`)
      known = new Set(rows.map(([folder]) => String(folder)))
      this.#folders.set(files, known)
    }
    const registered = known
    const missing = [...byFolder(paths).keys()].filter((folder) => !registered.has(partitionOf(folder)))
    await inParallel(missing, async (folder) => {
      const location = quoteText(this.#lake.location(folder === '' ? '_' : `${folder}/_`).slice(0, -2))
      await this.#run(
        doing,
        /* sql */ `CALL system.register_partition(${quoteText(this.schema)}, ${quoteText(files)}, ARRAY['${folderColumn}'], ARRAY[${quoteFolder(folder)}], ${location})`,
      )
      registered.add(partitionOf(folder))
    })
  }

  /** Columns by the files' footers, then their rows by Trino's own count: a location that Trino spells otherwise, or a listing of yesterday, is seen here. */
  async #checkFiles(doing: string, files: string, source: string, paths: readonly string[], columns: readonly ParquetColumn[]): Promise<void> {
    let checked = this.#checked.get(files)
    if (checked === undefined) this.#checked.set(files, (checked = new Set()))
    const done = checked
    const fresh = paths.filter((path) => !done.has(path))
    for (let from = 0; from < fresh.length; from += pathsPerViewMax) {
      const some = fresh.slice(from, from + pathsPerViewMax)
      let expected = 0n
      await inParallel(some, async (path) => {
        const rows = await checkFile(this.#lake, path, columns)
        expected += BigInt(rows)
      })
      const { rows } = await this.#run(doing, /* sql */ `SELECT count(*) FROM (${this.#selectFiles(source, some, columns)})`)
      const found = BigInt(String(rows[0]?.[0]))
      if (found !== expected) {
        throw new CorruptError(
          `Cannot ${doing}: Trino reads ${found} rows of ${some.length} files that hold ${expected}, such as ${some[0]}. Its listing of the folder is old ` +
            '(turn off hive.file-status-cache), or it knows HDFS under another name than the lake does.',
          { table: doing, found: String(found), expected: String(expected) },
        )
      }
      for (const path of some) done.add(path)
    }
  }

  #run(doing: string, sql: string): ReturnType<TrinoSession['run']> {
    return this.#session.run({ doing, sql, schema: this.schema })
  }

  #qualified(name: string): string {
    return `${quoteName(this.schema)}.${name}`
  }
}

function selectNothing(columns: readonly ParquetColumn[]): string {
  const nulls = columns.map(({ name, type }) => `CAST(NULL AS ${typeNameOf[type]}) AS ${quoteName(name)}`)
  return /* sql */ `SELECT ${nulls.join(', ')} WHERE false`
}

function listOf(columns: readonly ParquetColumn[]): string {
  return columns.map(({ name }) => quoteName(name)).join(', ')
}

/** A partition's value may not be empty. */
function partitionOf(folder: string): string {
  return `/${folder}`
}

function quoteFolder(folder: string): string {
  return quoteText(partitionOf(folder))
}

function hashOf(columns: readonly ParquetColumn[], root: string): string {
  const text = JSON.stringify([root, columns.map(({ name, type }) => [name, type])])
  return createHash('sha256').update(text).digest('hex').slice(0, 16)
}
