/** Frozen reports where the rules change and not the facts: other logic, a held batch that a person accepted, other seasons. None of them ends restatements. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { freezeReport, refreshReports } from '#batch/reports.ts'
import { acceptHeldBatch } from '#batch/run.ts'
import { dayMs } from '#core/calendar.ts'
import { openDecoder } from '#core/decode.ts'
import { ConflictError, HeldError } from '#core/errors.ts'
import { reportPeriodOf } from '#core/report/periods.ts'
import { parseSeasonTable } from '#core/season-table.ts'
import { resumePublishing, rollBack } from '#store/batches.ts'
import { readReport } from '#store/reports.ts'
import { readSeasons, setSeasons } from '#store/seasons.ts'
import { sale } from '#test/faults/setup.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { runLabBatch } from '#test/lab/crash.ts'
import { labReportOptions } from '#test/lab/reports.ts'
import type { MeantAppend } from '#test/lab/shop-stream.ts'
import { StepWorker } from '#test/lab/step-worker.ts'

const auckland = openDecoder({ zone: 'Pacific/Auckland', currency: 'GBP' })
const march = { kind: 'monthly', period: '2025-03' } as const
let lab: Lab

beforeAll(async () => {
  lab = await openLab()
})
afterAll(async () => lab[Symbol.asyncDispose]())
beforeEach(async () => lab.clear())

async function publish(records: readonly MeantAppend[], decoder = lab.decoder): Promise<void> {
  if (records.length > 0) await lab.append(records)
  const there = { ...lab, decoder }
  const worker = await StepWorker.open(there, [0, 1, 2])
  await worker.readAll()
  await worker.flush()
  await runLabBatch(there)
}

/** A sale at an instant, whose local day depends on the zone. */
function saleAt(id: string, occurredAt: string): MeantAppend {
  const fields = { eventId: id, kind: 'sale', orderId: id, orderLine: 1, userId: '7', productId: 'P1', productName: 'Lamp', category: 'Home', city: 'Leeds', quantity: 1, unitPrice: '10.00', total: '10.00', currency: 'GBP', occurredAt }
  return { partition: 0, value: Buffer.from(JSON.stringify(fields)), logTimeMs: Date.UTC(2026, 0, 15), meant: null }
}

/** The second is of April in Auckland. */
const someSales = [saleAt('a', '2025-03-05T10:00:00+00:00'), saleAt('b', '2025-03-31T18:00:00+00:00')]

test('a full run that takes other logic into use restates the reports at once, and later restatements go on by events', async () => {
  await publish(someSales)
  await freezeReport(labReportOptions(lab), march)
  await runLabBatch({ ...lab, decoder: auckland }, { full: true })
  const options = labReportOptions(lab, { zone: 'Pacific/Auckland' })
  expect(await refreshReports(options)).toMatchObject([{ ...march, version: 2 }])
  const second = await readReport(lab.database.pool, 'monthly', '2025-03', 2)
  expect(second.receipt.logicVersion).toBe(auckland.logicVersion)
  expect(second.restatement).toMatchObject({ causes: [{ reason: 'logic', events: 0, difference: { transactions: -1, netMinor: '-1000' } }], eventCount: 0 })
  await publish([saleAt('c', '2025-03-07T10:00:00+00:00')], auckland)
  expect(await refreshReports(options)).toMatchObject([{ ...march, version: 3 }])
  expect((await readReport(lab.database.pool, 'monthly', '2025-03', 3)).restatement).toMatchObject({ causes: [{ reason: 'late sale', events: 1, difference: { netMinor: '1000' } }] })
})

test('behind a roll-back over other logic no report is made and none is called corrupt; a new batch lets them go on', async () => {
  await publish(someSales)
  await runLabBatch({ ...lab, decoder: auckland }, { full: true })
  await rollBack(lab.database, 1)
  const options = labReportOptions(lab, { zone: 'Pacific/Auckland' })
  const refused = freezeReport(options, march)
  await expect(refused).rejects.toBeInstanceOf(ConflictError)
  await expect(refused).rejects.toThrow(/Europe\/London.*Pacific\/Auckland.*roll-back.*batch resume/)
  await resumePublishing(lab.database)
  await publish([], auckland)
  expect(await freezeReport(options, march)).toEqual({ outcome: 'published', version: 1 })
})

test('a batch that a person accepted although nothing explained it restates the reports; the next that nobody accepted must add up again', async () => {
  await publish(someSales)
  await freezeReport(labReportOptions(lab), march)
  const careless = { ...lab, decoder: { ...auckland, logicVersion: lab.decoder.logicVersion } }
  await expect(runLabBatch(careless, { full: true })).rejects.toBeInstanceOf(HeldError)
  await acceptHeldBatch(lab.database, 2)
  const options = labReportOptions(lab)
  expect(await refreshReports(options)).toMatchObject([{ ...march, version: 2 }])
  expect((await readReport(lab.database.pool, 'monthly', '2025-03', 2)).restatement).toMatchObject({ causes: [{ reason: 'accepted batch', events: 0, difference: { netMinor: '-1000' } }] })
  await publish([saleAt('c', '2025-03-07T10:00:00+00:00')])
  await lab.database.pool.query(`UPDATE report_versions SET document = replace(document, '"grossMinor": "1000"', '"grossMinor": "1001"') WHERE version = 2`)
  await expect(refreshReports(options)).rejects.toThrow(/does not add up/)
})

/** A day of the year, some days from today, in a year that has every day. */
function dayFromToday(days: number): string {
  const today = new Date()
  const ofLeapYear = Math.round((Date.UTC(2024, today.getUTCMonth(), today.getUTCDate()) - Date.UTC(2024, 0, 1)) / dayMs)
  return new Date(Date.UTC(2024, 0, 1 + ((ofLeapYear + days + 366) % 366))).toISOString().slice(5, 10)
}

function seasonsTurning(day: number): ReturnType<typeof parseSeasonTable> {
  const seasons = [
    { name: 'first', from: dayFromToday(-60), to: dayFromToday(day - 1) },
    { name: 'second', from: dayFromToday(day), to: dayFromToday(-61) },
  ]
  return parseSeasonTable(JSON.stringify({ calendar: 'turning', seasons }))
}

test('a season that another table lets last beyond today keeps its report, and holds up no other', async () => {
  await setSeasons(lab.database, seasonsTurning(-3))
  await publish(someSales)
  const options = labReportOptions(lab)
  const first = { kind: 'seasonal', period: reportPeriodOf('seasonal', Math.floor(Date.now() / dayMs) - 30, await readSeasons(lab.database.pool)) } as const
  await freezeReport(options, first)
  await freezeReport(options, march)
  await setSeasons(lab.database, seasonsTurning(4))
  await publish([sale({ id: 'late', day: '2025-03-09' })])
  expect(await refreshReports(options)).toMatchObject([{ ...march, version: 2 }])
  await expect(freezeReport(options, first)).rejects.toThrow(/not over/)
})
