/**
 * Where the search follower stands. Its position is a transaction number: whatever transactions below it wrote is in the documents. It moves to the
 * oldest transaction that still ran when the changes were looked for, since transactions commit out of order; what is visible above it is sent early as
 * well, once, and again when the position passes it. So a long transaction of somebody else holds back no more than a change merged into a row whose number
 * was sent already, and nothing is passed over.
 */
import type { PoolClient } from 'pg'
import { ConflictError } from '#core/errors.ts'
import type { View } from '#core/views/view.ts'
import { views } from '#core/views/all.ts'
import { hasFigures } from './counted-topics.ts'
import type { Database, Queryable } from './database.ts'
import { connect, inTransaction, run, translateError } from './database.ts'
import { lockKeys, lockPurpose } from './epochs.ts'

export const figuresFollower = 'figures'

/** PostgreSQL's 64-bit transaction numbers and snapshots, as text. */
export type Xid = string
export type SnapshotText = string

/** No transaction is visible in it. */
export const emptySnapshot: SnapshotText = '1:1:'

export type StoreMoment = {
  readonly incarnation: string
  /** Of the database cluster: transaction numbers of another one mean nothing here. */
  readonly systemIdentifier: string
  readonly snapshot: SnapshotText
  /** Every transaction below it has ended. */
  readonly xmin: Xid
  readonly at: string
  readonly pointerMoves: number
  readonly pointerEpoch: number
}

export type FollowerPosition = {
  readonly incarnation: string
  readonly systemIdentifier: string
  readonly readNumber: number
  readonly position: Xid
  readonly pointerMoves: number
  readonly pointerEpoch: number
}

type MomentRow = {
  incarnation: string
  system_identifier: string
  snapshot: string
  xmin: string
  at: string
  moves: bigint
  epoch: bigint
  followed: string | null
  followed_system: string
  read_number: bigint
  position: string
  pointer_moves: bigint
  pointer_epoch: bigint
}

/** The store now, and where the follower stands in it; null before it began. */
export async function readMoment(queryable: Queryable): Promise<{ readonly now: StoreMoment; readonly follower: FollowerPosition | null }> {
  const [row] = await run<MomentRow>(
    queryable,
    /* sql */ `
    SELECT s.incarnation, c.system_identifier::text, pg_current_snapshot()::text AS snapshot, pg_snapshot_xmin(pg_current_snapshot())::text AS xmin,
      clock_timestamp()::text AS at, x.moves, x.epoch, f.incarnation AS followed, f.system_identifier AS followed_system, f.read_number,
      f.position_xid::text AS position, f.pointer_moves, f.pointer_epoch
    FROM lake_state s CROSS JOIN publish_pointer x CROSS JOIN pg_control_system() c LEFT JOIN search_followers f ON f.follower = $1`,
    [figuresFollower],
  )
  const { incarnation, system_identifier: systemIdentifier, snapshot, xmin, at } = row!
  const now = { incarnation, systemIdentifier, snapshot, xmin, at, pointerMoves: Number(row!.moves), pointerEpoch: Number(row!.epoch) }
  if (row!.followed === null) return { now, follower: null }
  return {
    now,
    follower: {
      incarnation: row!.followed,
      systemIdentifier: row!.followed_system,
      readNumber: Number(row!.read_number),
      position: row!.position,
      pointerMoves: Number(row!.pointer_moves),
      pointerEpoch: Number(row!.pointer_epoch),
    },
  }
}

/** What has changed since: written at or above the position, and either complete now or not seen when it was last sent. */
export type Since = {
  readonly position: Xid
  readonly xmin: Xid
  /** When changes were last sent: what it saw was sent then. */
  readonly sentUpTo: SnapshotText
  /** Where the pointer moved: the epochs that it passed, whose corrections are sent again; (above, up to]. */
  readonly passedEpochs: readonly [number, number]
}

/** Numbers and snapshots only are spliced in. */
function changedSince({ position, xmin, sentUpTo }: Since): string {
  if (!/^\d+$/.test(position) || !/^\d+$/.test(xmin) || !/^[\d:,]+$/.test(sentUpTo)) throw new RangeError('no transaction number or snapshot')
  return `(xid >= '${position}'::xid8 AND (xid < '${xmin}'::xid8 OR NOT pg_visible_in_snapshot(xid, '${sentUpTo}'::pg_snapshot)))`
}

export function changedLive(since: Since): string {
  return changedSince(since)
}

export function changedCorrections(since: Since): string {
  const [above, upTo] = since.passedEpochs.map(Math.trunc) as [number, number]
  return above === upTo ? changedSince(since) : `(${changedSince(since)} OR (epoch > ${above} AND epoch <= ${upTo}))`
}

/** View → its periods (days or months, `YYYY-MM-DD`) with changes. */
export async function findChangedPeriods(queryable: Queryable, since: Since): Promise<Map<View['name'], string[]>> {
  const corrected = views.map((view) => `SELECT '${view.name}', ${view.grain[0].name} FROM correction_${view.name} WHERE ${changedCorrections(since)}`)
  const rows = await run<{ view: View['name']; period: string }>(
    queryable,
    [`SELECT view, period FROM live_runs WHERE ${changedLive(since)}`, ...corrected].join('\nUNION '),
  )
  const periods = new Map<View['name'], string[]>()
  for (const { view, period } of rows) periods.set(view, [...(periods.get(view) ?? []), period])
  return periods
}

/** Takes all below `now.xmin` for sent, and forgets that the pointer moved. Needs no sync: a position that is lost is a repeat. */
export async function moveFollower(database: Database, follower: FollowerPosition, now: StoreMoment): Promise<void> {
  await inTransaction(database, { durable: false }, (client) =>
    client.query(
      /* sql */ `
      UPDATE search_followers SET position_xid = $2, position_at = $3, pointer_moves = $4, pointer_epoch = $5
      WHERE follower = $1 AND incarnation = $6 AND system_identifier = $7 AND position_xid <= $2`,
      [figuresFollower, now.xmin, now.at, now.pointerMoves, now.pointerEpoch, follower.incarnation, follower.systemIdentifier],
    ),
  )
}

/** One reading: everything in it is read after every reading of a smaller number. */
export type Reading = { readonly client: PoolClient; readonly number: number; readonly asOfMs: number | null }

/** A statement of a reading ends after this; the follower then tries again. */
const readingTimeoutMs = 60_000

/**
 * Reads under the follower's row lock, with the next read number, and commits the number durably: which makes everything that was read durable too, so
 * that no document is ever ahead of the database. Throws ConflictError where the store has another incarnation by now.
 */
export async function readNumbered<T>(database: Database, incarnation: string, work: (reading: Reading) => Promise<T>): Promise<T> {
  return inTransaction(database, { lockTimeoutMs: 10_000 }, async (client) => {
    await client.query(`SET LOCAL statement_timeout = ${readingTimeoutMs}`)
    const [row] = await run<{ read_number: bigint; incarnation: string }>(
      client,
      'UPDATE search_followers SET read_number = read_number + 1 WHERE follower = $1 RETURNING read_number, incarnation',
      [figuresFollower],
    )
    const [state] = await run<{ incarnation: string; as_of: bigint | null }>(
      client,
      `SELECT incarnation, (SELECT max(last_log_time_ms) FROM committed_offsets WHERE ${hasFigures('topic')}) AS as_of FROM lake_state`,
    )
    if (row === undefined || row.incarnation !== incarnation || state!.incarnation !== incarnation) {
      throw new ConflictError('The store has another incarnation by now: the follower begins anew.', { incarnation })
    }
    return work({ client, number: Number(row.read_number), asOfMs: state!.as_of === null ? null : Number(state!.as_of) })
  })
}

/** Locks the follower's row: whoever adds or removes an index does so between two readings. */
export async function lockFollower(client: PoolClient): Promise<void> {
  await client.query('SELECT FROM search_followers WHERE follower = $1 FOR UPDATE', [figuresFollower])
}

/** Begins, or begins anew: from now on changes are followed; all before is what the indices are built from. */
export async function beginFollowing(client: PoolClient): Promise<StoreMoment> {
  await lockFollower(client)
  const { now, follower } = await readMoment(client)
  const isSameCluster = follower !== null && follower.systemIdentifier === now.systemIdentifier && BigInt(follower.position) <= BigInt(now.xmin)
  if (!isSameCluster) await forgetFutureXids(client)
  await client.query(
    /* sql */ `
    INSERT INTO search_followers AS f (follower, incarnation, system_identifier, position_xid, pointer_moves, pointer_epoch) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (follower) DO UPDATE SET incarnation = EXCLUDED.incarnation, system_identifier = EXCLUDED.system_identifier, position_xid = EXCLUDED.position_xid,
      position_at = clock_timestamp(), pointer_moves = EXCLUDED.pointer_moves, pointer_epoch = EXCLUDED.pointer_epoch`,
    [figuresFollower, now.incarnation, now.systemIdentifier, now.xmin, now.pointerMoves, now.pointerEpoch],
  )
  return now
}

/**
 * Rows that came by a dump keep numbers that a younger cluster has not reached: no snapshot would ever see them, so that they would change at every look
 * and be complete at none. They are all of before, so they take the number of before.
 */
async function forgetFutureXids(client: PoolClient): Promise<void> {
  // A merge under way would put such a number back.
  await client.query(`SELECT pg_advisory_xact_lock(${lockKeys}${lockPurpose.liveMerge})`)
  const tables = [...views.flatMap((view) => [`live_${view.name}`, `correction_${view.name}`]), 'live_runs', 'correction_events']
  for (const table of tables) await client.query(`UPDATE ${table} SET xid = '0' WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())`)
}

/** A stopped follower's session is ended by the server after this, so that another may take over; a killed one's ends at once. */
const sessionTimeoutMs = 15_000
const keepAliveMs = 4_000

export type FollowerSession = AsyncDisposable & {
  /** Aborted when the session is lost: another follower may run by now. Harmless, and wasteful. */
  readonly lost: AbortSignal
}

/** Becomes the one follower that runs, or null where there is one. For economy only: two would do no harm. */
export async function tryFollow(database: Database): Promise<FollowerSession | null> {
  const client = await connect(database)
  const lost = new AbortController()
  const onLost = (): void => lost.abort()
  client.on('error', onLost)
  let keepAlive: NodeJS.Timeout | undefined
  const release = (): void => {
    clearInterval(keepAlive)
    client.release(true)
  }
  try {
    const { rows } = await client.query<{ ours: boolean }>(`SELECT pg_try_advisory_lock(${lockKeys}${lockPurpose.searchFollower}) AS ours`)
    if (rows[0]?.ours !== true) {
      release()
      return null
    }
    await client.query(`SET idle_session_timeout = ${sessionTimeoutMs}`)
    keepAlive = setInterval(() => void client.query('SELECT').catch(onLost), keepAliveMs)
  } catch (thrown) {
    release()
    throw translateError(thrown)
  }
  return {
    lost: lost.signal,
    async [Symbol.asyncDispose]() {
      release()
      await Promise.resolve()
    },
  }
}
