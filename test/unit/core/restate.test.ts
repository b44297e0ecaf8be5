/** The causes of a restatement: they add up to the total's difference, whatever came together between two versions. */
import { expect, test } from 'vitest'
import { CorruptError } from '#core/errors.ts'
import { addFigures, figuresOfEvent, noFigures } from '#core/report/figures.ts'
import type { ReportFigures, ReportLine, RestatementEvent } from '#core/report/report.ts'
import { causesOf, openEventSums, restatedLines } from '#core/report/restate.ts'

const none = { currency: 'GBP', day: null, city: null, category: null, season: null, productId: null, productName: null, rank: null, before: null, yearBefore: null }
const ofOne: ReportFigures = figuresOfEvent({ kind: 'sale', firstLine: true, quantity: 1, totalMinor: '1000' })

/** A report of single sales of ten pounds each in one city, by their days. */
function linesOf(days: readonly string[]): ReportLine[] {
  const sum = days.reduce((all) => addFigures(all, ofOne), noFigures)
  const ofDays = [...new Set(days)].map((day) => ({ ...none, section: 'day' as const, day, now: days.filter((one) => one === day).reduce((all) => addFigures(all, ofOne), noFigures) }))
  return [
    { ...none, section: 'total', now: sum },
    { ...none, section: 'city', city: 'Leeds', now: sum },
    { ...none, section: 'category', category: 'Home', now: sum },
    { ...none, section: 'city_category', city: 'Leeds', category: 'Home', now: sum },
    ...ofDays,
  ]
}

function lateSale(localDay: string): RestatementEvent {
  return { reason: 'late sale', source: 's', eventId: 'e', kind: 'sale', localDay, logTime: '2026-01-01T00:00:00.000Z', partition: 0, offset: 0, index: 0, city: 'Leeds', category: 'Home', productId: 'P', quantity: 1, totalMinor: '1000', currency: 'GBP' }
}

test('other logic that moves figures between the days of a month is named, although the total is the same', () => {
  const lines = restatedLines(linesOf(['2025-03-01', '2025-03-02']), linesOf(['2025-03-02', '2025-03-03']))
  expect(lines.map(({ section, day }) => [section, day])).toEqual([['day', '2025-03-03'], ['day', '2025-03-01']])
  expect(causesOf(lines, openEventSums(), 'logic')).toEqual([{ reason: 'logic', currency: 'GBP', events: 0, difference: noFigures }])
  expect(() => causesOf(lines, openEventSums(), null)).toThrow(CorruptError)
})

test('where other logic takes away what a late sale brings, both are named, and they add up to the total that did not change', () => {
  const lines = restatedLines(linesOf(['2025-03-01', '2025-03-02']), linesOf(['2025-03-02', '2025-03-07']))
  const events = openEventSums()
  events.add({ event: lateSale('2025-03-07'), firstLine: true })
  const causes = causesOf(lines, events, 'logic')
  expect(causes.map(({ reason, events: count, difference }) => [reason, count, difference.netMinor])).toEqual([['late sale', 1, '1000'], ['logic', 0, '-1000']])
  expect(causes.reduce((all, { difference }) => addFigures(all, difference), noFigures)).toEqual(noFigures)
})
