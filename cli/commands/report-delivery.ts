import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { ConfigError, InvalidRequestError } from '#core/errors.ts'
import { parseReportKind } from '#core/report/periods.ts'
import type { Delivery } from '#store/deliveries.ts'
import { listDeliveries, newsDays, recentDays } from '#store/deliveries.ts'
import { readReport } from '#store/reports.ts'
import type { CommonOptions } from '../command.ts'
import { exitCodes, onEnvironment, withCommonOptions } from '../command.ts'
import type { Environment } from '../environment.ts'
import { print, printJson, printTable } from '../output.ts'

const deliveryHelp = `
Reports go out by themselves while "tidemark batch work" or "tidemark up" runs, by mail (SMTP_URL, REPORT_MAIL_FROM, REPORT_MAIL_TO) and to a webhook
(REPORT_WEBHOOK_URL): each version once to each target. A report is sent that was published within ${newsDays} days after its period and not more than ${recentDays} days ago, so
that neither a backfill nor the first day of mail sends years of them; a later version goes to whoever got one before it. "report send" sends any.`

export function addReportDelivery(report: Command): void {
  addSend(report)
  addDeliveries(report)
}

type SendOptions = CommonOptions & { version?: string; to?: string; again?: boolean; dryRun?: boolean; out?: string }

function addSend(report: Command): void {
  withCommonOptions(report.command('send <kind> <period>'))
    .description('send a report to all that get reports, or to --to alone')
    .option('--version <n>', 'that version instead of the newest')
    .option('--to <addresses>', 'mail addresses by commas, in place of the settings')
    .option('--again', 'also to who has it already')
    .option('--dry-run', 'write the mail as .eml and send nothing; needs no mail server')
    .option('--out <folder>', 'where to write it', '.')
    .addHelpText('after', `${deliveryHelp}\n\nExamples:\n  ./tidemark report send monthly 2025-03 --dry-run\n  ./tidemark report send monthly 2025-03 --version 1 --to a@shop.example`)
    .action(async (kind: string, period: string, options: SendOptions) => {
      await onEnvironment(options, 'report send', async (environment, { signal }) => {
        const wanted = { kind: parseReportKind(kind), period, version: versionOf(options.version) }
        const report = await readReport(environment.database.pool, wanted.kind, period, wanted.version)
        const to = options.to === undefined ? undefined : addressesOf(options.to)
        if (options.dryRun === true) await writeMails(environment, report, to, options)
        else await sendNow(environment, report, to, options, signal)
      })
    })
}

type SentReport = Awaited<ReturnType<typeof readReport>>

async function writeMails(environment: Environment, report: SentReport, to: readonly string[] | undefined, options: SendOptions): Promise<void> {
  const [{ composeReportMail }, { composeMail }, { addressList }] = await Promise.all([import('#batch/deliver.ts'), import('#engines/mail-message.ts'), import('../report-delivery.ts')])
  const { settings, database } = environment
  const from = settings.reportMailFrom === '' ? 'Tidemark <tidemark@tidemark.invalid>' : settings.reportMailFrom
  const configured = to ?? addressList(settings.reportMailTo)
  const addresses = configured.length === 0 ? ['reader@tidemark.invalid'] : configured
  const written: { to: string; file: string; bytes: number }[] = []
  for (const [at, address] of addresses.entries()) {
    const mail = await composeReportMail({ database, lake: await environment.lake(), publicUrl: settings.publicUrl }, report, from, address)
    const bytes = await composeMail(mail)
    const file = resolve(join(options.out ?? '.', `${report.kind}-${report.period}-v${report.version}${addresses.length > 1 ? `-${at + 1}` : ''}.eml`))
    await writeFile(file, bytes).catch((thrown: unknown) => {
      throw new ConfigError(`${file} cannot be written: name a folder that is there with --out.`, { file }, thrown)
    })
    written.push({ to: address, file, bytes: bytes.length })
  }
  if (options.json === true) return printJson({ dryRun: true, written })
  for (const { to: address, file, bytes } of written) print(`Wrote the mail to ${address} into ${file} (${bytes} bytes); nothing was sent.`)
}

async function sendNow(environment: Environment, report: SentReport, to: readonly string[] | undefined, options: SendOptions, signal: AbortSignal): Promise<void> {
  const [{ sendReport, targetsOf }, { openChannels }] = await Promise.all([import('#batch/deliver.ts'), import('../report-delivery.ts')])
  const { kind, period, version } = report
  await using channels = openChannels(environment.settings, to)
  const targets = targetsOf(channels)
  if (targets.length === 0) throw new ConfigError('Nobody gets reports: set SMTP_URL, REPORT_MAIL_FROM and REPORT_MAIL_TO, or REPORT_WEBHOOK_URL; --dry-run writes the mail into a file.')
  const sending = { database: environment.database, lake: await environment.lake(), ...channels }
  const outcomes = []
  for (const target of targets) outcomes.push(await sendReport(sending, { kind, period, version, ...target }, options.again === true, signal))
  if (options.json === true) printJson({ outcomes })
  else for (const { channel, target, outcome, error } of outcomes) print(`${channel} ${target}: ${outcome}${error === null ? '' : `. ${error}`}`)
  if (outcomes.some(({ outcome }) => outcome === 'failed')) process.exitCode = exitCodes.failed
  else if (outcomes.some(({ outcome }) => outcome === 'waiting')) process.exitCode = exitCodes.unavailable
}

function addDeliveries(report: Command): void {
  withCommonOptions(report.command('deliveries'))
    .description('which version went to whom, and what did not')
    .option('--limit <n>', 'at most so many', '100')
    .addHelpText('after', `${deliveryHelp}\n\nExample:\n  ./tidemark report deliveries --json`)
    .action(async (options: CommonOptions & { limit: string }) => {
      await onEnvironment(options, 'report deliveries', async ({ database }) => {
        if (!/^[1-9]\d{0,4}$/.test(options.limit)) throw new InvalidRequestError('--limit takes a number from 1 to 99999.', { parameter: 'limit' })
        const deliveries = await listDeliveries(database.pool, Number(options.limit))
        if (options.json === true) return printJson({ deliveries })
        if (deliveries.length === 0) return print('Nothing was delivered yet. "tidemark report deliveries --help" says what is, and to whom.')
        printTable(['report', 'version', 'by', 'to', 'status', 'when', 'attempts', 'error'], deliveries.map(described), 99)
      })
    })
}

function described({ kind, period, version, channel, target, status, attempts, lastError, nextAttemptAt, sentAt }: Delivery): string[] {
  const when = status === 'sent' ? sentAt!.toISOString() : status === 'waiting' ? `not before ${nextAttemptAt.toISOString()}` : ''
  return [`${kind} ${period}`, String(version), channel, target, status, when.replace('T', ' ').replace(/\.\d+Z$/, ''), String(attempts), lastError ?? '']
}

function versionOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidRequestError(`--version takes a number such as 1, not "${text}".`, { parameter: 'version' })
  return Number(text)
}

function addressesOf(text: string): string[] {
  const addresses = text.split(',').map((address) => address.trim())
  const wrong = addresses.find((address) => !/^[^\s@<>(),;:"\\]+@[^\s@<>(),;:"\\]+$/.test(address))
  if (wrong !== undefined) throw new InvalidRequestError(`--to takes addresses such as a@shop.example by commas; "${wrong}" is none.`, { parameter: 'to' })
  return addresses
}
