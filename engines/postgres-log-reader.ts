/**
 * Reads partitions of the PostgreSQL log.
 *
 * A reader knows where it is (`next`) and how far the log had got when it last looked (`end`). While a partition is behind, it
 * fetches by size, an equal share for each partition that is behind, and asks for the following chunk before it hands out the one
 * at hand. When nothing is behind it looks again: one small statement per poll. Each look also compares positions with the offsets
 * that the log holds, so what was lost is found before anything is read past it.
 *
 * Polling and not NOTIFY: NOTIFY takes a lock of the whole database at commit, and a reader would have to poll beside it anyway,
 * since a notification is lost with its session.
 *
 * Memory: two chunks, each of at most `fetchBytesMax` and one stored batch per partition, and the records of one LogBatch.
 */
import type pg from 'pg'

import { ConfigError, CorruptError, LossError } from '#core/errors.ts'
import type { LogBatch, LogReadOptions, LogRecord, Vector } from '#core/ports.ts'

import { decodeFrame } from './log-frames.ts'
import { copyRows } from './postgres-copy.ts'
import { onSession } from './postgres-sessions.ts'
import { pause } from './waiting.ts'

/** Stored batches of one partition in one fetch, where they are small. */
const FETCH_BATCHES_MAX = 1_000
/** Small stored batches are joined until a LogBatch has this many records. */
const BATCH_RECORDS_JOINED = 5_000

export type ReadSource = {
  readonly pool: pg.Pool
  readonly topic: string
  readonly pollIntervalMs: number
  readonly fetchBytesMax: number
}

type StoredBatch = {
  readonly partition: number
  readonly baseOffset: number
  readonly nextOffset: number
  readonly baseLogTimeMs: number
  readonly records: Buffer
}

type Position = { readonly topicId: number; readonly first: number; readonly end: number }

/** Where the log's partitions stand now; empty where there is no such topic. One snapshot. */
export async function readPositions(pool: pg.Pool, topic: string, signal?: AbortSignal): Promise<Map<number, Position>> {
  const { rows } = await onSession(
    pool,
    `look where topic ${topic} stands`,
    (client) =>
      client.query<[number, number, string, string]>({
        name: 'positions',
        text: /* sql */ `SELECT topic_id, partition, first_offset, next_offset
          FROM topics JOIN partitions USING (topic_id) WHERE name = $1 ORDER BY partition`,
        values: [topic],
        rowMode: 'array',
      }),
    signal,
  )
  return new Map(rows.map(([topicId, partition, first, end]) => [partition, { topicId, first: Number(first), end: Number(end) }]))
}

export async function* readPartitions(source: ReadSource, from: Vector, { to, signal }: LogReadOptions): AsyncGenerator<LogBatch> {
  // Ends the fetch that is under way when the reader is left early, too.
  const stop = new AbortController()
  const abort = (): void => stop.abort(signal.reason)
  if (signal.aborted) return
  signal.addEventListener('abort', abort, { once: true })
  try {
    yield* new PartitionReader(source, from, to, stop.signal).batches()
  } catch (thrown) {
    if (!signal.aborted) throw thrown
  } finally {
    signal.removeEventListener('abort', abort)
    stop.abort()
  }
}

class PartitionReader {
  readonly #source: ReadSource
  readonly #signal: AbortSignal
  readonly #to: Vector | undefined
  readonly #next: Map<number, number>
  readonly #end = new Map<number, number>()
  #topicId: number | null = null
  #round = 0

  constructor(source: ReadSource, from: Vector, to: Vector | undefined, signal: AbortSignal) {
    this.#source = source
    this.#signal = signal
    this.#to = to
    this.#next = new Map(from)
  }

  async *batches(): AsyncGenerator<LogBatch> {
    let fetching: Promise<readonly StoredBatch[]> | null = null
    let looked = false
    while (this.#unfinished().length > 0) {
      const behind = this.#behind()
      if (behind.length === 0) {
        if (looked) await pause(this.#source.pollIntervalMs, this.#signal)
        this.#signal.throwIfAborted()
        await this.#look()
        looked = true
        continue
      }
      looked = false
      const stored = await (fetching ?? this.#fetch(behind))
      const start = new Map(this.#next)
      await this.#advance(behind, stored)
      const behindStill = this.#behind()
      fetching = behindStill.length === 0 ? null : this.#fetch(behindStill)
      // Its failure is told where it is awaited.
      fetching?.catch(() => {})
      for (const batch of this.#decode(stored, start)) {
        yield batch
        this.#signal.throwIfAborted()
      }
    }
  }

  #limit(partition: number): number {
    return this.#to === undefined ? Number.POSITIVE_INFINITY : (this.#to.get(partition) ?? 0)
  }

  #unfinished(): number[] {
    return [...this.#next.keys()].filter((partition) => this.#next.get(partition)! < this.#limit(partition))
  }

  /** The unfinished partitions that have records to read, each time another one first. */
  #behind(): number[] {
    const behind = this.#unfinished().filter((partition) => this.#next.get(partition)! < (this.#end.get(partition) ?? 0))
    const turn = this.#round % Math.max(1, behind.length)
    return [...behind.slice(turn), ...behind.slice(0, turn)]
  }

  async #look(): Promise<void> {
    const { pool, topic } = this.#source
    const positions = await readPositions(pool, topic, this.#signal)
    if (positions.size === 0 && this.#topicId === null) throw unknownTopic(topic)
    for (const partition of this.#unfinished()) {
      const next = this.#next.get(partition)!
      const { topicId, first, end } = positions.get(partition) ?? { topicId: null, first: 0, end: 0 }
      if (topicId !== null) {
        this.#topicId ??= topicId
        if (topicId !== this.#topicId) throw lost(topic, partition, next, end, 'was made anew while it was read')
      }
      if (next < first) throw lost(topic, partition, next, first, `no longer holds offsets ${next} to ${first}`)
      if (next > end) throw lost(topic, partition, end, next, `ends at offset ${end}, before ${next}: it was made anew or restored`)
      this.#end.set(partition, end)
    }
  }

  async #fetch(partitions: readonly number[]): Promise<readonly StoredBatch[]> {
    this.#round += 1
    const { pool, topic, fetchBytesMax } = this.#source
    const share = Math.max(1, Math.floor(fetchBytesMax / partitions.length))
    const starts = partitions.map((partition) => {
      const limit = Math.min(this.#limit(partition), Number.MAX_SAFE_INTEGER)
      return `(${whole(partition)}, ${whole(this.#next.get(partition)!)}::bigint, ${whole(limit)}::bigint)`
    })
    // COPY takes no parameters; what is written into it are whole numbers. The inner LIMIT keeps a far-behind reader from summing up
    // its whole backlog for every chunk; bytes are carried through the sort as references and read for the chosen rows alone.
    const select = /* sql */ `
      SELECT part, base_offset, next_offset, base_log_time_ms, records
      FROM (VALUES ${starts.join(', ')}) AS start (part, wanted, wanted_to), LATERAL (
        SELECT *, sum(records_bytes) OVER (ORDER BY next_offset) - records_bytes AS bytes_before FROM (
          SELECT base_offset, next_offset, base_log_time_ms, records_bytes, records FROM batches
          WHERE topic_id = ${whole(this.#topicId!)} AND partition = part AND next_offset > wanted AND base_offset < wanted_to
          ORDER BY next_offset LIMIT ${FETCH_BATCHES_MAX}
        ) AS ahead
      ) AS measured
      WHERE bytes_before < ${share}`
    const rows = await onSession(pool, `read topic ${topic}`, (client) => copyRows(client, select), this.#signal)
    const order = new Map(partitions.map((partition, index) => [partition, index]))
    return rows
      .map(([partition, base, next, time, records]) => ({
        partition: partition!.readInt32BE(0),
        baseOffset: Number(base!.readBigInt64BE(0)),
        nextOffset: Number(next!.readBigInt64BE(0)),
        baseLogTimeMs: Number(time!.readBigInt64BE(0)),
        records: records!,
      }))
      .sort((a, b) => order.get(a.partition)! - order.get(b.partition)! || a.baseOffset - b.baseOffset)
  }

  /** Moves past the fetched batches once they are seen to follow on each other without a hole. */
  async #advance(partitions: readonly number[], stored: readonly StoredBatch[]): Promise<void> {
    for (const partition of partitions) {
      const batches = stored.filter((batch) => batch.partition === partition)
      if (batches.length === 0) await this.#explainHole(partition, this.#end.get(partition)!)
      for (const { baseOffset, nextOffset } of batches) {
        if (baseOffset > this.#next.get(partition)!) await this.#explainHole(partition, baseOffset)
        this.#next.set(partition, nextOffset)
      }
    }
  }

  /** Batches that were there at the last look are missing. Pruning explains it, and looking again throws that; nothing else may. */
  async #explainHole(partition: number, to: number): Promise<never> {
    await this.#look()
    const from = this.#next.get(partition)!
    throw new CorruptError(
      `Topic ${this.#source.topic} lacks stored batches of partition ${partition} from offset ${from} to ${to}. Restore the database from a backup.`,
      { topic: this.#source.topic, partition, from, to },
    )
  }

  *#decode(stored: readonly StoredBatch[], start: Vector): Generator<LogBatch> {
    const position = new Map(start)
    let joined: LogRecord[] = []
    for (const [index, batch] of stored.entries()) {
      const { partition, baseOffset, nextOffset } = batch
      const limit = this.#limit(partition)
      const from = position.get(partition)!
      if (from >= limit) continue
      const records = decodeFrame(batch.records, batch, Math.max(from, baseOffset), Math.min(nextOffset, limit))
      joined = joined.length === 0 ? records : joined.concat(records)
      const to = Math.min(nextOffset, limit)
      const following = stored[index + 1]
      if (joined.length < BATCH_RECORDS_JOINED && following?.partition === partition && following.baseOffset < limit) {
        continue
      }
      yield { partition, from, to, records: joined }
      position.set(partition, to)
      joined = []
    }
  }
}

export function unknownTopic(topic: string): ConfigError {
  return new ConfigError(`The log has no topic ${topic}. Create it, or correct its name in the configuration.`, { topic })
}

function whole(value: number): number {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is no offset`)
  return value
}

function lost(topic: string, partition: number, from: number, to: number, finding: string): LossError {
  return new LossError(
    `Partition ${partition} of topic ${topic} ${finding}. Restore the log, or accept the loss of the range to go on after it.`,
    { topic, partition, from, to },
  )
}
