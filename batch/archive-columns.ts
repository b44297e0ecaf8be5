/** The archive's table: one row per accepted event or refused record, with the original bytes on the first row of each record. */
import { monthStart } from '#core/calendar.ts'
import type { Decoded } from '#core/events.ts'
import { fieldsChecksum, idHash } from '#core/id-key.ts'
import type { LogRecord, ParquetColumn, ParquetType, ParquetValues } from '#core/ports.ts'

function column(name: string, type: ParquetType, nullable: boolean): ParquetColumn {
  return { name, type, nullable }
}

/** `log_partition` and `log_offset`, since PARTITION and OFFSET are words of SQL. */
export const archiveColumns: readonly ParquetColumn[] = [
  column('epoch', 'int64', false),
  column('log_partition', 'int32', false),
  column('log_offset', 'int64', false),
  column('record_index', 'int32', false),
  column('log_time', 'timestamp', false),
  column('reason', 'text', true),
  column('source', 'text', true),
  column('event_id', 'text', true),
  column('kind', 'text', true),
  column('order_id', 'text', true),
  column('order_line', 'int32', true),
  column('user_id', 'text', true),
  column('product_id', 'text', true),
  column('product_name', 'text', true),
  column('category', 'text', true),
  column('brand', 'text', true),
  column('city', 'text', true),
  column('quantity', 'int64', true),
  column('unit_price_minor', 'int64', true),
  column('discount_minor', 'int64', true),
  column('tax_minor', 'int64', true),
  column('shipping_minor', 'int64', true),
  column('total_minor', 'int64', true),
  column('currency', 'text', true),
  column('event_time', 'timestamp', true),
  column('local_day', 'date', true),
  column('local_month', 'date', true),
  column('local_hour', 'int32', true),
  column('refund_of', 'text', true),
  column('sale_day', 'date', true),
  column('late', 'boolean', true),
  column('id_hash_hi', 'int64', true),
  column('id_hash_lo', 'int64', true),
  column('fields_checksum', 'int64', true),
  column('headers', 'text', true),
  column('bytes', 'bytes', true),
]

export type ArchiveValue = number | bigint | string | Uint8Array | boolean | null
/** One value a column, in their order. */
export type ArchiveRow = readonly ArchiveValue[]

/** Where a column stands in a row. */
export function columnAt(name: string): number {
  const at = archiveColumns.findIndex((column) => column.name === name)
  if (at < 0) throw new RangeError(`the archive has no column ${name}`)
  return at
}

const sumColumns = {
  logTime: columnAt('log_time'),
  reason: columnAt('reason'),
  hashHi: columnAt('id_hash_hi'),
  hashLo: columnAt('id_hash_lo'),
  quantity: columnAt('quantity'),
  totalMinor: columnAt('total_minor'),
  month: columnAt('local_month'),
} as const

/** What the register must know of a file, gathered while its rows are made. */
export class ArchiveSums {
  rows = 0
  accepted = 0
  refused = 0
  hashHiSum = 0n
  hashLoSum = 0n
  quantitySum = 0n
  totalMinorSum = 0n
  readonly months = new Set<number>()
  firstLogTimeMs: number | null = null
  lastLogTimeMs: number | null = null
}

/** Adds a row to the sums. */
export function addRow(sums: ArchiveSums, row: ArchiveRow): void {
  const logTimeMs = row[sumColumns.logTime] as number
  sums.firstLogTimeMs ??= logTimeMs
  sums.lastLogTimeMs = Math.max(sums.lastLogTimeMs ?? logTimeMs, logTimeMs)
  sums.rows++
  if (row[sumColumns.reason] !== null) {
    sums.refused++
    return
  }
  sums.accepted++
  sums.hashHiSum += BigInt(row[sumColumns.hashHi] as number)
  sums.hashLoSum += BigInt(row[sumColumns.hashLo] as number)
  // Of users and products there is nothing to sum.
  if (row[sumColumns.month] === null) return
  sums.quantitySum += BigInt(row[sumColumns.quantity] as number)
  sums.totalMinorSum += BigInt(row[sumColumns.totalMinor] as number)
  sums.months.add(row[sumColumns.month] as number)
}

/** Rows of one row group, as columns. */
export class ArchiveRows {
  readonly #columns: ArchiveValue[][] = archiveColumns.map(() => [])
  readonly #epoch: number
  readonly #partition: number
  readonly #sums: ArchiveSums
  #rows = 0
  #bytes = 0

  constructor(epoch: number, partition: number, sums: ArchiveSums) {
    this.#epoch = epoch
    this.#partition = partition
    this.#sums = sums
  }

  get rows(): number {
    return this.#rows
  }

  /** Of the original records held. */
  get bytes(): number {
    return this.#bytes
  }

  get columns(): readonly ParquetValues[] {
    return this.#columns
  }

  add(record: LogRecord, decoded: Decoded): void {
    for (const row of archiveRowsOf(this.#epoch, this.#partition, record, decoded)) this.push(row)
  }

  /** A row as `archiveRowsOf` gives it. */
  push(row: ArchiveRow): void {
    if (row.length !== archiveColumns.length) throw new RangeError(`a row of ${row.length} values for ${archiveColumns.length} columns`)
    for (let i = 0; i < row.length; i++) this.#columns[i]!.push(row[i]!)
    this.#rows++
    this.#bytes += (row.at(-1) as Uint8Array | null)?.length ?? 0
    addRow(this.#sums, row)
  }
}

/** A record's rows: one an event, or one that says why it was refused. */
export function archiveRowsOf(epoch: number, partition: number, record: LogRecord, decoded: Decoded): ArchiveRow[] {
  const headers = record.headers === null ? null : JSON.stringify(record.headers)
  const position = (index: number): ArchiveValue[] => [epoch, partition, record.offset, index, record.logTimeMs]
  if ('refusal' in decoded) {
    const empty = Array.from<null>({ length: archiveColumns.length - 8 }).fill(null)
    return [[...position(0), decoded.refusal.reason, ...empty, headers, record.value]]
  }
  return decoded.events.map((event, index) => {
    const { hi, lo } = idHash(event.source, event.eventId)
    return [
      ...position(index),
      null,
      event.source,
      event.eventId,
      event.kind,
      event.orderId,
      event.orderLine,
      event.userId,
      event.productId,
      event.productName,
      event.category,
      event.brand,
      event.city,
      event.quantity,
      event.unitPriceMinor,
      event.discountMinor,
      event.taxMinor,
      event.shippingMinor,
      event.totalMinor,
      event.currency,
      event.eventTimeMs,
      event.localDay,
      monthStart(event.localDay),
      event.localHour,
      event.refundOf,
      event.saleDay,
      event.late,
      hi,
      lo,
      fieldsChecksum(event),
      index === 0 ? headers : null,
      index === 0 ? record.value : null,
    ]
  })
}
