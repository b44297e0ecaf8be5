/**
 * A lab: a store, a log, a lake and a query engine of its own on the tests' one PostgreSQL, driven step by step. Nothing runs by itself, so a run is
 * the order of its steps. A lab is cleared and used again: making a store's schema takes 200 ms, clearing one 5.
 */
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Decoder } from '#core/decode.ts'
import { openDecoder } from '#core/decode.ts'
import type { ShopSettings } from '#core/events.ts'
import type { EventLog, Lake, QueryEngine, Vector } from '#core/ports.ts'
import type { DiskLakeFaultPoint } from '#engines/disk-lake.ts'
import { openDiskLake } from '#engines/disk-lake.ts'
import { openDuckDb } from '#engines/duckdb.ts'
import { partitionOfKey } from '#engines/log-partitioner.ts'
import { openPostgresLog } from '#engines/postgres-log.ts'
import type { Database } from '#store/database.ts'
import { openDatabase } from '#store/database.ts'
import { migrateStore } from '#store/migrate.ts'
import { agreeOnLogic } from '#store/partitions.ts'
import type { MeantAppend } from './lab/shop-stream.ts'
import { Oracle } from './oracle.ts'
import { freshSchema, openTestPostgres } from './postgres.ts'

export type LabOptions = {
  /** Default 3. */
  readonly partitions?: number
  /** Default London and GBP. */
  readonly settings?: ShopSettings
  /** Another log than the PostgreSQL log; it must give the records of each partition offsets without gaps, for the oracle counts them. */
  readonly openLog?: () => Promise<EventLog>
  /** Of every topic, as commands need it: such a lab is not cleared. Random by default, another after each `clear`. */
  readonly topic?: string
}

export type Lab = AsyncDisposable & {
  readonly url: string
  readonly database: Database
  readonly log: EventLog
  readonly lake: Lake
  readonly lakeRoot: string
  readonly engine: QueryEngine
  readonly decoder: Decoder
  /** Another after each `clear`. */
  readonly topic: string
  readonly partitions: number
  /** Knows what was appended through `append`. */
  readonly oracle: Oracle
  /** Called at each point of every `put` of the lake but those of marks; set by a test, null after `clear`. */
  lakeFault: ((point: DiskLakeFaultPoint, path: string) => void) | null
  /** Appends records with what they mean. Resolves to the next offset of each partition touched. */
  append(records: readonly MeantAppend[]): Promise<Vector>
  /** An engine beside the first, for a second batch at the same time. */
  secondEngine(): Promise<QueryEngine>
  /** An empty store, an empty topic and a fresh oracle. Nothing of before may still run. */
  clear(): Promise<void>
}

export async function openLab(options: LabOptions = {}): Promise<Lab> {
  const stack = new AsyncDisposableStack()
  try {
    const postgres = stack.use(await openTestPostgres())
    const database = stack.use(openDatabase({ url: postgres.url, schema: await freshSchema(postgres.url, 'lab'), connectionsMax: 20 }))
    await migrateStore(database)
    const first = await firstRows(database)
    const openLog = options.openLog ?? (async () => openPostgresLog({ connectionString: postgres.url, schema: await freshSchema(postgres.url, 'lab_log'), pollIntervalMs: 5 }))
    const log = stack.use(await openLog())
    const lakeRoot = await mkdtemp(join(tmpdir(), 'tidemark-lab-'))
    stack.defer(() => rm(lakeRoot, { recursive: true, force: true }))
    const lake = stack.use(await openDiskLake({ root: lakeRoot, faults: (point, path) => path.startsWith('marks/') || lab.lakeFault?.(point, path) }))
    const engine = stack.use(await openDuckDb({ lake, threads: 1 }))
    const decoder = openDecoder(options.settings ?? { zone: 'Europe/London', currency: 'GBP' })
    const partitions = options.partitions ?? 3
    const keys = Array.from({ length: partitions }, (_, partition) => keyOf(partition, partitions))
    let second: QueryEngine | null = null
    let topic = ''
    let oracle = new Oracle()

    const lab: Lab = {
      url: postgres.url,
      database,
      log,
      lake,
      lakeRoot,
      engine,
      decoder,
      partitions,
      lakeFault: null,
      get topic() {
        return topic
      },
      get oracle() {
        return oracle
      },
      async append(records) {
        const ends = await log.append(
          topic,
          records.map(({ partition, value, logTimeMs }) => ({ key: keys[partition]!, value, logTimeMs })),
        )
        for (const { partition, meant } of records) oracle.add(partition, meant)
        for (const [partition, end] of ends) {
          if (end !== oracle.ends().get(partition)) throw new Error(`partition ${partition} of the log ends at ${end}, and ${oracle.ends().get(partition)} records were meant for it`)
        }
        return ends
      },
      async secondEngine() {
        return (second ??= stack.use(await openDuckDb({ lake, threads: 1 })))
      },
      async clear() {
        lab.lakeFault = null
        await restoreFirstRows(database, first)
        topic = options.topic ?? `t-${randomUUID().slice(0, 8)}`
        oracle = new Oracle()
        await log.create(topic, partitions)
        await agreeOnLogic(database, decoder.logicVersion)
      },
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    }
    await lab.clear()
    return lab
  } catch (thrown) {
    await stack.disposeAsync()
    throw thrown
  }
}

/** Producers key the log; the tests think in partitions. */
export function keyOf(partition: number, partitions: number): string {
  for (let n = 0; ; n++) if (partitionOfKey(`key-${n}`, partitions) === partition) return `key-${n}`
}

type FirstRows = { readonly tables: readonly string[]; readonly sequences: readonly string[]; readonly rows: ReadonlyMap<string, string> }

/** What the migrations left in a new store. */
async function firstRows({ pool, schema }: Database): Promise<FirstRows> {
  const tables = await pool.query<{ tablename: string }>(`SELECT tablename FROM pg_tables WHERE schemaname = $1 AND tablename <> 'migrations'`, [schema])
  // Rows that others refer to go last.
  const last = ['cuts', 'batches']
  const names = tables.rows.map((row) => row.tablename).sort((a, b) => last.indexOf(a) - last.indexOf(b) || (a < b ? -1 : 1))
  const rows = new Map<string, string>()
  for (const name of names) {
    const found = await pool.query<{ rows: string | null }>(`SELECT json_agg(t)::text AS rows FROM ${name} t`)
    const all = found.rows[0]?.rows ?? null
    if (all !== null) rows.set(name, all)
  }
  const sequences = await pool.query<{ name: string }>('SELECT sequencename AS name FROM pg_sequences WHERE schemaname = $1', [schema])
  return { tables: names, sequences: sequences.rows.map((row) => row.name), rows }
}

async function restoreFirstRows({ pool }: Database, first: FirstRows): Promise<void> {
  const statements = first.tables.map((name) => `DELETE FROM ${name}`)
  for (const [name, rows] of [...first.rows].reverse()) statements.push(`INSERT INTO ${name} SELECT * FROM json_populate_recordset(NULL::${name}, '${rows.replaceAll("'", "''")}')`)
  for (const name of first.sequences) if (!name.startsWith('migrations')) statements.push(`ALTER SEQUENCE ${name} RESTART`)
  // Names in the lake carry the incarnation, and the lake is not cleared.
  statements.push('UPDATE lake_state SET incarnation = gen_random_uuid()')
  await pool.query(`BEGIN; ${statements.join('; ')}; COMMIT`)
}
