/** A log that notes what it gives a worker: its assignments, and how many records it has handed over since a moment. */
import type { EventLog, LogBatch } from '#core/ports.ts'
import { logMethods } from '#test/lab/log-methods.ts'

export class WatchedLog {
  readonly log: EventLog
  /** Each assignment, in order. */
  readonly assignments: (readonly number[])[] = []
  /** Records of the largest batch since `countFromHere`. */
  batchRecordsMax = 0
  #sinceRecords = 0
  #handedMax = 0

  constructor(log: EventLog) {
    this.log = { ...logMethods(log), assigned: (topic, signal) => this.#assigned(log.assigned(topic, signal)), read: (topic, from, options) => this.#read(log.read(topic, from, options)) }
  }

  get partitions(): readonly number[] {
    return this.assignments.at(-1) ?? []
  }

  /** The most records that one reader has handed over since `countFromHere`: nobody can hold more of them. */
  get handedMax(): number {
    return this.#handedMax
  }

  countFromHere(): void {
    this.#sinceRecords = 0
    this.#handedMax = 0
    this.batchRecordsMax = 0
  }

  async *#assigned(assignments: AsyncIterable<readonly number[]>): AsyncGenerator<readonly number[]> {
    for await (const partitions of assignments) {
      this.assignments.push(partitions)
      yield partitions
    }
  }

  async *#read(batches: AsyncIterable<LogBatch>): AsyncGenerator<LogBatch> {
    this.#sinceRecords = 0
    for await (const batch of batches) {
      this.batchRecordsMax = Math.max(this.batchRecordsMax, batch.records.length)
      this.#sinceRecords += batch.records.length
      this.#handedMax = Math.max(this.#handedMax, this.#sinceRecords)
      yield batch
    }
  }
}
