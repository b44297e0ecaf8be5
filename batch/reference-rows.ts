/**
 * A record of `users` or `products` as a row of the archive. The same columns as for events, so that everything that moves files of the archive moves these
 * too: compaction, repair, the erasure of a person. What has no column of its own, a user's name and address, stands in the kept bytes alone.
 */
import type { DecodedReference, ReferenceTopic } from '#core/decode-reference.ts'
import { idHash } from '#core/id-key.ts'
import type { LogRecord } from '#core/ports.ts'
import type { ArchiveRow, ArchiveValue } from './archive-columns.ts'
import { archiveColumns } from './archive-columns.ts'

export function referenceRowOf(topic: ReferenceTopic, epoch: number, partition: number, record: LogRecord, decoded: DecodedReference): ArchiveRow {
  const position: Readonly<Record<string, ArchiveValue>> = {
    epoch,
    log_partition: partition,
    log_offset: record.offset,
    record_index: 0,
    log_time: record.logTimeMs,
    headers: record.headers === null ? null : JSON.stringify(record.headers),
    bytes: record.value,
  }
  const values = { ...position, ...('refusal' in decoded ? { reason: decoded.refusal.reason } : fieldsOf(topic, decoded.reference)) }
  return archiveColumns.map(({ name }) => (values as Readonly<Record<string, ArchiveValue>>)[name] ?? null)
}

function fieldsOf(topic: ReferenceTopic, reference: Extract<DecodedReference, { reference: unknown }>['reference']): Readonly<Record<string, ArchiveValue>> {
  const id = reference.kind === 'user' ? reference.userId : reference.productId
  const { hi, lo } = idHash(topic, id)
  const common = { source: topic, event_id: id, kind: reference.kind, id_hash_hi: hi, id_hash_lo: lo }
  if (reference.kind === 'user') return { ...common, user_id: id, city: reference.city }
  return { ...common, product_id: id, product_name: reference.name, category: reference.category, brand: reference.brand }
}
