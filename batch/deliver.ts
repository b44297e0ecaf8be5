/**
 * Delivery: each new report version goes once to each target, by mail or webhook. Asked again and again, by several workers at once; what fails in passing is
 * tried again with pauses, what is refused for good waits for a person, and both stand in the list of deliveries.
 */
import { createHash } from 'node:crypto'
import { CorruptError, TidemarkError, messageOf } from '#core/errors.ts'
import type { Lake, Mail, MailAttachment, ReportMail, Webhook } from '#core/ports.ts'
import type { Report } from '#core/report/report.ts'
import type { Database } from '#store/database.ts'
import { translateError } from '#store/database.ts'
import type { Delivery, DeliveryKey, DeliveryTarget } from '#store/deliveries.ts'
import { claimDelivery, isAnyDeliveryDue, markFailed, markSent, planDeliveries, requestDelivery } from '#store/deliveries.ts'
import type { ReportFile, ReportFormat } from '#store/reports.ts'
import { readReport, readReportFiles } from '#store/reports.ts'
import { deliveryId, renderReportMail } from './report-mail.ts'
import { renderReportWebhook } from './report-webhook.ts'

export type DeliveryOptions = {
  readonly database: Database
  readonly lake: Lake
  readonly mail: { readonly port: ReportMail; readonly from: string; readonly to: readonly string[] } | null
  readonly webhook: Webhook | null
  /** Links begin with it; empty for none. */
  readonly publicUrl: string
  readonly onOutcome?: (outcome: DeliveryOutcome) => void
  /** A worker that died is overtaken after so long: longer than a mail and a post may take. Default 5 minutes. */
  readonly leaseMs?: number
  /** Before the next attempt, after so many. Default a minute, doubled up to 6 hours. */
  readonly retryDelayMs?: (attempts: number) => number
  /** Where tests may stop it. */
  readonly before?: (step: 'send' | 'mark', delivery: Delivery) => Promise<void>
}

export type DeliveryOutcome = DeliveryKey & { readonly outcome: 'sent' | 'waiting' | 'failed'; readonly error: string | null }

const leaseMsDefault = 5 * 60_000
/** With the pauses of the default some two days: a mail server that was down over a weekend. */
export const attemptsMax = 16
/** Of one asking: what is more is sent when asked next. */
const deliveriesMax = 1_000
/** So many in a row, and the channel is left alone until the next asking. */
const failuresMax = 3
/** Most servers take no more than 10 to 25 MB, and base64 adds a third. */
const attachedBytesMax = 7 * 1024 * 1024

function defaultRetryDelayMs(attempts: number): number {
  return Math.min(60_000 * 2 ** (attempts - 1), 6 * 60 * 60_000)
}

export function targetsOf({ mail, webhook }: Pick<DeliveryOptions, 'mail' | 'webhook'>): DeliveryTarget[] {
  const targets: DeliveryTarget[] = [...new Set(mail?.to)].map((target) => ({ channel: 'mail', target }))
  return webhook === null ? targets : [...targets, { channel: 'webhook', target: webhook.target }]
}

/** Sends what is new and what waits for another attempt. Throws only where the store fails; what came of each delivery is its outcome. */
export async function deliverReports(options: DeliveryOptions, signal: AbortSignal): Promise<DeliveryOutcome[]> {
  const { pool } = options.database
  const outcomes: DeliveryOutcome[] = []
  const failures = new Map<string, number>()
  const targets = targetsOf(options)
  if (targets.length === 0) return outcomes
  await planDeliveries(pool, targets)
  while (!signal.aborted && outcomes.length < deliveriesMax) {
    const open = targets.filter(({ channel }) => (failures.get(channel) ?? 0) < failuresMax)
    const delivery = await claimDelivery(pool, open, options.leaseMs ?? leaseMsDefault)
    if (delivery === null) break
    const outcome = await attempt(options, delivery, signal)
    failures.set(delivery.channel, outcome.outcome === 'waiting' ? (failures.get(delivery.channel) ?? 0) + 1 : 0)
    outcomes.push(outcome)
  }
  return outcomes
}

/** Whether `deliverReports` would send anything now. */
export async function isDeliveryDue(options: Pick<DeliveryOptions, 'database' | 'mail' | 'webhook'>): Promise<boolean> {
  const targets = targetsOf(options)
  if (targets.length === 0) return false
  await planDeliveries(options.database.pool, targets)
  return isAnyDeliveryDue(options.database.pool, targets)
}

/** One version to one target, at once, whenever it was published. Throws ConflictError where it went there before and `again` does not say to. */
export async function sendReport(options: DeliveryOptions, of: DeliveryKey, again: boolean, signal: AbortSignal): Promise<DeliveryOutcome> {
  const { pool } = options.database
  await requestDelivery(pool, of, again)
  const delivery = await claimDelivery(pool, [of], options.leaseMs ?? leaseMsDefault, of)
  if (delivery === null) return { ...of, outcome: 'waiting', error: 'another process took it up' }
  return attempt(options, delivery, signal)
}

async function attempt(options: DeliveryOptions, delivery: Delivery, signal: AbortSignal): Promise<DeliveryOutcome> {
  const { pool } = options.database
  const { kind, period, version, channel, target } = delivery
  const end = (outcome: DeliveryOutcome['outcome'], error: string | null): DeliveryOutcome => {
    const ended: DeliveryOutcome = { kind, period, version, channel, target, outcome, error }
    options.onOutcome?.(ended)
    return ended
  }
  try {
    await options.before?.('send', delivery)
    await send(options, delivery, signal)
  } catch (thrown) {
    const error = signal.aborted ? 'It was stopped while it was being sent.' : messageOf(translateError(thrown))
    const retryMs = signal.aborted ? 0 : retryMsOf(options, delivery, translateError(thrown))
    await markFailed(pool, delivery, error, retryMs)
    return end(retryMs === null ? 'failed' : 'waiting', error)
  }
  await options.before?.('mark', delivery)
  await markSent(pool, delivery)
  return end('sent', null)
}

/** A server that is away comes back, and a setting may be mended; a mail that is refused stays refused. */
function retryMsOf({ retryDelayMs = defaultRetryDelayMs }: DeliveryOptions, { attempts }: Delivery, error: unknown): number | null {
  const isHopeless = error instanceof TidemarkError && (error.code === 'invalid-request' || error.code === 'corrupt')
  return isHopeless || attempts >= attemptsMax ? null : retryDelayMs(attempts)
}

async function send({ database, lake, mail, webhook, publicUrl }: DeliveryOptions, delivery: Delivery, signal: AbortSignal): Promise<void> {
  const report = await readReport(database.pool, delivery.kind, delivery.period, delivery.version)
  if (delivery.channel === 'webhook') {
    await webhook!.post(renderReportWebhook(report, publicUrl), deliveryId(report.kind, report.period, report.version, report.receipt.incarnation), signal)
    return
  }
  const attachments = await readAttachments(database, lake, report)
  await mail!.port.send(renderReportMail(report, { from: mail!.from, to: delivery.target, publicUrl, attachments }), signal)
}

/** The mail of a version as it would go out. */
export async function composeReportMail({ database, lake, publicUrl }: Pick<DeliveryOptions, 'database' | 'lake' | 'publicUrl'>, report: Report, from: string, to: string): Promise<Mail> {
  return renderReportMail(report, { from, to, publicUrl, attachments: await readAttachments(database, lake, report) })
}

const attachedTypes = { html: 'text/html; charset=utf-8', csv: 'text/csv; charset=utf-8', restatement: 'text/csv; charset=utf-8' } as const satisfies Partial<Record<ReportFormat, string>>

/** The frozen files, byte for byte; those that a mail has room for. */
async function readAttachments({ pool }: Database, lake: Lake, report: Report): Promise<MailAttachment[]> {
  const files = await readReportFiles(pool, report)
  const attachments: MailAttachment[] = []
  let room = attachedBytesMax
  for (const format of ['html', 'csv', 'restatement'] as const) {
    const file = files.find((one) => one.format === format)
    if (file === undefined || file.bytes > room) continue
    room -= file.bytes
    attachments.push({ name: attachedName(report, format), type: attachedTypes[format], content: await readWhole(lake, file) })
  }
  return attachments
}

function attachedName({ kind, period, version }: Report, format: keyof typeof attachedTypes): string {
  return `${kind}-${period}-v${version}.${format === 'restatement' ? 'restatement.csv' : format}`
}

async function readWhole(lake: Lake, { path, sha256 }: ReportFile): Promise<Uint8Array> {
  const file = await lake.get(path)
  const content = await file.read(0, file.bytes)
  if (createHash('sha256').update(content).digest('hex') !== sha256) throw new CorruptError(`The file ${path} holds other bytes than were published. Put it back from a copy; then "tidemark report send" sends the report.`, { path })
  return content
}
