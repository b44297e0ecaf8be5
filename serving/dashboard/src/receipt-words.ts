/** The receipt in sentences. */
import type { LayerShare, MissingRange, Receipt } from '#core/receipt.ts'
import { formatCount, formatDateTime, formatMinorMoney, formatTime } from './format.ts'

export function describeShare(share: LayerShare, currency: string): string {
  return `${countEvents(share.events)}, ${formatMinorMoney(share.netMinorByCurrency[currency] ?? '0', currency)} net`
}

export function describeBatch(receipt: Receipt, zone: string): string {
  const { id, publishedAt } = receipt.batch
  return publishedAt === null ? 'No batch published yet' : `Batch ${id}, published ${formatDateTime(Date.parse(publishedAt), zone)}`
}

export function describeCrossCheck({ crossCheck }: Receipt, zone: string): string {
  if (crossCheck.result === 'none yet') return 'none yet: the first batch makes one'
  const at = crossCheck.checkedAt === null ? '' : `, ${formatDateTime(Date.parse(crossCheck.checkedAt), zone)}`
  if (crossCheck.result === 'exact') return `batch ${crossCheck.batch} and the live figures agreed to the last unit${at}`
  if (crossCheck.result !== 'corrected') return `batch ${crossCheck.batch}: ${crossCheck.result}${at}`
  const corrections = `${formatCount(crossCheck.corrections)} ${crossCheck.corrections === 1 ? 'correction' : 'corrections'}`
  return `batch ${crossCheck.batch} booked ${corrections}, each explained${at}`
}

export function describeSetAside(receipt: Receipt): string {
  const late = receipt.lateEvents === 0 ? 'no late events' : `${formatCount(receipt.lateEvents)} late, counted in their own day`
  const refused = receipt.refusedEvents === 0 ? 'none refused' : `${formatCount(receipt.refusedEvents)} refused and kept as dead letters`
  return `${late}; ${refused}`
}

export function describeMissing({ topic, partition, from, to, reason }: MissingRange): string {
  return `${topic} partition ${partition}, ${to === null ? `from record ${from} on` : `records ${from} to ${to}`}: ${reason}`
}

export function describeAsOf(receipt: Receipt, zone: string): string {
  return receipt.asOf === null ? 'nothing logged yet' : formatTime(Date.parse(receipt.asOf), zone)
}

function countEvents(events: number): string {
  return `${formatCount(events)} ${events === 1 ? 'event' : 'events'}`
}
