/** Frozen reports: exact against the oracle, checked against the archive, never changed, restated to the penny, and made once however many try. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { sweepOrphans } from '#batch/orphans.ts'
import { freezeReport, refreshReports, shareReports } from '#batch/reports.ts'
import { ConflictError, CorruptError, InvalidRequestError } from '#core/errors.ts'
import { addFigures, noFigures } from '#core/report/figures.ts'
import type { QueryEngine } from '#core/ports.ts'
import type { ReportKind } from '#core/report/periods.ts'
import { reportKinds, reportPeriodOf } from '#core/report/periods.ts'
import type { Report } from '#core/report/report.ts'
import { parseDay } from '#core/calendar.ts'
import { rollBack } from '#store/batches.ts'
import { readDatabaseClock } from '#store/log-ends.ts'
import { findReport, listReports, listRestatementEvents, listRestatements, readReport, readReportFiles, readReportText } from '#store/reports.ts'
import { readSeasons } from '#store/seasons.ts'
import { openTraffic, refund, sale } from '#test/faults/setup.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { expectReportExact, labReportOptions } from '#test/lab/reports.ts'
import type { MeantAppend } from '#test/lab/shop-stream.ts'
import { StepWorker } from '#test/lab/step-worker.ts'
import { waitUntil } from '#test/wait-until.ts'

let lab: Lab

beforeAll(async () => {
  lab = await openLab()
})
afterAll(async () => lab[Symbol.asyncDispose]())
beforeEach(async () => lab.clear())

async function countAll(): Promise<void> {
  const worker = await StepWorker.open(lab, [0, 1, 2])
  await worker.readAll()
  await worker.flush()
}

async function publish(records: readonly MeantAppend[]): Promise<void> {
  if (records.length > 0) await lab.append(records)
  await countAll()
  await runLabBatch(lab)
}

async function report(kind: ReportKind, period: string, version?: number): Promise<Report> {
  return readReport(lab.database.pool, kind, period, version)
}

const march = { kind: 'monthly', period: '2025-03' } as const
const someSales = [
  sale({ id: '1', day: '2025-03-01', city: 'London', category: 'Home', product: 'P1', quantity: 2, unitMinor: 1050 }),
  sale({ id: '2', day: '2025-03-31', city: 'Leeds', category: 'Toys', product: 'P2', unitMinor: 999, partition: 1 }),
  refund({ id: 'r-1', day: '2025-03-31', city: 'London', category: 'Home', product: 'P1', refundOf: '1', totalMinor: 1050 }),
  sale({ id: '3', day: '2025-02-28', city: 'Bath', category: 'Home', product: 'P3', unitMinor: 500 }),
  sale({ id: '4', day: '2024-03-15', city: 'London', category: 'Home', product: 'P1', unitMinor: 700, partition: 2 }),
  sale({ id: '5', day: '2025-04-01', city: 'London', category: 'Home', product: 'P1', unitMinor: 123 }),
]

test('a month holds what was sold in it, beside the month before and the year before, and says what it stands on', async () => {
  await publish(someSales)
  expect(await freezeReport(labReportOptions(lab), march)).toEqual({ outcome: 'published', version: 1 })
  const made = await report('monthly', '2025-03')
  expectReportExact(lab, made)
  const [total] = made.lines.filter((line) => line.section === 'total')
  expect(total).toMatchObject({
    currency: 'GBP',
    now: { transactions: 2, refundEvents: 1, grossMinor: '3099', refundsMinor: '1050', netMinor: '2049', unitsSold: 3 },
    before: { netMinor: '500' },
    yearBefore: { netMinor: '700' },
  })
  expect(made.before).toMatchObject({ period: '2025-02', hasBooks: true })
  expect(made.yearBefore).toMatchObject({ period: '2024-03', hasBooks: true })
  expect(made.receipt).toMatchObject({ batch: 1, epoch: 1, crossCheck: { result: 'exact' }, archiveCheck: { engine: 'DuckDB', rowsRead: 6 } })
  expect(made.receipt.archiveCheck.keysCompared).toBeGreaterThan(0)
  expect(made.restatement).toBeNull()
  // What is stored as a file is what is stored in the database.
  const files = await readReportFiles(lab.database.pool, made)
  expect(files.map((file) => file.format)).toEqual(['csv', 'html', 'json', 'parquet'])
  const json = files.find((file) => file.format === 'json')!
  expect(json.path).toMatch(/^reports\/monthly\/2025-03\/v1\//)
  const file = await lab.lake.get(json.path)
  expect(Buffer.from(await file.read(0, file.bytes)).toString()).toBe(await readReportText(lab.database.pool, 'monthly', '2025-03'))
})

test('a report says that it was published when it was checked, not when that began: who asks what came since misses none for its checking', async () => {
  await publish(someSales)
  let checkedAt = Number.POSITIVE_INFINITY
  await freezeReport(labReportOptions(lab, { before: async (step) => void (step === 'check' && (checkedAt = await readDatabaseClock(lab.database.pool))) }), march)
  expect(Date.parse((await report('monthly', '2025-03')).publishedAt)).toBeGreaterThanOrEqual(checkedAt)
})

test('the Parquet file is a table of every line that the query engine reads', async () => {
  await publish(someSales)
  await freezeReport(labReportOptions(lab), march)
  const made = await report('monthly', '2025-03')
  const parquet = (await readReportFiles(lab.database.pool, made)).find((file) => file.format === 'parquet')!
  const { reportColumns } = await import('#batch/report-files.ts')
  await lab.engine.attach('reports', [parquet.path], reportColumns)
  const rows: unknown[][] = []
  for await (const batch of lab.engine.query('SELECT section, currency, local_day, city, category, product_id, net_minor, before_net_minor FROM reports')) rows.push(...batch.rows.map((row) => [...row]))
  const meant = made.lines.map((line) => [line.section, line.currency, line.day, line.city, line.category, line.productId, BigInt(line.now.netMinor), line.before === null ? null : BigInt(line.before.netMinor)])
  const sorted = (list: unknown[][]): string[] => list.map((row) => row.map(String).join('|')).sort()
  expect(sorted(rows)).toEqual(sorted(meant))
})

test('a report that says the same is not made again, whatever happens to other months', async () => {
  await publish(someSales)
  await freezeReport(labReportOptions(lab), march)
  expect(await freezeReport(labReportOptions(lab), march)).toEqual({ outcome: 'unchanged', version: 1 })
  await publish([sale({ id: '6', day: '2025-05-01' })])
  expect(await refreshReports(labReportOptions(lab))).toEqual([])
  await publish([sale({ id: '7', day: '2025-06-01' })])
  expect(await refreshReports(labReportOptions(lab))).toEqual([])
  expect(await listReports(lab.database.pool, { allVersions: true })).toHaveLength(1)
})

test('D4 a late sale and a late refund for a closed month: the report stays until the next batch, and its restatement adds up to the penny', async () => {
  await publish(someSales)
  const options = labReportOptions(lab)
  for (const [kind, period] of [['monthly', '2025-03'], ['seasonal', '2025-spring'], ['yearly', '2025'], ['quarterly', '2025-Q1']] as const) await freezeReport(options, { kind, period })
  const frozen = await readReportText(lab.database.pool, 'monthly', '2025-03', 1)
  const files = await readReportFiles(lab.database.pool, { ...march, version: 1 })
  const late = [
    sale({ id: '7', day: '2025-03-05', city: 'York', category: 'Garden', product: 'P9', quantity: 3, unitMinor: 333 }),
    refund({ id: 'r-2', day: '2025-03-31', city: 'Leeds', category: 'Toys', product: 'P2', refundOf: '2', totalMinor: 999 }),
  ]
  await lab.append(late)
  await countAll()
  expect(await refreshReports(options)).toEqual([])
  await runLabBatch(lab)
  const refreshed = await refreshReports(options)
  expect(refreshed.map(({ kind, period, version }) => `${kind} ${period} v${version}`).sort()).toEqual(['monthly 2025-03 v2', 'quarterly 2025-Q1 v2', 'seasonal 2025-spring v2', 'yearly 2025 v2'])
  for (const kind of reportKinds) {
    const second = await report(kind, { monthly: '2025-03', quarterly: '2025-Q1', seasonal: '2025-spring', yearly: '2025' }[kind])
    expectReportExact(lab, second)
    const restatement = second.restatement!
    expect(restatement).toMatchObject({ ofVersion: 1, ofBatch: 1, eventCount: 2 })
    expect(restatement.causes.map(({ reason, events, difference }) => ({ reason, events, net: difference.netMinor }))).toEqual([
      { reason: 'late sale', events: 1, net: '999' },
      { reason: 'late refund', events: 1, net: '-999' },
    ])
    const first = await report(second.kind, second.period, 1)
    expect(restatement.lines.filter((line) => line.section === 'total').map((line) => line.difference)).toEqual([
      { transactions: 1, orders: 1, refundEvents: 1, unitsSold: 3, unitsRefunded: 1, grossMinor: '999', refundsMinor: '999', netMinor: '0' },
    ])
    for (const section of ['city', 'category', 'city_category', 'day'] as const) {
      const sum = restatement.lines.filter((line) => line.section === section).reduce((all, line) => addFigures(all, line.difference), noFigures)
      expect(sum.grossMinor).toBe('999')
      expect(sum.netMinor).toBe('0')
    }
    expect(first.restatement).toBeNull()
    expect((await listRestatementEvents(lab.database.pool, second)).map(({ eventId, entry }) => [entry, eventId])).toEqual([
      [1, '7'],
      [2, 'r-2'],
    ])
  }
  // The version that was published first is what it was, byte for byte.
  expect(await readReportText(lab.database.pool, 'monthly', '2025-03', 1)).toBe(frozen)
  expect(await readReportFiles(lab.database.pool, { ...march, version: 1 })).toEqual(files)
  expect((await listRestatements(lab.database.pool)).map(({ kind, version }) => `${kind} v${version}`).sort()).toEqual(['monthly v2', 'quarterly v2', 'seasonal v2', 'yearly v2'])
})

test('a restatement of thousands of events adds up, and its file and its table list each of them in order', async () => {
  await publish(someSales)
  await freezeReport(labReportOptions(lab), march)
  const count = 5_500
  await publish(Array.from({ length: count }, (_, at) => sale({ id: `late-${at}`, day: '2025-03-20', unitMinor: 100 + at })))
  expect(await refreshReports(labReportOptions(lab))).toMatchObject([{ ...march, version: 2 }])
  const second = await report('monthly', '2025-03')
  expectReportExact(lab, second)
  expect(second.restatement).toMatchObject({ eventCount: count, causes: [{ reason: 'late sale', events: count }] })
  expect(second.restatement!.events).toHaveLength(200)
  const ids = Array.from({ length: count }, (_, at) => `late-${at}`)
  expect((await listRestatementEvents(lab.database.pool, second, 0, 10_000)).map(({ eventId }) => eventId)).toEqual(ids)
  const { path } = (await readReportFiles(lab.database.pool, second)).find(({ format }) => format === 'restatement')!
  const file = await lab.lake.get(path)
  const [header, ...rows] = Buffer.from(await file.read(0, file.bytes)).toString().trim().split('\r\n')
  expect(header).toContain('event_id')
  expect(rows.map((row) => row.split(',')[6])).toEqual(ids)
})

test('a batch published while a first version is made restates it at once, although the reports were refreshed before it was there', async () => {
  await publish(someSales)
  let isPublished = false
  const before = async (step: string): Promise<void> => {
    if (step !== 'publish' || isPublished) return
    isPublished = true
    await publish([sale({ id: 'late', day: '2025-03-09' })])
    expect(await refreshReports(labReportOptions(lab))).toEqual([])
  }
  expect(await freezeReport(labReportOptions(lab, { before }), march)).toEqual({ outcome: 'published', version: 2 })
  expect((await report('monthly', '2025-03', 1)).receipt.batch).toBe(1)
  expect((await report('monthly', '2025-03', 2)).restatement).toMatchObject({ ofVersion: 1, causes: [{ reason: 'late sale', events: 1 }] })
  await rollBack(lab.database)
  const rolled = { ...march, period: '2024-03' }
  expect(await freezeReport(labReportOptions(lab, { before: async (step) => void (step === 'publish' && (await lab.database.pool.query(`UPDATE publish_pointer SET batch = 0, epoch = 0`))) }), rolled)).toEqual({ outcome: 'published', version: 1 })
})

test('of two that tell the query engine which reports there are, the slower does not take the newer one away', async () => {
  await publish(someSales)
  await freezeReport(labReportOptions(lab), march)
  const told: (readonly string[])[] = []
  const tells = (before: () => Promise<void>): QueryEngine => ({ ...lab.engine, share: async (_name, paths) => (await before(), void told.push(paths)) })
  let newer = Promise.resolve()
  const slow = tells(async () => {
    await freezeReport(labReportOptions(lab), { kind: 'monthly', period: '2025-02' })
    newer = shareReports({ database: lab.database, engine: tells(async () => undefined) })
    const isWaiting = async (): Promise<boolean> => (await lab.database.pool.query(`SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`)).rowCount !== 0
    await waitUntil('the other to tell, or to wait', async () => told.length > 0 || (await isWaiting()))
  })
  await shareReports({ database: lab.database, engine: slow })
  await newer
  expect(told.map((paths) => paths.length)).toEqual([1, 2])
})

test('two that make the same report at once: one version stands, and the files of the other are swept', async () => {
  await publish(someSales)
  const other = { ...labReportOptions(lab), engine: await lab.secondEngine() }
  const gate = Promise.withResolvers<void>()
  const first = freezeReport(labReportOptions(lab, { before: async (step) => (step === 'publish' ? gate.promise : undefined) }), march)
  await freezeReport(other, march)
  gate.resolve()
  await expect(first).rejects.toThrow(ConflictError)
  expect(await listReports(lab.database.pool, { allVersions: true })).toHaveLength(1)
  const known = (await readReportFiles(lab.database.pool)).map(({ path }) => path)
  const { moved } = await sweepOrphans({ database: lab.database, lake: lab.lake, topics: [lab.topic], nowMs: Date.now() + 60_000, orphanAfterMs: 0, deleteAfterMs: 1e12 })
  // The lake also holds what earlier tests left, under other incarnations.
  const { incarnation } = (await report('monthly', '2025-03')).receipt
  expect(moved.filter((path) => path.startsWith('reports/') && path.includes(incarnation))).toHaveLength(known.length)
  for (const path of known) expect(await lab.lake.stat(path)).not.toBeNull()
})

test.each(['read', 'check', 'write', 'publish'] as const)('a crash before the step %s leaves no version, and the next attempt makes the first', async (point) => {
  await publish(someSales)
  const crash = freezeReport(labReportOptions(lab, { before: async (step) => (step === point ? Promise.reject(new Error('crash')) : undefined) }), march)
  await expect(crash).rejects.toThrow('crash')
  expect(await findReport(lab.database.pool, 'monthly', '2025-03')).toBeNull()
  expect(await freezeReport(labReportOptions(lab), march)).toEqual({ outcome: 'published', version: 1 })
})

test('where the batch and the archive differ in one penny no report is made, and the row is named', async () => {
  await publish(someSales)
  await lab.database.pool.query(`UPDATE batch_revenue SET gross_minor = gross_minor + 1 WHERE city = 'Leeds'`)
  await expect(freezeReport(labReportOptions(lab), march)).rejects.toThrow(CorruptError)
  await expect(freezeReport(labReportOptions(lab), march)).rejects.toThrow(/revenue on 2025-03-31.*Leeds/)
  expect(await listReports(lab.database.pool)).toEqual([])
})

test('a difference that no event explains is not published as a restatement', async () => {
  await publish(someSales)
  await freezeReport(labReportOptions(lab), march)
  await publish([sale({ id: '8', day: '2025-03-09' })])
  // As if the first version had been frozen of other figures.
  await lab.database.pool.query(`UPDATE report_versions SET document = replace(document, '"grossMinor": "3099"', '"grossMinor": "3098"')`)
  await expect(refreshReports(labReportOptions(lab))).rejects.toThrow(/does not add up/)
  expect(await listReports(lab.database.pool, { allVersions: true })).toHaveLength(1)
})

test('a month without a sale has a report without a line', async () => {
  await publish(someSales)
  await freezeReport(labReportOptions(lab), { kind: 'monthly', period: '2025-06' })
  const made = await report('monthly', '2025-06')
  expect(made.lines.filter((line) => line.section === 'day')).toEqual([])
  expectReportExact(lab, made)
})

test('before the first batch, of a period that is none, and behind a roll-back a report is refused with what to do', async () => {
  await expect(freezeReport(labReportOptions(lab), march)).rejects.toThrow(/batch run/)
  await publish(someSales)
  await expect(freezeReport(labReportOptions(lab), { kind: 'quarterly', period: '2025-Q5' })).rejects.toThrow(InvalidRequestError)
  await publish([sale({ id: '9', day: '2025-03-02' })])
  await freezeReport(labReportOptions(lab), march)
  await rollBack(lab.database)
  await expect(freezeReport(labReportOptions(lab), march)).rejects.toThrow(/roll-back/)
})

test('a random shop: every version of every report is exact for its own horizon, and restatements lead from each to the next', async () => {
  const seed = Number(process.env['REPORT_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  process.stdout.write(`reports: REPORT_SEED=${seed}\n`)
  const traffic = openTraffic(lab, seed)
  const options = labReportOptions(lab)
  for (let round = 0; round < 3; round++) {
    await traffic(250)
    await countAll()
    await runLabBatch(lab)
    const seasons = await readSeasons(lab.database.pool)
    const { rows } = await lab.database.pool.query<{ day: string }>(`SELECT DISTINCT local_day::text AS day FROM merged_revenue WHERE local_day >= '1971-01-01' AND local_day < '2090-01-01'`)
    for (const kind of reportKinds) {
      const periods = new Set(rows.map((row) => reportPeriodOf(kind, parseDay(row.day)!, seasons)))
      for (const period of [...periods].slice(0, 3)) await freezeReport(options, { kind, period })
    }
    await refreshReports(options)
  }
  const versions = await listReports(lab.database.pool, { allVersions: true })
  expect(versions.some(({ version }) => version > 1)).toBe(true)
  for (const { kind, period, version } of versions) {
    const made = await report(kind, period, version)
    expectReportExact(lab, made)
    if (made.restatement === null) continue
    const published = await report(kind, period, version - 1)
    for (const currency of new Set(made.lines.map((line) => line.currency))) {
      const totalOf = (one: Report): string => one.lines.find((line) => line.section === 'total' && line.currency === currency)?.now.netMinor ?? '0'
      const causes = made.restatement.causes.filter((cause) => cause.currency === currency).reduce((sum, cause) => sum + BigInt(cause.difference.netMinor), 0n)
      expect(BigInt(totalOf(made))).toBe(BigInt(totalOf(published)) + causes)
    }
  }
})
