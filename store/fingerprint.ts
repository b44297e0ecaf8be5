/**
 * A topic that was deleted and made again starts its offsets anew: positions still look plausible, and other records stand there. So before a
 * partition is read on, or archived, its last committed record is read again and compared with the checksum that was stored with the offset.
 */
import { crc32 } from 'node:zlib'
import { LossError } from '#core/errors.ts'
import type { EventLog, LogBounds } from '#core/ports.ts'
import type { Queryable } from './database.ts'
import { run } from './database.ts'
import type { LogTerms, LossKind, LostRange } from './losses.ts'
import { acceptLossCommand, lossAt, readLogTerms } from './losses.ts'
import type { OpenedPartition } from './partitions.ts'

/** Throws LossError naming the first partition whose position lies beyond the log's end, or that holds another record there. */
export async function checkFingerprints(
  log: EventLog,
  topic: string,
  opened: readonly OpenedPartition[],
  bounds: LogBounds,
  terms: LogTerms,
  signal: AbortSignal,
): Promise<void> {
  for (const { partition, nextOffset, last } of opened) {
    const end = bounds.end.get(partition) ?? 0
    if (nextOffset > end) {
      const range = { topic, partition, from: end, to: nextOffset }
      throw lossOf('rebuilt', range, `ends at ${end}, but ${nextOffset} was committed: the topic was rebuilt or lost its end. Put the topic back as it was`)
    }
    if (last === null || last.offset < (bounds.first.get(partition) ?? 0)) continue
    // Of what was given up, or of a topic before it was made anew, nothing can be read again.
    if (lossAt(terms, partition, last.offset) !== undefined || last.offset < (terms.bases.get(partition) ?? 0)) continue
    const checksum = await checksumAt(log, topic, partition, last.offset, signal)
    if (signal.aborted) return
    if (checksum === last.checksum) continue
    const range = { topic, partition, from: 0, to: nextOffset }
    throw lossOf('rebuilt', range, `holds another record at ${last.offset} than the one that was counted: the topic was rebuilt. Put it back as it was`)
  }
}

/** The same for partitions as they stand committed now. Throws LossError as `checkFingerprints` does. */
export async function checkCommitted(queryable: Queryable, log: EventLog, topic: string, partitions: readonly number[], signal: AbortSignal): Promise<void> {
  const rows = await run<{ partition: number; next_offset: bigint; last_offset: bigint | null; last_checksum: bigint | null }>(
    queryable,
    'SELECT partition, next_offset, last_offset, last_checksum FROM committed_offsets WHERE topic = $1 AND partition = ANY ($2) ORDER BY partition',
    [topic, partitions],
  )
  const committed = rows.map((row) => ({
    partition: row.partition,
    nextOffset: Number(row.next_offset),
    last: row.last_offset === null || row.last_checksum === null ? null : { offset: Number(row.last_offset), checksum: Number(row.last_checksum) },
  }))
  // What is committed was there: bounds read afterwards can only be further.
  await checkFingerprints(log, topic, committed, await log.bounds(topic), await readLogTerms(queryable, topic), signal)
}

/** What stops a partition, with what a person may do about it. */
export function lossOf(what: LossKind, range: LostRange, says: string): LossError {
  const { topic, partition, from, to } = range
  const accept = `"${acceptLossCommand(range)}" gives the range up`
  return new LossError(`Partition ${partition} of ${topic} ${says}; the partition then goes on by itself. Or ${accept}, and every receipt will name it.`, { topic, partition, from, to, what })
}

async function checksumAt(log: EventLog, topic: string, partition: number, offset: number, signal: AbortSignal): Promise<number | null> {
  const from = new Map([[partition, offset]])
  for await (const batch of log.read(topic, from, { to: new Map([[partition, offset + 1]]), signal })) {
    const record = batch.records.find((candidate) => candidate.offset === offset)
    if (record !== undefined) return crc32(record.value)
  }
  return null
}
