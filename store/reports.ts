/**
 * Frozen reports in PostgreSQL: what a version is made of (rows of one published batch), and the versions themselves, which are only ever added. Of two
 * that freeze the same version the first stands.
 */
import type { PoolClient } from 'pg'
import { formatDay, parseDay } from '#core/calendar.ts'
import { ConflictError, InvalidRequestError } from '#core/errors.ts'
import type { ClosedPeriod, Seasons } from '#core/period.ts'
import type { AcceptedLoss, OffsetsByTopic } from '#core/receipt.ts'
import type { ReportKind } from '#core/report/periods.ts'
import type { Report, ReportFigures, ReportSection, Restatement, RestatementEvent, RestatementReason } from '#core/report/report.ts'
import { measures } from '#core/views/measures.ts'
import { hasFigures } from './counted-topics.ts'
import type { Database, Queryable } from './database.ts'
import { inTransaction, run } from './database.ts'
import { readSeasons } from './seasons.ts'

/** What the published batch says of itself, and what a report on it must know. Read in one snapshot with the figures. */
export type ReportBasis = {
  readonly now: Date
  readonly incarnation: string
  readonly batch: number
  readonly epoch: number
  readonly batchPublishedAt: Date
  /** When the batch's horizon was taken, by the database's clock. */
  readonly cutAt: Date
  /** That the batch's figures were made with. */
  readonly logicVersion: string
  /** That counting and the archive stand on: another than the batch's after a roll-back over a change of logic. */
  readonly storeLogicVersion: string
  readonly crossCheck: { readonly result: string; readonly corrections: number; readonly checkedAt: string | null }
  readonly horizon: OffsetsByTopic
  readonly asOfMs: number | null
  readonly acceptedLosses: readonly AcceptedLoss[]
  readonly seasons: Seasons
  /** Row versions of the batch by view and month: immutable as long as a kept batch has them. */
  readonly parts: readonly BatchPart[]
}

export type BatchPart = { readonly view: string; readonly month: string; readonly version: bigint }

export async function readReportBasis(queryable: Queryable): Promise<ReportBasis> {
  const [state] = await run<{
    now: Date
    incarnation: string
    batch: bigint
    epoch: bigint
    published_at: Date
    cut_at: Date | null
    logic_version: string
    store_logic_version: string | null
    cross_check: { result?: string; corrections?: number; checkedAt?: string } | null
  }>(
    queryable,
    /* sql */ `
    SELECT clock_timestamp() AS now, s.incarnation, x.batch, x.epoch, b.published_at, c.cut_at, coalesce(b.logic_version, c.logic_version, s.logic_version, '') AS logic_version,
      s.logic_version AS store_logic_version, b.cross_check
    FROM lake_state s, publish_pointer x JOIN batches b ON b.batch = x.batch LEFT JOIN cuts c ON c.epoch = x.epoch`,
  )
  const { batch, epoch } = { batch: Number(state!.batch), epoch: Number(state!.epoch) }
  const offsets = await run<{ topic: string; partition: number; next_offset: bigint; last_log_time_ms: bigint | null }>(
    queryable,
    `SELECT topic, partition, next_offset, last_log_time_ms FROM cut_offsets WHERE epoch = $1 AND ${hasFigures('topic')} ORDER BY topic, partition`,
    [epoch],
  )
  const horizon: Record<string, Record<string, number>> = {}
  for (const { topic, partition, next_offset } of offsets) (horizon[topic] ??= {})[partition] = Number(next_offset)
  const logTimes = offsets.flatMap((row) => (row.last_log_time_ms === null ? [] : [Number(row.last_log_time_ms)]))
  return {
    now: state!.now,
    incarnation: state!.incarnation,
    batch,
    epoch,
    batchPublishedAt: state!.published_at,
    cutAt: state!.cut_at ?? state!.published_at,
    logicVersion: state!.logic_version,
    storeLogicVersion: state!.store_logic_version ?? state!.logic_version,
    crossCheck: { result: state!.cross_check?.result ?? 'exact', corrections: state!.cross_check?.corrections ?? 0, checkedAt: state!.cross_check?.checkedAt ?? null },
    horizon,
    asOfMs: logTimes.length === 0 ? null : Math.max(...logTimes),
    acceptedLosses: await readAcceptedLosses(queryable),
    seasons: await readSeasons(queryable),
    parts: await run<BatchPart>(queryable, `SELECT view, month::text AS month, version FROM batch_parts WHERE batch = $1 AND view IN ('revenue', 'product_sales') AND month <> 'infinity' ORDER BY view, month`, [batch]),
  }
}

/** Whether a person accepted a batch that nothing explained, of those published after one batch and up to another. */
export async function wasAnyAccepted(queryable: Queryable, afterBatch: number, upToBatch: number): Promise<boolean> {
  const rows = await run(queryable, `SELECT 1 FROM batches WHERE batch > $1 AND batch <= $2 AND published_at IS NOT NULL AND cross_check->>'result' = 'accepted' LIMIT 1`, [afterBatch, upToBatch])
  return rows.length > 0
}

async function readAcceptedLosses(queryable: Queryable): Promise<AcceptedLoss[]> {
  const rows = await run<{ topic: string; partition: number; from_offset: bigint; to_offset: bigint; what: AcceptedLoss['what']; events_counted: bigint; accepted_at: Date; figures: AcceptedLoss['takenOut'] }>(
    queryable,
    `SELECT topic, partition, from_offset, to_offset, what, events_counted, accepted_at, figures FROM accepted_losses WHERE ${hasFigures('topic')} ORDER BY topic, partition, from_offset`,
  )
  return rows.map((row) => ({
    topic: row.topic,
    partition: row.partition,
    from: Number(row.from_offset),
    to: Number(row.to_offset),
    what: row.what,
    eventsCounted: Number(row.events_counted),
    acceptedAt: row.accepted_at.toISOString(),
    takenOut: row.figures,
  }))
}

type SumRow = { [Measure in (typeof measures)[number]]: bigint }

const sumList = measures.map((name) => `sum(b.${name})::bigint AS ${name}`).join(', ')
const isSomething = `(${measures.map((name) => `sum(b.${name}) <> 0`).join(' OR ')})`

export function figuresOfSums(row: SumRow): ReportFigures {
  return {
    transactions: Number(row.transactions),
    orders: Number(row.orders),
    refundEvents: Number(row.refund_events),
    unitsSold: Number(row.units_sold),
    unitsRefunded: Number(row.units_refunded),
    grossMinor: String(row.gross_minor),
    refundsMinor: String(row.refunds_minor),
    netMinor: String(row.gross_minor - row.refunds_minor),
  }
}

/** The batch's rows of a view in these days, through its own parts: `$1` versions, `$2` and `$3` the days. Alias b. */
function rowsOf(view: 'revenue' | 'product_sales'): string {
  return `FROM batch_${view} b WHERE b.version = ANY ($1) AND b.local_day >= $2::date AND b.local_day < $3::date`
}

function partValues(parts: readonly BatchPart[], view: string, { fromDay, toDay }: ClosedPeriod): unknown[] {
  const [from, to] = [formatDay(fromDay), formatDay(toDay)]
  const versions = parts.filter((part) => part.view === view && part.month >= `${from.slice(0, 7)}-01` && part.month < to).map((part) => part.version)
  return [versions, from, to]
}

/** The map of row versions that the days are read through: while it is the same, nothing in the days has changed. */
export function rowVersions(parts: readonly BatchPart[], days: ClosedPeriod): string {
  return ['revenue', 'product_sales'].map((view) => `${view}: ${(partValues(parts, view, days)[0] as bigint[]).join(' ')}`).join('; ')
}

export type SectionRow = { readonly section: ReportSection; readonly currency: string; readonly day: string | null; readonly city: string | null; readonly category: string | null; readonly figures: ReportFigures }

/** The sums of the days in total, by city, by category, by both and by day, each by currency; nothing for keys with nothing left. */
export async function readSections(queryable: Queryable, parts: readonly BatchPart[], days: ClosedPeriod): Promise<SectionRow[]> {
  const rows = await run<SumRow & { section: ReportSection; currency: string; day: string | null; city: string | null; category: string | null }>(
    queryable,
    /* sql */ `
    SELECT CASE grouping(b.local_day, b.city, b.category) WHEN 7 THEN 'total' WHEN 5 THEN 'city' WHEN 6 THEN 'category' WHEN 4 THEN 'city_category' ELSE 'day' END AS section,
      b.currency, b.local_day::text AS day, b.city, b.category, ${sumList}
    ${rowsOf('revenue')}
    GROUP BY GROUPING SETS ((b.currency), (b.city, b.currency), (b.category, b.currency), (b.city, b.category, b.currency), (b.local_day, b.currency))
    HAVING ${isSomething}
    ORDER BY b.currency, b.local_day, b.city, b.category`,
    partValues(parts, 'revenue', days),
  )
  return rows.map((row) => ({ section: row.section, currency: row.currency, day: row.day, city: row.city, category: row.category, figures: figuresOfSums(row) }))
}

export type ProductSums = { readonly currency: string; readonly productId: string; readonly rank: number; readonly category: string; readonly figures: ReportFigures }

/** The first products of each currency by units sold or by net revenue; then by the other, then by id bytewise. */
export async function readTopProducts(queryable: Queryable, parts: readonly BatchPart[], days: ClosedPeriod, by: 'units' | 'net', limit: number): Promise<ProductSums[]> {
  const net = 'sum(b.gross_minor) - sum(b.refunds_minor)'
  const order = by === 'units' ? `sum(b.units_sold) DESC, ${net} DESC` : `${net} DESC, sum(b.units_sold) DESC`
  const rows = await run<SumRow & { currency: string; product_id: string; rank: bigint; category: string }>(
    queryable,
    /* sql */ `
    WITH ranked AS (
      SELECT b.currency, b.product_id, ${sumList}, row_number() OVER (PARTITION BY b.currency ORDER BY ${order}, b.product_id COLLATE "C") AS rank
      ${rowsOf('product_sales')} GROUP BY b.currency, b.product_id HAVING ${isSomething}
    )
    SELECT r.*, (
      SELECT b.category ${rowsOf('product_sales')} AND b.product_id = r.product_id AND b.currency = r.currency
      GROUP BY b.category ORDER BY sum(b.units_sold) DESC, b.category COLLATE "C" LIMIT 1) AS category
    FROM ranked r WHERE rank <= $4 ORDER BY currency, rank`,
    [...partValues(parts, 'product_sales', days), limit],
  )
  return rows.map((row) => ({ currency: row.currency, productId: row.product_id, rank: Number(row.rank), category: row.category, figures: figuresOfSums(row) }))
}

/** Sums of some products in the days, by `currency` and product id. */
export async function readProducts(queryable: Queryable, parts: readonly BatchPart[], days: ClosedPeriod, productIds: readonly string[]): Promise<Map<string, ReportFigures>> {
  const rows = await run<SumRow & { currency: string; product_id: string }>(
    queryable,
    `SELECT b.currency, b.product_id, ${sumList} ${rowsOf('product_sales')} AND b.product_id = ANY ($4) GROUP BY b.currency, b.product_id`,
    [...partValues(parts, 'product_sales', days), productIds],
  )
  return new Map(rows.map((row) => [`${row.currency} ${row.product_id}`, figuresOfSums(row)]))
}

/** Names and categories: of the reference where it has the product, else the name on its newest sale. */
export async function readProductLabels(queryable: Queryable, productIds: readonly string[]): Promise<Map<string, { readonly name: string; readonly category: string | null }>> {
  const rows = await run<{ product_id: string; name: string; category: string | null }>(
    queryable,
    /* sql */ `
    SELECT id AS product_id, coalesce(r.name, n.product_name, id) AS name, r.category
    FROM unnest($1::text[]) AS id LEFT JOIN reference_products r ON r.product_id = id LEFT JOIN product_names n ON n.product_id = id`,
    [productIds],
  )
  return new Map(rows.map((row) => [row.product_id, { name: row.name, category: row.category }]))
}

/** The rows of one day, in the order of their keys bytewise: each the key's texts, then the measures. */
export async function readDayRows(queryable: Queryable, parts: readonly BatchPart[], view: 'revenue' | 'product_sales', day: number): Promise<(readonly (string | bigint)[])[]> {
  const keys = view === 'revenue' ? ['city', 'category', 'currency'] : ['product_id', 'category', 'currency']
  const rows = await run<Record<string, string | bigint>>(
    queryable,
    `SELECT ${keys.map((key) => `b.${key}`).join(', ')}, ${sumList} ${rowsOf(view)} GROUP BY ${keys.map((key) => `b.${key}`).join(', ')} HAVING ${isSomething}
     ORDER BY ${keys.map((key) => `b.${key} COLLATE "C"`).join(', ')}`,
    partValues(parts, view, { fromDay: day, toDay: day + 1 }),
  )
  return rows.map((row) => [...keys, ...measures].map((name) => row[name]!))
}

/** Equal for equal rows of the days in both views, whatever row versions they lie in. */
export async function fingerprintOf(queryable: Queryable, parts: readonly BatchPart[], days: ClosedPeriod): Promise<string> {
  const sums: string[] = []
  for (const view of ['revenue', 'product_sales'] as const) {
    const keys = view === 'revenue' ? ['b.local_day', 'b.city', 'b.category', 'b.currency'] : ['b.local_day', 'b.product_id', 'b.category', 'b.currency']
    const [row] = await run<{ rows: bigint; low: string; high: string }>(
      queryable,
      /* sql */ `
      SELECT count(*) AS rows, coalesce(sum(hashtextextended(line, 1)::numeric), 0)::text AS low, coalesce(sum(hashtextextended(line, 2)::numeric), 0)::text AS high
      FROM (SELECT concat_ws(E'\\x01', ${[...keys, ...measures.map((name) => `b.${name}`)].join(', ')}) AS line ${rowsOf(view)} AND (${measures.map((name) => `b.${name} <> 0`).join(' OR ')})) lines`,
      partValues(parts, view, days),
    )
    sums.push(`${view} ${row!.rows} ${row!.low} ${row!.high}`)
  }
  return `${formatDay(days.fromDay)} ${formatDay(days.toDay)}: ${sums.join('; ')}`
}

export type ReportVersion = {
  readonly kind: ReportKind
  readonly period: string
  readonly version: number
  readonly days: ClosedPeriod
  readonly batch: number
  readonly epoch: number
  readonly seasonsVersion: number
  readonly fingerprint: string
  readonly rowVersions: string
  /** Events that explain the difference to the version before; null for a first version. */
  readonly restatesEvents: number | null
  readonly publishedAt: Date
}

type VersionRow = {
  kind: ReportKind
  period: string
  version: number
  from_day: string
  to_day: string
  batch: bigint
  epoch: bigint
  seasons_version: number
  fingerprint: string
  row_versions: string
  restates_events: bigint | null
  published_at: Date
}

const versionColumns = 'kind, period, version, from_day, to_day, batch, epoch, seasons_version, fingerprint, row_versions, restates_events, published_at'

function asVersion(row: VersionRow): ReportVersion {
  return {
    kind: row.kind,
    period: row.period,
    version: row.version,
    days: { fromDay: parseDay(row.from_day)!, toDay: parseDay(row.to_day)! },
    batch: Number(row.batch),
    epoch: Number(row.epoch),
    seasonsVersion: row.seasons_version,
    fingerprint: row.fingerprint,
    rowVersions: row.row_versions,
    restatesEvents: row.restates_events === null ? null : Number(row.restates_events),
    publishedAt: row.published_at,
  }
}

export type ReportFilter = { readonly kind?: ReportKind; readonly period?: string; readonly allVersions?: boolean; readonly limit?: number; readonly offset?: number }

/** The newest version of each report, or every version; the latest periods first. */
export async function listReports(queryable: Queryable, filter: ReportFilter = {}): Promise<ReportVersion[]> {
  const rows = await run<VersionRow>(
    queryable,
    /* sql */ `
    SELECT ${versionColumns} FROM report_versions v
    WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR period = $2)
      AND ($3 OR version = (SELECT max(version) FROM report_versions n WHERE n.kind = v.kind AND n.period = v.period))
    ORDER BY to_day DESC, from_day DESC, kind, version DESC LIMIT $4 OFFSET $5`,
    [filter.kind ?? null, filter.period ?? null, filter.allVersions === true, filter.limit ?? 10_000, filter.offset ?? 0],
  )
  return rows.map(asVersion)
}

/** The newest version, or null. */
export async function findReport(queryable: Queryable, kind: ReportKind, period: string, version?: number): Promise<ReportVersion | null> {
  const rows = await run<VersionRow>(
    queryable,
    `SELECT ${versionColumns} FROM report_versions WHERE kind = $1 AND period = $2 AND ($3::int IS NULL OR version = $3) ORDER BY version DESC LIMIT 1`,
    [kind, period, version ?? null],
  )
  return rows[0] === undefined ? null : asVersion(rows[0])
}

/** The document of a version as it was frozen, byte for byte; the newest by default. Throws InvalidRequestError where there is none. */
export async function readReportText(queryable: Queryable, kind: ReportKind, period: string, version?: number): Promise<string> {
  const [row] = await run<{ document: string }>(
    queryable,
    'SELECT document FROM report_versions WHERE kind = $1 AND period = $2 AND ($3::int IS NULL OR version = $3) ORDER BY version DESC LIMIT 1',
    [kind, period, version ?? null],
  )
  if (row === undefined) {
    throw new InvalidRequestError(`There is no ${kind} report of ${period}${version === undefined ? '' : ` in version ${version}`}. "tidemark report list" shows those there are; "tidemark report ${kind} ${period}" makes one.`, { kind, period })
  }
  return row.document
}

export async function readReport(queryable: Queryable, kind: ReportKind, period: string, version?: number): Promise<Report> {
  return JSON.parse(await readReportText(queryable, kind, period, version)) as Report
}

export const reportFormats = ['html', 'csv', 'json', 'parquet', 'restatement'] as const
export type ReportFormat = (typeof reportFormats)[number]
export type ReportFile = { readonly kind: ReportKind; readonly period: string; readonly version: number; readonly format: ReportFormat; readonly path: string; readonly bytes: number; readonly sha256: string }

/** The files of one version, or of every version of every report. */
export async function readReportFiles(queryable: Queryable, of?: { readonly kind: ReportKind; readonly period: string; readonly version: number }): Promise<ReportFile[]> {
  const rows = await run<{ kind: ReportKind; period: string; version: number; format: ReportFormat; path: string; bytes: bigint; sha256: string }>(
    queryable,
    /* sql */ `
    SELECT kind, period, version, format, path, bytes, sha256 FROM report_files
    WHERE $1::text IS NULL OR (kind = $1 AND period = $2 AND version = $3) ORDER BY kind, period, version, format`,
    [of?.kind ?? null, of?.period ?? null, of?.version ?? null],
  )
  return rows.map((row) => ({ ...row, bytes: Number(row.bytes) }))
}

export type FrozenReport = {
  readonly report: Report
  readonly document: string
  readonly basis: Pick<ReportVersion, 'days' | 'batch' | 'epoch' | 'seasonsVersion' | 'fingerprint' | 'rowVersions'>
  readonly files: readonly Pick<ReportFile, 'format' | 'path' | 'bytes' | 'sha256'>[]
}

const eventsPerInsert = 2_000

/** Publishes a version, in one durable transaction. Throws ConflictError where another has published it meanwhile. */
export async function publishReport(database: Database, frozen: FrozenReport, events: Iterable<RestatementEvent>): Promise<void> {
  const { report, basis } = frozen
  await inTransaction(database, {}, async (client) => {
    const added = await client.query(
      /* sql */ `
      INSERT INTO report_versions (${versionColumns}, document)
      SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13
      WHERE $3 = 1 + coalesce((SELECT max(version) FROM report_versions WHERE kind = $1 AND period = $2), 0)
      ON CONFLICT DO NOTHING`,
      [
        report.kind,
        report.period,
        report.version,
        formatDay(basis.days.fromDay),
        formatDay(basis.days.toDay),
        basis.batch,
        basis.epoch,
        basis.seasonsVersion,
        basis.fingerprint,
        basis.rowVersions,
        report.restatement?.eventCount ?? null,
        report.publishedAt,
        frozen.document,
      ],
    )
    if (added.rowCount !== 1) throw new ConflictError(`Version ${report.version} of the ${report.kind} report of ${report.period} was published by another meanwhile.`)
    for (const file of frozen.files) {
      await client.query('INSERT INTO report_files (kind, period, version, format, path, bytes, sha256) VALUES ($1, $2, $3, $4, $5, $6, $7)', [
        report.kind,
        report.period,
        report.version,
        file.format,
        file.path,
        file.bytes,
        file.sha256,
      ])
    }
    await storeEvents(client, report, events)
  })
}

async function storeEvents(client: PoolClient, { kind, period, version }: Report, events: Iterable<RestatementEvent>): Promise<void> {
  let entry = 0
  let pending: RestatementEvent[] = []
  const store = async (): Promise<void> => {
    const column = (of: (event: RestatementEvent) => unknown): unknown[] => pending.map(of)
    await client.query(
      /* sql */ `
      INSERT INTO restatement_events (kind, period, version, entry, reason, source, event_id, event_kind, local_day, log_time_ms, partition, log_offset, record_index, city, category,
        product_id, quantity, total_minor, currency)
      SELECT $1, $2, $3, $4::bigint + row_number() OVER (), * FROM unnest($5::text[], $6::text[], $7::text[], $8::text[], $9::date[], $10::bigint[], $11::int[], $12::bigint[], $13::int[],
        $14::text[], $15::text[], $16::text[], $17::bigint[], $18::bigint[], $19::text[])`,
      [
        kind,
        period,
        version,
        entry,
        column((event) => event.reason),
        column((event) => event.source),
        column((event) => event.eventId),
        column((event) => event.kind),
        column((event) => event.localDay),
        column((event) => Date.parse(event.logTime)),
        column((event) => event.partition),
        column((event) => event.offset),
        column((event) => event.index),
        column((event) => event.city),
        column((event) => event.category),
        column((event) => event.productId),
        column((event) => event.quantity),
        column((event) => event.totalMinor),
        column((event) => event.currency),
      ],
    )
    entry += pending.length
    pending = []
  }
  for (const event of events) {
    pending.push(event)
    if (pending.length === eventsPerInsert) await store()
  }
  if (pending.length > 0) await store()
}

export type RestatementSummary = Pick<ReportVersion, 'kind' | 'period' | 'version' | 'publishedAt' | 'batch'> & Pick<Restatement, 'ofVersion' | 'causes' | 'eventCount'>

/** Versions that restate an earlier one, newest first. */
export async function listRestatements(queryable: Queryable, filter: ReportFilter = {}): Promise<RestatementSummary[]> {
  const rows = await run<{ kind: ReportKind; period: string; version: number; published_at: Date; batch: bigint; restatement: Restatement }>(
    queryable,
    /* sql */ `
    SELECT kind, period, version, published_at, batch, document::jsonb->'restatement' AS restatement FROM report_versions
    WHERE restates_events IS NOT NULL AND ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR period = $2)
    ORDER BY published_at DESC, kind, period, version DESC LIMIT $3 OFFSET $4`,
    [filter.kind ?? null, filter.period ?? null, filter.limit ?? 1_000, filter.offset ?? 0],
  )
  return rows.map(({ restatement, ...row }) => ({
    kind: row.kind,
    period: row.period,
    version: row.version,
    publishedAt: row.published_at,
    batch: Number(row.batch),
    ofVersion: restatement.ofVersion,
    causes: restatement.causes,
    eventCount: restatement.eventCount,
  }))
}

/** The events behind a restatement, by position; `after` is the last entry of the page before. */
export async function listRestatementEvents(
  queryable: Queryable,
  of: { readonly kind: ReportKind; readonly period: string; readonly version: number },
  after = 0,
  limit = 1_000,
): Promise<(RestatementEvent & { readonly entry: number })[]> {
  const rows = await run<{
    entry: bigint
    reason: RestatementReason
    source: string
    event_id: string
    event_kind: 'sale' | 'refund'
    local_day: string
    log_time_ms: bigint
    partition: number
    log_offset: bigint
    record_index: number
    city: string
    category: string
    product_id: string
    quantity: bigint
    total_minor: bigint
    currency: string
  }>(
    queryable,
    /* sql */ `
    SELECT entry, reason, source, event_id, event_kind, local_day, log_time_ms, partition, log_offset, record_index, city, category, product_id, quantity, total_minor, currency
    FROM restatement_events WHERE kind = $1 AND period = $2 AND version = $3 AND entry > $4 ORDER BY entry LIMIT $5`,
    [of.kind, of.period, of.version, after, limit],
  )
  return rows.map((row) => ({
    entry: Number(row.entry),
    reason: row.reason,
    source: row.source,
    eventId: row.event_id,
    kind: row.event_kind,
    localDay: row.local_day,
    logTime: new Date(Number(row.log_time_ms)).toISOString(),
    partition: row.partition,
    offset: Number(row.log_offset),
    index: row.record_index,
    city: row.city,
    category: row.category,
    productId: row.product_id,
    quantity: Number(row.quantity),
    totalMinor: String(row.total_minor),
    currency: row.currency,
  }))
}
