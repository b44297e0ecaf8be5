/** Two independent opinions on every record: what the generator meant and what the decoder reads. */
import { expect, test } from 'vitest'
import { openDecoder } from '#core/decode.ts'
import type { ShopEvent } from '#core/events.ts'
import { refusalReasons } from '#core/events.ts'
import type { Fact, GeneratedRecord } from '#generator/fact.ts'
import { generateEvents } from '#generator/history.ts'
import { LiveShop } from '#generator/live.ts'
import { RUBBISH_KINDS } from '#generator/rubbish.ts'

const TO_MS = Date.parse('2024-11-20T12:00:00Z')
const FROM_MS = Date.parse('2023-03-01T00:00:00Z')

type Agreement = { readonly differences: readonly string[]; readonly rubbish: ReadonlySet<string> }

/** What a decoded event says, less what depends on its log time. */
function fieldsOf(event: ShopEvent): string {
  return JSON.stringify({ ...event, late: null })
}

function saysTheSame(event: ShopEvent, fact: Fact, late: boolean): boolean {
  return (
    event.kind === fact.kind &&
    event.orderId === fact.orderId &&
    event.orderLine === fact.orderLine &&
    event.userId === fact.userId &&
    event.productId === fact.productId &&
    event.productName === fact.productName &&
    event.category === fact.category &&
    event.brand === fact.brand &&
    event.city === fact.city &&
    event.quantity === fact.quantity &&
    event.unitPriceMinor === fact.unitPriceMinor &&
    event.discountMinor === (fact.discountMinor ?? 0) &&
    event.taxMinor === (fact.taxMinor ?? 0) &&
    event.shippingMinor === (fact.shippingMinor ?? 0) &&
    event.totalMinor === fact.totalMinor &&
    event.currency === fact.currency &&
    event.eventTimeMs === fact.eventMs &&
    event.localDay === fact.day &&
    event.refundOf === fact.refundOf &&
    event.late === late
  )
}

function compare(records: Iterable<GeneratedRecord>, zone: string, currency: string, logTimeOf: (record: GeneratedRecord) => number): Agreement {
  const decoder = openDecoder({ zone, currency })
  const firsts = new Map<string, string>()
  const rubbish = new Set<string>()
  const differences: string[] = []
  for (const record of records) {
    const { append, means, topic } = record
    const differs = (what: string): void => {
      differences.push(`${what}: ${Buffer.from(append.value).toString().slice(0, 400)}`)
    }
    const decoded = decoder.decode({ value: append.value, logTimeMs: logTimeOf(record), headers: null }, topic)
    if ('refusal' in decoded) {
      const [meaning] = means
      if (meaning?.is !== 'refused' || meaning.reason !== decoded.refusal.reason) differs(`refused as ${decoded.refusal.reason}`)
      else rubbish.add(meaning.rubbish)
      continue
    }
    if (decoded.events.length !== means.length) differs(`${decoded.events.length} events`)
    decoded.events.forEach((event, i) => {
      const meaning = means[i]
      const id = `${event.source}|${event.eventId}`
      const fields = fieldsOf(event)
      const first = firsts.get(id)
      if (append.key !== event.orderId) differs('key')
      if (meaning?.is === 'event') {
        if (first !== undefined) differs('id twice')
        if (!saysTheSame(event, meaning.fact, meaning.late)) differs('fields')
        firsts.set(id, fields)
      } else if (meaning?.is === 'copy') {
        if (fields !== first) differs('no copy')
      } else if (meaning?.is === 'conflict') {
        if (first === undefined || fields === first) differs('no conflict')
      } else differs('not refused')
    })
  }
  return { differences, rubbish }
}

function logTimeOf({ append }: GeneratedRecord): number {
  return append.logTimeMs ?? Number.NaN
}

test.each([
  ['Europe/London', 'GBP'],
  ['America/New_York', 'JPY'],
  ['Australia/Lord_Howe', 'KWD'],
  ['Asia/Beirut', 'GBP'],
])('history of a shop in %s, %s', (zone, currency) => {
  const records = generateEvents({ profile: 'shop', seed: 3, events: 15_000, fromMs: FROM_MS, toMs: TO_MS, zone, currency, mixedCurrencies: true })
  expect(compare(records, zone, currency, logTimeOf).differences).toEqual([])
})

test('every kind of rubbish is refused for its reason, and every reason has its rubbish', () => {
  const records = [...generateEvents({ profile: 'shop', seed: 4, events: 60_000, fromMs: FROM_MS, toMs: TO_MS, zone: 'Europe/London', currency: 'GBP' })]
  const { differences, rubbish } = compare(records.filter(({ means }) => means[0]?.is === 'refused'), 'Europe/London', 'GBP', logTimeOf)
  expect(differences).toEqual([])
  expect([...rubbish].sort()).toEqual(RUBBISH_KINDS.map(({ name }) => name).sort())
  expect(new Set(RUBBISH_KINDS.map(({ reason }) => reason))).toEqual(new Set(refusalReasons))
})

test('a portable stream means the same at any later log time', () => {
  const records = generateEvents({ profile: 'shop', seed: 5, events: 15_000, fromMs: FROM_MS, toMs: TO_MS, zone: 'Europe/London', currency: 'GBP', portable: true })
  const decoder = openDecoder({ zone: 'Europe/London', currency: 'GBP' })
  const differences: string[] = []
  for (const { append, means } of records) {
    const text = Buffer.from(append.value).toString()
    const [meaning] = means
    const decoded = decoder.decode({ value: append.value, logTimeMs: TO_MS + 400 * 86_400_000, headers: null }, 'transactions')
    const meant = meaning?.is === 'refused' ? meaning.reason : null
    const read = 'refusal' in decoded ? decoded.refusal.reason : null
    if (meant !== read || text.includes('\n') || text === '') differences.push(`${meant} ${read} ${text}`)
  }
  expect(differences).toEqual([])
})

test('live traffic', () => {
  const startMs = TO_MS
  const shop = new LiveShop({ profile: 'shop', seed: 6, ratePerSecond: 50, zone: 'Europe/London', currency: 'GBP', startMs })
  const logTimes = new Map<GeneratedRecord, number>()
  for (let nowMs = startMs; nowMs < startMs + 300_000; nowMs += 1000) for (const record of shop.recordsUntil(nowMs)) logTimes.set(record, nowMs)
  // Whether a live event is late depends on the log's time to the second; none of these stands within a second of the bound.
  expect(compare(logTimes.keys(), 'Europe/London', 'GBP', (record) => logTimes.get(record) ?? Number.NaN).differences).toEqual([])
})
