/** Where the partitions of a topic begin and end. */
import type { LogBounds } from '#core/ports.ts'
import { KafkaFailure, failIf } from './kafka-errors.ts'
import type { KafkaLink } from './kafka-link.ts'
import { code } from './kafka-errors.ts'

const earliest = -2
const latest = -1
const readCommitted = 1

type Listed = { readonly responses: readonly { readonly partitions: readonly { readonly partition: number; readonly errorCode: number; readonly offset: string }[] }[] }

/** Every partition's log start, and its last stable offset: the end of what is committed. Throws as `link.retry` does. */
export async function listOffsets(link: KafkaLink, topic: string, deadlineMs: number, signal?: AbortSignal): Promise<LogBounds> {
  await link.topic(topic, deadlineMs, signal)
  return link.retry(`look where topic ${topic} begins and ends`, deadlineMs, async () => {
    const found = (await link.metadata([topic])).topics.get(topic)
    failIf(found?.errorCode ?? code.unknownTopicOrPartition)
    const byLeader = new Map<number, number[]>()
    for (const [partition, { leader }] of [...found!.partitions].sort(([a], [b]) => a - b)) byLeader.set(leader, [...(byLeader.get(leader) ?? []), partition])
    const [first, end] = await Promise.all([listAt(link, topic, byLeader, earliest), listAt(link, topic, byLeader, latest)])
    return { first, end }
  }, signal)
}

/** The end of what is committed in the partitions, which one broker leads. */
export async function listEnds(link: KafkaLink, topic: string, leader: number, partitions: readonly number[]): Promise<Map<number, number>> {
  return listAt(link, topic, new Map([[leader, partitions]]), latest)
}

async function listAt(link: KafkaLink, topic: string, byLeader: ReadonlyMap<number, readonly number[]>, timestamp: number): Promise<Map<number, number>> {
  const offsets = new Map<number, number>()
  await Promise.all([...byLeader].map(async ([leader, partitions]) => {
    const connection = await link.to(leader)
    const asked = partitions.map((partition) => ({ partition, timestamp }))
    const { responses } = await connection.request<Listed>('ListOffsets', { isolationLevel: readCommitted, topics: [{ topic, partitions: asked }] })
    for (const { partition, errorCode, offset } of responses.flatMap((response) => response.partitions)) {
      if (errorCode !== code.none) throw new KafkaFailure(errorCode)
      offsets.set(partition, Number(offset))
    }
  }))
  return new Map([...offsets].sort(([a], [b]) => a - b))
}
