/** Giving up a range of the log that is gone, once it is made sure that it is. */
import { InvalidRequestError, LossError } from '#core/errors.ts'
import type { EventLog, LogBounds } from '#core/ports.ts'
import type { Database, Queryable } from './database.ts'
import { inTransaction, run } from './database.ts'
import { checkCommitted } from './fingerprint.ts'
import { readImportPartitions } from './imports.ts'
import { visitRange } from './ledger-pages.ts'
import type { AcceptedLoss, LogTerms, LossKind, LostRange } from './losses.ts'
import { lossAt, readLogTerms } from './losses.ts'

/**
 * Gives a range up, of the log as the store counts it. Throws InvalidRequestError where the range is not lost: where the lake or the log still holds some of
 * it. Resolves to what was recorded: of a rebuilt topic all that is counted and not archived, which may be nothing.
 */
export async function acceptLoss(database: Database, log: EventLog, range: LostRange, signal: AbortSignal): Promise<AcceptedLoss> {
  if ((await readImportPartitions(database.pool, range.topic)).has(range.partition)) {
    throw new InvalidRequestError(`Partition ${range.partition} of ${range.topic} is an import's: no log holds it, so the log lost nothing of it. Its files are in the lake; "tidemark import list" names it.`, { partition: range.partition })
  }
  const bounds = await log.bounds(range.topic)
  const isRebuilt = await isMadeAnew(database, log, range, signal)
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
    // Where a stored batch cannot be read, its end may be unknown.
    const isStoppedHere = stopped !== undefined && Number(stopped.from_offset) === range.from && (stopped.to_offset === null || Number(stopped.to_offset) === range.to)
    const next = Number(stands.next)
    const what = isRebuilt && range.to === next ? 'rebuilt' : isStoppedHere ? stopped.what : 'gap'
    const archived = Number(stands.archived)
    if (what === 'rebuilt' && !isRebuilt) throw new InvalidRequestError(`Partition ${partition} of ${topic} holds what was counted again: nothing is lost, and it goes on by itself.`)
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
    lost = { ...lost, from: Math.min(lost.to, behindLosses(await readLogTerms(client, topic), partition, lost.from)) }
    if (lost.from === lost.to && what !== 'rebuilt') throw new InvalidRequestError(`${range.from}-${range.to} of partition ${partition} of ${topic} was given up before.`)
    const eventsCounted = await countEvents(client, lost)
    // An empty range too: what the topic held beyond what was counted is not known, and that it was made anew must be told.
    await client.query(
      /* sql */ `INSERT INTO accepted_losses (topic, partition, from_offset, to_offset, what, events_counted) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
      [topic, partition, lost.from, lost.to, what, eventsCounted],
    )
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

async function isMadeAnew(database: Database, log: EventLog, { topic, partition }: LostRange, signal: AbortSignal): Promise<boolean> {
  try {
    await checkCommitted(database.pool, log, topic, [partition], signal)
    return false
  } catch (thrown) {
    if (thrown instanceof LossError && thrown.details['what'] === 'rebuilt') return true
    throw thrown
  }
}

/** The first offset from there on that was not given up. */
function behindLosses(terms: LogTerms, partition: number, from: number): number {
  for (let at = from; ; ) {
    const loss = lossAt(terms, partition, at)
    if (loss === undefined) return at
    at = loss.to
  }
}

/** Ids that the speed layer counted within the range. */
async function countEvents(queryable: Queryable, range: LostRange): Promise<number> {
  let events = 0
  await visitRange(queryable, range, () => events++)
  return events
}
