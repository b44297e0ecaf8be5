/** Frozen reports and their restatements as people look through them, by pages. Documents never change, so what is read out of one is kept. */
import type { ReportKind } from '#core/report/periods.ts'
import type { ReportFigures, ReportLine, RestatedLine, Restatement, RestatementCause } from '#core/report/report.ts'
import type { Queryable } from './database.ts'
import { run } from './database.ts'

export type PagedReport = {
  readonly kind: ReportKind
  readonly period: string
  readonly version: number
  readonly from: string
  readonly to: string
  readonly batch: number
  readonly publishedAt: string
  /** Null of a first version. */
  readonly restatesEvents: number | null
  /** One per currency, with the same of the period before and of the year before; none where nothing was sold. */
  readonly totals: readonly ReportTotal[]
}

export type ReportTotal = { readonly currency: string; readonly now: ReportFigures; readonly before: ReportFigures | null; readonly yearBefore: ReportFigures | null }

/** Where a page of reports ended. */
export type ReportPlace = { readonly to: string; readonly from: string; readonly kind: string; readonly period: string; readonly version: number }

export type ReportPageFilter = { readonly kind: ReportKind | null; readonly periodPrefix: string | null; readonly isEveryVersion: boolean; readonly after: ReportPlace | null; readonly limit: number }

type ReportRow = { kind: ReportKind; period: string; version: number; from_day: string; to_day: string; batch: bigint; restates_events: bigint | null; published_at: Date }

/** The latest periods first; of one, the newest version first. */
export async function pageOfReports(queryable: Queryable, filter: ReportPageFilter): Promise<PagedReport[]> {
  const { after } = filter
  const rows = await run<ReportRow>(
    queryable,
    /* sql */ `
    SELECT kind, period, version, from_day, to_day, batch, restates_events, published_at FROM report_versions v
    WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR starts_with(period, $2))
      AND ($3 OR version = (SELECT max(n.version) FROM report_versions n WHERE n.kind = v.kind AND n.period = v.period))
      AND ($4::date IS NULL OR (to_day, from_day) < ($4, $5) OR ((to_day, from_day) = ($4, $5) AND (kind, period, -version) > ($6, $7, -$8::int)))
    ORDER BY to_day DESC, from_day DESC, kind, period, version DESC LIMIT $9`,
    [filter.kind, filter.periodPrefix, filter.isEveryVersion, after?.to ?? null, after?.from ?? null, after?.kind ?? null, after?.period ?? null, after?.version ?? null, filter.limit],
  )
  const totals = await readOf(queryable, rows, totalsKept, `'$.lines[*] ? (@.section == "total")'`, (lines) => (lines as ReportLine[]).map(totalOf))
  return totals.map(([row, found]) => ({
    kind: row.kind,
    period: row.period,
    version: row.version,
    from: row.from_day,
    to: row.to_day,
    batch: Number(row.batch),
    publishedAt: row.published_at.toISOString(),
    restatesEvents: row.restates_events === null ? null : Number(row.restates_events),
    totals: found,
  }))
}

function totalOf({ currency, now, before, yearBefore }: ReportLine): ReportTotal {
  return { currency, now, before, yearBefore }
}

export type PagedRestatement = {
  readonly kind: ReportKind
  readonly period: string
  readonly version: number
  readonly ofVersion: number
  readonly batch: number
  readonly publishedAt: string
  readonly eventCount: number
  readonly causes: readonly RestatementCause[]
  /** One per currency whose total changed. */
  readonly totals: readonly Pick<RestatedLine, 'currency' | 'asPublished' | 'asKnownNow' | 'difference'>[]
  /** Lines of all sections that changed. */
  readonly linesChanged: number
}

export type RestatementPlace = { readonly publishedAtMs: number; readonly kind: string; readonly period: string; readonly version: number }

export type RestatementPageFilter = {
  readonly kind: ReportKind | null
  readonly periodPrefix: string | null
  readonly sinceMs: number | null
  readonly after: RestatementPlace | null
  readonly limit: number
}

/** The newest first. */
export async function pageOfRestatements(queryable: Queryable, filter: RestatementPageFilter): Promise<PagedRestatement[]> {
  const { after } = filter
  // The times of the cursor are whole milliseconds, as reports are published.
  const rows = await run<ReportRow>(
    queryable,
    /* sql */ `
    SELECT kind, period, version, from_day, to_day, batch, restates_events, published_at FROM report_versions
    WHERE restates_events IS NOT NULL AND ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR starts_with(period, $2)) AND ($3::timestamptz IS NULL OR published_at >= $3)
      AND ($4::timestamptz IS NULL OR published_at < $4 OR (published_at = $4 AND (kind, period, -version) > ($5, $6, -$7::int)))
    ORDER BY published_at DESC, kind, period, version DESC LIMIT $8`,
    [
      filter.kind,
      filter.periodPrefix,
      filter.sinceMs === null ? null : new Date(filter.sinceMs),
      after === null ? null : new Date(after.publishedAtMs),
      after?.kind ?? null,
      after?.period ?? null,
      after?.version ?? null,
      filter.limit,
    ],
  )
  const restatements = await readOf(queryable, rows, restatementsKept, `'$.restatement'`, ([one]) => summaryOf(one as Restatement))
  return restatements.map(([row, found]) => ({
    kind: row.kind,
    period: row.period,
    version: row.version,
    batch: Number(row.batch),
    publishedAt: row.published_at.toISOString(),
    ...found,
  }))
}

type RestatementSums = Pick<PagedRestatement, 'ofVersion' | 'eventCount' | 'causes' | 'totals' | 'linesChanged'>

function summaryOf({ ofVersion, eventCount, causes, lines }: Restatement): RestatementSums {
  const totals = lines.filter((line) => line.section === 'total').map(({ currency, asPublished, asKnownNow, difference }) => ({ currency, asPublished, asKnownNow, difference }))
  return { ofVersion, eventCount, causes, totals, linesChanged: lines.length }
}

const keptMax = 2_000
const totalsKept = new Map<string, readonly ReportTotal[]>()
const restatementsKept = new Map<string, RestatementSums>()

/** The rows, each with what a path finds in its document. Only documents that were not looked into yet are read; a row whose document is gone meanwhile is left out. */
async function readOf<T>(queryable: Queryable, rows: readonly ReportRow[], kept: Map<string, T>, path: string, of: (found: readonly unknown[]) => T): Promise<(readonly [ReportRow, T])[]> {
  // A store that was put back from a backup may give a version's number again, at another time.
  const keyOf = (row: Pick<ReportRow, 'kind' | 'period' | 'version' | 'published_at' | 'batch'>): string => [row.kind, row.period, row.version, row.published_at.getTime(), row.batch].join(' ')
  const found = new Map<string, T>()
  const missing = rows.filter((row) => {
    const known = kept.get(keyOf(row))
    if (known !== undefined) found.set(keyOf(row), known)
    return known === undefined
  })
  if (missing.length > 0) {
    const documents = await run<ReportRow & { found: unknown[] }>(
      queryable,
      /* sql */ `
      SELECT v.kind, v.period, v.version, v.published_at, v.batch, jsonb_path_query_array(v.document::jsonb, ${path}) AS found
      FROM report_versions v JOIN unnest($1::text[], $2::text[], $3::int[]) AS m (kind, period, version) ON (v.kind, v.period, v.version) = (m.kind, m.period, m.version)`,
      [missing.map((row) => row.kind), missing.map((row) => row.period), missing.map((row) => row.version)],
    )
    for (const document of documents) {
      const value = of(document.found)
      found.set(keyOf(document), value)
      kept.set(keyOf(document), value)
      if (kept.size > keptMax) kept.delete(kept.keys().next().value!)
    }
  }
  return rows.flatMap((row) => {
    const value = found.get(keyOf(row))
    return value === undefined ? [] : [[row, value] as const]
  })
}
