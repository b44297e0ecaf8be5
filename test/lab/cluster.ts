/** A lab on Kafka, HDFS and Trino, with topics, a folder and a schema of its own, gone at the end. */
import { randomUUID } from 'node:crypto'
import { referenceTopics } from '#core/decode-reference.ts'
import type { Decoder } from '#core/decode.ts'
import type { EventLog } from '#core/ports.ts'
import { openTrino } from '#engines/trino.ts'
import { openStoreLog } from '#store/store-log.ts'
import type { HdfsFolder } from '#test/contract/hdfs-folder.ts'
import { openTestLake, runOnTrino, testTrinoUrl } from '#test/contract/trino-lake.ts'
import { openKafkaLab } from '#test/faults/kafka-lab.ts'
import type { Lab } from '#test/lab.ts'
import { logMethods } from './log-methods.ts'

export type ClusterLab = AsyncDisposable & {
  readonly lab: Lab
  /** The same shop with other settings. */
  with(decoder: Decoder): Lab
  readonly folder: HdfsFolder
  /** Of Trino, where people find the archive under its topic's name. */
  readonly sharedSchema: string
}

export async function openClusterLab(kafka: string): Promise<ClusterLab> {
  await using opening = new AsyncDisposableStack()
  const own = randomUUID().slice(0, 8)
  const opened = opening.use(await openKafkaLab(kafka))
  const hdfs = opening.use(await openTestLake())
  const sharedSchema = `cluster_${own}`
  const engine = opening.use(await openTrino({ url: testTrinoUrl(), lake: hdfs.lake, sharedSchema }))
  opening.defer(async () => void (await runOnTrino(`DROP SCHEMA IF EXISTS hive.${sharedSchema} CASCADE`)))
  const { database, topic, oracle, decoder } = opened.lab
  const log = openStoreLog(database, ownTopics(opened.lab.log, own))
  for (const name of referenceTopics) await log.create(name, 2)
  opening.defer(() => opened.admin.deleteTopics({ topics: [topic, ...referenceTopics.map((name) => `${name}-${own}`)] }))
  const labWith = (other: Decoder): Lab => ({ ...opened.lab, topic, oracle, log, lake: hdfs.lake, engine, decoder: other })
  const stack = opening.move()
  return { lab: labWith(decoder), with: labWith, folder: hdfs.folder, sharedSchema, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

/** Topics of users and products have fixed names, and the broker is everybody's. */
function ownTopics(log: EventLog, own: string): EventLog {
  const nameOf = (topic: string): string => ((referenceTopics as readonly string[]).includes(topic) ? `${topic}-${own}` : topic)
  return {
    ...logMethods(log),
    create: (topic, partitions) => log.create(nameOf(topic), partitions),
    append: (topic, records) => log.append(nameOf(topic), records),
    read: (topic, from, options) => log.read(nameOf(topic), from, options),
    bounds: (topic) => log.bounds(nameOf(topic)),
  }
}
