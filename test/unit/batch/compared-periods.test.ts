import { expect, test } from 'vitest'
import { comparedPeriods } from '#batch/report-lines.ts'
import type { Seasons } from '#core/period.ts'
import { closedReportPeriods, reportKinds } from '#core/report/periods.ts'

const seasons: Seasons = { version: 1, calendar: 'meteorological', starts: ['spring', 'summer', 'autumn', 'winter'].map((name, at) => ({ name, firstMonth: 3 + at * 3, firstDay: 1 })) }

test.each(reportKinds)('the first %s period that has a name is compared with nothing, and the second with it', (kind) => {
  const [first, second] = closedReportPeriods(kind, 0, 1_000, seasons).map(({ period }) => period)
  const none = { hasBooks: false, period: first! }
  expect(comparedPeriods(kind, first!, seasons, 0)).toMatchObject({ before: none, yearBefore: none })
  expect(comparedPeriods(kind, second!, seasons, 0).before).toMatchObject({ hasBooks: true, period: first! })
})
