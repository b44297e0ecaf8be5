/** Two independent opinions on every record: what the generator meant and what the decoder reads. */
import { expect, test } from 'vitest'
import { openDecoder } from '#core/decode.ts'
import type { ShopEvent } from '#core/events.ts'
import { refusalReasons } from '#core/events.ts'
import type { GeneratedRecord } from '#generator/fact.ts'
import { generateEvents } from '#generator/history.ts'
import { LiveShop } from '#generator/live.ts'
import { RUBBISH_KINDS } from '#generator/rubbish.ts'

const TO_MS = Date.parse('2024-11-20T12:00:00Z')
const FROM_MS = Date.parse('2023-03-01T00:00:00Z')

/** What a decoded event says, less what depends on its log time. */
function fieldsOf({ late: _, ...fields }: ShopEvent): string {
  return JSON.stringify(fields)
}

function checkAgreement(records: Iterable<GeneratedRecord>, zone: string, currency: string, logTimeMs: (record: GeneratedRecord) => number): Set<string> {
  const decoder = openDecoder({ zone, currency })
  const firsts = new Map<string, string>()
  const rubbish = new Set<string>()
  for (const record of records) {
    const decoded = decoder.decode({ value: record.append.value, logTimeMs: logTimeMs(record), headers: null }, record.topic)
    const shown = Buffer.from(record.append.value).toString().slice(0, 400)
    if ('refusal' in decoded) {
      expect(record.means, shown).toEqual([expect.objectContaining({ is: 'refused', reason: decoded.refusal.reason })])
      if (record.means[0]?.is === 'refused') rubbish.add(record.means[0].rubbish)
      continue
    }
    expect(decoded.events.length, shown).toBe(record.means.length)
    decoded.events.forEach((event, i) => {
      const meaning = record.means[i]
      const id = `${event.source}|${event.eventId}`
      const fields = fieldsOf(event)
      expect(event.orderId, shown).toBe(record.append.key)
      if (meaning?.is === 'event') {
        expect(firsts.has(id), shown).toBe(false)
        firsts.set(id, fields)
        const { fact } = meaning
        expect(
          [event.kind, event.orderLine, event.productId, event.productName, event.category, event.city, event.quantity, event.totalMinor, event.currency, event.eventTimeMs, event.localDay, event.late, event.refundOf],
          shown,
        ).toEqual([fact.kind, fact.orderLine, fact.productId, fact.productName, fact.category, fact.city, fact.quantity, fact.totalMinor, fact.currency, fact.eventMs, fact.day, meaning.late, fact.refundOf])
      } else if (meaning?.is === 'copy') expect(fields, shown).toBe(firsts.get(id))
      else {
        expect(meaning?.is, shown).toBe('conflict')
        expect(firsts.has(id), shown).toBe(true)
        expect(fields, shown).not.toBe(firsts.get(id))
      }
    })
  }
  return rubbish
}

test.each([
  ['Europe/London', 'GBP'],
  ['America/New_York', 'JPY'],
  ['Australia/Lord_Howe', 'KWD'],
  ['Asia/Beirut', 'GBP'],
])('history of a shop in %s, %s', (zone, currency) => {
  const records = generateEvents({ profile: 'shop', seed: 3, events: 15_000, fromMs: FROM_MS, toMs: TO_MS, zone, currency, mixedCurrencies: true })
  checkAgreement(records, zone, currency, ({ append }) => append.logTimeMs ?? Number.NaN)
})

test('every kind of rubbish is refused for its reason, and every reason has its rubbish', () => {
  const records = [...generateEvents({ profile: 'shop', seed: 4, events: 60_000, fromMs: FROM_MS, toMs: TO_MS, zone: 'Europe/London', currency: 'GBP' })]
  const refused = checkAgreement(records.filter(({ means }) => means[0]?.is === 'refused'), 'Europe/London', 'GBP', ({ append }) => append.logTimeMs ?? Number.NaN)
  expect([...refused].sort()).toEqual(RUBBISH_KINDS.map(({ name }) => name).sort())
  expect(new Set(RUBBISH_KINDS.map(({ reason }) => reason))).toEqual(new Set(refusalReasons))
})

test('a portable stream means the same at any later log time', () => {
  const records = generateEvents({ profile: 'shop', seed: 5, events: 15_000, fromMs: FROM_MS, toMs: TO_MS, zone: 'Europe/London', currency: 'GBP', portable: true })
  const decoder = openDecoder({ zone: 'Europe/London', currency: 'GBP' })
  for (const { append, means } of records) {
    expect(append.value.includes(10) || append.value.length === 0).toBe(false)
    const decoded = decoder.decode({ value: append.value, logTimeMs: TO_MS + 400 * 86_400_000, headers: null }, 'transactions')
    const [meaning] = means
    if (meaning?.is === 'refused') expect(decoded).toMatchObject({ refusal: { reason: meaning.reason } })
    else expect(decoded).toHaveProperty('events')
  }
})

test('live traffic', () => {
  const startMs = TO_MS
  const shop = new LiveShop({ profile: 'shop', seed: 6, ratePerSecond: 50, zone: 'Europe/London', currency: 'GBP', startMs })
  const logTimes = new Map<GeneratedRecord, number>()
  for (let nowMs = startMs; nowMs < startMs + 300_000; nowMs += 1000) for (const record of shop.recordsUntil(nowMs)) logTimes.set(record, nowMs)
  // Whether a live event is late depends on the log's time to the second; none of these stands within a second of the bound.
  checkAgreement(logTimes.keys(), 'Europe/London', 'GBP', (record) => logTimes.get(record) ?? Number.NaN)
})
