import { expect, test } from 'vitest'
import { openRestatingEvents } from '#batch/restating-events.ts'
import type { RestatementEvent } from '#core/report/report.ts'

function event(offset: number): RestatementEvent {
  const sale = { reason: 'late sale', kind: 'sale', localDay: '2025-03-05', logTime: '2026-01-15T12:00:00.000Z', partition: 0, index: 0, currency: 'GBP' } as const
  return { ...sale, source: 'old-shop', eventId: `o-${offset}`, offset, city: 'Łódź', category: 'Home', productId: `P${offset % 97}`, quantity: 1 + (offset % 3), totalMinor: String(offset * 7) }
}

test.each([0, 1, 4_999, 5_000, 5_001, 12_345])('%i events come back as they were added, in their order, as often as asked', (count) => {
  const added = Array.from({ length: count }, (_, offset) => event(offset))
  const events = openRestatingEvents()
  for (const one of added) events.add(one)
  expect(events.count).toBe(count)
  expect([...events.all()]).toEqual(added)
  expect([...events.pages()].flat()).toEqual(added)
  expect(events.first(200)).toEqual(added.slice(0, 200))
})
