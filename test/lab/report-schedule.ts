/** The schedule in a lab whose clock stands where the test says: real batches, reports and ledger. */
import type { AskOptions } from '#batch/ask.ts'
import type { ReportOptions } from '#batch/reports.ts'
import { freezeReport } from '#batch/reports.ts'
import { openCalendar, parseDay } from '#core/calendar.ts'
import type { Lake, QueryEngine } from '#core/ports.ts'
import { parquetCodec } from '#engines/parquet.ts'
import type { Database } from '#store/database.ts'

const zone = 'Europe/London'

export type ReportSchedule = {
  readonly database: Database
  readonly lake: Lake
  readonly engine: QueryEngine
  readonly topic: string
  readonly booksOpenOn: string
  /** UTC ms. */
  readonly clock: () => number
  readonly runBatch: () => Promise<{ batch: number; outcome: string }>
  readonly leaseMs: number
  readonly before?: ReportOptions['before']
  readonly say?: AskOptions['say']
}

export function reportSchedule({ database, lake, engine, topic, booksOpenOn, clock, runBatch, leaseMs, before, say }: ReportSchedule): AskOptions {
  return {
    leaseMs,
    say: say ?? (() => undefined),
    terms: { database, topic, calendar: openCalendar(zone), nightlyAt: '03:00', graceMs: 3_600_000, booksOpenDay: parseDay(booksOpenOn)!, clock: async () => clock() },
    work: {
      // All that the speed layer counted: these tests have no lag.
      logEnds: async () => {
        const { rows } = await database.pool.query<{ partition: number; next: number }>('SELECT partition, next_offset::int AS next FROM committed_offsets WHERE topic = $1', [topic])
        return new Map(rows.map(({ partition, next }) => [partition, next]))
      },
      runBatch,
      freezeReport: async (kind, period, signal) =>
        freezeReport({ database, lake, engine, topic, codec: parquetCodec, engineName: 'DuckDB', zone, booksOpenOn, signal, ...(before !== undefined && { before }) }, { kind, period }),
    },
  }
}
