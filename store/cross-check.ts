/**
 * The cross-check's side in PostgreSQL: what the live figures say of the stretch between two batches, held against what the archive gave. Every key of
 * every view, and for every (epoch, partition) the number and the hash sums of the counted ids, so that errors that cancel are seen too.
 */
import { measures } from '#core/views/measures.ts'
import type { View } from '#core/views/view.ts'
import type { Batch } from './batches.ts'
import type { Queryable } from './database.ts'
import { run } from './database.ts'
import { visitEntries, visitRange } from './ledger-pages.ts'
import type { LogTerms } from './losses.ts'
import { grainList } from './view-tables.ts'

/** Differences listed by key beyond those that corrections may explain; the number of all is always said. */
const listedMax = 100

export type Base = { readonly batch: number; readonly epoch: number }

/**
 * SELECT of the keys whose stage differs from the live figures: the grain, `batch_<measure>` and `speed_<measure>`. A full batch is staged whole,
 * so the base's rows stand on the live side. Numbers only are spliced in.
 */
export function differencesOf(view: View, batch: Batch, base: Base, stage: number): string {
  const sums = (prefix: string): string => measures.map((name) => `coalesce(sum(${name}) FILTER (WHERE side = '${prefix}'), 0)::bigint AS ${prefix}_${name}`).join(', ')
  const columns = `${grainList(view)}, ${measures.join(', ')}`
  const above = `epoch > ${base.epoch} AND epoch <= ${batch.epoch}`
  const whole =
    batch.kind === 'full'
      ? /* sql */ `UNION ALL SELECT 'speed', ${grainList(view, 'b.')}, ${measures.map((name) => `b.${name}`).join(', ')} FROM batch_parts p JOIN batch_${view.name} b ON b.version = p.version
         WHERE p.batch = ${base.batch} AND p.view = '${view.name}' AND p.month <> 'infinity'`
      : ''
  return /* sql */ `
    SELECT ${grainList(view)}, ${sums('batch')}, ${sums('speed')} FROM (
      SELECT 'batch' AS side, ${columns} FROM batch_${view.name} WHERE version = ${stage}
      UNION ALL SELECT 'speed', ${columns} FROM live_${view.name} WHERE ${above}
      UNION ALL SELECT 'speed', ${columns} FROM correction_${view.name} WHERE ${above}
      ${whole}
    ) both_sides
    GROUP BY ${grainList(view)}
    HAVING ${measures.map((name) => `coalesce(sum(${name}) FILTER (WHERE side = 'batch'), 0) <> coalesce(sum(${name}) FILTER (WHERE side = 'speed'), 0)`).join(' OR ')}`
}

export type KeyDifference = { readonly view: string; readonly key: Readonly<Record<string, string | number>>; readonly batch: Readonly<Record<string, string>>; readonly speed: Readonly<Record<string, string>> }

/** By key. Lists so many more than `explainedKeys` that unexplained ones are seen whatever else differs. */
export async function findDifferences(queryable: Queryable, view: View, batch: Batch, base: Base, stage: number, explainedKeys: number): Promise<{ total: number; listed: KeyDifference[] }> {
  const rows = await run<Record<string, string | number | bigint>>(
    queryable,
    `SELECT *, count(*) OVER () AS differences FROM (${differencesOf(view, batch, base, stage)}) d ORDER BY ${grainList(view)} LIMIT ${listedMax + explainedKeys}`,
  )
  const side = (row: Record<string, string | number | bigint>, prefix: string): Record<string, string> =>
    Object.fromEntries(measures.filter((name) => row[`batch_${name}`] !== row[`speed_${name}`]).map((name) => [name, String(row[`${prefix}_${name}`])]))
  return {
    total: rows.length === 0 ? 0 : Number(rows[0]!['differences']),
    listed: rows.map((row) => ({
      view: view.name,
      key: Object.fromEntries(view.grain.map((dimension) => [dimension.name, row[dimension.name] as string | number])),
      batch: side(row, 'batch'),
      speed: side(row, 'speed'),
    })),
  }
}

/** How many keys of a view differ. */
export async function countDifferences(queryable: Queryable, view: View, batch: Batch, base: Base, stage: number): Promise<number> {
  const [row] = await run<{ keys: bigint }>(queryable, `SELECT count(*) AS keys FROM (${differencesOf(view, batch, base, stage)}) d`)
  return Number(row!.keys)
}

export type EpochCount = { readonly epoch: number; readonly partition: number; readonly events: bigint; readonly hashHiSum: bigint; readonly hashLoSum: bigint }

/** What the live side counted, corrections included, per (epoch, partition), of the epochs above `aboveEpoch` up to `toEpoch`. */
export async function liveCounts(queryable: Queryable, topic: string, aboveEpoch: number, toEpoch: number): Promise<EpochCount[]> {
  const rows = await run<{ epoch: bigint; partition: number; events: bigint; hash_hi_sum: bigint; hash_lo_sum: bigint }>(
    queryable,
    /* sql */ `
    SELECT epoch, partition, sum(events)::bigint AS events, sum(hash_hi_sum)::bigint AS hash_hi_sum, sum(hash_lo_sum)::bigint AS hash_lo_sum FROM (
      SELECT epoch, partition, events, hash_hi_sum, hash_lo_sum FROM live_counts WHERE topic = $1
      UNION ALL
      SELECT counted_epoch, partition, events, hash_hi_sum, hash_lo_sum FROM correction_counts WHERE topic = $1 AND epoch <= $3
    ) counts WHERE epoch > $2 AND epoch <= $3
    GROUP BY epoch, partition ORDER BY epoch, partition`,
    [topic, aboveEpoch, toEpoch],
  )
  return rows.map((row) => ({ epoch: Number(row.epoch), partition: row.partition, events: row.events, hashHiSum: row.hash_hi_sum, hashLoSum: row.hash_lo_sum }))
}

/** With the halves of its id's hash; 0 where a correction counted the position. */
export type CountedPosition = { readonly offset: number; readonly index: number; readonly hashHi: number; readonly hashLo: number }

/** The positions that the speed layer counted in one epoch of one partition, from its ledger pages, with earlier corrections applied. */
export async function liveCountedPositions(queryable: Queryable, topic: string, epoch: number, partition: number, correctionsTo: number): Promise<Map<string, CountedPosition>> {
  const counted = new Map<string, CountedPosition>()
  await visitEntries(queryable, 'topic = $1 AND epoch = $2 AND partition = $3', [topic, epoch, partition], (key, { offset, index }) =>
    counted.set(`${offset}:${index}`, { offset, index, hashHi: key[0]!, hashLo: key[1]! }),
  )
  const corrected = await run<{ sign: number; log_offset: bigint; record_index: number }>(
    queryable,
    'SELECT sign, log_offset, record_index FROM correction_events WHERE topic = $1 AND counted_epoch = $2 AND partition = $3 AND epoch <= $4 ORDER BY batch',
    [topic, epoch, partition, correctionsTo],
  )
  for (const { sign, log_offset, record_index } of corrected) {
    const position = { offset: Number(log_offset), index: record_index, hashHi: 0, hashLo: 0 }
    if (sign > 0) counted.set(`${position.offset}:${position.index}`, position)
    else counted.delete(`${position.offset}:${position.index}`)
  }
  return counted
}

/** The ledger's keys, four words each, of all ids that were counted in ranges that a person gave up, as far back as its pages reach. */
export async function readLostKeys(queryable: Queryable, { losses }: LogTerms): Promise<Set<string>> {
  const keys = new Set<string>()
  for (const range of [...losses.values()].flat()) await visitRange(queryable, range, (key) => keys.add(key.join(' ')))
  return keys
}
