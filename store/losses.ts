/**
 * Lost ranges of the log. A range that is gone, or a topic that was made anew, stops its partition until a person gives the range up. From then on the
 * log reads as if the range were empty (`openStoreLog`), and the next batch takes what the speed layer had counted of it out of the figures.
 */
import { isReferenceTopic } from '#core/decode-reference.ts'
import type { Queryable } from './database.ts'
import { run } from './database.ts'

/** `gap`: the log begins behind it. `rebuilt`: the topic was made anew. `damaged`: the log holds it and cannot be read there. */
export type LossKind = 'gap' | 'rebuilt' | 'damaged'

/** Offsets of the store, `from` inclusive to `to` exclusive. */
export type LostRange = { readonly topic: string; readonly partition: number; readonly from: number; readonly to: number }

export type AcceptedLoss = LostRange & { readonly what: LossKind; readonly eventsCounted: number }

/** What the store knows of a topic's log beside the log itself. */
export type LogTerms = {
  /** Partition → what the store adds to the log's offsets. */
  readonly bases: ReadonlyMap<number, number>
  /** Partition → accepted losses, ascending. */
  readonly losses: ReadonlyMap<number, readonly LostRange[]>
}

export async function readLogTerms(queryable: Queryable, topic: string): Promise<LogTerms> {
  const rows = await run<{ partition: number; base: bigint | null; from_offset: bigint | null; to_offset: bigint | null }>(
    queryable,
    /* sql */ `
    SELECT partition, base, NULL AS from_offset, NULL AS to_offset FROM log_bases WHERE topic = $1
    UNION ALL
    SELECT partition, NULL, from_offset, to_offset FROM accepted_losses WHERE topic = $1
    ORDER BY partition, from_offset`,
    [topic],
  )
  const bases = new Map<number, number>()
  const losses = new Map<number, LostRange[]>()
  for (const { partition, base, from_offset: from, to_offset: to } of rows) {
    if (base !== null) bases.set(partition, Number(base))
    else losses.set(partition, [...(losses.get(partition) ?? []), { topic, partition, from: Number(from), to: Number(to) }])
  }
  return { bases, losses }
}

/** What a person says to give the range up; figures are the topic that the command means by itself. */
export function acceptLossCommand({ topic, partition, from, to }: Omit<LostRange, 'to'> & { readonly to: number | null }): string {
  return `tidemark batch accept-loss ${partition}:${from}-${to ?? '…'}${isReferenceTopic(topic) ? ` --topic ${topic}` : ''}`
}

export function lossAt(terms: LogTerms, partition: number, offset: number): LostRange | undefined {
  return terms.losses.get(partition)?.find((loss) => loss.from <= offset && offset < loss.to)
}

/** What a batch took out of the figures for lost ranges, by currency; null where it took out nothing. */
export async function readTakenOut(queryable: Queryable, batch: number): Promise<unknown> {
  const [row] = await run<{ figures: unknown }>(queryable, 'SELECT figures FROM accepted_losses WHERE batch = $1 LIMIT 1', [batch])
  return row?.figures ?? null
}
