/** The Kafka log as its contract suite opens it, and what tests do to a broker. */
import type { Admin } from 'kafkajs'
import { Kafka, logLevel } from 'kafkajs'
import type { Vector } from '#core/ports.ts'
import { openKafkaLog } from '#engines/kafka-log.ts'
import type { EventLogSubject } from './event-log-contract.ts'

export function openKafka(url: string): Kafka {
  return new Kafka({ brokers: url.replace('kafka://', '').split(','), logLevel: logLevel.NOTHING })
}

/** Retention in one call: the broker forgets what lies below. */
export async function forgetRecords(admin: Admin, topic: string, below: Vector): Promise<void> {
  // Without having asked for its offsets, the client does not know the topic.
  await admin.fetchTopicOffsets(topic)
  await admin.deleteTopicRecords({ topic, partitions: [...below].map(([partition, offset]) => ({ partition, offset: String(offset) })) })
}

export async function openKafkaSubject(url: string, groupPrefix: string): Promise<EventLogSubject> {
  const admin = openKafka(url).admin()
  await admin.connect()
  return {
    open: () => openKafkaLog({ url, groupPrefix }),
    forget: (topic, below) => forgetRecords(admin, topic, below),
    assignmentMs: 30_000,
    [Symbol.asyncDispose]: () => admin.disconnect(),
  }
}
