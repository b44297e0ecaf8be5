/**
 * One speed flush, one transaction: the epoch under its shared lock, the fence on every offset, the ledger pages, the deltas of the new ids,
 * the dead letters. All of it or nothing; what a crash leaves is always the state before or the state after.
 */
import type { PoolClient } from 'pg'
import { FencedError } from '#core/errors.ts'
import type { DeadLetterReason } from '#core/events.ts'
import type { Database } from './database.ts'
import { inTransaction } from './database.ts'
import { readEpochForFlush } from './epochs.ts'
import { checkFlushLogic } from './logic.ts'
import type { LiveCells } from './live-rows.ts'
import { appendLiveRows } from './live-rows.ts'

export type PartitionFlush = {
  readonly partition: number
  readonly fromOffset: number
  /** Exclusive. */
  readonly toOffset: number
  /** Of the last record read; null where the range held none. */
  readonly last: { readonly offset: number; readonly checksum: number; readonly logTimeMs: number } | null
  readonly records: number
  readonly accepted: number
  readonly copies: number
  readonly conflicts: number
  readonly refused: number
  readonly late: number
  readonly page: { readonly ids: number; readonly entries: Uint8Array; readonly hashHiSum: number; readonly hashLoSum: number }
}

export type DeadLetter = {
  readonly partition: number
  readonly offset: number
  readonly index: number
  readonly reason: DeadLetterReason
  readonly detail: string
  readonly logTimeMs: number
  readonly first: { readonly partition: number; readonly offset: number } | null
  readonly headers: Readonly<Record<string, string>> | null
  readonly bytes: Uint8Array
}

export type ProductName = { readonly productId: string; readonly name: string; readonly partition: number; readonly offset: number; readonly index: number }

export type MinuteCell = { readonly minuteMs: number; readonly currency: string; transactions: number; grossMinor: bigint; refundsMinor: bigint }

export type Flush = {
  readonly topic: string
  /** That it was decoded with. */
  readonly logicVersion: string
  readonly partitions: readonly PartitionFlush[]
  readonly cells: readonly LiveCells[]
  readonly deadLetters: readonly DeadLetter[]
  readonly productNames: readonly ProductName[]
  readonly minutes: readonly MinuteCell[]
}

/** Where tests may stop a flush; production passes none. */
export type FlushFaults = { readonly beforeBegin?: () => Promise<void>; readonly beforeCommit?: (client: PoolClient) => Promise<void>; readonly afterCommit?: () => Promise<void> }

/** What goes with a flush or not at all. Durable where it registers what lies outside the database. */
export type AlongsideFlush = { readonly isDurable: boolean; readonly work: (client: PoolClient, epoch: number) => Promise<void> }

const letterBytesPerStatement = 8 * 1024 * 1024
const lettersPerStatement = 5_000
/** Minutes kept for the live line. */
const minutesKeptMs = 3 * 3_600_000

/**
 * Resolves to the epoch that the deltas belong to. Throws FencedError where another worker moved an offset: drop memory, open again; LogicError where the
 * store's figures are of another logic version by now, SwitchingError while they are about to be.
 */
export async function commitFlush(database: Database, flush: Flush, faults: FlushFaults = {}, also?: AlongsideFlush): Promise<number> {
  await faults.beforeBegin?.()
  const epoch = await inTransaction(database, { durable: also?.isDurable === true }, async (client) => {
    const state = await readEpochForFlush(client)
    checkFlushLogic(state, flush.logicVersion)
    const { epoch: current } = state
    await moveOffsets(client, flush)
    await storePages(client, current, flush)
    for (const cells of flush.cells) await appendLiveRows(client, state, cells)
    if (flush.deadLetters.length > 0) await storeDeadLetters(client, current, flush)
    if (flush.productNames.length > 0) await nameProducts(client, current, flush.productNames)
    if (flush.minutes.length > 0) await addMinutes(client, flush)
    await also?.work(client, current)
    await faults.beforeCommit?.(client)
    return current
  })
  await faults.afterCommit?.()
  return epoch
}

/** The fence: an offset moves only from where this worker read it. Rows are locked in partition order. */
async function moveOffsets(client: PoolClient, flush: Flush): Promise<void> {
  const parts = [...flush.partitions].sort((a, b) => a.partition - b.partition)
  const column = (of: (part: PartitionFlush) => number | null): (number | null)[] => parts.map(of)
  const moved = await client.query(
    /* sql */ `
    WITH moves AS (
      SELECT * FROM unnest($2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
        $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[])
      AS m (partition, from_offset, to_offset, last_offset, last_checksum, last_log_time_ms, records, accepted, copies, conflicts, refused, late)
    ), locked AS (
      SELECT o.partition FROM committed_offsets o JOIN moves m USING (partition)
      WHERE o.topic = $1 AND o.next_offset = m.from_offset ORDER BY o.partition FOR UPDATE OF o
    )
    UPDATE committed_offsets o SET
      next_offset = m.to_offset,
      last_offset = coalesce(m.last_offset, o.last_offset),
      last_checksum = coalesce(m.last_checksum, o.last_checksum),
      last_log_time_ms = greatest(m.last_log_time_ms, o.last_log_time_ms),
      records = o.records + m.records, accepted = o.accepted + m.accepted, copies = o.copies + m.copies,
      conflicts = o.conflicts + m.conflicts, refused = o.refused + m.refused, late = o.late + m.late
    FROM moves m JOIN locked USING (partition)
    WHERE o.topic = $1 AND o.partition = m.partition AND o.next_offset = m.from_offset`,
    [
      flush.topic,
      column((part) => part.partition),
      column((part) => part.fromOffset),
      column((part) => part.toOffset),
      column((part) => part.last?.offset ?? null),
      column((part) => part.last?.checksum ?? null),
      column((part) => part.last?.logTimeMs ?? null),
      column((part) => part.records),
      column((part) => part.accepted),
      column((part) => part.copies),
      column((part) => part.conflicts),
      column((part) => part.refused),
      column((part) => part.late),
    ],
  )
  if (moved.rowCount !== parts.length) {
    throw new FencedError(`Another worker moved an offset of ${flush.topic}: this one opens its partitions again.`, {
      topic: flush.topic,
      partitions: parts.map((part) => part.partition),
    })
  }
}

async function storePages(client: PoolClient, epoch: number, flush: Flush): Promise<void> {
  const parts = flush.partitions.filter((part) => part.page.ids > 0)
  if (parts.length === 0) return
  // One by one: a Buffer of its own is sent as bytes, in an array it would go as twice as many hexadecimal digits.
  for (const part of parts) {
    const { entries, ids } = part.page
    await client.query({
      name: 'store_ledger_page',
      text: 'INSERT INTO ledger_pages (topic, partition, epoch, from_offset, to_offset, ids, entries) VALUES ($1, $2, $3, $4, $5, $6, $7)',
      values: [flush.topic, part.partition, epoch, part.fromOffset, part.toOffset, ids, Buffer.from(entries.buffer, entries.byteOffset, entries.byteLength)],
    })
  }
  await client.query(
    /* sql */ `
    INSERT INTO live_counts AS t (epoch, topic, partition, events, hash_hi_sum, hash_lo_sum)
    SELECT $1, $2, c.partition, c.events, c.hi, c.lo FROM unnest($3::int[], $4::bigint[], $5::bigint[], $6::bigint[]) AS c (partition, events, hi, lo)
    ORDER BY c.partition
    ON CONFLICT (epoch, topic, partition) DO UPDATE SET
      events = t.events + EXCLUDED.events, hash_hi_sum = t.hash_hi_sum + EXCLUDED.hash_hi_sum, hash_lo_sum = t.hash_lo_sum + EXCLUDED.hash_lo_sum`,
    [
      epoch,
      flush.topic,
      parts.map((part) => part.partition),
      parts.map((part) => part.page.ids),
      parts.map((part) => part.page.hashHiSum),
      parts.map((part) => part.page.hashLoSum),
    ],
  )
}

/** In pieces: an array of bytes travels as hexadecimal digits, and one text has an end. */
async function storeDeadLetters(client: PoolClient, epoch: number, flush: Flush): Promise<void> {
  let letters: DeadLetter[] = []
  let bytes = 0
  for (const letter of flush.deadLetters) {
    letters.push(letter)
    bytes += letter.bytes.length
    if (bytes < letterBytesPerStatement && letters.length < lettersPerStatement) continue
    await storeLetters(client, epoch, flush.topic, letters)
    letters = []
    bytes = 0
  }
  if (letters.length > 0) await storeLetters(client, epoch, flush.topic, letters)
}

async function storeLetters(client: PoolClient, epoch: number, topic: string, letters: readonly DeadLetter[]): Promise<void> {
  await client.query(
    /* sql */ `
    INSERT INTO dead_letters (topic, partition, log_offset, record_index, epoch, reason, detail, log_time_ms, first_partition, first_offset, found_by, headers, bytes)
    SELECT $1, l.partition, l.log_offset, l.record_index, $2, l.reason, l.detail, l.log_time_ms, l.first_partition, l.first_offset, 'speed', l.headers, l.bytes
    FROM unnest($3::int[], $4::bigint[], $5::int[], $6::text[], $7::text[], $8::bigint[], $9::int[], $10::bigint[], $11::text[], $12::bytea[])
      AS l (partition, log_offset, record_index, reason, detail, log_time_ms, first_partition, first_offset, headers, bytes)`,
    [
      topic,
      epoch,
      letters.map((letter) => letter.partition),
      letters.map((letter) => letter.offset),
      letters.map((letter) => letter.index),
      letters.map((letter) => letter.reason),
      letters.map((letter) => letter.detail),
      letters.map((letter) => letter.logTimeMs),
      letters.map((letter) => letter.first?.partition ?? null),
      letters.map((letter) => letter.first?.offset ?? null),
      letters.map((letter) => (letter.headers === null ? null : JSON.stringify(letter.headers))),
      letters.map((letter) => Buffer.from(letter.bytes.buffer, letter.bytes.byteOffset, letter.bytes.byteLength)),
    ],
  )
}

/** What was imported is from before the log: of two names, that of the log's sale is the newer one. */
export function namingEpoch(epoch: string): string {
  return `CASE WHEN EXISTS (SELECT FROM imports i WHERE i.partition = p.partition) THEN 0 ELSE ${epoch} END`
}

async function nameProducts(client: PoolClient, epoch: number, names: readonly ProductName[]): Promise<void> {
  const sorted = [...names].sort((a, b) => (a.productId < b.productId ? -1 : 1))
  await client.query(
    /* sql */ `
    INSERT INTO product_names AS t (product_id, product_name, epoch, partition, log_offset, record_index)
    SELECT p.product_id, p.product_name, ${namingEpoch('$1::bigint')}, p.partition, p.log_offset, p.record_index
    FROM unnest($2::text[], $3::text[], $4::int[], $5::bigint[], $6::int[]) AS p (product_id, product_name, partition, log_offset, record_index)
    ON CONFLICT (product_id) DO UPDATE SET
      product_name = EXCLUDED.product_name, epoch = EXCLUDED.epoch, partition = EXCLUDED.partition,
      log_offset = EXCLUDED.log_offset, record_index = EXCLUDED.record_index
    WHERE (t.epoch, t.partition, t.log_offset, t.record_index) < (EXCLUDED.epoch, EXCLUDED.partition, EXCLUDED.log_offset, EXCLUDED.record_index)`,
    [
      epoch,
      sorted.map((product) => product.productId),
      sorted.map((product) => product.name),
      sorted.map((product) => product.partition),
      sorted.map((product) => product.offset),
      sorted.map((product) => product.index),
    ],
  )
}

async function addMinutes(client: PoolClient, flush: Flush): Promise<void> {
  const sorted = [...flush.minutes].sort((a, b) => a.minuteMs - b.minuteMs || (a.currency < b.currency ? -1 : 1))
  await client.query(
    /* sql */ `
    INSERT INTO live_minutes AS t (partition, minute_ms, currency, transactions, gross_minor, refunds_minor)
    SELECT $6, * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
    ON CONFLICT (minute_ms, currency, partition) DO UPDATE SET
      transactions = t.transactions + EXCLUDED.transactions, gross_minor = t.gross_minor + EXCLUDED.gross_minor,
      refunds_minor = t.refunds_minor + EXCLUDED.refunds_minor`,
    [
      sorted.map((cell) => cell.minuteMs),
      sorted.map((cell) => cell.currency),
      sorted.map((cell) => cell.transactions),
      sorted.map((cell) => cell.grossMinor),
      sorted.map((cell) => cell.refundsMinor),
      Math.min(...flush.partitions.map((part) => part.partition)),
    ],
  )
  // SKIP LOCKED: two workers that both tidy up must not wait for each other in different orders.
  await client.query(
    /* sql */ `DELETE FROM live_minutes WHERE (minute_ms, currency, partition) IN (SELECT minute_ms, currency, partition FROM live_minutes WHERE minute_ms < $1 FOR UPDATE SKIP LOCKED)`,
    [newestLogTimeMs(flush) - minutesKeptMs],
  )
}

/** Of the records in this flush. Event times would not do: one event dated ahead would empty the line. */
function newestLogTimeMs(flush: Flush): number {
  return Math.max(...flush.partitions.map((part) => part.last?.logTimeMs ?? 0))
}
