/** Whether Kafka does what it is for: all brokers known to each other, a record written and acknowledged, groups coordinated. */
import { randomUUID } from 'node:crypto'
import kafkajs from 'kafkajs'
import type { Kafka as KafkaClient } from 'kafkajs'
import { UnavailableError, messageOf } from '#core/errors.ts'

const requestWithinMs = 5_000
const settleTriesMax = 60
const settlePauseMs = 500

function openClient(brokers: readonly string[]): KafkaClient {
  return new kafkajs.Kafka({
    clientId: 'tidemark-engines',
    brokers: [...brokers],
    connectionTimeout: 2_000,
    requestTimeout: requestWithinMs,
    retry: { retries: 0 },
    // A broker that starts refuses much; who waits for it tells what is missing.
    logLevel: kafkajs.logLevel.NOTHING,
  })
}

/** Throws while not every broker answers by itself and knows of all others: one that was killed counts as a member for some seconds more. */
export async function lookAtKafka(brokers: readonly string[], signal: AbortSignal): Promise<void> {
  for (const broker of brokers) await lookAtBroker(broker, brokers.length, signal)
}

async function lookAtBroker(broker: string, membersMin: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const admin = openClient([broker]).admin()
  try {
    await admin.connect()
    const { brokers: members, controller } = await admin.describeCluster()
    if (members.length < membersMin) throw new UnavailableError(`Kafka has ${members.length} of ${membersMin} brokers.`)
    if (controller === null || controller < 0) throw new UnavailableError('Kafka has no controller yet.')
  } finally {
    await admin.disconnect()
  }
}

/** Writes a record with all acknowledgements to a topic of its own, deletes that again, and has the group coordinator make its topic. */
export async function settleKafka(brokers: readonly string[], signal: AbortSignal): Promise<void> {
  const topic = `tidemark-engines-probe-${randomUUID()}`
  const kafka = openClient(brokers)
  const admin = kafka.admin()
  const producer = kafka.producer({ allowAutoTopicCreation: false })
  try {
    await admin.connect()
    await producer.connect()
    await untilDone(() => admin.createTopics({ topics: [{ topic, numPartitions: 1, replicationFactor: brokers.length }], waitForLeaders: true }), signal)
    await untilDone(() => producer.send({ topic, acks: -1, messages: [{ value: 'ready' }] }), signal)
    await untilDone(() => admin.fetchOffsets({ groupId: 'tidemark-engines-probe', topics: [topic] }), signal)
    await untilDone(() => admin.deleteTopics({ topics: [topic] }), signal)
  } finally {
    await producer.disconnect()
    await admin.disconnect()
  }
}

async function untilDone(work: () => Promise<unknown>, signal: AbortSignal): Promise<void> {
  for (let tries = 1; ; tries++) {
    signal.throwIfAborted()
    try {
      await work()
      return
    } catch (thrown) {
      if (tries >= settleTriesMax) throw new UnavailableError(`Kafka answers, but does not serve: ${messageOf(thrown)}`, {}, thrown)
    }
    await new Promise((resolve) => setTimeout(resolve, settlePauseMs))
  }
}
