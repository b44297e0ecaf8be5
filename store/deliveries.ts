/**
 * Which report versions went to whom: one row per version, channel and target. A row is claimed before it is sent, by compare-and-set, so that of several
 * workers one sends; the claim runs out, so that a worker which died does not hold it. What died between sending and its mark is sent again under the
 * same id, by which the receiver knows it.
 */
import { ConflictError } from '#core/errors.ts'
import type { ReportKind } from '#core/report/periods.ts'
import type { Queryable } from './database.ts'
import { run } from './database.ts'

export const deliveryChannels = ['mail', 'webhook'] as const
export type DeliveryChannel = (typeof deliveryChannels)[number]

export type DeliveryTarget = { readonly channel: DeliveryChannel; /** An address; of a webhook what it is known by, never its URL. */ readonly target: string }

export type Delivery = DeliveryTarget & {
  readonly kind: ReportKind
  readonly period: string
  readonly version: number
  readonly status: 'waiting' | 'sent' | 'failed'
  readonly attempts: number
  readonly lastError: string | null
  /** Of a waiting one: not before; while it is being sent, until when it is claimed. */
  readonly nextAttemptAt: Date
  readonly sentAt: Date | null
}

type DeliveryRow = {
  kind: ReportKind
  period: string
  version: number
  channel: DeliveryChannel
  target: string
  status: Delivery['status']
  attempts: number
  last_error: string | null
  next_attempt_at: Date
  sent_at: Date | null
}

const key = ['kind', 'period', 'version', 'channel', 'target'] as const
const columns = [...key, 'status', 'attempts', 'last_error', 'next_attempt_at', 'sent_at'].map((name) => `d.${name}`).join(', ')
const isThis = 'd.kind = $1 AND d.period = $2 AND d.version = $3 AND d.channel = $4 AND d.target = $5'

function asDelivery(row: DeliveryRow): Delivery {
  const { kind, period, version, channel, target, status, attempts } = row
  return { kind, period, version, channel, target, status, attempts, lastError: row.last_error, nextAttemptAt: row.next_attempt_at, sentAt: row.sent_at }
}

export type DeliveryKey = Pick<Delivery, (typeof key)[number]>

function keyValues(of: DeliveryKey): unknown[] {
  return key.map((name) => of[name])
}

/** A report is news when it was published so soon after its period: what a backfill makes is not. */
export const newsDays = 40
/** Of what was published longer ago nothing is sent by itself: who sets up mail today does not get last month's. */
export const recentDays = 7

/**
 * Adds a waiting row for each new version and target that has none: of reports published within 40 days after their period, and of later versions of a
 * report that the target got, whenever they come. Only of the last 7 days. Resolves to how many were added.
 */
export async function planDeliveries(queryable: Queryable, targets: readonly DeliveryTarget[]): Promise<number> {
  const added = await run(
    queryable,
    /* sql */ `
    INSERT INTO report_deliveries (kind, period, version, channel, target, status)
    SELECT v.kind, v.period, v.version, t.channel, t.target, 'waiting'
    FROM report_versions v CROSS JOIN unnest($1::text[], $2::text[]) AS t (channel, target)
    WHERE v.published_at > clock_timestamp() - $4 * interval '1 day'
      AND (v.published_at < (v.to_day + $3::int)::timestamptz
        OR EXISTS (SELECT FROM report_deliveries d WHERE d.kind = v.kind AND d.period = v.period AND d.version < v.version AND d.channel = t.channel AND d.target = t.target AND d.status <> 'failed'))
    ON CONFLICT DO NOTHING RETURNING 1`,
    [targets.map(({ channel }) => channel), targets.map(({ target }) => target), newsDays, recentDays],
  )
  return added.length
}

/** Whether any of these targets has something whose time has come. */
export async function isAnyDeliveryDue(queryable: Queryable, targets: readonly DeliveryTarget[]): Promise<boolean> {
  const due = await run(
    queryable,
    /* sql */ `
    SELECT 1 FROM report_deliveries w JOIN unnest($1::text[], $2::text[]) AS t (channel, target) ON t.channel = w.channel AND t.target = w.target
    WHERE w.status = 'waiting' AND w.next_attempt_at <= clock_timestamp() LIMIT 1`,
    [targets.map(({ channel }) => channel), targets.map(({ target }) => target)],
  )
  return due.length > 0
}

/** Adds a waiting row, or makes one wait for nothing. Throws ConflictError where it is being sent, or was and `again` does not say to. */
export async function requestDelivery(queryable: Queryable, of: DeliveryKey, again: boolean): Promise<void> {
  const requested = await run(
    queryable,
    /* sql */ `
    INSERT INTO report_deliveries AS d (kind, period, version, channel, target, status) VALUES ($1, $2, $3, $4, $5, 'waiting')
    ON CONFLICT (kind, period, version, channel, target) DO UPDATE SET status = 'waiting', attempts = 0, last_error = NULL, sent_at = NULL, next_attempt_at = clock_timestamp()
    WHERE (d.status <> 'sent' OR $6) AND NOT ${isBeingSent} RETURNING 1`,
    [...keyValues(of), again],
  )
  if (requested.length > 0) return
  const [row] = await run<DeliveryRow>(queryable, `SELECT ${columns} FROM report_deliveries d WHERE ${isThis}`, keyValues(of))
  const what = `Version ${of.version} of the ${of.kind} report of ${of.period}`
  if (row?.status === 'sent') throw new ConflictError(`${what} went to ${of.target} on ${row.sent_at!.toISOString()}. --again sends it once more.`)
  throw new ConflictError(`${what} is being sent to ${of.target} by another process. "tidemark report deliveries" shows what came of it.`)
}

/** An attempt clears the error before; whoever fails writes one. */
const isBeingSent = `(d.status = 'waiting' AND d.attempts > 0 AND d.last_error IS NULL AND d.next_attempt_at > clock_timestamp())`

/** The next one of these targets whose time has come, claimed for `leaseMs`; null where there is none. */
export async function claimDelivery(queryable: Queryable, targets: readonly DeliveryTarget[], leaseMs: number, only?: DeliveryKey): Promise<Delivery | null> {
  const [row] = await run<DeliveryRow>(
    queryable,
    /* sql */ `
    UPDATE report_deliveries d SET attempts = d.attempts + 1, last_error = NULL, next_attempt_at = clock_timestamp() + $3 * interval '1 ms'
    FROM (
      SELECT w.* FROM report_deliveries w JOIN unnest($1::text[], $2::text[]) AS t (channel, target) ON t.channel = w.channel AND t.target = w.target
      WHERE w.status = 'waiting' AND w.next_attempt_at <= clock_timestamp()
        AND ($4::text IS NULL OR (w.kind = $4 AND w.period = $5 AND w.version = $6 AND w.channel = $7 AND w.target = $8))
      ORDER BY w.next_attempt_at, w.kind, w.period, w.version, w.channel, w.target LIMIT 1 FOR UPDATE OF w SKIP LOCKED
    ) c
    WHERE ${key.map((name) => `d.${name} = c.${name}`).join(' AND ')} RETURNING ${columns}`,
    [targets.map(({ channel }) => channel), targets.map(({ target }) => target), leaseMs, ...(only === undefined ? [null, null, null, null, null] : keyValues(only))],
  )
  return row === undefined ? null : asDelivery(row)
}

/** Also where the claim has run out meanwhile: it went out. */
export async function markSent(queryable: Queryable, of: DeliveryKey): Promise<void> {
  await run(queryable, `UPDATE report_deliveries d SET status = 'sent', sent_at = clock_timestamp(), last_error = NULL WHERE ${isThis} AND d.status <> 'sent'`, keyValues(of))
}

/** `retryMs` null: not again by itself. Changes nothing where another has claimed it since. */
export async function markFailed(queryable: Queryable, of: Delivery, error: string, retryMs: number | null): Promise<void> {
  await run(
    queryable,
    /* sql */ `
    UPDATE report_deliveries d SET status = CASE WHEN $8::bigint IS NULL THEN 'failed' ELSE 'waiting' END, last_error = $7,
      next_attempt_at = clock_timestamp() + coalesce($8::bigint, 0) * interval '1 ms'
    WHERE ${isThis} AND d.attempts = $6 AND d.status = 'waiting'`,
    [...keyValues(of), of.attempts, error, retryMs],
  )
}

/** The latest periods first. */
export async function listDeliveries(queryable: Queryable, limit = 1_000): Promise<Delivery[]> {
  const rows = await run<DeliveryRow>(
    queryable,
    /* sql */ `
    SELECT ${columns} FROM report_deliveries d LEFT JOIN report_versions v USING (kind, period, version)
    ORDER BY v.published_at DESC NULLS LAST, d.kind, d.period, d.version DESC, d.channel, d.target LIMIT $1`,
    [limit],
  )
  return rows.map(asDelivery)
}
