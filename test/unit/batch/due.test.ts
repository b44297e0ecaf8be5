/** What is due, and what fires when: clocks that change, periods that close, logs that lag. */
import { getNextMillis } from 'bullmq'
import { describe, expect, test } from 'vitest'
import type { Facts, Plan, ScheduleTerms } from '#batch/due.ts'
import { closedReports, dueNight, makePlan, nextNight, nextReport, nightlyInstant } from '#batch/due.ts'
import { archivePattern, batchSchedules, nightlyPattern } from '#batch/schedule.ts'
import { formatDay, openCalendar, parseDay } from '#core/calendar.ts'
import type { Seasons } from '#core/period.ts'
import type { JobRun } from '#store/job-runs.ts'

const day = (text: string): number => parseDay(text)!
const instant = (text: string): number => Date.parse(text)
const seasons: Seasons = {
  version: 1,
  calendar: 'meteorological',
  starts: [
    { name: 'spring', firstMonth: 3, firstDay: 1 },
    { name: 'summer', firstMonth: 6, firstDay: 1 },
    { name: 'autumn', firstMonth: 9, firstDay: 1 },
    { name: 'winter', firstMonth: 12, firstDay: 1 },
  ],
}
const terms: ScheduleTerms = { calendar: openCalendar('Europe/London'), seasons, nightlyAt: '03:00', graceMs: 3_600_000, booksOpenDay: day('2025-01-01') }
const can = { restates: false, compacts: false, reports: true }

function run(kind: string, period: string, outcome = 'passed', more: Partial<JobRun> = {}): JobRun {
  return { kind, period, outcome, attempts: 1, batch: null, version: null, startedAt: new Date(0), finishedAt: new Date(0), retryAt: null, lastError: null, ...more }
}

/** 1 April 2025, 09:00 in London: March has closed, its night has had its batch, and all is covered. */
const aprilMorning: Facts = {
  nowMs: instant('2025-04-01T08:00:00Z'),
  published: { batch: 5, horizon: new Map([[0, 100], [1, 40]]), firstDay: day('2025-03-01') },
  committed: new Map([[0, 120], [1, 50]]),
  logEnds: [{ recordedAtMs: instant('2025-04-01T00:00:30Z'), ends: new Map([[0, 100], [1, 40]]) }],
  rebuilds: [],
  runs: [run('nightly', '2025-04-01'), run('seasonal', '2024-winter'), run('quarterly', '2025-Q1')],
}
const plan = (facts: Partial<Facts>, changed: Partial<ScheduleTerms> = {}): Plan => makePlan({ ...terms, ...changed }, { ...aprilMorning, ...facts }, can)
const due = (facts: Partial<Facts>): string[] => plan(facts).due.map((item) => `${item.kind} ${item.period}`)
const march = (facts: Partial<Facts>): { state: string; reason: string } => plan(facts).periods.find(({ period }) => period === '2025-03')!

describe('a closed period', () => {
  test('is due once the published batch has passed the log’s end after it, on every partition', () => {
    expect(due({})).toEqual(['monthly 2025-03'])
    const behind = { published: { ...aprilMorning.published, horizon: new Map([[0, 100], [1, 39]]) } }
    expect(march(behind)).toMatchObject({ state: 'waiting', reason: expect.stringContaining('(1:39 of 40)') })
    expect(march({ published: { ...aprilMorning.published, horizon: new Map([[0, 100]]) } }).state).toBe('waiting')
  })

  test('waits for the grace, and for the record of the log’s end after it', () => {
    // Midnight of London's summer time is 23:00 UTC: the grace ends at 00:00 UTC.
    expect(march({ nowMs: instant('2025-03-31T23:59:59Z') })).toMatchObject({ state: 'waiting', reason: expect.stringContaining('2025-04-01 00:00 UTC') })
    const early = [{ recordedAtMs: instant('2025-03-31T23:59:59Z'), ends: new Map([[0, 1]]) }]
    expect(march({ logEnds: early })).toMatchObject({ state: 'waiting', reason: expect.stringContaining('not recorded') })
    expect(plan({ logEnds: early }).recordsLogEnds).toBe(true)
    expect(plan({}).recordsLogEnds).toBe(false)
  })

  test('is measured by the first record after its grace: the log goes on', () => {
    const later = { recordedAtMs: instant('2025-04-01T07:00:00Z'), ends: new Map([[0, 9_000]]) }
    expect(march({ logEnds: [...aprilMorning.logEnds, later] }).state).toBe('due')
  })

  test('asks for a batch by day where its night had one that fell short, and not before the speed layer has counted enough', () => {
    const published = { ...aprilMorning.published, horizon: new Map([[0, 90], [1, 40]]) }
    expect(due({ published })).toEqual(['catch-up 2025-04-01'])
    expect(due({ published, committed: new Map([[0, 99], [1, 50]]) })).toEqual([])
    // Before its night: that batch is near.
    expect(due({ published, nowMs: instant('2025-04-01T00:30:00Z'), runs: [run('nightly', '2025-03-31')] })).toEqual([])
    expect(due({ published, runs: [...aprilMorning.runs, run('catch-up', '2025-04-01')] })).toEqual([])
  })

  test('needs no more of a topic that was made anew than a person left of it', () => {
    const published = { ...aprilMorning.published, horizon: new Map([[0, 95], [1, 40]]) }
    expect(march({ published }).state).toBe('waiting')
    const rebuild = { partition: 0, offset: 95, acceptedAtMs: instant('2025-04-01T06:00:00Z') }
    expect(march({ published, rebuilds: [rebuild] }).state).toBe('due')
    // One of before the record is in its offsets already.
    expect(march({ published, rebuilds: [{ ...rebuild, acceptedAtMs: instant('2025-03-01T06:00:00Z') }] }).state).toBe('waiting')
  })

  test('that failed waits for its pause, and says why', () => {
    const failedRun = run('monthly', '2025-03', 'failed', { attempts: 2, retryAt: new Date('2025-04-01T08:01:00Z'), lastError: 'the lake is away' })
    expect(march({ runs: [...aprilMorning.runs, failedRun] })).toMatchObject({ state: 'failed', reason: expect.stringMatching(/attempt 2 .*08:01 UTC: the lake is away/) })
    expect(due({ runs: [...aprilMorning.runs, failedRun] })).toEqual([])
    expect(due({ runs: [...aprilMorning.runs, failedRun], nowMs: instant('2025-04-01T08:01:00Z') })).toEqual(['monthly 2025-03'])
  })

  test('of before the books opened, or before the first figures, has no report', () => {
    const periods = (firstDay: number | null, booksOpenDay = day('2025-01-01')): string[] => closedReports({ ...terms, booksOpenDay }, firstDay, instant('2025-04-01T08:00:00Z')).map(({ period }) => period)
    expect(periods(null)).toEqual([])
    expect(periods(day('1970-01-01'))).toEqual(['2025-01', '2025-02', '2024-winter', '2025-03', '2025-Q1'])
    expect(periods(day('2025-03-01'))).toEqual(['2025-03', '2025-Q1'])
    expect(periods(day('2024-01-01'), day('2026-01-01'))).toEqual([])
    // Books as old as can be: periods begin where they have names.
    expect(closedReports({ ...terms, booksOpenDay: day('0001-01-01') }, day('1970-01-01'), instant('1970-06-30T12:00:00Z')).map(({ period }) => period)).toEqual(['1970-01', '1970-02', '1970-03', '1970-Q1', '1970-04', '1970-05', '1970-spring'])
  })

  test('comes in order: the night’s batch, the oldest period first, whatever its kind', () => {
    const facts: Partial<Facts> = { runs: [], published: { ...aprilMorning.published, firstDay: day('2025-01-01') } }
    const all = makePlan(terms, { ...aprilMorning, ...facts }, { restates: true, compacts: true, reports: true }).due.map(({ kind, period }) => `${kind} ${period}`)
    expect(all).toEqual(['nightly 2025-04-01', 'restate batch-5', 'monthly 2025-01', 'monthly 2025-02', 'seasonal 2024-winter', 'monthly 2025-03', 'quarterly 2025-Q1'])
  })
})

describe('a night', () => {
  test('is due from its time of day on, also on the days of 23 and 25 hours', () => {
    const { calendar } = terms
    for (const [now, night] of [
      ['2025-03-30T01:59:59Z', '2025-03-29'],
      ['2025-03-30T02:00:00Z', '2025-03-30'],
      ['2025-10-26T02:59:59Z', '2025-10-25'],
      ['2025-10-26T03:00:00Z', '2025-10-26'],
    ] as const) {
      expect(dueNight(calendar, '03:00', instant(now)), now).toBe(night)
    }
  })

  test('that only a person can mend is not tried again before the next', () => {
    const held = run('nightly', '2025-04-01', 'failed', { lastError: 'held' })
    expect(due({ runs: [held, run('monthly', '2025-03'), run('quarterly', '2025-Q1')] })).toEqual([])
    expect(due({ runs: [held, run('monthly', '2025-03'), run('quarterly', '2025-Q1')], nowMs: instant('2025-04-02T02:00:00Z') })).toEqual(['nightly 2025-04-02'])
  })
})

describe('what comes next', () => {
  test('is said in the shop’s time, for each kind', () => {
    const nowMs = instant('2025-03-29T12:00:00Z')
    const local = (ms: number): string => new Date(ms + terms.calendar.offsetMs(ms)).toISOString().slice(0, 16)
    expect(local(nextNight(terms, nowMs))).toBe('2025-03-30T03:00')
    expect(local(nextNight(terms, instant('2025-03-30T02:00:00Z')))).toBe('2025-03-31T03:00')
    expect(['monthly', 'quarterly', 'seasonal', 'yearly'].map((kind) => nextReport(terms, kind as 'monthly', nowMs)).map(({ period, atMs }) => `${period} ${local(atMs)}`)).toEqual([
      '2025-03 2025-04-01T03:00',
      '2025-Q1 2025-04-01T03:00',
      '2025-spring 2025-06-01T03:00',
      '2025 2026-01-01T03:00',
    ])
    expect(local(nextReport({ ...terms, graceMs: 6 * 3_600_000 }, 'monthly', nowMs).atMs)).toBe('2025-04-01T06:00')
  })
})

describe('the patterns', () => {
  /** Of a year with both clock changes. */
  function firings(pattern: string, zone: string): number[] {
    const fired: number[] = []
    for (let at = instant('2024-12-31T22:00:00Z'); ; ) {
      const next = getNextMillis(at, { pattern, tz: zone })!
      if (next >= instant('2025-12-31T22:00:00Z')) return fired
      fired.push((at = next))
    }
  }

  test.each([
    ['Europe/London', '03:00'],
    ['Europe/London', '01:30'],
    ['Europe/Berlin', '02:30'],
    ['America/St_Johns', '00:01'],
  ])('of %s at %s fire in each of 365 nights at the instant from which the night is due', (zone, nightlyAt) => {
    const calendar = openCalendar(zone)
    const nights = firings(nightlyPattern(nightlyAt), zone)
    expect(nights).toHaveLength(365)
    const first = day(dueNight(calendar, nightlyAt, nights[0]!))
    expect(nights.map((ms) => new Date(ms).toISOString())).toEqual(nights.map((_ms, i) => new Date(nightlyInstant(calendar, nightlyAt, first + i)).toISOString()))
  })

  test('skip a time that does not exist where clocks change at midnight or by half an hour, which is why what is due is looked for each minute too', () => {
    const lordHowe = { pattern: nightlyPattern('02:10'), tz: 'Australia/Lord_Howe' }
    expect(new Date(getNextMillis(instant('2025-10-04T12:00:00Z'), lordHowe)!).toISOString()).toBe('2025-10-05T15:10:00.000Z')
    expect(dueNight(openCalendar('Australia/Lord_Howe'), '02:10', instant('2025-10-04T15:40:00Z'))).toBe('2025-10-05')
    const calendar = openCalendar('America/Santiago')
    const missing = nightlyInstant(calendar, '00:00', day('2025-09-07'))
    expect(firings(nightlyPattern('00:00'), 'America/Santiago')).not.toContain(missing)
    expect(dueNight(calendar, '00:00', missing)).toBe('2025-09-07')
    expect(dueNight(calendar, '00:00', missing - 1)).toBe('2025-09-06')
  })

  test('of reports ask in the night after each period’s end', () => {
    const asked = new Map(batchSchedules('03:00', seasons).map(({ id, pattern }) => [id, firings(pattern, 'Europe/London').map((ms) => new Date(ms + terms.calendar.offsetMs(ms)).toISOString().slice(0, 16))]))
    expect(asked.get('monthly')).toEqual(Array.from({ length: 12 }, (_, i) => `2025-${String(i + 1).padStart(2, '0')}-01T03:00`))
    expect(asked.get('quarterly')).toEqual(['2025-01-01T03:00', '2025-04-01T03:00', '2025-07-01T03:00', '2025-10-01T03:00'])
    expect(asked.get('seasonal')).toEqual(['2025-03-01T03:00', '2025-06-01T03:00', '2025-09-01T03:00', '2025-12-01T03:00'])
    expect(asked.get('yearly')).toEqual(['2025-01-01T03:00'])
    const shifted = batchSchedules('03:00', { version: 2, calendar: 'own', starts: [{ name: 'hot', firstMonth: 5, firstDay: 20 }, { name: 'cold', firstMonth: 10, firstDay: 5 }] }).find(({ id }) => id === 'seasonal')!
    expect(firings(shifted.pattern, 'Europe/London').map((ms) => formatDay(Math.floor(ms / 86_400_000)))).toEqual(expect.arrayContaining(['2025-05-20', '2025-10-05']))
  })

  test('of archiving hold whole divisions, never less often than a day', () => {
    expect([1, 7, 10, 30, 31, 60, 61, 300, 420, 1_800, 1_801, 7_200, 18_000, 86_400].map(archivePattern)).toEqual([
      '*/1 * * * * *', '*/10 * * * * *', '*/10 * * * * *', '*/30 * * * * *', '0 */1 * * * *', '0 */1 * * * *', '0 */2 * * * *', '0 */5 * * * *', '0 */10 * * * *',
      '0 */30 * * * *', '0 0 */1 * * *', '0 0 */2 * * *', '0 0 */6 * * *', '0 0 */24 * * *',
    ])
  })
})
