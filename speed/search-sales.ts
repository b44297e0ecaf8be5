/**
 * The documents of the sales: one for each counted event, in an index for each local month, read from the log behind the speed layer and never ahead of
 * it. An id is the event's, so the first copy stands and a later one changes nothing; what the speed layer held for a conflict is left out; what a
 * batch settles otherwise takes the document over with a higher version. Positions are kept per index family, so that a new family is built from the
 * beginning beside the one that serves.
 */
import type { Decoder } from '#core/decode.ts'
import { dayMs, formatDay, monthStart, openCalendar } from '#core/calendar.ts'
import { ConflictError, LossError, messageOf } from '#core/errors.ts'
import type { EventLog, FoundDocument, LogBatch, LogRecord, SearchDocument, SearchIndex } from '#core/ports.ts'
import { readCommitted } from '#store/committed.ts'
import type { Database } from '#store/database.ts'
import { hashOfUser, readErasedUsers } from '#store/erasures.ts'
import { checkLogic } from '#store/partitions.ts'
import { readImportPartitions } from '#store/imports.ts'
import { renewIncarnation } from '#store/incarnation.ts'
import { filesOfRange } from '#store/register.ts'
import type { SearchIndexRow } from '#store/search-indices.ts'
import { aliasOf, forgetIndex, keepRejects, listIndices, markServing, replaceIndex } from '#store/search-indices.ts'
import type { DueCorrections, LogPosition } from '#store/search-sales.ts'
import {
  addSaleMonth,
  dropSaleMonth,
  moveCorrections,
  moveSalePositions,
  readConflictPositions,
  readDueCorrections,
  readSaleMonths,
  readSalePositions,
  saleVersionMax,
} from '#store/search-sales.ts'
import type { Refill } from './refill.ts'
import type { SaleAt } from './search-documents.ts'
import { saleDocument, saleId, templatesOf } from './search-documents.ts'
import type { SpeedLogger } from './worker.ts'

export type SalesOptions = {
  readonly database: Database
  readonly search: SearchIndex
  readonly prefix: string
  readonly log: EventLog
  readonly decoder: Decoder
  readonly topic: string
  readonly zone: string
  readonly logger: SpeedLogger
  /** Local months that are kept, the present one among them; default 24. */
  readonly keepMonths?: number
  readonly nowMs?: () => number
  /** Reads from the lake what the log holds no more. */
  readonly refill?: Refill
  readonly onAhead?: (incarnation: string) => Promise<void>
}

export const keepMonthsDefault = 24
/** Records taken together, so that small batches of the log make large ones here. */
const recordsMax = 4_000
const gatherMs = 20
/** A partition that the speed layer does not move on must not hold the others back for longer. */
const stalledMs = 5_000
const retentionIntervalMs = 600_000
const existsIntervalMs = 30_000

/** `tidemark-sales-1a2b3c4d-2025.03` */
export function monthIndexName(family: string, month: string): string {
  return `${family}-${month.slice(0, 7).replace('-', '.')}`
}

/** One index family; dropping it is a crash. */
export class SalesFollower implements AsyncDisposable {
  readonly #options: SalesOptions
  readonly #family: SearchIndexRow
  readonly #signal: AbortSignal
  readonly #firstMonth: () => string
  #positions: Map<number, number> | null = null
  #months = new Set<string>()
  #erased: ReadonlySet<string> = new Set()
  #reading: { readonly batches: AsyncIterator<LogBatch>; readonly partitions: ReadonlySet<number>; readonly abort: AbortController; next: Promise<IteratorResult<LogBatch>> } | null = null
  #held: { readonly batch: LogBatch; readonly sinceMs: number } | null = null
  #retainedAt = 0
  #lookedAt = 0

  /** Aborted, the signal ends a turn that reads much from the lake before it is through. */
  constructor(options: SalesOptions, family: SearchIndexRow, signal: AbortSignal = new AbortController().signal) {
    this.#options = options
    this.#family = family
    this.#signal = signal
    this.#firstMonth = () => firstSaleMonth(options.zone, options.keepMonths ?? keepMonthsDefault, (options.nowMs ?? Date.now)())
  }

  /** One turn, waiting up to `waitMs` for records. Resolves to whether there may be more to do at once. */
  async step(waitMs = 0): Promise<boolean> {
    try {
      return await this.#step(waitMs)
    } catch (thrown) {
      await this.#stopReading()
      const missing = thrown instanceof ConflictError ? thrown.details['missingIndex'] : undefined
      if (typeof missing !== 'string' || !missing.startsWith(this.#family.name)) throw thrown
      this.#options.logger.warn({ index: missing }, 'a month of the sales is gone from the search index: they are built anew')
      await replaceIndex(this.#options.database, this.#options.prefix, this.#family)
      return true
    }
  }

  async #step(waitMs: number): Promise<boolean> {
    const { database, topic } = this.#options
    const positions = (this.#positions ??= await this.#open())
    await this.#look()
    const committed = await readCommitted(database.pool, topic)
    for (const [partition, position] of await readSalePositions(database.pool, this.#family.name, topic)) if (!positions.has(partition)) positions.set(partition, position)
    const due = await readDueCorrections(database.pool, this.#family.name, topic)
    if (due !== null && [...due.horizon].every(([partition, offset]) => (positions.get(partition) ?? 0) >= offset)) {
      await this.#settle(due)
      await moveCorrections(database.pool, this.#family.name, due.xmin)
      return true
    }
    const behind = [...positions].filter(([partition, position]) => (committed.get(partition) ?? 0) > position).map(([partition]) => partition)
    if (behind.length === 0) return due === null && this.#family.state === 'building' && this.#serve()
    if (await this.#refill(behind, committed)) return true
    const batches = await this.#gather(behind, committed, waitMs)
    if (batches.length === 0) return false
    await this.#index(batches)
    return true
  }

  async #open(): Promise<Map<number, number>> {
    const { database, search, prefix, topic } = this.#options
    for (const template of templatesOf(prefix)) if (template.name === aliasOf(prefix, 'sales')) await search.define(template)
    this.#months = new Set(await readSaleMonths(database.pool, this.#family.name))
    return readSalePositions(database.pool, this.#family.name, topic)
  }

  /** What the log has forgotten or never held is read from the lake; what nobody holds is passed over, and said. */
  async #refill(behind: readonly number[], committed: ReadonlyMap<number, number>): Promise<boolean> {
    const { log, database, topic } = this.#options
    const [bounds, imports] = await Promise.all([log.bounds(topic), readImportPartitions(database.pool, topic)])
    for (const partition of behind) {
      const from = this.#positions!.get(partition)!
      const end = committed.get(partition) ?? 0
      // What was imported is in the lake only, and there as soon as it is counted.
      const to = imports.has(partition) ? end : Math.min(bounds.first.get(partition) ?? 0, end)
      if (from >= to) continue
      await this.#stopReading()
      const files = await filesOfRange(database.pool, topic, partition, from, to)
      const ends = new Set([...files.flatMap((file) => [file.fromOffset, file.toOffset]).filter((offset) => from < offset && offset < to), to])
      await this.#refillPieces(partition, from, [...ends].sort((a, b) => a - b))
      return true
    }
    return false
  }

  /** Where the lake holds only some of the range, halves of it are asked for, down to single files: what is there goes in, in order. */
  async #refillPieces(partition: number, from: number, ends: readonly number[]): Promise<void> {
    const { topic, refill, logger } = this.#options
    const to = ends.at(-1)!
    const batches = (await refill?.(topic, partition, from, to, this.#signal)) ?? null
    if (this.#signal.aborted) return
    if (batches !== null) {
      for await (const batch of batches) {
        if (this.#signal.aborted) return
        await this.#index([batch])
      }
    } else if (ends.length === 1) {
      logger.warn({ partition, from, to }, `neither log nor lake holds ${from}-${to} of partition ${partition} any more: the search index is without its sales`)
      await this.#index([{ partition, from, to, records: [] }])
    } else {
      const half = ends.length >> 1
      await this.#refillPieces(partition, from, ends.slice(0, half))
      if (!this.#signal.aborted) await this.#refillPieces(partition, ends[half - 1]!, ends.slice(half))
    }
  }

  /** Batches of the log below the committed offsets; none where nothing came in time. */
  async #gather(behind: readonly number[], committed: ReadonlyMap<number, number>, waitMs: number): Promise<LogBatch[]> {
    await this.#startReading(behind)
    const taken: LogBatch[] = []
    let records = 0
    while (records < recordsMax) {
      const batch = this.#held?.batch ?? (await this.#next(taken.length === 0 ? waitMs : gatherMs))
      if (batch === null) return taken
      const end = committed.get(batch.partition) ?? 0
      if (end <= batch.from) {
        // Never ahead of the speed layer.
        this.#held ??= { batch, sinceMs: performance.now() }
        if (performance.now() - this.#held.sinceMs > stalledMs) await this.#stopReading()
        return taken
      }
      this.#held = null
      const below = batch.records.filter((record) => record.offset < end)
      taken.push(batch.to <= end ? batch : { ...batch, to: end, records: below })
      records += below.length
      if (batch.to > end) {
        this.#held = { batch: { ...batch, from: end, records: batch.records.filter((record) => record.offset >= end) }, sinceMs: performance.now() }
        return taken
      }
    }
    return taken
  }

  async #startReading(behind: readonly number[]): Promise<void> {
    if (this.#reading !== null && behind.every((partition) => this.#reading!.partitions.has(partition))) return
    const partitions = new Set([...behind, ...(this.#reading?.partitions ?? [])])
    await this.#stopReading()
    const abort = new AbortController()
    const from = new Map([...partitions].map((partition) => [partition, this.#positions!.get(partition)!]))
    const batches = this.#options.log.read(this.#options.topic, from, { signal: abort.signal })[Symbol.asyncIterator]()
    const next = batches.next()
    next.catch(() => undefined)
    this.#reading = { batches, partitions, abort, next }
  }

  async #stopReading(): Promise<void> {
    const reading = this.#reading
    this.#reading = null
    this.#held = null
    if (reading === null) return
    reading.abort.abort()
    await reading.next.catch(() => undefined)
    await reading.batches.return?.().catch(() => undefined)
  }

  async #next(waitMs: number): Promise<LogBatch | null> {
    const reading = this.#reading!
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), waitMs)
    })
    try {
      const result = await Promise.race([reading.next, timeout])
      if (result === null) return null
      if (result.done === true) {
        await this.#stopReading()
        return null
      }
      reading.next = reading.batches.next()
      reading.next.catch(() => undefined)
      return result.value
    } catch (thrown) {
      // Met again at the next opening, where the lake is asked.
      if (!(thrown instanceof LossError)) throw thrown
      await this.#stopReading()
      this.#options.logger.debug({ reason: messageOf(thrown) }, 'the log has forgotten what the search index reads next')
      return null
    } finally {
      clearTimeout(timer)
    }
  }

  async #index(batches: readonly LogBatch[]): Promise<void> {
    const { database, topic } = this.#options
    const conflicts = await readConflictPositions(database.pool, topic, batches)
    this.#erased = await readErasedUsers(database.pool)
    // Documents of other settings would say other days than the figures.
    await checkLogic(database, this.#options.decoder.logicVersion)
    const sales: SaleAt[] = []
    for (const { partition, records } of batches) {
      for (const record of records) {
        for (const [index, event] of this.#eventsOf(record).entries()) {
          if (!conflicts.has(`${partition}:${record.offset}:${index}`)) sales.push({ event, partition, offset: record.offset, logTimeMs: record.logTimeMs })
        }
      }
    }
    await this.#put(sales.map((sale) => [monthOf(sale), saleDocument(sale, 1)] as const))
    const moved = new Map(batches.map(({ partition, to }) => [partition, to]))
    await moveSalePositions(database.pool, this.#family.name, topic, moved)
    for (const [partition, to] of moved) this.#positions!.set(partition, to)
  }

  #eventsOf(record: LogRecord): readonly SaleAt['event'][] {
    const decoded = this.#options.decoder.decode(record, this.#options.topic)
    if ('refusal' in decoded) return []
    // The log keeps the bytes of those who were erased until its own retention ends.
    return this.#erased.size === 0 ? decoded.events : decoded.events.map((event) => (this.#erased.has(hashOfUser(event.userId)) ? { ...event, userId: '' } : event))
  }

  async #put(documents: readonly (readonly [month: string, document: SearchDocument])[]): Promise<void> {
    const firstMonth = this.#firstMonth()
    const byMonth = new Map<string, SearchDocument[]>()
    for (const [month, document] of documents) {
      // Older ones are not kept; and no month lies far ahead, since no event does.
      if (month < firstMonth) continue
      const some = byMonth.get(month)
      if (some === undefined) byMonth.set(month, [document])
      else some.push(document)
    }
    for (const [month, some] of byMonth) await this.#putMonth(month, some)
  }

  async #putMonth(month: string, documents: readonly SearchDocument[]): Promise<void> {
    const { database, search, logger } = this.#options
    const index = monthIndexName(this.#family.name, month)
    await this.#make(month)
    const put = await search.put(index, documents)
    const highest = put.newer.reduce((version, one) => Math.max(version, one.versionThere), 0)
    if (highest > 1 && highest > (await saleVersionMax(database.pool))) await this.#refuseAhead(index, highest)
    if (put.refused.length === 0) return
    const bodies = new Map(documents.map((document) => [document.id, document.body ?? '']))
    await keepRejects(database.pool, index, put.refused.map(({ id, reason }) => ({ id, reason, document: bodies.get(id) ?? '' })))
    logger.warn({ index, documents: put.refused.length }, `the search index refused documents for good: ${put.refused[0]!.reason}. "tidemark search status" lists them.`)
  }

  async #refuseAhead(index: string, versionThere: number): Promise<never> {
    const { database, onAhead, logger } = this.#options
    logger.warn({ index, versionThere }, 'the search index is ahead of the database: the database was put back, and begins a new incarnation')
    if (onAhead === undefined) await renewIncarnation(database, this.#family.incarnation)
    else await onAhead(this.#family.incarnation)
    throw new ConflictError('The database was put back: the follower begins anew.', { index, versionThere })
  }

  /** Creates the month's index where it never was: one that was, and is gone, is missed. */
  async #make(month: string): Promise<void> {
    if (this.#months.has(month)) return
    const { database, search, prefix } = this.#options
    const index = monthIndexName(this.#family.name, month)
    await search.remove(index)
    await search.create(index)
    await addSaleMonth(database.pool, this.#family.name, month)
    this.#months.add(month)
    if (this.#family.state === 'serving') await search.point(aliasOf(prefix, 'sales'), this.#indexNames())
  }

  #indexNames(): string[] {
    return [...this.#months].sort().map((month) => monthIndexName(this.#family.name, month))
  }

  /** The copy that counts takes the document over; where it lies in another month, or nothing counts, the document there goes. */
  async #settle({ settled, lost }: DueCorrections): Promise<void> {
    this.#erased = await readErasedUsers(this.#options.database.pool)
    for (const { batch, source, eventId, first } of settled) {
      const version = batch + 1
      const sale = first === null ? null : await this.#saleAt(first, source, eventId)
      if (sale !== null) await this.#put([[monthOf(sale), saleDocument(sale, version)]])
      const id = saleId(source, eventId)
      for (const month of this.#months) {
        if (sale === null || month !== monthOf(sale)) await this.#putMonth(month, [{ id, version, body: null }])
      }
    }
    if (lost.length > 0) await this.#removeLost(lost)
  }

  async #saleAt({ partition, offset }: LogPosition, source: string, eventId: string): Promise<SaleAt | null> {
    const record = await this.#recordAt(partition, offset)
    const event = record === null ? undefined : this.#eventsOf(record).find((one) => one.source === source && one.eventId === eventId)
    return event === undefined ? null : { event, partition, offset, logTimeMs: record!.logTimeMs }
  }

  async #recordAt(partition: number, offset: number): Promise<LogRecord | null> {
    const { log, topic, refill } = this.#options
    const stopping = new AbortController()
    const bounds = await log.bounds(topic)
    const isForgotten = (bounds.first.get(partition) ?? Infinity) > offset
    const batches = isForgotten
      ? await refill?.(topic, partition, offset, offset + 1, stopping.signal)
      : log.read(topic, new Map([[partition, offset]]), { to: new Map([[partition, offset + 1]]), signal: stopping.signal })
    for await (const batch of batches ?? []) {
      const record = batch.records.find((one) => one.offset === offset)
      if (record !== undefined) return record
    }
    return null
  }

  /** Only their positions are known, so their documents are searched for: a person gave a range up, which is rare. */
  async #removeLost(lost: DueCorrections['lost']): Promise<void> {
    const { search } = this.#options
    const versions = new Map(lost.map(({ batch, partition, offset }) => [`${partition}:${offset}`, batch + 1]))
    const versionAt = ({ source }: FoundDocument): number | undefined => versions.get(`${String(source['partition'])}:${String(source['offset'])}`)
    for (const month of this.#months) {
      const index = monthIndexName(this.#family.name, month)
      await search.refresh(index)
      for await (const found of search.scan(index, 'localDay', month, '9999-01-01')) {
        const gone = found.flatMap((document) => {
          const version = versionAt(document)
          return version === undefined ? [] : [{ id: document.id, version, body: null }]
        })
        if (gone.length > 0) await search.put(index, gone)
      }
    }
  }

  /** All that is counted is in: the alias moves to this family, and those before it go. */
  async #serve(): Promise<boolean> {
    const { database, search, prefix, logger } = this.#options
    for (const index of this.#indexNames()) await search.refresh(index)
    const alias = aliasOf(prefix, 'sales')
    await search.point(alias, this.#indexNames())
    await markServing(database, this.#family)
    Object.assign(this.#family, { state: 'serving' })
    const known = (await listIndices(database.pool)).filter((row) => row.kind === 'sales')
    const kept = known.filter((row) => row.state !== 'retired')
    const isKept = (name: string): boolean => kept.some((row) => name.startsWith(`${row.name}-`) && /^\d{4}\.\d{2}$/.test(name.slice(row.name.length + 1)))
    for (const name of await search.list(`${alias}-*`)) if (!isKept(name)) await search.remove(name)
    for (const row of known) if (row.state === 'retired') await forgetIndex(database.pool, row.name)
    logger.info({ index: this.#family.name, months: this.#months.size }, 'search index serves')
    return true
  }

  /** Now and then: months beyond their time go; months that somebody removed are missed. */
  async #look(): Promise<void> {
    const { database, search, prefix } = this.#options
    if (this.#retainedAt === 0 || performance.now() - this.#retainedAt >= retentionIntervalMs) {
      const firstMonth = this.#firstMonth()
      for (const month of [...this.#months].filter((one) => one < firstMonth)) {
        await dropSaleMonth(database.pool, this.#family.name, month)
        this.#months.delete(month)
        await search.remove(monthIndexName(this.#family.name, month))
      }
      this.#retainedAt = performance.now()
    }
    if (this.#lookedAt === 0 || performance.now() - this.#lookedAt >= existsIntervalMs) {
      const there = new Set(await search.list(`${this.#family.name}-*`))
      const missing = this.#indexNames().find((name) => !there.has(name))
      if (missing !== undefined) throw new ConflictError(`The index ${missing} is gone.`, { missingIndex: missing })
      if (this.#family.state === 'serving') await search.point(aliasOf(prefix, 'sales'), this.#indexNames())
      this.#lookedAt = performance.now()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stopReading()
  }
}

/** First day of the oldest local month whose sales are kept. */
export function firstSaleMonth(zone: string, keepMonths: number, nowMs: number): string {
  const today = Math.floor((nowMs + openCalendar(zone).offsetMs(nowMs)) / dayMs)
  return monthsBefore(formatDay(monthStart(today)), keepMonths - 1)
}

function monthOf({ event }: SaleAt): string {
  return formatDay(monthStart(event.localDay))
}

/** First day of the month so many before. */
function monthsBefore(month: string, months: number): string {
  const [year, number] = month.split('-').map(Number) as [number, number]
  const index = year * 12 + number - 1 - months
  return `${String(Math.floor(index / 12)).padStart(4, '0')}-${String((index % 12) + 1).padStart(2, '0')}-01`
}
