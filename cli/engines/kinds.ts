/** All engines by name. */
import type { EngineName } from './cluster.ts'
import { engineNames } from './cluster.ts'
import { elasticsearch } from './elasticsearch.ts'
import { hdfs } from './hdfs.ts'
import { kafka } from './kafka.ts'
import type { EngineKind, Member } from './plan.ts'
import { redis } from './redis.ts'
import { trino } from './trino.ts'

export const kinds: Readonly<Record<EngineName, EngineKind>> = { kafka, hdfs, trino, elasticsearch, redis }

export function membersOf(names: readonly EngineName[], nodes: number): readonly Member[] {
  return names.flatMap((name) => kinds[name].members(nodes))
}

/** With what they need, in the order of their start: Trino keeps the names of its tables in HDFS. */
export function withDependencies(names: readonly EngineName[]): readonly EngineName[] {
  return engineNames.filter((name) => names.includes(name) || (name === 'hdfs' && names.includes('trino')))
}
