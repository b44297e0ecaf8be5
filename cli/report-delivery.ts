/** Where reports go on an environment: the mail server and the webhook of its settings, opened only by whoever sends. */
import type { DeliveryOptions } from '#batch/deliver.ts'
import { deliverReports, isDeliveryDue } from '#batch/deliver.ts'
import { ConfigError } from '#core/errors.ts'
import { openSmtpMail } from '#engines/smtp-mail.ts'
import { openWebhook } from '#engines/webhook.ts'
import type { Environment } from './environment.ts'
import type { Settings } from './settings.ts'

export type Channels = Pick<DeliveryOptions, 'mail' | 'webhook' | 'publicUrl'> & AsyncDisposable

/** `to` stands in for REPORT_MAIL_TO, and then only they get it. Throws ConfigError where the settings contradict each other. */
export function openChannels(settings: Settings, to?: readonly string[]): Channels {
  const { smtpUrl, reportMailFrom, reportWebhookUrl, reportWebhookSecret, publicUrl } = settings
  const addresses = to ?? addressList(settings.reportMailTo)
  if (smtpUrl === '' && to !== undefined) throw new ConfigError('There is no mail server: set SMTP_URL, or write the mail into a file with --dry-run.')
  if (smtpUrl !== '' && reportMailFrom === '') throw new ConfigError('SMTP_URL needs REPORT_MAIL_FROM, such as Shop books <books@shop.example>.')
  const port = smtpUrl === '' ? null : openSmtpMail({ url: smtpUrl })
  return {
    mail: port === null || addresses.length === 0 ? null : { port, from: reportMailFrom, to: addresses },
    webhook: reportWebhookUrl === '' || to !== undefined ? null : openWebhook({ url: reportWebhookUrl, secret: reportWebhookSecret }),
    publicUrl,
    async [Symbol.asyncDispose](): Promise<void> {
      await port?.[Symbol.asyncDispose]()
    },
  }
}

export function addressList(text: string): string[] {
  return text
    .split(',')
    .map((address) => address.trim())
    .filter((address) => address !== '')
}

/** Sends what is new, and what waits for another attempt. Nothing where nothing is set up. */
export async function deliverNew(environment: Environment, signal: AbortSignal, say: (fields: object, text: string) => void): Promise<void> {
  const { settings, database } = environment
  await using channels = openChannels(settings)
  if (channels.mail === null && channels.webhook === null) return
  await deliverReports({ database, lake: await environment.lake(), ...channels, onOutcome: ({ outcome, ...fields }) => say(fields, outcome === 'sent' ? 'report delivered' : `report not delivered, ${outcome}`) }, signal)
}

export async function isAnythingToDeliver({ settings, database }: Pick<Environment, 'settings' | 'database'>): Promise<boolean> {
  await using channels = openChannels(settings)
  return await isDeliveryDue({ database, ...channels })
}
