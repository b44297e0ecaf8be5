/**
 * Where the log no longer holds what is to be read next, the lake may: after the database was put back, files that it no longer knows still hold the
 * range. They are read in the log's place; what nobody holds stops the partition.
 */
import type { EventLog, LogBatch, LogBounds, Vector } from '#core/ports.ts'
import { lossOf } from '#store/fingerprint.ts'
import type { OpenedPartition } from '#store/partitions.ts'

/** The whole range from the lake, in order; null where the lake does not hold all of it. */
export type Refill = (topic: string, partition: number, from: number, to: number, signal: AbortSignal) => Promise<AsyncIterable<LogBatch> | null>

type Refilled = { readonly partition: number; readonly to: number; readonly batches: AsyncIterable<LogBatch> }

/** Throws LossError naming the first partition whose next records neither log nor lake holds. */
export async function findRefills(refill: Refill | undefined, topic: string, opened: readonly OpenedPartition[], bounds: LogBounds, signal: AbortSignal): Promise<Refilled[]> {
  const refills: Refilled[] = []
  for (const { partition, nextOffset } of opened) {
    const first = bounds.first.get(partition) ?? 0
    if (nextOffset >= first) continue
    const batches = (await refill?.(topic, partition, nextOffset, first, signal)) ?? null
    if (batches === null) {
      throw lossOf('gap', { topic, partition, from: nextOffset, to: first }, `begins at ${first}, but reading stands at ${nextOffset}: the records between are gone. Put them back`)
    }
    refills.push({ partition, to: first, batches })
  }
  return refills
}

/** The refilled ranges, then the log from there on, up to a vector where one is given. */
export async function* readRefilled(log: EventLog, topic: string, positions: Vector, refills: readonly Refilled[], signal: AbortSignal, to?: Vector): AsyncGenerator<LogBatch> {
  const from = new Map(positions)
  for (const { partition, to, batches } of refills) {
    for await (const batch of batches) {
      if (signal.aborted) return
      yield batch
    }
    from.set(partition, to)
  }
  yield* log.read(topic, from, to === undefined ? { signal } : { to, signal })
}
