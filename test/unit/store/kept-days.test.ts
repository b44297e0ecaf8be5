import { expect, test } from 'vitest'
import { KeptDays, keptCellsMax, keptDaysMax } from '#store/kept-days.ts'

const dayOf = (cells: number) => ({ publication: 'p', version: '1', cells: Array.from({ length: cells }, () => ({ keys: {}, currency: 'GBP', added: [1n] })) })

test('kept days are bounded: the one asked for longest ago goes, and what is too large is not kept', () => {
  const days = new KeptDays<object>()
  for (let day = 0; day < keptDaysMax; day++) days.keep(String(day), dayOf(1))
  expect(days.find('0')).not.toBeNull()
  days.keep('new', dayOf(1))
  expect([days.find('0') === null, days.find('1') === null, days.find('new') === null]).toEqual([false, true, false])
  days.keep('large', dayOf(keptCellsMax + 1))
  expect(days.find('large')).toBeNull()
  days.drop('new')
  expect(days.find('new')).toBeNull()
})
