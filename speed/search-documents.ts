/** What the index holds: a document for each cell of a view, with absolute totals, and one for each counted event. JSON text, amounts in digits. */
import { createHash } from 'node:crypto'
import { formatDay } from '#core/calendar.ts'
import type { ShopEvent } from '#core/events.ts'
import type { SearchDocument, SearchFieldType, SearchTemplate } from '#core/ports.ts'
import { measure } from '#core/views/measures.ts'
import type { View } from '#core/views/view.ts'
import { views } from '#core/views/all.ts'
import type { CellKey, SearchCell } from '#store/search-cells.ts'
import type { SearchKind } from '#store/search-indices.ts'
import { aliasOf } from '#store/search-indices.ts'

/** A change of the mappings needs another; indices are then built anew by `search rebuild`. */
export const templateVersion = 1

/** Bytes that Elasticsearch takes as an id. */
const idBytesMax = 512

const cellMeasures = ['transactions', 'orders', 'refundEvents', 'unitsSold', 'unitsRefunded', 'grossMinor', 'refundsMinor'] as const
/** In the order of `measures`, then the net. */
export const documentMeasures: readonly string[] = [...cellMeasures, 'netMinor']
/** The version of a document, as a field that can be asked for its highest. */
export const numberField = 'readNumber'

const fieldOf: Readonly<Record<View['grain'][number]['name'], string>> = {
  local_day: 'localDay',
  local_month: 'localMonth',
  local_hour: 'localHour',
  city: 'city',
  category: 'category',
  currency: 'currency',
  product_id: 'productId',
}

/** The field of the view's period. */
export function periodField(view: View): string {
  return fieldOf[view.grain[0].name]
}

const measureFields: Readonly<Record<string, SearchFieldType>> = Object.fromEntries(documentMeasures.map((name) => [name, 'long' as const]))

function viewFields(view: View): Record<string, SearchFieldType> {
  const grain = view.grain.map(({ name, kind }) => [fieldOf[name], kind === 'text' ? 'keyword' : kind === 'hour' ? 'long' : 'date'] as const)
  const label = view.grain.some(({ name }) => name === 'product_id') ? { productName: 'keyword' as const } : {}
  return { ...Object.fromEntries(grain), ...label, ...measureFields, asOf: 'date', [numberField]: 'long' }
}

const saleFields: Readonly<Record<string, SearchFieldType>> = {
  '@timestamp': 'date',
  source: 'keyword',
  eventId: 'keyword',
  kind: 'keyword',
  orderId: 'keyword',
  orderLine: 'long',
  userId: 'keyword',
  productId: 'keyword',
  productName: 'keyword',
  category: 'keyword',
  brand: 'keyword',
  city: 'keyword',
  quantity: 'long',
  unitPriceMinor: 'long',
  discountMinor: 'long',
  taxMinor: 'long',
  shippingMinor: 'long',
  totalMinor: 'long',
  ...measureFields,
  currency: 'keyword',
  localDay: 'date',
  localHour: 'long',
  refundOf: 'keyword',
  saleDay: 'date',
  late: 'boolean',
  logTime: 'date',
  partition: 'long',
  offset: 'long',
}

export function templatesOf(prefix: string): SearchTemplate[] {
  const template = (kind: SearchKind, fields: SearchTemplate['fields']): SearchTemplate => {
    const name = aliasOf(prefix, kind)
    return { name, pattern: `${name}-*`, version: templateVersion, fields }
  }
  return [...views.map((view) => template(view.name, viewFields(view))), template('sales', saleFields)]
}

/** `2025-03-01|London|Home|GBP`, hashed where that is longer than an id may be. */
export function cellId(key: CellKey): string {
  return idOf(key.map(String))
}

/** The same for every copy of the event. */
export function saleId(source: string, eventId: string): string {
  return idOf(['e', source, eventId])
}

function idOf(parts: readonly string[]): string {
  const id = parts.map((part) => part.replaceAll('\\', '\\\\').replaceAll('|', '\\|')).join('|')
  return Buffer.byteLength(id) <= idBytesMax ? id : `h|${createHash('sha256').update(id).digest('base64url')}`
}

export function cellDocument(view: View, cell: SearchCell, readNumber: number, asOfMs: number | null): SearchDocument {
  const grain = view.grain.map((dimension, i) => `${JSON.stringify(fieldOf[dimension.name])}:${JSON.stringify(cell.key[i])}`)
  const totals = cellMeasures.map((name, i) => `"${name}":${cell.totals[i]!}`)
  const net = cell.totals[5]! - cell.totals[6]!
  const label = cell.productName === null ? '' : `,"productName":${JSON.stringify(cell.productName)}`
  const asOf = asOfMs === null ? '' : `,"asOf":${asOfMs}`
  return { id: cellId(cell.key), version: readNumber, body: `{${grain.join(',')}${label},${totals.join(',')},"netMinor":${net}${asOf},"${numberField}":${readNumber}}` }
}

/** The cell's key as its document says it. */
export function keyIn(view: View, source: Readonly<Record<string, unknown>>): CellKey {
  return view.grain.map((dimension) => source[fieldOf[dimension.name]]) as unknown as CellKey
}

export type SaleAt = { readonly event: ShopEvent; readonly partition: number; readonly offset: number; readonly logTimeMs: number }

/** The first copy of an event stands as version 1; what a batch settles otherwise has a higher one. */
export function saleDocument({ event, partition, offset, logTimeMs }: SaleAt, version: number): SearchDocument {
  const { localDay, saleDay, eventTimeMs, ...fields } = event
  const measured = measure(event)
  const body = {
    '@timestamp': eventTimeMs,
    ...fields,
    // No accepted event is without one: this person was erased.
    userId: fields.userId === '' ? null : fields.userId,
    localDay: formatDay(localDay),
    saleDay: saleDay === null ? null : formatDay(saleDay),
    ...measured,
    // One event's amounts are small enough for a number.
    grossMinor: Number(measured.grossMinor),
    refundsMinor: Number(measured.refundsMinor),
    netMinor: Number(measured.grossMinor - measured.refundsMinor),
    logTime: logTimeMs,
    partition,
    offset,
  }
  return { id: saleId(event.source, event.eventId), version, body: JSON.stringify(body) }
}
