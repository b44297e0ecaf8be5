/** What a Kafka cluster says of itself: plain facts for whoever judges them. Nothing is changed. */
import { messageOf } from '#core/errors.ts'
import type { KafkaSettings } from './kafka-connection.ts'
import { code, codeOf } from './kafka-errors.ts'
import { KafkaLink } from './kafka-link.ts'
import { parseKafkaUrl } from './kafka-url.ts'

export type KafkaBrokerFacts = {
  readonly nodeId: number
  /** As the cluster tells its clients: a name that must lead there from here too. */
  readonly address: string
  /** Why it cannot be spoken to, or null. */
  readonly failure: string | null
}

export type KafkaPartitionFacts = { readonly partition: number; readonly hasLeader: boolean; readonly replicas: number; readonly inSync: number }

export type KafkaTopicFacts = {
  readonly partitions: readonly KafkaPartitionFacts[]
  /** Name → value; null where this user may not read them. */
  readonly settings: Readonly<Record<string, string>> | null
}

export type KafkaFacts = {
  readonly brokers: readonly KafkaBrokerFacts[]
  /** The newest forms of requests that it takes; null where it did not tell. */
  readonly fetchVersion: number | null
  readonly metadataVersion: number | null
  /** null for a topic that is not there. */
  readonly topics: ReadonlyMap<string, KafkaTopicFacts | null>
}

export type KafkaInspection = { readonly url: string; readonly topics: readonly string[]; readonly requestTimeoutMs: number; readonly signal: AbortSignal }

const fetchKey = 1
const metadataKey = 3
const topicResource = 2

type Versions = { readonly apiVersions: readonly { readonly apiKey: number; readonly maxVersion: number }[] }
type Described = { readonly topicMetadata: readonly { readonly partitionMetadata: readonly { readonly partitionId: number; readonly leader: number; readonly replicas: readonly number[]; readonly isr: readonly number[] }[] }[] }
type Configs = { readonly resources: readonly { readonly configEntries: readonly { readonly configName: string; readonly configValue: string | null }[] }[] }

/** Throws ConfigError or UnavailableError where no broker of the address answers. */
export async function inspectKafka({ url, topics, requestTimeoutMs, signal }: KafkaInspection): Promise<KafkaFacts> {
  const settings: KafkaSettings = { address: parseKafkaUrl(url), clientId: 'tidemark-doctor', connectTimeoutMs: requestTimeoutMs, requestTimeoutMs }
  const link = new KafkaLink(settings, signal)
  try {
    const { brokers: members, topics: found } = await link.retry('say what it consists of', requestTimeoutMs, () => link.metadata(topics))
    const { apiVersions } = await link.retry('say what it can do', requestTimeoutMs, async () => (await link.any()).request<Versions>('ApiVersions', {}))
    const versionOf = (key: number): number | null => apiVersions.find(({ apiKey }) => apiKey === key)?.maxVersion ?? null
    const brokers = await Promise.all([...members].map(async ([nodeId, { host, port }]) => ({ nodeId, address: `${host}:${port}`, failure: await failureOf(link, nodeId) })))
    const described = await Promise.all(
      topics.map(async (topic) => [topic, found.get(topic)?.errorCode === code.unknownTopicOrPartition ? null : await inspectTopic(link, topic, requestTimeoutMs)] as const),
    )
    return { brokers, fetchVersion: versionOf(fetchKey), metadataVersion: versionOf(metadataKey), topics: new Map(described) }
  } finally {
    link.close()
  }
}

async function failureOf(link: KafkaLink, nodeId: number): Promise<string | null> {
  try {
    await link.to(nodeId)
    return null
  } catch (thrown) {
    return messageOf(thrown)
  }
}

async function inspectTopic(link: KafkaLink, topic: string, deadlineMs: number): Promise<KafkaTopicFacts> {
  const { topicMetadata } = await link.retry(`describe topic ${topic}`, deadlineMs, async () => (await link.any()).request<Described>('Metadata', { topics: [topic], allowAutoTopicCreation: false }))
  const partitions = topicMetadata.flatMap(({ partitionMetadata }) =>
    partitionMetadata.map(({ partitionId, leader, replicas, isr }) => ({ partition: partitionId, hasLeader: leader >= 0, replicas: replicas.length, inSync: isr.length })),
  )
  return { partitions: partitions.sort((a, b) => a.partition - b.partition), settings: await readSettings(link, topic, deadlineMs) }
}

async function readSettings(link: KafkaLink, topic: string, deadlineMs: number): Promise<Readonly<Record<string, string>> | null> {
  const resources = [{ type: topicResource, name: topic, configNames: [] }]
  return link.retry(`read the settings of topic ${topic}`, deadlineMs, async () => {
    try {
      const { resources: answers } = await (await link.any()).request<Configs>('DescribeConfigs', { resources, includeSynonyms: false })
      return Object.fromEntries(answers.flatMap(({ configEntries }) => configEntries).map(({ configName, configValue }) => [configName, configValue ?? '']))
    } catch (thrown) {
      if (authorizationCodes.has(codeOf(thrown))) return null
      throw thrown
    }
  })
}

/** Of the topic, of the cluster. */
const authorizationCodes: ReadonlySet<number | null> = new Set([29, 31])
