/** Where the log ends, beside where the figures stand: the lag. The log is asked for nothing else here. */
import type { EventLog } from '#core/ports.ts'
import type { StatusPartition } from '#store/status.ts'

export type LogEnds = Pick<EventLog, 'bounds'>

/** Adds `logEnd` to each partition: null without a log, or while it does not answer. */
export async function withLogEnds(partitions: readonly StatusPartition[], log: LogEnds | undefined): Promise<(StatusPartition & { readonly logEnd: number | null })[]> {
  const ends = new Map<string, ReadonlyMap<number, number>>()
  if (log !== undefined) {
    for (const topic of new Set(partitions.map((partition) => partition.topic))) {
      const bounds = await log.bounds(topic).catch(() => null)
      if (bounds !== null) ends.set(topic, bounds.end)
    }
  }
  return partitions.map((partition) => ({ ...partition, logEnd: ends.get(partition.topic)?.get(partition.partition) ?? null }))
}
