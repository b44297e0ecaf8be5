/**
 * Live rows: the deltas of flushes. A flush appends its cells with COPY, and readers sum what they find, so no row is locked, two workers never wait for
 * each other on a hot cell, and a cell costs a quarter of an upsert (docs/decisions/0005). In the background rows of one period are merged; the merge
 * inserts only what its own DELETE returned, in one statement, so that no reader sees half of it and nothing is counted twice. Each row carries the
 * transaction of its flush, a merged one the highest of its rows, by which the search follower finds what changed.
 */
import { once } from 'node:events'
import type { PoolClient } from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { formatDay } from '#core/calendar.ts'
import type { Measured } from '#core/views/measures.ts'
import { views } from '#core/views/all.ts'
import type { View } from '#core/views/view.ts'
import type { Database } from './database.ts'
import { inTransaction, run } from './database.ts'
import type { FlushEpoch } from './epochs.ts'
import { lockKeys, lockPurpose } from './epochs.ts'
import { grainList, measureList, sumList } from './view-tables.ts'

export type LiveCells = {
  readonly view: View
  readonly dimensions: readonly (readonly (number | string)[])[]
  readonly measured: readonly Measured[]
}

const mergeRowsMin = 200
/** Merging again before the period grew by this share would rewrite the same rows over and over. */
const mergeShareMin = 0.25
/** However little merging saved: more appended rows would take one statement too long. */
const mergeRowsEnough = 1_000_000
/** A period of more rows is left to the next publication: the statement would outlast its time, now and ever after. */
const mergeRowsMax = 3_000_000
const chunkBytes = 256 * 1024
/** What a merge is thought to save before one has been seen, and at the least, so that it is tried again. */
const yieldAtFirst = 1 / 8
const yieldMin = 1 / 64

/**
 * What merging has been worth, for each view: the share of the appended rows that it did away with, recent merges weighing more. Where rows have few keys in
 * common, most of that work is for nothing: there a merge waits for more rows, and more flushes of them. Kept by the process that merges.
 */
export class MergeYields {
  readonly #shares = new Map<string, number>()
  readonly #atFirst: number

  constructor(atFirst = yieldAtFirst) {
    this.#atFirst = atFirst
  }

  /** Above 0, at most 1. */
  of(view: string): number {
    return this.#shares.get(view) ?? this.#atFirst
  }

  add(view: string, appended: number, saved: number): void {
    this.#shares.set(view, Math.min(1, Math.max(yieldMin, (this.of(view) + saved / Math.max(1, appended)) / 2)))
  }
}

/** Appends one view's cells of a flush. */
export async function appendLiveRows(client: PoolClient, at: FlushEpoch, cells: LiveCells): Promise<void> {
  const { view, measured } = cells
  if (measured.length === 0) return
  const stream = client.query(copyFrom(`COPY live_${view.name} (epoch, xid, ${grainList(view)}, ${measureList}) FROM STDIN`))
  // Given up without an answer, it fails once more when its connection is closed; an error that nobody hears would end the process.
  stream.on('error', () => undefined)
  const done = once(stream, 'finish')
  for (const chunk of copyText(at, cells)) {
    if (!stream.write(chunk)) await Promise.race([once(stream, 'drain'), done])
  }
  stream.end()
  await done
  await recordRuns(client, at, cells)
}

/** PostgreSQL's text format of COPY: tabs between, a line each. */
function* copyText({ epoch, xid }: FlushEpoch, { view, dimensions, measured }: LiveCells): Generator<Buffer> {
  const columns = dimensions.map((column, i) => textOf(view.grain[i]!.kind, column))
  let text = ''
  for (let row = 0; row < measured.length; row++) {
    const m = measured[row]!
    text +=
      `${epoch}\t${xid}\t${columns[0]!(row)}\t${columns[1]!(row)}\t${columns[2]!(row)}\t${columns[3]!(row)}\t` +
      `${m.transactions}\t${m.orders}\t${m.refundEvents}\t${m.unitsSold}\t${m.unitsRefunded}\t${m.grossMinor}\t${m.refundsMinor}\n`
    if (text.length < chunkBytes) continue
    yield Buffer.from(text)
    text = ''
  }
  if (text !== '') yield Buffer.from(text)
}

function textOf(kind: 'text' | 'day' | 'hour', column: readonly (number | string)[]): (row: number) => string {
  if (kind === 'hour') return (row) => String(column[row])
  if (kind === 'day') {
    // Few days, many rows.
    const known = new Map<number, string>()
    return (row) => {
      const day = column[row] as number
      let text = known.get(day)
      if (text === undefined) {
        text = formatDay(day)
        known.set(day, text)
      }
      return text
    }
  }
  // Accepted text holds no control characters, so a backslash is all that COPY would read as something else.
  return (row) => {
    const text = column[row] as string
    return text.includes('\\') ? text.replaceAll('\\', '\\\\') : text
  }
}

async function recordRuns(client: PoolClient, { epoch, xid }: FlushEpoch, { view, dimensions, measured }: LiveCells): Promise<void> {
  const rows = new Map<number, number>()
  const periods = dimensions[0] as readonly number[]
  for (let row = 0; row < measured.length; row++) rows.set(periods[row]!, (rows.get(periods[row]!) ?? 0) + 1)
  await client.query({
    name: 'record_live_runs',
    text: /* sql */ `
      INSERT INTO live_runs (view, epoch, period, rows, merged, xid)
      SELECT $1, $2, DATE '1970-01-01' + r.period, r.rows, false, $5 FROM unnest($3::int[], $4::int[]) AS r (period, rows)`,
    values: [view.name, epoch, [...rows.keys()], [...rows.values()], xid],
  })
}

export type MergeOptions = {
  /** Default: as if every merge did away with all that was appended. */
  readonly yields?: MergeYields
  /** Fewer appended rows of a period than this are not worth a merge. Default 200. */
  readonly rowsMin?: number
}

/** Merges the period with the most appended rows, if any is worth it. Resolves to the rows that became fewer, 0 when there is nothing to do. */
export async function mergeLiveRows(database: Database, { yields = new MergeYields(1), rowsMin = mergeRowsMin }: MergeOptions = {}): Promise<number> {
  return inTransaction(database, { durable: false }, async (client) => {
    const [lock] = await run<{ ours: boolean }>(client, `SELECT pg_try_advisory_xact_lock(${lockKeys}${lockPurpose.liveMerge}) AS ours`)
    if (lock?.ours !== true) return 0
    const [group] = await run<{ view: string; epoch: bigint; period: string; appended: bigint }>(
      client,
      /* sql */ `
      WITH piles AS (
        SELECT view, epoch, period, sum(rows) FILTER (WHERE NOT merged) AS appended, count(*) FILTER (WHERE NOT merged) AS runs, coalesce(sum(rows) FILTER (WHERE merged), 0) AS merged
        FROM live_runs GROUP BY view, epoch, period
      ), judged AS (
        SELECT p.*, CASE WHEN p.appended >= $4 THEN 1 ELSE y.share END AS share
        FROM piles p JOIN unnest($2::text[], $3::float8[]) AS y (view, share) USING (view)
      )
      SELECT view, epoch, period, appended FROM judged
      WHERE appended >= $1 AND appended + merged <= $5 AND share * runs > 1 AND share * appended >= ${mergeShareMin} * merged
      ORDER BY appended DESC LIMIT 1`,
      [rowsMin, views.map(({ name }) => name), views.map(({ name }) => yields.of(name)), mergeRowsEnough, mergeRowsMax],
    )
    if (group === undefined) return 0
    const saved = await mergePeriod(client, views.find((view) => view.name === group.view)!, Number(group.epoch), group.period)
    yields.add(group.view, Number(group.appended), saved)
    return Math.max(1, saved)
  })
}

/** Resolves to the rows that became fewer. */
async function mergePeriod(client: PoolClient, view: View, epoch: number, period: string): Promise<number> {
  const [runs] = await run<{ xid: string | null }>(
    client,
    'WITH gone AS (DELETE FROM live_runs WHERE view = $1 AND epoch = $2 AND period = $3 RETURNING xid) SELECT max(xid) AS xid FROM gone',
    [view.name, epoch, period],
  )
  // A flush that commits between the two statements leaves its run behind although its rows are merged: it asks for a merge too many, no more.
  const [merged] = await run<{ before: bigint; after: bigint }>(
    client,
    /* sql */ `
    WITH appended AS (DELETE FROM live_${view.name} WHERE ${view.grain[0].name} = $2 AND epoch = $1 RETURNING xid, ${grainList(view)}, ${measureList}),
    inserted AS (
      INSERT INTO live_${view.name} (epoch, xid, ${grainList(view)}, ${measureList})
      SELECT $1, max(xid), ${grainList(view)}, ${sumList} FROM appended GROUP BY ${grainList(view)} RETURNING 1)
    SELECT (SELECT count(*) FROM appended) AS before, (SELECT count(*) FROM inserted) AS after`,
    [epoch, period],
  )
  const { before, after } = merged!
  await client.query('INSERT INTO live_runs (view, epoch, period, rows, merged, xid) VALUES ($1, $2, $3, $4, true, $5)', [view.name, epoch, period, after, runs?.xid ?? '0'])
  return Number(before - after)
}
