/**
 * Corrections: what a stated rule explains of the difference between the archive and the live figures. Booked under the batch's epoch, in the
 * transaction that publishes it, they make `batch_new − batch_base = Σ deltas + Σ corrections` hold for any two kept batches afterwards.
 */
import type { PoolClient } from 'pg'
import { formatDay } from '#core/calendar.ts'
import type { ShopEvent } from '#core/events.ts'
import { measure, measures } from '#core/views/measures.ts'
import type { Measured } from '#core/views/measures.ts'
import { views } from '#core/views/all.ts'
import type { View } from '#core/views/view.ts'
import type { Batch } from './batches.ts'
import { bytesErased } from './dead-letters.ts'
import { grainList, measureList } from './view-tables.ts'

/** Why a counted event counts no more, or another does in its place. */
export type CorrectionReason = 'copy' | 'conflict' | 'lost' | 'accepted' | 'logic'

export type CorrectedEvent = {
  readonly reason: CorrectionReason
  /** −1: the speed layer counted it and it does not count. +1: it counts and the speed layer had left it out. */
  readonly sign: -1 | 1
  readonly topic: string
  readonly epoch: number
  readonly partition: number
  readonly offset: number
  readonly index: number
  readonly hashHi: number
  readonly hashLo: number
  readonly event: Pick<ShopEvent, 'source' | 'eventId' | 'kind' | 'orderLine' | 'productId' | 'category' | 'city' | 'quantity' | 'totalMinor' | 'currency' | 'localDay' | 'localHour'>
  /** The copy that counts, for a dead letter's second position. */
  readonly first: { readonly partition: number; readonly offset: number } | null
  /** Of its record, for the dead letter of a conflict; empty where the log has forgotten it (the archive has not). */
  readonly record: { readonly logTimeMs: number; readonly value: Uint8Array; readonly headers: Readonly<Record<string, string>> | null } | null
}

/** A copy that neither layer counts: what it is beside the one that counts now. */
export type SettledCopy = Pick<CorrectedEvent, 'reason' | 'topic' | 'partition' | 'offset' | 'index' | 'event' | 'first' | 'record'>

export type CorrectionPlan = {
  readonly events: readonly CorrectedEvent[]
  /** The other copies of the corrected ids: the speed layer judged them beside one that counts no more. */
  readonly settled: readonly SettledCopy[]
  /** Positions that were counted and lie in ranges of the log that a person gave up. Their fields are gone. */
  readonly lost: readonly LostEvents[]
  /** By view the SELECT of every difference that remains, booked as it is: what was lost, what other logic makes of the same events, or what a person accepted although nothing explains it. */
  readonly remaining: { readonly reason: 'lost' | 'accepted' | 'logic'; readonly differences: ReadonlyMap<string, string> } | null
}

/** What the speed layer had counted of lost ranges in one (epoch, partition): the positions, and the sums of their hashes as they are missing. */
export type LostEvents = {
  readonly topic: string
  readonly epoch: number
  readonly partition: number
  readonly positions: readonly { readonly offset: number; readonly index: number }[]
  readonly hashHiSum: bigint
  readonly hashLoSum: bigint
}

export const noCorrections: CorrectionPlan = { events: [], settled: [], lost: [], remaining: null }

export async function bookCorrections(client: PoolClient, batch: Batch, plan: CorrectionPlan): Promise<void> {
  await lockPartitions(client, [...plan.events, ...plan.lost])
  for (const view of views) {
    await bookCells(client, batch, view, plan.events)
    const differences = plan.remaining?.differences.get(view.name)
    if (differences !== undefined) {
      await client.query(/* sql */ `
        INSERT INTO correction_${view.name} (epoch, batch, reason, ${grainList(view)}, ${measureList})
        SELECT ${batch.epoch}, ${batch.batch}, '${plan.remaining!.reason}', ${grainList(view)}, ${measures.map((name) => `batch_${name} - speed_${name}`).join(', ')} FROM (${differences}) d`)
    }
  }
  for (const lost of plan.lost) await bookLost(client, batch, lost)
  if (plan.lost.length > 0) await bookFigures(client, batch)
  if (plan.events.length === 0) return
  await bookEvents(client, batch, plan.events)
  await bookCounts(client, batch, plan.events)
  await moveLetters(client, batch, plan.events)
  await settleCopies(client, batch, plan.settled)
}

/** All that flushes may hold, in their order: else one that holds some and wants others, and a publication that does, would wait for each other. */
async function lockPartitions(client: PoolClient, corrected: readonly { readonly topic: string }[]): Promise<void> {
  const topics = [...new Set(corrected.map(({ topic }) => topic))]
  if (topics.length > 0) await client.query('SELECT FROM committed_offsets WHERE topic = ANY ($1) ORDER BY topic, partition FOR UPDATE', [topics])
}

async function bookCells(client: PoolClient, batch: Batch, view: View, events: readonly CorrectedEvent[]): Promise<void> {
  const cells = new Map<string, { readonly reason: string; readonly key: readonly (string | number)[]; sum: Measured }>()
  for (const corrected of events) {
    // The dimensions read only what a correction carries.
    const event = corrected.event as ShopEvent
    const key = view.grain.map((dimension) => (dimension.kind === 'day' ? formatDay(dimension.of(event)) : dimension.of(event)))
    const id = JSON.stringify([corrected.reason, ...key])
    const cell = cells.get(id)
    const added = signed(measure(event), corrected.sign)
    if (cell === undefined) cells.set(id, { reason: corrected.reason, key, sum: added })
    else cell.sum = plus(cell.sum, added)
  }
  for (const { reason, key, sum } of cells.values()) {
    const values = [sum.transactions, sum.orders, sum.refundEvents, sum.unitsSold, sum.unitsRefunded, sum.grossMinor, sum.refundsMinor]
    if (values.every((value) => Number(value) === 0)) continue
    await client.query(
      `INSERT INTO correction_${view.name} (xid, epoch, batch, reason, ${grainList(view)}, ${measureList}) VALUES (pg_current_xact_id(), ${[...Array(3 + key.length + values.length).keys()].map((i) => `$${i + 1}`).join(', ')})`,
      [batch.epoch, batch.batch, reason, ...key, ...values],
    )
  }
}

function signed(measured: Measured, sign: -1 | 1): Measured {
  if (sign === 1) return measured
  return {
    transactions: -measured.transactions,
    orders: -measured.orders,
    refundEvents: -measured.refundEvents,
    unitsSold: -measured.unitsSold,
    unitsRefunded: -measured.unitsRefunded,
    grossMinor: -measured.grossMinor,
    refundsMinor: -measured.refundsMinor,
  }
}

function plus(a: Measured, b: Measured): Measured {
  return {
    transactions: a.transactions + b.transactions,
    orders: a.orders + b.orders,
    refundEvents: a.refundEvents + b.refundEvents,
    unitsSold: a.unitsSold + b.unitsSold,
    unitsRefunded: a.unitsRefunded + b.unitsRefunded,
    grossMinor: a.grossMinor + b.grossMinor,
    refundsMinor: a.refundsMinor + b.refundsMinor,
  }
}

async function bookEvents(client: PoolClient, batch: Batch, events: readonly CorrectedEvent[]): Promise<void> {
  await client.query(
    /* sql */ `
    INSERT INTO correction_events (xid, batch, epoch, reason, sign, source, event_id, topic, partition, log_offset, record_index, counted_epoch, first_partition, first_offset)
    SELECT pg_current_xact_id(), $1, $2, e.* FROM unnest($3::text[], $4::int[], $5::text[], $6::text[], $7::text[], $8::int[], $9::bigint[], $10::int[], $11::bigint[], $12::int[], $13::bigint[]) e`,
    [
      batch.batch,
      batch.epoch,
      events.map((corrected) => corrected.reason),
      events.map((corrected) => corrected.sign),
      events.map((corrected) => corrected.event.source),
      events.map((corrected) => corrected.event.eventId),
      events.map((corrected) => corrected.topic),
      events.map((corrected) => corrected.partition),
      events.map((corrected) => corrected.offset),
      events.map((corrected) => corrected.index),
      events.map((corrected) => corrected.epoch),
      events.map((corrected) => corrected.first?.partition ?? null),
      events.map((corrected) => corrected.first?.offset ?? null),
    ],
  )
}

/** The positions of a lost range count no more; which events they were, nobody knows. */
async function bookLost(client: PoolClient, batch: Batch, { topic, epoch, partition, positions, hashHiSum, hashLoSum }: LostEvents): Promise<void> {
  await client.query(
    /* sql */ `
    INSERT INTO correction_events (xid, batch, epoch, reason, sign, source, event_id, topic, partition, log_offset, record_index, counted_epoch)
    SELECT pg_current_xact_id(), $1, $2, 'lost', -1, '', '', $3, $4, p.log_offset, p.record_index, $5 FROM unnest($6::bigint[], $7::int[]) AS p (log_offset, record_index)`,
    [batch.batch, batch.epoch, topic, partition, epoch, positions.map(({ offset }) => offset), positions.map(({ index }) => index)],
  )
  await client.query(
    /* sql */ `
    INSERT INTO correction_counts AS c (batch, epoch, counted_epoch, topic, partition, events, hash_hi_sum, hash_lo_sum) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (batch, counted_epoch, topic, partition) DO UPDATE SET
      events = c.events + EXCLUDED.events, hash_hi_sum = c.hash_hi_sum + EXCLUDED.hash_hi_sum, hash_lo_sum = c.hash_lo_sum + EXCLUDED.hash_lo_sum`,
    [batch.batch, batch.epoch, epoch, topic, partition, -positions.length, hashHiSum, hashLoSum],
  )
  await client.query('UPDATE committed_offsets SET accepted = accepted - $3, lost = lost + $3 WHERE topic = $1 AND partition = $2', [topic, partition, positions.length])
}

/** What the losses took out of the figures, for the receipts that name them: this batch, and one before it where a range reached over its horizon. */
async function bookFigures(client: PoolClient, batch: Batch): Promise<void> {
  await client.query(
    /* sql */ `
    UPDATE accepted_losses l SET batch = $1, figures = (
      SELECT json_object_agg(currency, figures) FROM (
        SELECT currency, json_build_object(${measures.map((name) => `'${name}', (-sum(${name}))::bigint::text`).join(', ')}) AS figures
        FROM correction_revenue WHERE reason = 'lost' AND batch IN (
          SELECT c.batch FROM correction_events c WHERE c.reason = 'lost' AND c.topic = l.topic AND c.partition = l.partition AND c.log_offset >= l.from_offset AND c.log_offset < l.to_offset)
        GROUP BY currency
      ) by_currency)
    WHERE EXISTS (
      SELECT FROM correction_events c WHERE c.batch = $1 AND c.reason = 'lost' AND c.topic = l.topic AND c.partition = l.partition AND c.log_offset >= l.from_offset AND c.log_offset < l.to_offset)`,
    [batch.batch],
  )
}

async function bookCounts(client: PoolClient, batch: Batch, events: readonly CorrectedEvent[]): Promise<void> {
  await client.query(
    /* sql */ `
    INSERT INTO correction_counts AS c (batch, epoch, counted_epoch, topic, partition, events, hash_hi_sum, hash_lo_sum)
    SELECT $1, $2, e.epoch, e.topic, e.partition, sum(e.sign), sum(e.sign * e.hi), sum(e.sign * e.lo)
    FROM unnest($3::bigint[], $4::text[], $5::int[], $6::int[], $7::bigint[], $8::bigint[]) AS e (epoch, topic, partition, sign, hi, lo)
    GROUP BY e.epoch, e.topic, e.partition
    ON CONFLICT (batch, counted_epoch, topic, partition) DO UPDATE SET
      events = c.events + EXCLUDED.events, hash_hi_sum = c.hash_hi_sum + EXCLUDED.hash_hi_sum, hash_lo_sum = c.hash_lo_sum + EXCLUDED.hash_lo_sum`,
    [
      batch.batch,
      batch.epoch,
      events.map((corrected) => corrected.epoch),
      events.map((corrected) => corrected.topic),
      events.map((corrected) => corrected.partition),
      events.map((corrected) => corrected.sign),
      events.map((corrected) => corrected.hashHi),
      events.map((corrected) => corrected.hashLo),
    ],
  )
}

/** What counts no more because of other fields becomes a dead letter with both positions; what counts now is none any more. */
async function moveLetters(client: PoolClient, batch: Batch, events: readonly CorrectedEvent[]): Promise<void> {
  const nowCounted = events.filter((corrected) => corrected.sign === 1)
  const conflicts = events.filter((corrected) => corrected.sign === -1 && corrected.reason === 'conflict')
  const { rows: letters } = await client.query<{ topic: string; partition: number; log_offset: bigint; record_index: number }>(
    /* sql */ `
    DELETE FROM dead_letters d USING unnest($1::text[], $2::int[], $3::bigint[], $4::int[]) AS e (topic, partition, log_offset, record_index)
    WHERE d.topic = e.topic AND d.partition = e.partition AND d.log_offset = e.log_offset AND d.record_index = e.record_index AND d.reason = 'conflict'
    RETURNING d.topic, d.partition, d.log_offset, d.record_index`,
    [
      nowCounted.map((corrected) => corrected.topic),
      nowCounted.map((corrected) => corrected.partition),
      nowCounted.map((corrected) => corrected.offset),
      nowCounted.map((corrected) => corrected.index),
    ],
  )
  // What counts now was a copy or a conflict of whichever event its own worker had counted: its letter says which.
  const hadLetter = new Set(letters.map((letter) => `${letter.topic} ${letter.partition} ${letter.log_offset} ${letter.record_index}`))
  const wasConflict = ({ topic, partition, offset, index }: CorrectedEvent): boolean => hadLetter.has(`${topic} ${partition} ${offset} ${index}`)
  for (const corrected of conflicts) await putConflictLetter(client, batch, corrected)
  // Totals of the speed layer follow: what was accepted is a copy or a conflict, and the other way round.
  await client.query(
    /* sql */ `
    UPDATE committed_offsets o SET accepted = o.accepted + c.accepted, copies = o.copies + c.copies, conflicts = o.conflicts + c.conflicts
    FROM (
      SELECT e.topic, e.partition, sum(e.sign) AS accepted,
        sum(CASE WHEN e.reason = 'copy' THEN -e.sign ELSE 0 END) AS copies, sum(CASE WHEN e.reason = 'conflict' THEN -e.sign ELSE 0 END) AS conflicts
      FROM unnest($1::text[], $2::int[], $3::int[], $4::text[]) AS e (topic, partition, sign, reason) GROUP BY e.topic, e.partition
    ) c WHERE o.topic = c.topic AND o.partition = c.partition`,
    [
      events.map((corrected) => corrected.topic),
      events.map((corrected) => corrected.partition),
      events.map((corrected) => corrected.sign),
      events.map((corrected) => (corrected.sign === -1 ? corrected.reason : wasConflict(corrected) ? 'conflict' : 'copy')),
    ],
  )
}

/** False where the letter was there; it then names the position that counts now. */
async function putConflictLetter(client: PoolClient, batch: Batch, copy: SettledCopy): Promise<boolean> {
  const isErased = copy.record?.value.length === 0
  const detail = `event ${copy.event.eventId} of ${copy.event.source} stands first at partition ${copy.first?.partition}, offset ${copy.first?.offset}, with other fields${isErased ? bytesErased : ''}`
  const { rows } = await client.query<{ added: boolean }>(
    /* sql */ `
    INSERT INTO dead_letters AS d (topic, partition, log_offset, record_index, epoch, reason, detail, log_time_ms, first_partition, first_offset, found_by, headers, bytes)
    VALUES ($1, $2, $3, $4, $5, 'conflict', $6, $7, $8, $9, 'batch', $10, $11)
    ON CONFLICT (topic, partition, log_offset, record_index) DO UPDATE SET detail = EXCLUDED.detail, first_partition = EXCLUDED.first_partition, first_offset = EXCLUDED.first_offset
    RETURNING (xmax = 0) AS added`,
    [
      copy.topic,
      copy.partition,
      copy.offset,
      copy.index,
      batch.epoch,
      detail,
      copy.record?.logTimeMs ?? 0,
      copy.first?.partition ?? null,
      copy.first?.offset ?? null,
      copy.record === null || copy.record.headers === null ? null : JSON.stringify(copy.record.headers),
      Buffer.from(copy.record?.value ?? []),
    ],
  )
  return rows[0]?.added === true
}

/** Copies become conflicts, or the other way round, where another event counts than the one that they were held against. */
async function settleCopies(client: PoolClient, batch: Batch, settled: readonly SettledCopy[]): Promise<void> {
  for (const copy of settled) {
    const { topic, partition, offset, index } = copy
    let toConflicts = 0
    if (copy.reason === 'conflict') toConflicts = (await putConflictLetter(client, batch, copy)) ? 1 : 0
    else {
      const letter = `DELETE FROM dead_letters WHERE topic = $1 AND partition = $2 AND log_offset = $3 AND record_index = $4 AND reason = 'conflict'`
      toConflicts = -((await client.query(letter, [topic, partition, offset, index])).rowCount ?? 0)
    }
    if (toConflicts === 0) continue
    await client.query('UPDATE committed_offsets SET conflicts = conflicts + $3, copies = copies - $3 WHERE topic = $1 AND partition = $2', [topic, partition, toConflicts])
  }
}
