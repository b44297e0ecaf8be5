/** Makes topics. */
import { KafkaFailure, code, failIf } from './kafka-errors.ts'
import type { KafkaLink } from './kafka-link.ts'

const replicasMax = 3
/** A record of a shop may carry more than the broker's default of 1 MiB, and is then refused by the decoder, with its bytes kept. */
export const batchBytesMax = 16 * 1024 * 1024

type Created = { readonly topicErrors: readonly { readonly topic: string; readonly errorCode: number; readonly errorMessage?: string | null }[] }

/** Makes the topic unless it is there, and waits until each partition has a leader. Log time is the log's: a record's own time decides nothing. */
export async function createTopic(link: KafkaLink, topic: string, partitions: number, deadlineMs: number): Promise<void> {
  const task = `create topic ${topic}`
  await link.retry(task, deadlineMs, async () => {
    const { brokers, topics } = await link.metadata([topic])
    if (topics.get(topic)?.errorCode === code.none) return
    const replicas = Math.min(replicasMax, brokers.size)
    const settings: Readonly<Record<string, string>> = {
      'message.timestamp.type': 'LogAppendTime',
      // One replica may be down while records are taken.
      'min.insync.replicas': String(Math.max(1, replicas - 1)),
      'max.message.bytes': String(batchBytesMax),
      'cleanup.policy': 'delete',
    }
    const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }))
    const connection = await link.any()
    const answer = await connection.request<Created>('CreateTopics', { topics: [{ topic, numPartitions: partitions, replicationFactor: replicas, configEntries }], timeout: link.settings.requestTimeoutMs, validateOnly: false }, link.settings.requestTimeoutMs).catch(refusals)
    for (const { errorCode, errorMessage } of answer.topicErrors) if (errorCode !== code.none && errorCode !== code.topicAlreadyExists) throw new KafkaFailure(errorCode, errorMessage)
  })
  await link.retry(task, deadlineMs, async () => {
    const found = (await link.metadata([topic])).topics.get(topic)
    failIf(found?.errorCode ?? code.unknownTopicOrPartition)
    for (const { errorCode, leader } of found!.partitions.values()) {
      failIf(errorCode)
      if (leader < 0) throw new KafkaFailure(code.leaderNotAvailable)
    }
  })
}

/** kafkajs throws the topics' errors together. */
function refusals(thrown: unknown): Created {
  const refused = thrown instanceof Error && 'errors' in thrown ? (thrown.errors as readonly { readonly topic: string; readonly code: number; readonly message: string }[]) : null
  if (refused === null) throw thrown
  return { topicErrors: refused.map(({ topic, code: errorCode, message }) => ({ topic, errorCode, errorMessage: message })) }
}

