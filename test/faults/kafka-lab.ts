/** A lab on a real Kafka, with a group of readers and topics of its own. */
import { randomUUID } from 'node:crypto'
import type { Admin } from 'kafkajs'
import type { EventLog, LogAppend } from '#core/ports.ts'
import type { KafkaLogOptions } from '#engines/kafka-log.ts'
import { openKafkaLog } from '#engines/kafka-log.ts'
import type { Lab } from '#test/lab.ts'
import { openLab } from '#test/lab.ts'
import { logMethods } from '#test/lab/log-methods.ts'
import { openKafka } from '../contract/kafka-subject.ts'

export type KafkaLab = AsyncDisposable & {
  readonly lab: Lab
  readonly admin: Admin
  readonly url: string
  readonly groupPrefix: string
  /** The same log again, as another process opens it, or by way of a proxy. */
  open(options?: Partial<KafkaLogOptions>): Promise<EventLog>
}

const bytesMax = 900_000

export async function openKafkaLab(address: string): Promise<KafkaLab> {
  await using opening = new AsyncDisposableStack()
  const url = `kafka://${address}`
  const groupPrefix = `lab-${randomUUID().slice(0, 8)}`
  const admin = openKafka(url).admin()
  await admin.connect()
  opening.defer(() => admin.disconnect())
  const open = async (options: Partial<KafkaLogOptions> = {}): Promise<EventLog> => withoutGaps(await openKafkaLog({ url, groupPrefix, heartbeatMs: 200, ...options }))
  const lab = opening.use(await openLab({ openLog: open }))
  const stack = opening.move()
  return { lab, admin, url, groupPrefix, open, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

/** Appends one small batch at a time, none of which is a transaction: markers would take offsets, and the oracle counts them. */
export function withoutGaps(log: EventLog): EventLog {
  return {
    ...logMethods(log),
    async append(topic, records) {
      const ends = new Map<number, number>()
      for (const batch of smallBatches(records)) for (const [partition, end] of await log.append(topic, batch)) ends.set(partition, end)
      return ends
    },
  }
}

function smallBatches(records: readonly LogAppend[]): LogAppend[][] {
  const batches: LogAppend[][] = []
  for (const own of Map.groupBy(records, ({ key }) => key).values()) {
    let bytes = Number.POSITIVE_INFINITY
    for (const record of own) {
      bytes += record.value.length + 200
      if (bytes > bytesMax) {
        batches.push([])
        bytes = record.value.length + 200
      }
      batches.at(-1)!.push(record)
    }
  }
  return batches
}
