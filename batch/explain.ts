/**
 * Explains differences between what the archive counts and what the speed layer counted, event by event. One rule explains: an id counts once, at its
 * first position. Where the speed layer counted a later copy (it came beyond the de-duplication window, or through another worker or partition), that
 * one is taken away, and the first is added if the speed layer had left it out. Anything else stays unexplained.
 */
import { parseDay } from '#core/calendar.ts'
import type { EventKind, Position } from '#core/events.ts'
import { comparePositions } from '#core/events.ts'
import { writeIdKey } from '#core/id-key.ts'
import type { EventLog, LogHeaders, QueryEngine } from '#core/ports.ts'
import type { Batch } from '#store/batches.ts'
import type { CorrectedEvent, LostEvents, SettledCopy } from '#store/corrections.ts'
import type { Base, CountedPosition, EpochCount } from '#store/cross-check.ts'
import { liveCountedPositions, liveCounts, readLostKeys } from '#store/cross-check.ts'
import type { Database } from '#store/database.ts'
import { readErasedUsers } from '#store/erasures.ts'
import { lossAt, readLogTerms } from '#store/losses.ts'
import { parseTimestamp } from './file-rows.ts'
import { allRows } from './recompute.ts'
import { batchSql } from './sql-files.ts'

export type Unexplained = { readonly topic: string; readonly position: Position; readonly eventId: string | null; readonly what: string }

export type Explanation = {
  readonly corrections: readonly CorrectedEvent[]
  readonly settled: readonly SettledCopy[]
  /** Counted live in ranges of the log that a person gave up. */
  readonly lost: readonly LostEvents[]
  readonly unexplained: readonly Unexplained[]
  /** (epoch, partition)s whose counts or hash sums differ. */
  readonly differingCounts: readonly DifferingCount[]
  /** Those of them whose difference the corrections do not make up, in number or in a hash sum. */
  readonly unexplainedCounts: readonly DifferingCount[]
}

export type DifferingCount = { readonly epoch: number; readonly partition: number; readonly batchEvents: string; readonly speedEvents: string }

/** What the archive counts more than the live side. */
export type CountDelta = { readonly count: DifferingCount; readonly events: bigint; readonly hashHiSum: bigint; readonly hashLoSum: bigint }

export type ExplainOptions = {
  readonly database: Database
  readonly engine: QueryEngine
  readonly log: EventLog
  readonly topic: string
  readonly signal: AbortSignal
}

const positionsPerQuery = 500

export async function explainCounts(options: ExplainOptions, batch: Batch, base: Base, counts: readonly EpochCount[]): Promise<Explanation> {
  // Below the base, a full batch is held against the base's rows, which were checked in their time.
  const live = await liveCounts(options.database.pool, options.topic, base.epoch, batch.epoch)
  const differing = countDeltas(counts.filter((count) => count.epoch > base.epoch), live)
  const terms = await readLogTerms(options.database.pool, options.topic)
  const lostAt = new Map<DifferingCount, LostPosition[]>()
  const taken: Position[] = []
  const added: Position[] = []
  for (const count of differing.map((delta) => delta.count)) {
    const { epoch, partition } = count
    const ours = await batchPositions(options.engine, epoch, partition)
    const theirs = await liveCountedPositions(options.database.pool, options.topic, epoch, partition, batch.epoch)
    const lost: LostPosition[] = []
    for (const [key, position] of theirs) {
      if (ours.has(key)) continue
      const at = { epoch, partition, ...position }
      if (lossAt(terms, partition, position.offset) === undefined) taken.push(at)
      else lost.push(at)
    }
    lostAt.set(count, lost)
    for (const [key, position] of ours) if (!theirs.has(key)) added.push({ epoch, partition, ...position })
  }
  // Lost in this batch or before, and sent again: the ledger still takes it for a copy.
  const lostKeys = added.length === 0 ? new Set<string>() : await readLostKeys(options.database.pool, terms)
  const explained = await explainPositions(options, base, taken, added, lostKeys)
  const lost: LostEvents[] = []
  const unexplainedCounts: DifferingCount[] = []
  for (const delta of differing) {
    const left = leftOf(delta, explained.corrections)
    const positions = lostAt.get(delta.count) ?? []
    if (positions.length > 0 && isSumOf(left, positions)) lost.push({ topic: options.topic, ...delta.count, positions, ...left })
    else if (left.events !== 0n || left.hashHiSum !== 0n || left.hashLoSum !== 0n) unexplainedCounts.push(delta.count)
  }
  return { ...explained, lost, differingCounts: differing.map((delta) => delta.count), unexplainedCounts }
}

type LostPosition = Position & CountedPosition

/** What is missing is the ids that were counted at these positions, in number and by their hashes: the ledger's pages have both. */
function isSumOf(left: Pick<CountDelta, 'events' | 'hashHiSum' | 'hashLoSum'>, positions: readonly LostPosition[]): boolean {
  const sum = (of: (position: LostPosition) => number): bigint => positions.reduce((total, position) => total + BigInt(of(position)), 0n)
  return left.events === -BigInt(positions.length) && left.hashHiSum === -sum(({ hashHi }) => hashHi) && left.hashLoSum === -sum(({ hashLo }) => hashLo)
}

/** What the corrections of an (epoch, partition) leave of its difference. Positions alone would miss a sum that is wrong over the same positions. */
function leftOf({ count, events, hashHiSum, hashLoSum }: CountDelta, corrections: readonly CorrectedEvent[]): Pick<CountDelta, 'events' | 'hashHiSum' | 'hashLoSum'> {
  const left = { events, hashHiSum, hashLoSum }
  for (const { epoch, partition, sign, hashHi, hashLo } of corrections) {
    if (epoch !== count.epoch || partition !== count.partition) continue
    left.events -= BigInt(sign)
    left.hashHiSum -= BigInt(sign * hashHi)
    left.hashLoSum -= BigInt(sign * hashLo)
  }
  return left
}

function deltaOf(epoch: number, partition: number, archive: EpochCount | undefined, live: EpochCount | undefined): CountDelta {
  const count = { epoch, partition, batchEvents: String(archive?.events ?? 0n), speedEvents: String(live?.events ?? 0n) }
  return {
    count,
    events: (archive?.events ?? 0n) - (live?.events ?? 0n),
    hashHiSum: (archive?.hashHiSum ?? 0n) - (live?.hashHiSum ?? 0n),
    hashLoSum: (archive?.hashLoSum ?? 0n) - (live?.hashLoSum ?? 0n),
  }
}

/** Of every (epoch, partition) whose counts differ. */
export function countDeltas(batchCounts: readonly EpochCount[], live: readonly EpochCount[]): CountDelta[] {
  const key = (count: EpochCount): string => `${count.epoch}:${count.partition}`
  const byKey = new Map(live.map((count) => [key(count), count]))
  const differing: CountDelta[] = []
  for (const count of batchCounts) {
    const other = byKey.get(key(count))
    byKey.delete(key(count))
    if (other !== undefined && other.events === count.events && other.hashHiSum === count.hashHiSum && other.hashLoSum === count.hashLoSum) continue
    differing.push(deltaOf(count.epoch, count.partition, count, other))
  }
  for (const other of byKey.values()) {
    if (other.events === 0n && other.hashHiSum === 0n && other.hashLoSum === 0n) continue
    differing.push(deltaOf(other.epoch, other.partition, undefined, other))
  }
  return differing
}

async function batchPositions(engine: QueryEngine, epoch: number, partition: number): Promise<Map<string, { offset: number; index: number }>> {
  const rows = (await allRows(
    engine.query(`SELECT log_offset, CAST(record_index AS bigint) AS record_index FROM counted_events WHERE epoch = ${epoch} AND log_partition = ${partition}`),
  )) as bigint[][]
  return new Map(rows.map(([offset, index]) => [`${offset}:${index}`, { offset: Number(offset), index: Number(index) }]))
}

type ArchivedEvent = Position & { readonly hashHi: number; readonly hashLo: number; readonly checksum: bigint; readonly event: CorrectedEvent['event'] }

async function explainPositions(
  options: ExplainOptions,
  base: Base,
  taken: readonly Position[],
  added: readonly Position[],
  lostKeys: ReadonlySet<string>,
): Promise<Omit<Explanation, 'lost' | 'differingCounts' | 'unexplainedCounts'>> {
  if (taken.length === 0 && added.length === 0) return { corrections: [], settled: [], unexplained: [] }
  const ids = await idsAt(options.engine, [...taken, ...added])
  const copies = await copiesOf(options.engine, new Set([...ids.values()].map((id) => id.eventId)))
  const corrections: CorrectedEvent[] = []
  const unexplained: Unexplained[] = []
  const takenIds = new Set<string>()
  const displacedBy = new Map<string, CorrectedEvent>()
  for (const position of taken) {
    const id = ids.get(positionKey(position))
    const group = id === undefined ? [] : (copies.get(id.key) ?? [])
    const self = group.find((copy) => comparePositions(copy, position) === 0)
    const [first] = group
    if (id === undefined || self === undefined || first === undefined || first === self) {
      unexplained.push({ topic: options.topic, position, eventId: id?.eventId ?? null, what: 'counted live, and the archive does not count it' })
      continue
    }
    takenIds.add(id.key)
    const reason = self.checksum === first.checksum ? 'copy' : 'conflict'
    const correction = await corrected(options, self, -1, reason, first)
    corrections.push(correction)
    displacedBy.set(id.key, correction)
  }
  for (const position of added) {
    const id = ids.get(positionKey(position))
    const group = id === undefined ? [] : (copies.get(id.key) ?? [])
    const [first] = group
    // Sent again after it was lost: live it was a copy of what nobody has any more, and now it is the first.
    const isSentAgain = id !== undefined && lostKeys.has(ledgerKeyOf(id))
    if (id === undefined || first === undefined || comparePositions(first, position) !== 0 || !(takenIds.has(id.key) || isSentAgain)) {
      unexplained.push({ topic: options.topic, position, eventId: id?.eventId ?? null, what: 'counted by the archive, and not live' })
      continue
    }
    // What the live side had called it: the opposite of the copy that it displaced.
    const displaced = displacedBy.get(id.key)
    corrections.push(await corrected(options, first, 1, displaced?.reason ?? (isSentAgain ? 'lost' : 'copy'), null))
  }
  const settled: SettledCopy[] = []
  const correctedAt = new Set(corrections.map(positionKey))
  for (const key of takenIds) {
    const [first, ...others] = copies.get(key)!
    for (const copy of others) {
      // Copies below the base were settled by the batches of their time, and their first has not changed since.
      if (copy.epoch <= base.epoch || correctedAt.has(positionKey(copy))) continue
      settled.push(await corrected(options, copy, -1, copy.checksum === first!.checksum ? 'copy' : 'conflict', first!))
    }
  }
  return { corrections, settled, unexplained }
}

function positionKey(position: Position): string {
  return `${position.epoch}:${position.partition}:${position.offset}:${position.index}`
}

/** By partition, since Trino's compiler does not take hundreds of conditions joined by OR. */
export function conditionOf(positions: readonly Pick<Position, 'partition' | 'offset'>[]): string {
  return [...Map.groupBy(positions, ({ partition }) => partition)]
    .map(([partition, some]) => `(log_partition = ${partition} AND log_offset IN (${some.map(({ offset }) => offset).join(', ')}))`)
    .join(' OR ')
}

type FoundId = { readonly key: string; readonly source: string; readonly eventId: string }

/** As the ledger's pages have it. */
function ledgerKeyOf({ source, eventId }: FoundId): string {
  const key = new Uint32Array(4)
  writeIdKey(source, eventId, key, 0)
  return key.join(' ')
}

async function idsAt(engine: QueryEngine, positions: readonly Position[]): Promise<Map<string, FoundId>> {
  const found = new Map<string, FoundId>()
  for (let from = 0; from < positions.length; from += positionsPerQuery) {
    const condition = conditionOf(positions.slice(from, from + positionsPerQuery))
    for (const row of await allRows(engine.query(batchSql('events_at').replace(':positions', () => condition)))) {
      const [epoch, partition, offset, index, source, eventId] = row as [bigint, bigint, bigint, bigint, string, string]
      found.set(`${epoch}:${partition}:${offset}:${index}`, { key: `${source}\n${eventId}`, source, eventId })
    }
  }
  return found
}

/** Every accepted copy of these ids, by source and id, first one first. */
async function copiesOf(engine: QueryEngine, eventIds: ReadonlySet<string>): Promise<Map<string, ArchivedEvent[]>> {
  const groups = new Map<string, ArchivedEvent[]>()
  const all = [...eventIds]
  for (let from = 0; from < all.length; from += positionsPerQuery) {
    // Accepted ids hold no control characters, so doubling quotes is all that a literal needs.
    const literals = all.slice(from, from + positionsPerQuery).map((id) => `'${id.replaceAll("'", "''")}'`)
    for (const row of await allRows(engine.query(batchSql('events_of_ids').replace(':ids', () => literals.join(', '))))) {
      const copy = archivedEvent(row)
      const key = `${copy.event.source}\n${copy.event.eventId}`
      const group = groups.get(key)
      if (group === undefined) groups.set(key, [copy])
      else group.push(copy)
    }
  }
  for (const group of groups.values()) group.sort(comparePositions)
  return groups
}

function archivedEvent(row: readonly unknown[]): ArchivedEvent {
  const number = (at: number): number => Number(row[at])
  const text = (at: number): string => row[at] as string
  return {
    epoch: number(0),
    partition: number(1),
    offset: number(2),
    index: number(3),
    event: {
      source: text(4),
      eventId: text(5),
      kind: text(6) as EventKind,
      orderLine: number(7),
      productId: text(8),
      category: text(9),
      city: text(10),
      quantity: number(11),
      totalMinor: number(12),
      currency: text(13),
      localDay: parseDay(text(14))!,
      localHour: number(15),
    },
    hashHi: number(16),
    hashLo: number(17),
    checksum: row[18] as bigint,
  }
}

async function corrected(options: ExplainOptions, copy: ArchivedEvent, sign: -1 | 1, reason: CorrectedEvent['reason'], first: ArchivedEvent | null): Promise<CorrectedEvent> {
  const { epoch, partition, offset, index, hashHi, hashLo, event } = copy
  return {
    reason,
    sign,
    topic: options.topic,
    epoch,
    partition,
    offset,
    index,
    hashHi,
    hashLo,
    event,
    first: first === null ? null : { partition: first.partition, offset: first.offset },
    record: sign === -1 && reason === 'conflict' ? await recordAt(options, partition, offset) : null,
  }
}

/** The record as the log still has it, or the lake, which alone holds what an import brought; empty where its bytes were erased. */
async function recordAt(options: ExplainOptions, partition: number, offset: number): Promise<CorrectedEvent['record']> {
  const bounds = await options.log.bounds(options.topic)
  // The log may hold those still who were erased from the archive.
  const isErasedFrom = (await readErasedUsers(options.database.pool)).size > 0
  if (isErasedFrom || (bounds.first.get(partition) ?? Infinity) > offset) return archivedRecordAt(options.engine, partition, offset)
  const range = { to: new Map([[partition, offset + 1]]), signal: options.signal }
  for await (const batch of options.log.read(options.topic, new Map([[partition, offset]]), range)) {
    const record = batch.records.find((candidate) => candidate.offset === offset)
    if (record !== undefined) return record
  }
  return null
}

async function archivedRecordAt(engine: QueryEngine, partition: number, offset: number): Promise<CorrectedEvent['record']> {
  const [row] = await allRows(engine.query(batchSql('records_at').replace(':positions', `log_partition = ${partition} AND log_offset = ${offset}`)))
  const [, , logTime, headers, bytes] = (row ?? []) as [unknown, unknown, string, string | null, string | null]
  const logTimeMs = row === undefined ? null : parseTimestamp(logTime)
  if (row === undefined || logTimeMs === null) return null
  return { logTimeMs, value: Buffer.from(bytes ?? '', 'base64'), headers: headers === null ? null : (JSON.parse(headers) as LogHeaders) }
}
