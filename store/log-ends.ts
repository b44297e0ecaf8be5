/** Where the log ended at moments, and how far the published batch goes: from the two follows which closed periods are whole. */
import type { Vector } from '#core/ports.ts'
import type { Queryable } from './database.ts'
import { run } from './database.ts'

export type LogEndRecord = { readonly recordedAtMs: number; readonly ends: Vector }

/** A topic that was made anew behind `offset`: what it held beyond is gone, and a person gave it up. */
export type Rebuild = { readonly partition: number; readonly offset: number; readonly acceptedAtMs: number }

export type Published = {
  /** 0 before the first. */
  readonly batch: number
  /** Next offsets of the topic, exclusive. */
  readonly horizon: Vector
  /** First day of the oldest month with figures, days since 1970-01-01, of those that hold or follow `fromDay`; null without any. */
  readonly firstDay: number | null
}

/** UTC ms by the database's clock, which all workers share. */
export async function readDatabaseClock(queryable: Queryable): Promise<number> {
  const [row] = await run<{ now: Date }>(queryable, 'SELECT clock_timestamp() AS now')
  return row!.now.getTime()
}

export async function recordLogEnds(queryable: Queryable, topic: string, ends: Vector, atMs: number): Promise<void> {
  await run(queryable, 'INSERT INTO log_ends (topic, recorded_at, ends) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING', [topic, new Date(atMs), JSON.stringify(Object.fromEntries(ends))])
}

/** Oldest first. */
export async function readLogEnds(queryable: Queryable, topic: string): Promise<LogEndRecord[]> {
  const rows = await run<{ recorded_at: Date; ends: Record<string, number> }>(queryable, 'SELECT recorded_at, ends FROM log_ends WHERE topic = $1 ORDER BY recorded_at', [topic])
  return rows.map((row) => ({ recordedAtMs: row.recorded_at.getTime(), ends: new Map(Object.entries(row.ends).map(([partition, end]) => [Number(partition), end])) }))
}

export async function readRebuilds(queryable: Queryable, topic: string): Promise<Rebuild[]> {
  const rows = await run<{ partition: number; from_offset: bigint; accepted_at: Date }>(
    queryable,
    `SELECT partition, from_offset, accepted_at FROM accepted_losses WHERE topic = $1 AND what = 'rebuilt'`,
    [topic],
  )
  return rows.map((row) => ({ partition: row.partition, offset: Number(row.from_offset), acceptedAtMs: row.accepted_at.getTime() }))
}

export async function readPublished(queryable: Queryable, topic: string, fromDay: number): Promise<Published> {
  const rows = await run<{ batch: bigint; partition: number | null; next_offset: bigint | null; first_day: number | null }>(
    queryable,
    /* sql */ `
    SELECT p.batch, c.partition, c.next_offset,
      (SELECT min(b.month) - DATE '1970-01-01' FROM batch_parts b
        WHERE b.batch = p.batch AND b.view = 'revenue' AND b.rows > 0 AND b.month <> 'infinity' AND b.month >= date_trunc('month', DATE '1970-01-01' + $2::int)) AS first_day
    FROM publish_pointer p LEFT JOIN cut_offsets c ON c.epoch = p.epoch AND c.topic = $1`,
    [topic, fromDay],
  )
  const horizon = new Map<number, number>()
  for (const { partition, next_offset: next } of rows) if (partition !== null && next !== null) horizon.set(partition, Number(next))
  return { batch: Number(rows[0]!.batch), horizon, firstDay: rows[0]!.first_day }
}
