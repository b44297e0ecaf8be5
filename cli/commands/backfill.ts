import type { Command } from 'commander'
import { dayMs, formatDay, openCalendar, parseDay } from '#core/calendar.ts'
import { ConflictError, InvalidRequestError } from '#core/errors.ts'
import { parseMonthPeriod } from '#core/period.ts'
import { closedReportPeriods, parseReportKind, reportKinds } from '#core/report/periods.ts'
import { findReport, readReportBasis } from '#store/reports.ts'
import { readSeasons } from '#store/seasons.ts'
import type { CommonOptions } from '../command.ts'
import { onEnvironment, withCommonOptions } from '../command.ts'
import { Progress, print, printJson } from '../output.ts'
import { periodsCutShort, reportOptions } from '../report-layer.ts'

export function addBackfill(program: Command): void {
  withCommonOptions(program.command('backfill'))
    .description('make the reports that are missing of all periods that ended in these months; begun again, it goes on where it was')
    .requiredOption('--from <month>', 'first month')
    .requiredOption('--to <month>', 'last month, inclusive')
    .option('--kind <kind>', `only ${reportKinds.join(', ')}`)
    .addHelpText('after', '\nExample:\n  ./tidemark backfill --from 2024-01 --to 2024-12')
    .action(async (options: CommonOptions & { from: string; to: string; kind?: string }) => {
      await onEnvironment(options, 'backfill', async (environment, { signal }) => {
        const { freezeReport, shareReports } = await import('#batch/reports.ts')
        const from = parseMonthPeriod(options.from, '--from').fromDay
        const to = parseMonthPeriod(options.to, '--to').toDay
        if (from >= to) throw new InvalidRequestError('--from must not lie behind --to.')
        const seasons = await readSeasons(environment.database.pool)
        const booksOpenDay = parseDay(environment.settings.booksOpenOn)!
        // A period may be frozen from a batch that was cut after its end, and from no other.
        const { cutAt } = await readReportBasis(environment.database.pool)
        const over = Math.floor((cutAt.getTime() + openCalendar(environment.settings.zone).offsetMs(cutAt.getTime())) / dayMs)
        const kinds = options.kind === undefined ? reportKinds : [parseReportKind(options.kind)]
        const periods = kinds
          .flatMap((kind) => closedReportPeriods(kind, booksOpenDay, Math.min(to, over), seasons).map(({ period, days }) => ({ kind, period, days })))
          .filter(({ days }) => days.toDay > from)
          .sort((a, b) => a.days.toDay - b.days.toDay || reportKinds.indexOf(a.kind) - reportKinds.indexOf(b.kind))
        const progress = new Progress(options.quiet === true)
        const making = await reportOptions(environment, signal)
        const made: { kind: string; period: string; version: number }[] = []
        const cutShort = await periodsCutShort(environment)
        const waiting: { kind: string; period: string; reason: string }[] = []
        let present = 0
        for (const [at, { kind, period }] of periods.entries()) {
          signal.throwIfAborted()
          progress.show(`${at + 1} of ${periods.length}: ${kind} ${period}`)
          const reason = cutShort.get(`${kind} ${period}`)
          if (reason !== undefined) {
            waiting.push({ kind, period, reason })
            continue
          }
          const isThere = async (): Promise<boolean> => (await findReport(environment.database.pool, kind, period)) !== null
          const version = (await isThere()) ? null : await makeFirst(() => freezeReport(making, { kind, period }), isThere)
          if (version === null) present++
          else made.push({ kind, period, version })
        }
        if (made.length > 0) await shareReports(making)
        progress.done(`${made.length} reports made after ${progress.seconds.toFixed(1)} s`)
        if (options.json === true) return printJson({ made, present, waiting })
        if (over < to) print(`The published batch was cut on ${formatDay(over)}: periods that end later wait for another.`)
        for (const { kind, period, reason } of waiting) print(`${kind} ${period} waits: ${reason}.`)
        print(`${made.length} reports made, ${present} were there.${made.length === 0 ? '' : ' "tidemark report list" shows them.'}`)
      })
    })
}

/** Null where another process makes the report meanwhile. */
async function makeFirst(freeze: () => Promise<{ readonly version: number }>, isThere: () => Promise<boolean>): Promise<number | null> {
  try {
    return (await freeze()).version
  } catch (thrown) {
    if (thrown instanceof ConflictError && (await isThere())) return null
    throw thrown
  }
}
