import { writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { ConflictError, InvalidRequestError } from '#core/errors.ts'
import type { ReportKind } from '#core/report/periods.ts'
import { parseReportKind, reportKinds } from '#core/report/periods.ts'
import { subtractFigures } from '#core/report/figures.ts'
import { restatedLines } from '#core/report/restate.ts'
import type { Report } from '#core/report/report.ts'
import { findReport, listReports, readReport } from '#store/reports.ts'
import type { CommonOptions } from '../command.ts'
import { onEnvironment, withCommonOptions } from '../command.ts'
import { Progress, count, print, printJson, printTable } from '../output.ts'
import { addReportDelivery } from './report-delivery.ts'
import { headlines, money, parseFormat, periodsCutShort, readPublishedFile, reportOptions } from '../report-layer.ts'

const examples: Readonly<Record<ReportKind, string>> = { monthly: '2025-03', quarterly: '2025-Q1', seasonal: '2025-spring', yearly: '2025' }

export function addReport(program: Command): void {
  const report = program
    .command('report')
    .description('frozen reports of closed periods, with their restatements')
    .addHelpText('after', '\nExamples:\n  ./tidemark report monthly 2025-03\n  ./tidemark report list\n  ./tidemark report export monthly 2025-03 --format html')
  for (const kind of reportKinds) addMaking(report, kind)
  addListing(report)
  addShowing(report)
  addExport(report)
  addReportDelivery(report)
}

function addMaking(report: Command, kind: ReportKind): void {
  withCommonOptions(report.command(`${kind} <period>`))
    .description(`freeze the ${kind} report of a closed period, such as ${examples[kind]}; a next version only where the figures changed`)
    .addHelpText('after', `\nExample:\n  ./tidemark report ${kind} ${examples[kind]}`)
    .action(async (period: string, options: CommonOptions) => {
      await onEnvironment(options, `report ${kind}`, async (environment, { signal }) => {
        const { freezeReport, shareReports } = await import('#batch/reports.ts')
        const cutShort = (await periodsCutShort(environment)).get(`${kind} ${period}`)
        if (cutShort !== undefined) throw new ConflictError(`A report of ${period} would be half a report: ${cutShort}. "tidemark batch run" makes the next batch.`, { kind, period })
        const progress = new Progress(options.quiet === true)
        const making = { ...(await reportOptions(environment, signal)), onStep: (step: string, detail: string): void => progress.show(`${step.padEnd(8)} ${detail}`) }
        const { outcome, version } = await freezeReport(making, { kind, period })
        if (outcome === 'published') await shareReports(making)
        const made = await readReport(environment.database.pool, kind, period, version)
        progress.done(outcome === 'published' ? `version ${version} published after ${progress.seconds.toFixed(1)} s` : `version ${version} says the same already`)
        if (options.json === true) return printJson({ outcome, kind, period, version, restatement: made.restatement })
        printSummary(made)
      })
    })
}

function printSummary(report: Report): void {
  print(`${report.kind} report of ${report.period} (${report.from} to ${report.to}, exclusive), version ${report.version}, frozen ${report.publishedAt}`)
  for (const line of headlines(report)) print(line)
  const { receipt, restatement } = report
  const { engine, files, rowsRead, keysCompared } = receipt.archiveCheck
  print(`  batch ${receipt.batch} (cross-check ${receipt.crossCheck.result}); ${engine} computed it once more from ${count(files)} files with ${count(rowsRead)} rows: ${count(keysCompared)} keys agree`)
  if (restatement === null) return
  print(`  restates version ${restatement.ofVersion}, by ${restatement.eventCount === 1 ? '1 event' : `${count(restatement.eventCount)} events`}:`)
  for (const { reason, events, currency, difference } of restatement.causes) print(`    ${events === 0 ? '' : `${count(events)} × `}${reason}: net ${money(difference.netMinor, currency)}`)
}

function addListing(report: Command): void {
  withCommonOptions(report.command('list'))
    .description('the newest version of each report; --all lists every version')
    .option('--kind <kind>', reportKinds.join(', '))
    .option('--all', 'every version')
    .addHelpText('after', '\nExample:\n  ./tidemark report list --kind monthly --all')
    .action(async (options: CommonOptions & { kind?: string; all?: boolean }) => {
      await onEnvironment(options, 'report list', async ({ database }) => {
        const versions = await listReports(database.pool, { ...(options.kind !== undefined && { kind: parseReportKind(options.kind) }), allVersions: options.all === true })
        if (options.json === true) return printJson({ reports: versions.map(({ rowVersions: _rows, fingerprint: _print, ...version }) => version) })
        printTable(
          ['kind', 'period', 'version', 'batch', 'frozen', 'restated by'],
          versions.map((one) => [
            one.kind,
            one.period,
            String(one.version),
            String(one.batch),
            one.publishedAt.toISOString().slice(0, 19).replace('T', ' '),
            one.restatesEvents === null ? '' : `${count(one.restatesEvents)} events`,
          ]),
          99,
        )
      })
    })
}

function addShowing(report: Command): void {
  withCommonOptions(report.command('show <kind> <period>'))
    .description('a version as it was frozen, the newest by default; --json gives the whole document')
    .option('--version <n>', 'an earlier version')
    .addHelpText('after', '\nExample:\n  ./tidemark report show monthly 2025-03 --version 1')
    .action(async (kindText: string, period: string, options: CommonOptions & { version?: string }) => {
      await onEnvironment(options, 'report show', async ({ database }) => {
        const found = await readReport(database.pool, parseReportKind(kindText), period, versionOf(options.version))
        if (options.json === true) return printJson(found)
        printSummary(found)
        for (const section of ['city', 'category'] as const) {
          print('')
          printTable(
            [section, 'net', 'before', 'a year before', 'transactions'],
            found.lines
              .filter((line) => line.section === section)
              .map((line) => [
                line[section]!,
                money(line.now.netMinor, line.currency),
                line.before === null ? '–' : money(line.before.netMinor, line.currency),
                line.yearBefore === null ? '–' : money(line.yearBefore.netMinor, line.currency),
                count(line.now.transactions),
              ]),
            1,
          )
        }
        print('')
        printTable(
          ['', 'product', 'units', 'net'],
          found.lines.filter((line) => line.section === 'product_units').map((line) => [String(line.rank), line.productName ?? '', count(line.now.unitsSold), money(line.now.netMinor, line.currency)]),
          2,
        )
      })
    })
  withCommonOptions(report.command('diff <kind> <period> [from] [to]'))
    .description('what changed between two versions, line by line; the last two by default')
    .addHelpText('after', '\nExample:\n  ./tidemark report diff monthly 2025-03 v1 v2')
    .action(async (kindText: string, period: string, fromText: string | undefined, toText: string | undefined, options: CommonOptions) => {
      await onEnvironment(options, 'report diff', async ({ database }) => {
        const kind = parseReportKind(kindText)
        const newest = await findReport(database.pool, kind, period)
        const to = await readReport(database.pool, kind, period, versionOf(toText))
        const fromVersion = versionOf(fromText) ?? Math.max(1, to.version - 1)
        const from = await readReport(database.pool, kind, period, fromVersion)
        const lines = restatedLines(from.lines, to.lines)
        if (options.json === true) return printJson({ kind, period, from: from.version, to: to.version, lines })
        print(`${kind} ${period}: version ${from.version} (${from.publishedAt}) → version ${to.version} (${to.publishedAt})${newest?.version === to.version ? ', the newest' : ''}`)
        if (lines.length === 0) return print('No figure differs.')
        printTable(
          ['section', 'key', 'as published', 'as known', 'difference', 'transactions'],
          lines.map((line) => [
            line.section,
            [line.day, line.city, line.category].filter((text) => text !== null).join(' · '),
            money(line.asPublished.netMinor, line.currency),
            money(line.asKnownNow.netMinor, line.currency),
            money(line.difference.netMinor, line.currency),
            String(subtractFigures(line.asKnownNow, line.asPublished).transactions),
          ]),
          2,
        )
      })
    })
}

function addExport(report: Command): void {
  withCommonOptions(report.command('export <kind> <period>'))
    .description('a file of a version, byte for byte as it was published')
    .requiredOption('--format <format>', 'html, csv, json, parquet, or restatement (CSV of the events behind it)')
    .option('--version <n>', 'an earlier version')
    .option('--out <file>', 'where to; - writes to standard output')
    .addHelpText('after', '\nExample:\n  ./tidemark report export monthly 2025-03 --format html --out march.html')
    .action(async (kindText: string, period: string, options: CommonOptions & { format: string; version?: string; out?: string }) => {
      await onEnvironment(options, 'report export', async (environment) => {
        const kind = parseReportKind(kindText)
        const { file, bytes } = await readPublishedFile(environment, kind, period, versionOf(options.version), parseFormat(options.format))
        if (options.out === '-') return void process.stdout.write(bytes)
        const path = options.out ?? `${kind}-${period}-v${file.version}.${file.format === 'restatement' ? 'restatement.csv' : file.format}`
        await writeFile(path, bytes)
        if (options.json === true) printJson({ file: path, version: file.version, bytes: file.bytes, sha256: file.sha256 })
        else print(`Wrote ${path} (${count(file.bytes)} bytes, version ${file.version}).`)
      })
    })
}

function versionOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const digits = /^v?([1-9]\d{0,8})$/.exec(text)?.[1]
  if (digits === undefined) throw new InvalidRequestError(`"${text}" is no version. "tidemark report list --all" shows them.`)
  return Number(digits)
}
