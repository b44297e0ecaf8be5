/** Kafka in KRaft mode: brokers that are controllers as well, one or three. */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cluster, readSharedFile } from './cluster.ts'
import type { ConfigValues } from './config-files.ts'
import { parseProperties, propertiesText } from './config-files.ts'
import { javaCommand, runToEnd } from './java-command.ts'
import { lookAtKafka, settleKafka } from './kafka-ready.ts'
import type { EngineKind, Place, ProcessPlan, Site } from './plan.ts'
import { numbers, portOf } from './plan.ts'

const formatWithinMs = 60_000
const portStep = 2

export const kafka: EngineKind = {
  members: (nodes) => {
    const { client, controller } = cluster.kafka.ports
    return numbers(nodes).map((id) => ({
      name: memberName(id),
      engine: 'kafka',
      ports: { client: client + (id - 1) * portStep, controller: controller + (id - 1) * portStep },
    }))
  },
  plan: (site) => numbers(site.nodes).map((id) => planBroker(site, id)),
  readyWithinMs: 120_000,
  look: (place, signal) => lookAtKafka(kafkaBrokers(place), signal),
  settle: (place, signal) => settleKafka(kafkaBrokers(place), signal),
}

export function kafkaBrokers(place: Place): readonly string[] {
  return numbers(place.nodes).map((id) => `127.0.0.1:${portOf(place, memberName(id), 'client')}`)
}

/** What is of this broker, on top of hadoop/kafka/server.properties. */
export function brokerSettings(site: Site, id: number): ConfigValues {
  const voters = numbers(site.nodes).map((voter) => `${voter}@127.0.0.1:${portOf(site, memberName(voter), 'controller')}`)
  const client = `PLAINTEXT://127.0.0.1:${portOf(site, memberName(id), 'client')}`
  // With three, one may die and every acknowledged record is still on two.
  const inSyncMin = site.nodes > 2 ? 2 : 1
  return {
    ...parseProperties(readSharedFile('kafka/server.properties')),
    'node.id': id,
    'controller.quorum.voters': voters.join(','),
    listeners: `${client},CONTROLLER://127.0.0.1:${portOf(site, memberName(id), 'controller')}`,
    'advertised.listeners': client,
    'log.dirs': join(site.folder, memberName(id), 'data'),
    'default.replication.factor': site.nodes,
    'min.insync.replicas': inSyncMin,
    'offsets.topic.replication.factor': site.nodes,
    'transaction.state.log.replication.factor': site.nodes,
    'transaction.state.log.min.isr': inSyncMin,
    'share.coordinator.state.topic.replication.factor': site.nodes,
    'share.coordinator.state.topic.min.isr': inSyncMin,
  }
}

function planBroker(site: Site, id: number): ProcessPlan {
  const folder = join(site.folder, memberName(id))
  const data = join(folder, 'data')
  const settings = join(folder, 'server.properties')
  const logging = join(folder, 'log4j2.xml')
  const java = (main: string, heapMb: number, args: readonly string[]) =>
    javaCommand(site, {
      // The JVM itself expands the star, not a shell.
      classPath: [join(site.home, 'libs', '*')],
      flags: [`-Xms${heapMb}m`, `-Xmx${heapMb}m`, '-XX:+UseG1GC', `-Dlog4j2.configurationFile=${logging}`],
      main,
      args,
      cwd: folder,
    })
  return {
    name: memberName(id),
    ports: site.ports[memberName(id)]!,
    command: java('kafka.Kafka', cluster.kafka.heapMb, [settings]),
    files: { [settings]: propertiesText(brokerSettings(site, id)), [logging]: readSharedFile('kafka/log4j2.xml') },
    folders: [data],
    format: async (signal) => {
      // Written last by the tool: where it is missing, the folder was never, or not wholly, made ready.
      if (existsSync(join(data, 'meta.properties'))) return
      const format = ['format', '--ignore-formatted', '-t', clusterId(site.folder), '-c', settings]
      await runToEnd(java('kafka.tools.StorageTool', 128, format), { what: `preparing ${memberName(id)}`, withinMs: formatWithinMs, signal })
    },
  }
}

/** One for all brokers of a data folder; 16 random bytes, as Kafka itself would make. */
function clusterId(folder: string): string {
  const file = join(folder, 'kafka.cluster-id')
  if (!existsSync(file)) {
    mkdirSync(folder, { recursive: true })
    // Its tools would take a leading dash for an option.
    writeFileSync(`${file}.draft`, `T${randomBytes(16).toString('base64url').slice(1)}\n`)
    renameSync(`${file}.draft`, file)
  }
  return readFileSync(file, 'utf8').trim()
}

function memberName(id: number): string {
  return `kafka-${id}`
}
