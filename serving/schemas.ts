/** The shapes of requests and answers, as the OpenAPI document shows them. Requests are read, with clearer messages, by parameters.ts. */
import { Type } from 'typebox'
import type { TObject, TSchema } from 'typebox'

export const minor = Type.String({ pattern: '^-?[0-9]+$', description: 'Whole minor units of the currency.' })
export const decimal = Type.String({ pattern: '^-?[0-9]+(\\.[0-9]+)?$' })
export const count = Type.Integer()
export const instant = Type.String({ format: 'date-time' })
export const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])
export const closed = <T extends Record<string, TSchema>>(properties: T) => Type.Object(properties, { additionalProperties: false })

const figures = {
  currency: Type.String({ pattern: '^[A-Z]{3}$', description: 'ISO 4217.' }),
  transactions: Type.Integer({ description: 'Sale lines.' }),
  orders: count,
  refundEvents: count,
  unitsSold: count,
  unitsRefunded: count,
  grossMinor: minor,
  refundsMinor: minor,
  netMinor: minor,
  gross: decimal,
  refunds: decimal,
  net: decimal,
}

export const offsets = Type.Record(Type.String(), Type.Record(Type.String(), Type.Integer()), { description: 'Topic → partition → next offset (exclusive).' })
const share = closed({ events: count, netMinorByCurrency: Type.Record(Type.String(), minor) })

export const receiptSchema = closed({
  incarnation: Type.String(),
  batch: closed({ id: Type.Integer(), publishedAt: nullable(instant) }),
  horizon: offsets,
  position: offsets,
  asOf: nullable(instant),
  fromBatch: share,
  fromSpeed: share,
  deduplication: closed({ windowIds: Type.Integer(), scope: Type.String() }),
  lateEvents: nullable(count),
  refusedEvents: nullable(count),
  copies: nullable(count),
  conflicts: nullable(count),
  crossCheck: closed({ batch: Type.Integer(), result: Type.String(), corrections: count, checkedAt: nullable(instant) }),
  complete: Type.Boolean(),
  missing: Type.Array(closed({ topic: Type.String(), partition: Type.Integer(), from: Type.Integer(), to: nullable(Type.Integer()), reason: Type.String() })),
  acceptedLosses: Type.Array(
    closed({
      topic: Type.String(),
      partition: Type.Integer(),
      from: Type.Integer(),
      to: Type.Integer(),
      what: Type.Union([Type.Literal('gap'), Type.Literal('rebuilt'), Type.Literal('damaged')]),
      eventsCounted: count,
      acceptedAt: instant,
      takenOut: nullable(Type.Record(Type.String(), Type.Record(Type.String(), Type.String()))),
    }),
    { description: 'Ranges of the log that are gone and that a person gave up; `takenOut` is what the speed layer had counted of them, by currency.' },
  ),
  asOfBatch: Type.Optional(Type.Integer({ description: 'Only where a batch of the past was asked for: these are its rows alone.' })),
})

const text = Type.String()
const key = Type.Optional(text)

export const revenueAnswer = closed({
  rows: Type.Array(closed({ day: key, month: key, season: key, year: key, city: key, category: key, ...figures })),
  receipt: receiptSchema,
})
export const productsAnswer = closed({
  rows: Type.Array(closed({ rank: Type.Integer({ minimum: 1 }), productId: text, productName: text, ...figures })),
  receipt: receiptSchema,
})
export const paceAnswer = closed({
  rows: Type.Array(closed({ weekday: Type.Integer({ minimum: 1, maximum: 7 }), hour: Type.Integer({ minimum: 0, maximum: 23 }), ...figures })),
  receipt: receiptSchema,
})
export const minutesAnswer = closed({
  rows: Type.Array(
    closed({ minute: instant, currency: text, transactions: count, grossMinor: minor, refundsMinor: minor, gross: decimal, refunds: decimal }),
  ),
  layer: Type.Literal('speed'),
})

export const errorAnswer = closed({
  error: closed({ code: text, message: Type.String({ description: 'What to change.' }), details: Type.Record(Type.String(), Type.Unknown()) }),
})

const batch = closed({
  id: Type.Integer(),
  epoch: Type.Integer(),
  kind: text,
  status: text,
  startedAt: instant,
  finishedAt: nullable(instant),
  publishedAt: nullable(instant),
  eventsRead: nullable(count),
  eventsCounted: nullable(count),
  message: nullable(text),
  crossCheck: nullable(closed({ result: text, corrections: count, checkedAt: nullable(instant) })),
})

export const statusAnswer = closed({
  version: text,
  incarnation: text,
  zone: text,
  currency: text,
  today: Type.String({ format: 'date' }),
  booksOpenOn: nullable(Type.String({ format: 'date' })),
  epoch: Type.Integer(),
  batch: closed({ id: Type.Integer(), epoch: Type.Integer(), moves: Type.Integer(), publishedAt: nullable(instant), pausedReason: nullable(text) }),
  speed: closed({
    partitions: Type.Array(
      closed({
        topic: text,
        partition: Type.Integer(),
        nextOffset: Type.Integer(),
        logEnd: nullable(Type.Integer()),
        lastLogTime: nullable(instant),
        records: count,
        accepted: count,
        copies: count,
        conflicts: count,
        refused: count,
        late: count,
      }),
    ),
    workers: Type.Array(
      closed({
        worker: text,
        startedAt: instant,
        seenAt: instant,
        partitions: Type.Array(Type.Integer()),
        ledgerIds: count,
        flushes: count,
        fencedFlushes: count,
        failedFlushes: count,
        skippedReplays: count,
      }),
    ),
  }),
  batches: Type.Array(batch),
  deadLetters: closed({ byReason: Type.Record(Type.String(), count) }),
  stopped: Type.Array(
    closed({ topic: text, partition: Type.Integer(), from: Type.Integer(), to: nullable(Type.Integer()), reason: text, noticedAt: instant }),
  ),
  archive: closed({ files: count, bytes: count, rows: count }),
})

const day = (description: string) => Type.Optional(Type.String({ format: 'date', description }))
const filter = (description: string) => Type.Optional(Type.String({ maxLength: 256, description }))
const range = { from: day('First day, inclusive, in the shop’s zone.'), to: day('Last day, exclusive.') }
const currency = Type.Optional(Type.String({ pattern: '^[A-Z]{3}$', description: 'Only this currency.' }))

const asOf = {
  asOfBatch: Type.Optional(Type.Integer({ minimum: 0, description: 'As this batch was published, with nothing above its horizon. The batch must still be kept.' })),
  asOf: Type.Optional(Type.String({ format: 'date-time', description: 'The same of the batch that served at this time.', examples: ['2025-01-02T06:00:00Z'] })),
}

export const revenueParameters = closed({
  ...range,
  by: Type.Optional(Type.String({ description: 'Any of day, month, season, year, city, category, with commas. Empty: totals per currency.', examples: ['city,category'] })),
  city: filter('Only this city.'),
  category: filter('Only this category.'),
  currency,
  ...asOf,
})
export const productsParameters = closed({
  n: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 5 })),
  by: Type.Optional(Type.Union([Type.Literal('units'), Type.Literal('net'), Type.Literal('gross'), Type.Literal('transactions')], { default: 'units' })),
  day: day('One day.'),
  month: Type.Optional(Type.String({ pattern: '^[0-9]{4}-[0-9]{2}$', examples: ['2024-12'] })),
  season: Type.Optional(Type.String({ examples: ['2024-winter'], description: 'Year in which the season starts, and its name.' })),
  year: Type.Optional(Type.String({ pattern: '^[0-9]{4}$' })),
  ...range,
  city: filter('Only this city; by whole months.'),
  category: filter('Only this category; not with city.'),
  currency,
  ...asOf,
})
export const paceParameters = closed({ ...range, category: filter('Only this category.'), currency, ...asOf })
export const noParameters = closed({})

export type Parameters = TObject
