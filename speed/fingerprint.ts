/**
 * A topic that was deleted and made again starts its offsets anew: positions still look plausible, and other records stand there. So before a
 * partition is read on, its last committed record is read again and compared with the checksum that was stored with the offset.
 */
import { crc32 } from 'node:zlib'
import { LossError } from '#core/errors.ts'
import type { EventLog, LogBounds } from '#core/ports.ts'
import type { OpenedPartition } from '#store/partitions.ts'

/** Throws LossError naming the first partition whose position the log no longer holds or that holds another record there. */
export async function checkFingerprints(log: EventLog, topic: string, opened: readonly OpenedPartition[], bounds: LogBounds, signal: AbortSignal): Promise<void> {
  for (const { partition, nextOffset, last } of opened) {
    const first = bounds.first.get(partition) ?? 0
    const end = bounds.end.get(partition) ?? 0
    if (nextOffset > end) {
      const message = `Partition ${partition} of ${topic} ends at ${end}, but ${nextOffset} was committed: the topic was rebuilt or lost its end. Put the topic back as it was; the partition goes on by itself.`
      throw new LossError(message, { topic, partition, from: end, to: nextOffset })
    }
    if (nextOffset < first) {
      const message = `Partition ${partition} of ${topic} begins at ${first}, but reading stands at ${nextOffset}: the records between are gone. Put them back; the partition goes on by itself.`
      throw new LossError(message, { topic, partition, from: nextOffset, to: first })
    }
    if (last === null || last.offset < first) continue
    const checksum = await checksumAt(log, topic, partition, last.offset, signal)
    if (signal.aborted) return
    if (checksum === last.checksum) continue
    const message = `Partition ${partition} of ${topic} holds another record at ${last.offset} than the one that was counted: the topic was rebuilt. Put it back as it was; the partition goes on by itself.`
    throw new LossError(message, { topic, partition, from: 0, to: nextOffset })
  }
}

async function checksumAt(log: EventLog, topic: string, partition: number, offset: number, signal: AbortSignal): Promise<number | null> {
  const from = new Map([[partition, offset]])
  for await (const batch of log.read(topic, from, { to: new Map([[partition, offset + 1]]), signal })) {
    const record = batch.records.find((candidate) => candidate.offset === offset)
    if (record !== undefined) return crc32(record.value)
  }
  return null
}
