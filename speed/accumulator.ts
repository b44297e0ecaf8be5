/**
 * What one flush will hold: records decoded, ids looked up in the ledger, new events folded into cells, everything else counted and kept as
 * dead letters. No I/O. The ledger is asked as records come, so a copy within a flush is seen like any other.
 */
import { crc32 } from 'node:zlib'
import type { Decoder } from '#core/decode.ts'
import type { ShopEvent } from '#core/events.ts'
import { Fold } from '#core/fold.ts'
import { fieldsChecksum, writeIdKey } from '#core/id-key.ts'
import type { Ledger } from '#core/ledger.ts'
import { PageWriter } from '#core/ledger-page.ts'
import type { LogBatch, LogRecord } from '#core/ports.ts'
import { views } from '#core/views/all.ts'
import type { View } from '#core/views/view.ts'
import type { DeadLetter, Flush, MinuteCell, PartitionFlush, ProductName } from '#store/flush.ts'

const minuteMs = 60_000
const noBytes = new Uint8Array(0)
/** The live line shows events of the last hours only, and none that is dated ahead. */
const minutesShownMs = 3 * 3_600_000
/** Product names remembered as written, so that a name is written when it changes and not with every sale. */
const namesRememberedMax = 200_000

export type AccumulatorOptions = {
  readonly topic: string
  readonly decoder: Decoder
  readonly ledger: Ledger
  /** By default every view; a view may be switched off. */
  readonly views?: readonly View[]
}

type PartitionPart = { -readonly [Key in keyof Omit<PartitionFlush, 'page'>]: PartitionFlush[Key] } & { lastRecord: LogRecord | null; readonly page: PageWriter }

/** Positions and remembered names outlive a flush; everything else starts afresh with `take`. */
export class Accumulator {
  readonly #options: AccumulatorOptions
  readonly #positions: Map<number, number>
  readonly #writtenNames = new Map<string, string>()
  readonly #key = new Uint32Array(4)
  #content: Content
  #skippedReplays = 0

  /** `positions`: where each partition stands, from the store. */
  constructor(options: AccumulatorOptions, positions: ReadonlyMap<number, number>) {
    this.#options = options
    this.#positions = new Map(positions)
    this.#content = new Content(options.views ?? views)
  }

  /** Records read since the last `take`, and their bytes. */
  get records(): number {
    return this.#content.records
  }

  get isEmpty(): boolean {
    return this.#content.parts.size === 0
  }

  /** Bytes of dead letters held: rubbish is kept whole, so a flush is also cut by it. */
  get deadLetterBytes(): number {
    return this.#content.deadLetterBytes
  }

  /** Records that came again although their offset was committed, and were left out. */
  get skippedReplays(): number {
    return this.#skippedReplays
  }

  add(batch: LogBatch): void {
    const position = this.#positions.get(batch.partition)
    if (position === undefined) throw new RangeError(`partition ${batch.partition} was not opened`)
    if (batch.to <= position) {
      this.#skippedReplays += batch.records.length
      return
    }
    if (batch.from > position) throw new RangeError(`partition ${batch.partition} went from ${position} to ${batch.from}: records between them were not read`)
    const part = this.#content.part(batch.partition, position)
    for (const record of batch.records) {
      if (record.offset < position) {
        this.#skippedReplays++
        continue
      }
      part.lastRecord = record
      this.#addRecord(part, record)
    }
    part.toOffset = batch.to
    this.#positions.set(batch.partition, batch.to)
  }

  /** The flush so far, and a fresh start. */
  take(): Flush {
    const content = this.#content
    this.#content = new Content(this.#options.views ?? views)
    return content.flush(this.#options, this.#writtenNames)
  }

  #addRecord(part: PartitionPart, record: LogRecord): void {
    const content = this.#content
    content.records++
    part.records++
    const decoded = this.#options.decoder.decode(record, this.#options.topic)
    if ('refusal' in decoded) {
      part.refused++
      content.deadLetter(part.partition, record, 0, decoded.refusal.reason, decoded.refusal.detail, null)
      return
    }
    const { ledger } = this.#options
    const key = this.#key
    const { events } = decoded
    for (let index = 0; index < events.length; index++) {
      const event = events[index]!
      writeIdKey(event.source, event.eventId, key, 0)
      const checksum = fieldsChecksum(event)
      const answer = ledger.count(key, 0, checksum, part.partition, record.offset)
      if (answer === 'new') {
        part.accepted++
        if (event.late) part.late++
        part.page.add(key, 0, checksum, record.offset, index)
        content.count(event, part.partition, record, index)
      } else if (answer === 'copy') part.copies++
      else {
        part.conflicts++
        const detail = `event ${event.eventId} of ${event.source} was counted before with other fields`
        content.deadLetter(part.partition, record, index, 'conflict', detail, ledger.found)
      }
    }
  }
}

class Content {
  records = 0
  deadLetterBytes = 0
  readonly parts = new Map<number, PartitionPart>()
  readonly #fold: Fold
  readonly #deadLetters: DeadLetter[] = []
  readonly #names = new Map<string, ProductName>()
  readonly #minutes = new Map<string, MinuteCell>()
  #lastMinute: MinuteCell | null = null

  constructor(declared: readonly View[]) {
    this.#fold = new Fold(declared)
  }

  part(partition: number, fromOffset: number): PartitionPart {
    let part = this.parts.get(partition)
    if (part === undefined) {
      const counts = { records: 0, accepted: 0, copies: 0, conflicts: 0, refused: 0, late: 0 }
      part = { partition, fromOffset, toOffset: fromOffset, last: null, lastRecord: null, ...counts, page: new PageWriter() }
      this.parts.set(partition, part)
    }
    return part
  }

  count(event: ShopEvent, partition: number, record: LogRecord, index: number): void {
    this.#fold.add(event)
    if (event.kind === 'sale') this.#name(event, partition, record.offset, index)
    const ageMs = record.logTimeMs - event.eventTimeMs
    if (ageMs < minutesShownMs && ageMs > -minuteMs) this.#addMinute(event)
  }

  deadLetter(partition: number, record: LogRecord, index: number, reason: DeadLetter['reason'], detail: string, first: DeadLetter['first']): void {
    // An order may have many lines that conflict: its bytes stand with the first of them.
    const before = this.#deadLetters.at(-1)
    const bytes = before?.partition === partition && before.offset === record.offset ? noBytes : record.value
    this.deadLetterBytes += bytes.length
    this.#deadLetters.push({
      partition,
      offset: record.offset,
      index,
      reason,
      detail,
      logTimeMs: record.logTimeMs,
      first,
      headers: record.headers,
      bytes,
    })
  }

  flush({ topic, decoder }: AccumulatorOptions, writtenNames: Map<string, string>): Flush {
    return {
      topic,
      logicVersion: decoder.logicVersion,
      partitions: [...this.parts.values()].map(({ lastRecord, page, ...part }) => ({
        ...part,
        last: lastRecord === null ? null : { offset: lastRecord.offset, checksum: crc32(lastRecord.value), logTimeMs: lastRecord.logTimeMs },
        page: { ids: page.count, entries: page.bytes(), hashHiSum: page.hashHiSum, hashLoSum: page.hashLoSum },
      })),
      cells: this.#fold.views(),
      deadLetters: this.#deadLetters,
      productNames: this.#changedNames(writtenNames),
      minutes: [...this.#minutes.values()],
    }
  }

  #name(event: ShopEvent, partition: number, offset: number, index: number): void {
    const known = this.#names.get(event.productId)
    if (known !== undefined && (known.partition > partition || (known.partition === partition && known.name === event.productName))) return
    this.#names.set(event.productId, { productId: event.productId, name: event.productName, partition, offset, index })
  }

  #changedNames(writtenNames: Map<string, string>): ProductName[] {
    const changed: ProductName[] = []
    for (const product of this.#names.values()) {
      if (writtenNames.get(product.productId) === product.name) continue
      if (writtenNames.size >= namesRememberedMax) writtenNames.clear()
      writtenNames.set(product.productId, product.name)
      changed.push(product)
    }
    return changed
  }

  #addMinute(event: ShopEvent): void {
    const start = event.eventTimeMs - (event.eventTimeMs % minuteMs)
    let cell = this.#lastMinute
    // Events come nearly in order: most fall into the cell of the one before.
    if (cell === null || cell.minuteMs !== start || cell.currency !== event.currency) cell = this.#minute(start, event.currency)
    if (event.kind === 'sale') {
      cell.transactions++
      cell.grossMinor += BigInt(event.totalMinor)
    } else cell.refundsMinor += BigInt(event.totalMinor)
  }

  #minute(minuteStartMs: number, currency: string): MinuteCell {
    const key = `${minuteStartMs} ${currency}`
    let cell = this.#minutes.get(key)
    if (cell === undefined) {
      cell = { minuteMs: minuteStartMs, currency, transactions: 0, grossMinor: 0n, refundsMinor: 0n }
      this.#minutes.set(key, cell)
    }
    this.#lastMinute = cell
    return cell
  }
}
