/**
 * A report against the archive: its period's rows computed once more from the original files by the query engine and compared with the batch's, row by row;
 * and the events that explain what changed since an earlier version.
 */
import { formatDay, parseDay } from '#core/calendar.ts'
import { CorruptError, OvertakenError } from '#core/errors.ts'
import type { QueryEngine, QueryValue } from '#core/ports.ts'
import type { ClosedPeriod } from '#core/period.ts'
import type { RestatementEvent } from '#core/report/report.ts'
import type { ExplainingEvent } from '#core/report/restate.ts'
import { reasonOf } from '#core/report/restate.ts'
import { readBatch, readPointer } from '#store/batches.ts'
import type { Database } from '#store/database.ts'
import type { ArchiveFile } from '#store/register.ts'
import type { ReportBasis } from '#store/reports.ts'
import { readDayRows } from '#store/reports.ts'
import { archiveColumns } from './archive-columns.ts'
import { batchSql } from './sql-files.ts'

const views = ['revenue', 'product_sales'] as const

/** The archive's files of the batch, under the name that the SQL of this module reads. */
export async function attachArchive(engine: QueryEngine, files: readonly ArchiveFile[]): Promise<void> {
  const paths = files.filter((file) => file.rows > 0).map((file) => file.path)
  await engine.attach('archive_events', paths, archiveColumns)
}

/** Counted events of the days, of epochs above `afterEpoch`. */
function periodEvents(days: ClosedPeriod, afterEpoch: number): string {
  return batchSql('period_events').replaceAll(':from', formatDay(days.fromDay)).replaceAll(':to', formatDay(days.toDay)).replaceAll(':after', String(afterEpoch))
}

/**
 * Throws CorruptError naming the first row that the archive and the batch do not share. Resolves to how many rows were compared. Holds one day's rows at
 * a time.
 */
export async function checkAgainstArchive(database: Database, engine: QueryEngine, basis: ReportBasis, days: ClosedPeriod, signal: AbortSignal): Promise<number> {
  let compared = 0
  for (const view of views) {
    const keys = view === 'revenue' ? 'city, category, currency' : 'product_id, category, currency'
    const select = /* sql */ `WITH counted_events AS (${periodEvents(days, 0)}) SELECT * FROM (${batchSql(view)}) v ORDER BY local_day, ${keys}`
    let day = days.fromDay
    let found: (readonly QueryValue[])[] = []
    const compareDay = async (): Promise<void> => {
      const expected = await readDayRows(database.pool, basis.parts, view, day)
      compareRows(`${view} on ${formatDay(day)}`, expected, found)
      compared += expected.length
      found = []
      day++
    }
    try {
      for await (const { rows } of engine.query(select)) {
        for (const [rowDay, ...row] of rows) {
          signal.throwIfAborted()
          while (day < parseDay(String(rowDay))!) await compareDay()
          found.push(row)
        }
      }
      while (day < days.toDay) await compareDay()
    } catch (thrown) {
      if (thrown instanceof CorruptError) await refuseWhereOvertaken(database, basis)
      throw thrown
    }
  }
  return compared
}

/** Rows of a batch that was pruned meanwhile are gone, and another batch may have taken other logic into use: neither is a disagreement. */
async function refuseWhereOvertaken({ pool }: Database, { batch }: ReportBasis): Promise<void> {
  if ((await readBatch(pool, batch)).status === 'pruned') throw new OvertakenError(`Batch ${batch} was pruned while a report was made of it. Make the report again.`, { batch })
  const { batch: serving } = await readPointer(pool)
  if (serving !== batch) throw new OvertakenError(`Batch ${serving} was published while a report was made of batch ${batch}. Make the report again.`, { batch, serving })
}

function compareRows(where: string, expected: readonly (readonly unknown[])[], found: readonly (readonly unknown[])[]): void {
  for (let at = 0; at < Math.max(expected.length, found.length); at++) {
    const [ours, theirs] = [expected[at]?.map(String).join(' | '), found[at]?.map(String).join(' | ')]
    if (ours === theirs) continue
    throw new CorruptError(`The archive and the batch differ in ${where}: the archive gives ${theirs ?? 'no row'}, the batch has ${ours ?? 'no row'}. No report was published; "tidemark batch run --full" computes the batch from the original bytes.`, { where })
  }
}

/** Events that count in the days and that no batch up to `afterEpoch` covered, by position. */
export async function* explainingEvents(engine: QueryEngine, days: ClosedPeriod, afterEpoch: number): AsyncGenerator<ExplainingEvent> {
  const select = /* sql */ `
    SELECT CAST(log_partition AS bigint) AS log_partition, log_offset, CAST(record_index AS bigint) AS record_index, CAST(log_time AS varchar) AS log_time, source, event_id, kind,
      CAST(order_line AS bigint) AS order_line, product_id, category, city, quantity, total_minor, currency, local_day, late
    FROM (${periodEvents(days, afterEpoch)}) e ORDER BY epoch, log_partition, log_offset, record_index`
  for await (const { rows } of engine.query(select)) {
    for (const row of rows) yield eventOf(row)
  }
}

function eventOf(row: readonly QueryValue[]): ExplainingEvent {
  const [partition, offset, index, logTime, source, eventId, kindText, orderLine, productId, category, city, quantity, totalMinor, currency, localDay, late] = row
  const kind = kindText === 'refund' ? 'refund' : 'sale'
  const event: RestatementEvent = {
    reason: reasonOf(kind, late === true),
    source: String(source),
    eventId: String(eventId),
    kind,
    localDay: String(localDay),
    logTime: isoTime(String(logTime)),
    partition: Number(partition),
    offset: Number(offset),
    index: Number(index),
    city: String(city),
    category: String(category),
    productId: String(productId),
    quantity: Number(quantity),
    totalMinor: String(totalMinor),
    currency: String(currency),
  }
  return { event, firstLine: orderLine === 1n }
}

/** Engines print an instant in their own ways: `2025-03-01 10:00:00.123`, with ` UTC` behind it or without fractions. */
function isoTime(text: string): string {
  return new Date(`${text.replace(' ', 'T').replace(/ UTC$/, '')}Z`).toISOString()
}
