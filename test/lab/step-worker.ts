/**
 * A speed worker that moves only when told: the real ledger, accumulator, opening and flush, without the loop. Dropping it is a crash, leaving it alone is a
 * stop, using it after others went on makes it a zombie.
 */
import { Ledger } from '#core/ledger.ts'
import type { LogBatch } from '#core/ports.ts'
import type { Flush, FlushFaults } from '#store/flush.ts'
import { commitFlush } from '#store/flush.ts'
import { readLogTerms } from '#store/losses.ts'
import { openPartitions } from '#store/partitions.ts'
import { Accumulator } from '#speed/accumulator.ts'
import { checkFingerprints } from '#store/fingerprint.ts'
import type { Lab } from '#test/lab.ts'

export class StepWorker {
  readonly partitions: readonly number[]
  readonly #lab: Lab
  readonly #accumulator: Accumulator
  readonly #positions: Map<number, number>

  private constructor(lab: Lab, partitions: readonly number[], ledger: Ledger, positions: Map<number, number>) {
    this.#lab = lab
    this.partitions = partitions
    this.#positions = positions
    this.#accumulator = new Accumulator({ topic: lab.topic, decoder: lab.decoder, ledger }, positions)
  }

  static async open(lab: Lab, partitions: readonly number[], ledgerIdsMax = 100_000): Promise<StepWorker> {
    const ledger = new Ledger(ledgerIdsMax)
    const bounds = await lab.log.bounds(lab.topic)
    const opened = await openPartitions(lab.database, lab.topic, new Map(partitions.map((partition) => [partition, bounds.first.get(partition) ?? 0])), ledger)
    await checkFingerprints(lab.log, lab.topic, opened, bounds, await readLogTerms(lab.database.pool, lab.topic), new AbortController().signal)
    return new StepWorker(lab, partitions, ledger, new Map(opened.map(({ partition, nextOffset }) => [partition, nextOffset])))
  }

  get isEmpty(): boolean {
    return this.#accumulator.isEmpty
  }

  get skippedReplays(): number {
    return this.#accumulator.skippedReplays
  }

  /** Where it will read on; its flushes may have been refused meanwhile. */
  position(partition: number): number {
    return this.#positions.get(partition)!
  }

  /** Takes up to so many records of one partition in. Resolves to how many there were. */
  async read(partition: number, records: number): Promise<number> {
    const from = this.position(partition)
    const end = (await this.#lab.log.bounds(this.#lab.topic)).end.get(partition) ?? 0
    const to = Math.min(from + records, end)
    if (to <= from) return 0
    for (const batch of await readLog(this.#lab, partition, from, to)) this.#accumulator.add(batch)
    this.#positions.set(partition, to)
    return to - from
  }

  async readAll(): Promise<void> {
    for (const partition of this.partitions) await this.read(partition, Number.MAX_SAFE_INTEGER)
  }

  /** Hands a batch in as the log might, wherever it begins. */
  redeliver(batch: LogBatch): void {
    this.#accumulator.add(batch)
  }

  /** What was taken in since the last flush, ready to be committed or lost. */
  take(): Flush {
    return this.#accumulator.take()
  }

  /** Resolves to the epoch of the flush, or null where there was nothing to flush. */
  async flush(faults: FlushFaults = {}): Promise<number | null> {
    return this.isEmpty ? null : commitFlush(this.#lab.database, this.take(), faults)
  }
}

/** Records `from` to `to` (exclusive) of one partition. */
export async function readLog(lab: Lab, partition: number, from: number, to: number): Promise<LogBatch[]> {
  const batches: LogBatch[] = []
  const options = { to: new Map([[partition, to]]), signal: new AbortController().signal }
  for await (const batch of lab.log.read(lab.topic, new Map([[partition, from]]), options)) batches.push(batch)
  return batches
}
