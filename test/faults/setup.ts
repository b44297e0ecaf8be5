/** What the fault tests share: plain sales with their meaning, workers that run by themselves, and looking at the store from beside. */
import pg from 'pg'
import type { BatchOptions, BatchOutcome } from '#batch/run.ts'
import { runBatch } from '#batch/run.ts'
import { parquetCodec } from '#engines/parquet.ts'
import type { SpeedOptions } from '#speed/worker.ts'
import { runSpeedWorker } from '#speed/worker.ts'
import { readCommitted } from '#store/committed.ts'
import type { Lab } from '#test/lab.ts'
import type { Merged } from '#test/lab/merged.ts'
import { checkExact } from '#test/lab/merged.ts'
import { seededRandom } from '#test/lab/random.ts'
import type { MeantAppend } from '#test/lab/shop-stream.ts'
import { ShopStream, intentKinds } from '#test/lab/shop-stream.ts'
import type { Fact } from '#test/oracle.ts'
import { waitUntil } from '#test/wait-until.ts'

/** `npm run test:faults`: everything at full length. */
export const isWhole = process.env['WHOLE_FAULTS'] === '1'

/** When the log takes the plain sales, unless they say otherwise: after all of their days. */
export const logTimeMs = Date.UTC(2026, 0, 15, 12)

export type PlainSale = {
  readonly id: string
  readonly partition?: number
  /** Of London's calendar and clocks. */
  readonly day?: string
  readonly time?: string
  readonly product?: string
  readonly productName?: string
  readonly category?: string
  readonly city?: string
  readonly quantity?: number
  /** Of one unit, in pence. */
  readonly unitMinor?: number
  readonly logTimeMs?: number
}

/** A CSV line and what it means. */
export function sale(plain: PlainSale): MeantAppend {
  const { id, partition = 0, day = '2025-03-01', time = '10:00:00', product = 'P1', category = 'Home', city = 'London', quantity = 1, unitMinor = 1000 } = plain
  const productName = plain.productName ?? `Product ${product}`
  const totalMinor = BigInt(quantity) * BigInt(unitMinor)
  const line = [id, '7', product, quoted(productName), quoted(category), quantity, decimal(BigInt(unitMinor)), decimal(totalMinor), `${day} ${time}`, quoted(city)]
  const fields = line.slice(1).join(',')
  const fact: Fact = {
    source: '',
    id,
    kind: 'sale',
    orderLine: 1,
    product,
    category,
    city,
    currency: 'GBP',
    quantity,
    totalMinor,
    day,
    hour: Number(time.slice(0, 2)),
    fields,
  }
  return { partition, value: Buffer.from(line.join(',')), logTimeMs: plain.logTimeMs ?? logTimeMs, meant: [fact] }
}

/** A refund, as JSON, and what it means. */
export function refund(plain: PlainSale & { readonly refundOf: string; readonly totalMinor: number }): MeantAppend {
  const { id, partition = 0, day = '2025-03-01', time = '10:00:00', product = 'P1', category = 'Home', city = 'London', quantity = 1, refundOf, totalMinor } = plain
  const productName = plain.productName ?? `Product ${product}`
  const event = { eventId: id, kind: 'refund', refundOf, saleDay: day, userId: '7', productId: product, productName, category, city, quantity, total: decimal(BigInt(totalMinor)), occurredAt: `${day}T${time}` }
  const fact: Fact = {
    source: '',
    id,
    kind: 'refund',
    orderLine: 1,
    product,
    category,
    city,
    currency: 'GBP',
    quantity,
    totalMinor: BigInt(totalMinor),
    day,
    hour: Number(time.slice(0, 2)),
    fields: JSON.stringify(event),
  }
  return { partition, value: Buffer.from(JSON.stringify(event)), logTimeMs: plain.logTimeMs ?? logTimeMs, meant: [fact] }
}

export function refused(bytes: Uint8Array, partition = 0): MeantAppend {
  return { partition, value: bytes, logTimeMs, meant: null }
}

function quoted(text: string): string {
  return `"${text.replaceAll('"', '""')}"`
}

function decimal(minor: bigint): string {
  const digits = minor.toString().padStart(3, '0')
  return `${digits.slice(0, -2)}.${digits.slice(-2)}`
}

/** So many plain sales with ids `<prefix>-0` on, over all partitions, days and cities. */
export function plainSales(lab: Lab, count: number, prefix: string): MeantAppend[] {
  return Array.from({ length: count }, (_, n) =>
    sale({
      id: `${prefix}-${n}`,
      partition: n % lab.partitions,
      day: `2025-0${1 + (n % 4)}-1${n % 7}`,
      time: `${String(n % 24).padStart(2, '0')}:00:00`,
      product: `P${n % 9}`,
      city: ['London', 'Leeds', 'Zürich'][n % 3]!,
      quantity: 1 + (n % 3),
      unitMinor: 1 + ((n * 37) % 5000),
    }),
  )
}

/** A random shop of some ten thousand records, before its clock reaches the present: sales, orders, refunds, late events, copies, conflicts and rubbish; copies share their original's partition. */
export function openTraffic(lab: Lab, seed: number): (records: number) => Promise<void> {
  const random = seededRandom(seed)
  const stream = new ShopStream(lab.topic, lab.partitions, false)
  // Its pauses of days would carry long traffic into the future.
  const kinds = intentKinds.filter((kind) => kind !== 'pause')
  return async (records) => {
    const due: MeantAppend[] = []
    while (due.length < records) {
      const next = stream.next(random.pick(kinds), random)
      // Two megabytes a time are for D7, not for every test.
      if (next !== null && next.value.length < 200_000) due.push(next)
      if (next !== null && next.logTimeMs > Date.now()) throw new Error('The traffic has reached the present, where a log takes no other time: send less of it.')
    }
    await lab.append(due)
  }
}

/** A worker with its real loop, on the whole topic unless others share it. */
export class LoopWorker implements AsyncDisposable {
  readonly warnings: { readonly code: string; readonly text: string }[] = []
  readonly finished: Promise<void>
  readonly #stopping = new AbortController()
  #failure: unknown = null

  constructor(lab: Lab, options: Partial<SpeedOptions> = {}) {
    const logger: SpeedOptions['logger'] = {
      debug: () => undefined,
      info: () => undefined,
      warn: (fields, text) => void this.warnings.push({ code: (fields as { code?: string }).code ?? '', text }),
    }
    const { database, log, decoder, topic } = lab
    this.finished = runSpeedWorker(
      { database, log, decoder, topic, worker: `loop-${Math.random()}`, ledgerIdsMax: 100_000, flushIntervalMs: 15, flushRecordsMax: 500, logger, ...options },
      this.#stopping.signal,
    ).catch((thrown: unknown) => {
      this.#failure = thrown
    })
  }

  /** What ended the worker, or null. */
  get failure(): unknown {
    return this.#failure
  }

  warningsOf(code: string): number {
    return this.warnings.filter((warning) => warning.code === code).length
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.finished
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    if (this.#failure !== null) throw new Error('the worker ended by itself', { cause: this.#failure })
  }
}

/** Waits until every record of the log is counted. */
export async function whenCounted(lab: Lab, deadlineMs = 30_000): Promise<void> {
  await waitUntil(
    'every record of the log to be counted',
    async () => {
      const committed = await readCommitted(lab.database.pool, lab.topic).catch(() => new Map<number, number>())
      return [...lab.oracle.ends()].every(([partition, end]) => committed.get(partition) === end)
    },
    deadlineMs,
  )
}

/** E0: all is counted, and the merged figures are the oracle's. */
export async function expectE0(lab: Lab, deadlineMs?: number): Promise<Merged> {
  await whenCounted(lab, deadlineMs)
  return checkExact(lab)
}

export function batchOptionsOf({ database, log, lake, engine, decoder, topic }: Lab): BatchOptions {
  return { database, log, lake, engine, codec: parquetCodec, decoder, topic, fileOffsetsMax: 50, signal: new AbortController().signal }
}

export async function runBatchWith(lab: Lab, overrides: Partial<BatchOptions> = {}): Promise<BatchOutcome> {
  return runBatch({ ...batchOptionsOf(lab), ...overrides })
}

/** Every row of every table that holds figures or positions, as one text: equal texts are equal stores. */
export async function digestOfStore(lab: Lab): Promise<string> {
  const { rows: tables } = await lab.database.pool.query<{ name: string }>(
    `SELECT tablename AS name FROM pg_tables WHERE schemaname = $1 AND tablename <> ALL ($2) ORDER BY 1`,
    [lab.database.schema, ['speed_workers', 'migrations']],
  )
  const digests: string[] = []
  for (const { name } of tables) {
    const { rows } = await lab.database.pool.query<{ digest: string | null }>(`SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) AS digest FROM ${name} t`)
    digests.push(`${name} ${rows[0]!.digest ?? 'empty'}`)
  }
  return digests.join('\n')
}

/** The schema in which the lab's log keeps its topic. */
export async function logSchemaOf(lab: Lab): Promise<string> {
  const { rows } = await lab.database.pool.query<{ name: string }>(`SELECT schemaname AS name FROM pg_tables WHERE tablename = 'topics'`)
  for (const { name } of rows) {
    const found = await lab.database.pool.query(`SELECT FROM ${name}.topics WHERE name = $1`, [lab.topic])
    if (found.rowCount === 1) return name
  }
  throw new Error(`no log holds ${lab.topic}`)
}

/** A session of its own, for locks and for ending others. */
export async function openSession(lab: Lab): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client({ connectionString: lab.url, application_name: 'fault test', options: `-c search_path=${lab.database.schema}` })
  client.on('error', () => undefined)
  await client.connect()
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
}
