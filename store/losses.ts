/**
 * Lost ranges of the log. A range that is gone, or a topic that was made anew, stops its partition until a person gives the range up. From then on the
 * log reads as if the range were empty (`openStoreLog`), and the next batch takes what the speed layer had counted of it out of the figures.
 */
import { InvalidRequestError } from '#core/errors.ts'
import { readPage } from '#core/ledger-page.ts'
import type { LogBounds } from '#core/ports.ts'
import type { Database, Queryable } from './database.ts'
import { inTransaction, run } from './database.ts'
import { readPages } from './ledger-pages.ts'

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

export function lossAt(terms: LogTerms, partition: number, offset: number): LostRange | undefined {
  return terms.losses.get(partition)?.find((loss) => loss.from <= offset && offset < loss.to)
}

/**
 * Gives a range up. `bounds` are the log's as the store counts them. Throws InvalidRequestError where the range is not lost: where the lake or the log
 * still holds some of it. Resolves to what was recorded: of a rebuilt topic all that is counted and not archived.
 */
export async function acceptLoss(database: Database, range: LostRange, bounds: LogBounds): Promise<AcceptedLoss> {
  return inTransaction(database, {}, async (client) => {
    const { topic, partition } = range
    const [stands] = await run<{ next: bigint; archived: bigint; base: bigint }>(
      client,
      /* sql */ `
      SELECT o.next_offset AS next, coalesce(e.next_offset, o.first_offset) AS archived, coalesce(b.base, 0) AS base
      FROM committed_offsets o LEFT JOIN archive_ends e USING (topic, partition) LEFT JOIN log_bases b USING (topic, partition)
      WHERE topic = $1 AND partition = $2 FOR UPDATE OF o`,
      [topic, partition],
    )
    if (stands === undefined) throw new InvalidRequestError(`Partition ${partition} of ${topic} was never read: nothing of it is lost.`)
    const [stopped] = await run<{ from_offset: bigint; to_offset: bigint | null; what: LossKind }>(
      client,
      'SELECT from_offset, to_offset, what FROM stopped_partitions WHERE topic = $1 AND partition = $2',
      [topic, partition],
    )
    const isStoppedHere = stopped !== undefined && Number(stopped.from_offset) === range.from && Number(stopped.to_offset) === range.to
    const what = isStoppedHere ? stopped.what : 'gap'
    const next = Number(stands.next)
    const archived = Number(stands.archived)
    let lost: LostRange = range
    if (what === 'gap') refuseWhatIsThere(range, bounds, archived)
    if (what === 'rebuilt') {
      await client.query(
        /* sql */ `INSERT INTO log_bases (topic, partition, base) VALUES ($1, $2, $3)
        ON CONFLICT (topic, partition) DO UPDATE SET base = EXCLUDED.base, since = clock_timestamp()`,
        [topic, partition, next],
      )
      lost = { ...range, from: Math.min(archived, next), to: next }
    }
    const eventsCounted = await countEvents(client, lost)
    if (lost.to > lost.from) {
      await client.query(
        /* sql */ `INSERT INTO accepted_losses (topic, partition, from_offset, to_offset, what, events_counted) VALUES ($1, $2, $3, $4, $5, $6)`,
        [topic, partition, lost.from, lost.to, what, eventsCounted],
      )
    }
    await client.query('DELETE FROM stopped_partitions WHERE topic = $1 AND partition = $2', [topic, partition])
    return { ...lost, what, eventsCounted }
  })
}

function refuseWhatIsThere({ topic, partition, from, to }: LostRange, { first, end }: LogBounds, archived: number): void {
  const begins = first.get(partition) ?? 0
  if (to > begins) {
    throw new InvalidRequestError(
      `Partition ${partition} of ${topic} holds ${begins} to ${end.get(partition) ?? 0}: ${from}-${to} is not lost. "tidemark status" names what is.`,
      { topic, partition, from, to },
    )
  }
  if (from < archived) {
    throw new InvalidRequestError(`Partition ${partition} of ${topic} is archived up to ${archived}: of ${from}-${to} at most ${archived}-${to} is lost.`, { topic, partition, from, to })
  }
}

/** Ids that the speed layer counted within the range. */
async function countEvents(queryable: Queryable, { topic, partition, from, to }: LostRange): Promise<number> {
  const pages = await run<{ page: bigint }>(
    queryable,
    'SELECT page FROM ledger_pages WHERE topic = $1 AND partition = $2 AND from_offset < $4 AND to_offset > $3 ORDER BY page',
    [topic, partition, from, to],
  )
  let events = 0
  for (const { page } of pages) {
    for (const { entries } of await readPages(queryable, [page])) {
      readPage(entries, (_key, { offset }) => {
        if (offset >= from && offset < to) events++
      })
    }
  }
  return events
}

/** What a batch took out of the figures for lost ranges, by currency; null where it took out nothing. */
export async function readTakenOut(queryable: Queryable, batch: number): Promise<unknown> {
  const [row] = await run<{ figures: unknown }>(queryable, 'SELECT figures FROM accepted_losses WHERE batch = $1 LIMIT 1', [batch])
  return row?.figures ?? null
}
