/**
 * Opens what a command needs and closes it last-in first-out. The only place where a layer meets the engines.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Decoder } from '#core/decode.ts'
import { openDecoder } from '#core/decode.ts'
import { ConfigError } from '#core/errors.ts'
import type { EventLog, Lake, QueryEngine, SearchIndex } from '#core/ports.ts'
import type { EmbeddedPostgres } from '#engines/embedded-postgres.ts'
import { openEmbeddedPostgres } from '#engines/embedded-postgres.ts'
import { openLake, openLog, openQueryEngine, openSearch } from '#engines/open.ts'
import type { Database } from '#store/database.ts'
import { openDatabase } from '#store/database.ts'
import { migrateStore } from '#store/migrate.ts'
import { checkLogic } from '#store/partitions.ts'
import { openStoreLog } from '#store/store-log.ts'
import type { Settings } from './settings.ts'

/** Another store of the same cluster shares its archive under its own name. */
const storeSchemaDefault = 'tidemark'
export const transactionsTopic = 'transactions'
/** Topics of the shop; figures come from the first, the others are kept. */
export const topics = [transactionsTopic, 'users', 'products'] as const

export class Environment {
  readonly settings: Settings
  readonly databaseUrl: string
  readonly database: Database
  readonly decoder: Decoder
  readonly #postgres: EmbeddedPostgres | null
  readonly #stack: AsyncDisposableStack
  #log: Promise<EventLog> | null = null
  #lake: Promise<Lake> | null = null
  #engine: Promise<QueryEngine> | null = null
  #search: Promise<SearchIndex> | null = null

  constructor(settings: Settings, databaseUrl: string, database: Database, decoder: Decoder, postgres: EmbeddedPostgres | null, stack: AsyncDisposableStack) {
    this.settings = settings
    this.databaseUrl = databaseUrl
    this.database = database
    this.decoder = decoder
    this.#postgres = postgres
    this.#stack = stack
  }

  log(): Promise<EventLog> {
    const { logUrl, schema, logPollIntervalMs, logPartitions } = this.settings
    this.#log ??= (async () => {
      const engine = await openLog({ logUrl, databaseUrl: this.databaseUrl, schema, pollIntervalMs: logPollIntervalMs })
      const log = this.#stack.use(openStoreLog(this.database, engine))
      for (const topic of topics) await log.create(topic, logPartitions)
      return log
    })()
    return this.#log
  }

  lake(): Promise<Lake> {
    this.#lake ??= (async () => this.#stack.use(await openLake(this.settings)))()
    return this.#lake
  }

  queryEngine(): Promise<QueryEngine> {
    const { queryUrl, queryMemoryMb, dataDirectory, schema } = this.settings
    this.#engine ??= (async () => this.#stack.use(await openQueryEngine({ queryUrl, lake: await this.lake(), memoryLimitMb: queryMemoryMb, dataDirectory, ...(schema !== storeSchemaDefault && { sharedSchema: schema }) })))()
    return this.#engine
  }

  /** Throws ConfigError where SEARCH_URL is empty. */
  search(): Promise<SearchIndex> {
    this.#search ??= (async () => this.#stack.use(await openSearch(this.settings)))()
    return this.#search
  }

  /** Starts a PostgreSQL of our own again if it died; another's is not ours to start. */
  async ensureDatabase(): Promise<void> {
    await this.#postgres?.ensureRunning()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}

export type EnvironmentOptions = { readonly applicationName: string; readonly say?: (line: string) => void; readonly statementTimeoutMs?: number; /** Of a full batch, which takes other settings than the store's into use. */ readonly anyLogic?: boolean }

/** Opens the database (its own, or the one that a URL names), migrates it, and checks that its figures were made with these settings. */
export async function openEnvironment(settings: Settings, options: EnvironmentOptions): Promise<Environment> {
  await using opening = new AsyncDisposableStack()
  const { databaseUrl, postgres } = await openServer(settings, opening, options.say)
  const database = opening.use(
    openDatabase({
      url: databaseUrl,
      schema: settings.schema,
      connectionsMax: settings.databaseConnectionsMax,
      applicationName: options.applicationName,
      statementTimeoutMs: options.statementTimeoutMs ?? 0,
    }),
  )
  await migrateStore(database)
  const decoder = openDecoder({ zone: settings.zone, currency: settings.currency })
  if (options.anyLogic !== true) await checkLogic(database, decoder.logicVersion)
  return new Environment(settings, databaseUrl, database, decoder, postgres, opening.move())
}

/** The PostgreSQL that a URL names, or the data folder's own, which is set up and started where it has to be; nothing is asked of it. */
export async function openServer(settings: Settings, resources: AsyncDisposableStack, say?: (line: string) => void): Promise<{ databaseUrl: string; postgres: EmbeddedPostgres | null }> {
  if (settings.databaseUrl !== '') return { databaseUrl: settings.databaseUrl, postgres: null }
  makeDataDirectory(settings.dataDirectory)
  const postgres = resources.use(await openEmbeddedPostgres({ dataDirectory: settings.dataDirectory, log: say }))
  return { databaseUrl: postgres.url, postgres }
}

function makeDataDirectory(directory: string): void {
  try {
    mkdirSync(join(directory, 'logs'), { recursive: true })
  } catch (thrown) {
    throw new ConfigError(`The data folder ${directory} cannot be made: name another with --data, or give this user the right to write there.`, {}, thrown)
  }
}
