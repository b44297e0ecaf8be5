/** The shapes of what is kept of the past: batches, frozen reports and their restatements, dead letters. */
import { Type } from 'typebox'
import type { TSchema } from 'typebox'
import { reportKinds } from '#core/report/periods.ts'
import { reportSections, restatementReasons } from '#core/report/report.ts'
import { reportFormats } from '#store/reports.ts'
import { pageRowsMax } from './paging.ts'
import { closed, count, decimal, instant, minor, nullable, offsets } from './schemas.ts'

const text = Type.String()
const day = Type.String({ format: 'date' })
const oneOf = (values: readonly string[]) => Type.Enum([...values])
const kind = oneOf(reportKinds)
const bySomething = <T extends TSchema>(schema: T) => Type.Record(Type.String(), schema)
/** Of documents that are frozen as they are: a later version of the program may have more to say. */
const open = <T extends Record<string, TSchema>>(properties: T) => Type.Object(properties)

const paging = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: pageRowsMax, default: 50 })),
  cursor: Type.Optional(Type.String({ description: 'Of the page before, from its `next`.' })),
}
const page = <T extends TSchema>(row: T) => ({ rows: Type.Array(row), next: nullable(Type.String({ description: 'Address of the next page; null on the last.' })) })

const listedBatch = {
  batch: Type.Integer(),
  kind: text,
  status: Type.String({ description: 'running, held, published, superseded, dropped, failed or pruned. `asOfBatch` takes the published ones.' }),
  isServing: Type.Boolean({ description: 'The figures are merged from this one now.' }),
  epoch: Type.Integer(),
  baseBatch: nullable(Type.Integer()),
  startedAt: instant,
  finishedAt: nullable(instant),
  publishedAt: nullable(instant),
  durationMs: nullable(Type.Integer()),
  eventsRead: nullable(count),
  eventsCounted: nullable(count),
  logicVersion: nullable(text),
  horizon: offsets,
  crossCheck: nullable(closed({ result: text, corrections: count, correctionsByReason: bySomething(count), keysDiffering: count, checkedAt: nullable(instant) })),
  message: nullable(Type.String({ description: 'Why it is held, failed or superseded.' })),
}
export const batchesParameters = closed(paging)
export const batchesAnswer = closed(page(closed(listedBatch)))
export const batchAnswer = closed({
  ...listedBatch,
  steps: nullable(bySomething(Type.Number({ description: 'Milliseconds.' }))),
  inputs: nullable(bySomething(Type.Unknown())),
  crossCheckDetail: nullable(bySomething(Type.Unknown())),
  servedFrom: Type.Array(instant, { description: 'Each time that it began to serve: its publication, then roll-backs to it.' }),
})

const figures = { transactions: count, orders: count, refundEvents: count, unitsSold: count, unitsRefunded: count, grossMinor: minor, refundsMinor: minor, netMinor: minor }
const shown = { ...figures, gross: decimal, refunds: decimal, net: decimal }

export const reportsParameters = closed({
  kind: Type.Optional(kind),
  period: Type.Optional(Type.String({ description: 'The beginning of the period: `2025`, `2025-03`, `2025-Q1`, `2025-spring`.' })),
  versions: Type.Optional(Type.Literal('all', { description: 'Every version, in place of the newest of each.' })),
  ...paging,
})
export const reportsAnswer = closed(
  page(
    closed({
      kind,
      period: text,
      version: Type.Integer({ minimum: 1 }),
      from: day,
      to: Type.String({ format: 'date', description: 'Exclusive.' }),
      batch: Type.Integer(),
      publishedAt: instant,
      restatesEvents: nullable(Type.Integer({ description: 'Events that explain the difference to the version before; null of a first version.' })),
      totals: Type.Array(closed({ currency: text, ...shown, before: nullable(closed(shown)), yearBefore: nullable(closed(shown)) })),
      href: text,
    }),
  ),
)
export const versionParameters = closed({ version: Type.Optional(Type.Integer({ minimum: 1, description: 'The newest by default.' })) })

const lineKey = { section: oneOf(reportSections), currency: text, day: nullable(day), city: nullable(text), category: nullable(text), season: nullable(text), productId: nullable(text) }
const comparedPeriod = open({ period: text, from: day, to: day, hasBooks: Type.Boolean() })
const reason = oneOf(restatementReasons)
const eventFields = {
  reason,
  source: text,
  eventId: text,
  kind: Type.Union([Type.Literal('sale'), Type.Literal('refund')]),
  localDay: day,
  logTime: instant,
  partition: Type.Integer(),
  offset: Type.Integer(),
  index: Type.Integer(),
  city: text,
  category: text,
  productId: text,
  quantity: count,
  totalMinor: minor,
  currency: text,
}
const reportDocument = open({
  kind,
  period: text,
  version: Type.Integer(),
  from: day,
  to: day,
  zone: text,
  booksOpenOn: day,
  seasonsVersion: Type.Integer(),
  publishedAt: instant,
  before: comparedPeriod,
  yearBefore: comparedPeriod,
  lines: Type.Array(open({ ...lineKey, productName: nullable(text), rank: nullable(Type.Integer()), now: open(figures), before: nullable(open(figures)), yearBefore: nullable(open(figures)) })),
  receipt: open({
    incarnation: text,
    batch: Type.Integer(),
    epoch: Type.Integer(),
    batchPublishedAt: instant,
    logicVersion: text,
    horizon: offsets,
    asOf: nullable(instant),
    crossCheck: open({ result: text, corrections: count, checkedAt: nullable(instant) }),
    archiveCheck: open({ engine: text, files: count, rowsRead: count, keysCompared: count }),
    acceptedLosses: Type.Array(Type.Unknown()),
  }),
  restatement: nullable(
    open({
      ofVersion: Type.Integer(),
      ofBatch: Type.Integer(),
      ofEpoch: Type.Integer(),
      publishedAt: instant,
      causes: Type.Array(open({ reason, currency: text, events: count, difference: open(figures) })),
      lines: Type.Array(open({ ...lineKey, asPublished: open(figures), asKnownNow: open(figures), difference: open(figures) })),
      eventCount: count,
      events: Type.Array(open(eventFields)),
    }),
  ),
})
export const reportAnswer = closed({
  report: reportDocument,
  files: Type.Array(closed({ format: oneOf(reportFormats), contentType: text, bytes: count, sha256: text, href: text })),
  links: closed({ self: text, versions: text, differences: nullable(text), events: nullable(text) }),
})
export const fileParameters = closed({
  version: Type.Optional(Type.Integer({ minimum: 1, description: 'The newest by default.' })),
  sha256: Type.Optional(Type.String({ pattern: '^[0-9a-f]{64}$', description: 'Of the file that is meant: with it the answer may be kept for good.' })),
})
export const diffParameters = closed({
  from: Type.Optional(Type.Integer({ minimum: 1, description: 'The version before `to` by default.' })),
  to: Type.Optional(Type.Integer({ minimum: 1, description: 'The newest by default.' })),
})
const difference = { asPublished: closed(shown), asKnownNow: closed(shown), difference: closed(shown) }
export const diffAnswer = closed({ kind, period: text, from: Type.Integer(), to: Type.Integer(), rows: Type.Array(closed({ ...lineKey, ...difference })) })

export const restatementsParameters = closed({
  kind: Type.Optional(kind),
  period: Type.Optional(Type.String({ description: 'The beginning of the period.' })),
  since: Type.Optional(Type.String({ format: 'date-time', description: 'Only those published at or after this time.' })),
  ...paging,
})
export const restatementsAnswer = closed(
  page(
    closed({
      kind,
      period: text,
      version: Type.Integer({ minimum: 2 }),
      ofVersion: Type.Integer({ minimum: 1 }),
      batch: Type.Integer(),
      publishedAt: instant,
      eventCount: count,
      linesChanged: count,
      causes: Type.Array(closed({ reason, currency: text, events: count, difference: closed(shown) })),
      totals: Type.Array(closed({ currency: text, ...difference })),
      report: text,
      events: text,
    }),
  ),
)
export const restatementEventsParameters = closed(paging)
export const restatementEventsAnswer = closed(page(closed({ entry: Type.Integer(), ...eventFields, total: decimal })))

const letter = {
  id: Type.Integer({ description: 'Its position is its name for good; the number only until a batch settles it otherwise.' }),
  topic: text,
  partition: Type.Integer(),
  offset: Type.Integer(),
  index: Type.Integer(),
  epoch: Type.Integer(),
  reason: text,
  detail: text,
  logTime: instant,
  first: nullable(closed({ partition: Type.Integer(), offset: Type.Integer() })),
  foundBy: Type.Union([Type.Literal('speed'), Type.Literal('batch')]),
  headers: nullable(bySomething(text)),
  bytes: Type.Integer({ description: 'Of the whole record.' }),
  text: Type.String({ description: 'The beginning of the record: invalid UTF-8 as \\xff, control characters as \\u0000, a backslash as two.' }),
  imported: nullable(closed({ importName: text, file: text, line: Type.Integer() })),
  resubmitted: nullable(closed({ times: Type.Integer(), appendedAt: nullable(instant) })),
}
export const lettersParameters = closed({
  reason: Type.Optional(Type.String({ pattern: '^[a-z-]{1,60}$' })),
  topic: Type.Optional(Type.String({ maxLength: 249 })),
  ...paging,
})
export const lettersAnswer = closed({ ...page(closed(letter)), counts: Type.Array(closed({ topic: text, reason: text, letters: count })) })
export const letterAnswer = closed({ ...letter, isCut: Type.Boolean({ description: 'The text goes on.' }) })
