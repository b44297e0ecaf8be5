/**
 * A shop whose clock is a number: its log grows by the clock, a speed layer follows it or lags, a batch is a cut and a pointer, and a report is a line in a
 * list. The schedule, the run ledger and the decision what is due are the real ones.
 */
import { UnavailableError } from '#core/errors.ts'
import type { ReportKind } from '#core/report/periods.ts'
import { openCalendar, parseDay } from '#core/calendar.ts'
import type { AskOptions, AskTerms } from '#batch/ask.ts'
import type { Database } from '#store/database.ts'
import { inTransaction } from '#store/database.ts'
import { cutEpoch, readHorizon } from '#store/epochs.ts'

export const topic = 'transactions'
const partitions = 2
/** So that whoever is a second behind is behind. */
const recordEveryMs = 500

export type Frozen = { readonly kind: ReportKind; readonly period: string; readonly atMs: number; readonly horizon: readonly number[] }

export type SimulatedShopOptions = { readonly zone: string; readonly booksOpenOn: string; readonly nightlyAt: string; readonly graceMs: number; readonly beginsAtMs: number; readonly firstMonths: readonly string[] }

export class SimulatedShop {
  nowMs: number
  /** The speed layer stands where the log was then; null while it keeps up. */
  lagsSinceMs: number | null = null
  readonly frozen: Frozen[] = []
  batches = 0
  /** Work → how many attempts of it fail in passing. */
  readonly failing = new Map<string, number>()
  readonly terms: AskTerms
  readonly #options: SimulatedShopOptions
  readonly #database: Database

  constructor(database: Database, options: SimulatedShopOptions) {
    this.#database = database
    this.#options = options
    this.nowMs = options.beginsAtMs
    this.terms = {
      database,
      topic,
      calendar: openCalendar(options.zone),
      nightlyAt: options.nightlyAt,
      graceMs: options.graceMs,
      booksOpenDay: parseDay(options.booksOpenOn)!,
      clock: async () => this.nowMs,
    }
  }

  /** Another worker of the same shop. */
  worker(): AskOptions {
    return {
      terms: this.terms,
      say: () => undefined,
      work: {
        logEnds: async () => new Map(this.endsAt(this.nowMs).map((end, partition) => [partition, end])),
        runBatch: async () => {
          await this.#passOrFail('batch')
          return { batch: await this.#publish(), outcome: 'passed' }
        },
        freezeReport: async (kind, period) => {
          await this.#passOrFail(`${kind} ${period}`)
          const { rows } = await this.#database.pool.query<{ epoch: bigint }>('SELECT epoch FROM publish_pointer')
          const horizon = await readHorizon(this.#database.pool, Number(rows[0]!.epoch))
          this.frozen.push({ kind, period, atMs: this.nowMs, horizon: horizon.map(({ nextOffset }) => nextOffset) })
          return { outcome: 'published', version: 1 }
        },
      },
    }
  }

  /** Of each partition: the log's end at an instant. */
  endsAt(instantMs: number): number[] {
    const records = Math.floor((instantMs - this.#options.beginsAtMs) / recordEveryMs)
    return Array.from({ length: partitions }, (_, partition) => Math.max(0, records - partition))
  }

  /** What the speed layer commits until the next step: a second behind the log, or where it stopped. */
  async count(): Promise<void> {
    const ends = this.endsAt(this.lagsSinceMs ?? this.nowMs - 1_000)
    await this.#database.pool.query(
      /* sql */ `
      INSERT INTO committed_offsets (topic, partition, first_offset, next_offset) SELECT $1, o.ordinality - 1, 0, o.next FROM unnest($2::bigint[]) WITH ORDINALITY AS o (next, ordinality)
      ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset`,
      [topic, ends],
    )
  }

  async #passOrFail(what: string): Promise<void> {
    const left = this.failing.get(what) ?? 0
    if (left === 0) return
    this.failing.set(what, left - 1)
    throw new UnavailableError(`${what}: the engine is away`)
  }

  async #publish(): Promise<number> {
    const { epoch } = await cutEpoch(this.#database, 'simulated')
    this.batches++
    return inTransaction(this.#database, { durable: false }, async (client) => {
      const { rows } = await client.query<{ batch: bigint }>(
        `INSERT INTO batches (batch, epoch, kind, status, published_at) VALUES (nextval('batch_numbers'), $1, 'incremental', 'published', $2) RETURNING batch`,
        [epoch, new Date(this.nowMs)],
      )
      const { batch } = rows[0]!
      await client.query(`INSERT INTO batch_parts (batch, view, month, version, rows) SELECT $1, 'revenue', m, 1, 1 FROM unnest($2::date[]) m`, [batch, this.#options.firstMonths])
      await client.query('UPDATE publish_pointer SET batch = $1, epoch = $2', [batch, epoch])
      return Number(batch)
    })
  }
}
