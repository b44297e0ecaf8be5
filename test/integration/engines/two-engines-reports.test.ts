/**
 * Two engines, one answer: reports of thirteen generated months and their restatements, made by DuckDB on disk and by Trino on HDFS, compared line by line.
 * `npm test` makes the last of each kind and the months at both ends, `npm run test:faults` every one.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ReportOptions } from '#batch/reports.ts'
import { freezeReport, refreshReports, shareReports } from '#batch/reports.ts'
import { parseDay } from '#core/calendar.ts'
import type { Lake, LogAppend, QueryEngine } from '#core/ports.ts'
import { closedReportPeriods, reportKinds } from '#core/report/periods.ts'
import type { Report } from '#core/report/report.ts'
import { openTrino } from '#engines/trino.ts'
import { generateEvents } from '#generator/history.ts'
import { listReports, readReport } from '#store/reports.ts'
import { readSeasons } from '#store/seasons.ts'
import { openTestLake, runOnTrino, testTrinoUrl } from '#test/contract/trino-lake.ts'
import { testEngine, whereMissing } from '#test/engines.ts'
import { isWhole, runBatchWith } from '#test/faults/setup.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { labReportOptions } from '#test/lab/reports.ts'
import { StepWorker } from '#test/lab/step-worker.ts'

const events = 20_000
const seed = Number(process.env['TIDEMARK_TEST_SEED'] ?? Math.trunc(performance.timeOrigin) % 2 ** 31)
const firstDay = '2024-01-01'
const lastDay = '2025-02-01'

type Subject = { readonly lab: Lab; readonly lake: Lake; readonly engine: QueryEngine; readonly options: ReportOptions }

describe.skipIf(testEngine('trino') === null || testEngine('hdfs') === null)(`reports of two engines${whereMissing('trino', 'hdfs')}`, () => {
  const stack = new AsyncDisposableStack()
  let duck: Subject
  let trino: Subject

  beforeAll(async () => {
    process.stdout.write(`TIDEMARK_TEST_SEED=${seed}\n`)
    const [labs, hdfs] = [[stack.use(await openLab()), stack.use(await openLab())] as const, stack.use(await openTestLake())]
    const engine = stack.use(await openTrino({ url: testTrinoUrl(), lake: hdfs.lake, sharedSchema: `reports_${seed}` }))
    stack.defer(async () => void (await runOnTrino(`DROP SCHEMA IF EXISTS hive.reports_${seed} CASCADE`)))
    duck = subject(labs[0], labs[0].lake, labs[0].engine, 'DuckDB')
    trino = subject(labs[1], hdfs.lake, engine, 'Trino')
  })
  afterAll(() => stack.disposeAsync())

  test(`${isWhole ? 'every report' : 'reports of each kind'} of thirteen months, and every restatement of them, the same`, async () => {
    const history: LogAppend[] = []
    // A record in nine comes after the reports were frozen: late, and a restatement of what it touches.
    const late: LogAppend[] = []
    const months = { profile: 'shop', seed, events, fromMs: Date.parse(`${firstDay}T00:00:00Z`), toMs: Date.parse(`${lastDay}T00:00:00Z`), zone: 'Europe/London', currency: 'GBP', mixedCurrencies: true } as const
    let records = 0
    for (const { append } of generateEvents(months)) (records++ % 9 === 0 ? late : history).push(append)
    for (const one of [duck, trino]) {
      await count(one.lab, history)
      await runBatchWith(one.lab, { lake: one.lake, engine: one.engine, fileOffsetsMax: 50_000 })
    }
    const all = (await Promise.all(reportKinds.map(async (kind) => closedReportPeriods(kind, parseDay(firstDay)!, parseDay(lastDay)!, await readSeasons(duck.lab.database.pool)).map(({ period }) => ({ kind, period }))))).flat()
    expect(all.length).toBeGreaterThan(20)
    const periods = isWhole ? all : all.filter(({ kind }, at) => all[at + 1]?.kind !== kind || at === 0)
    for (const { options } of [duck, trino]) for (const request of periods) expect(await freezeReport(options, request)).toEqual({ outcome: 'published', version: 1 })
    for (const one of [duck, trino]) {
      await count(one.lab, late)
      await runBatchWith(one.lab, { lake: one.lake, engine: one.engine, fileOffsetsMax: 50_000 })
      expect(await refreshReports(one.options)).toHaveLength(periods.length)
    }
    for (const { kind, period, version } of await listReports(duck.lab.database.pool, { allVersions: true })) {
      const [one, other] = await Promise.all([duck, trino].map(({ lab }) => readReport(lab.database.pool, kind, period, version)))
      expect(comparable(other!), `${kind} ${period} version ${version}`).toEqual(comparable(one!))
    }
    // People who ask Trino themselves find every version.
    await shareReports(trino.options)
    const [row] = await runOnTrino(`SELECT count(DISTINCT (kind, period, version)) FROM hive.reports_${seed}.reports`)
    expect(Number(row![0])).toBe(periods.length * 2)
  }, 1_800_000)

  function subject(lab: Lab, lake: Lake, engine: QueryEngine, engineName: string): Subject {
    return { lab, lake, engine, options: labReportOptions(lab, { lake, engine, engineName }) }
  }
})

async function count(lab: Lab, appends: readonly LogAppend[]): Promise<void> {
  for (let from = 0; from < appends.length; from += 2_000) await lab.log.append(lab.topic, appends.slice(from, from + 2_000))
  const worker = await StepWorker.open(lab, [0, 1, 2])
  await worker.readAll()
  await worker.flush()
}

/** Everything but which store, which engine and which file; the source of an id is the lab's own topic. */
function comparable(report: Report): unknown {
  const { lines, restatement, from, to, before, yearBefore } = report
  const { rowsRead, keysCompared } = report.receipt.archiveCheck
  const withoutSource = restatement?.events.map(({ source: _source, ...event }) => event)
  return { lines, from, to, before, yearBefore, rowsRead, keysCompared, causes: restatement?.causes, restated: restatement?.lines, eventCount: restatement?.eventCount, events: withoutSource }
}
