/** The one place of the engines' versions, checksums, ports and memory: `hadoop/cluster.json`, which docker-compose.yml is checked against. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import cluster from '../../hadoop/cluster.json' with { type: 'json' }

/** In the order in which they are started: Trino keeps its table names in HDFS. */
export const engineNames = ['kafka', 'hdfs', 'trino', 'elasticsearch', 'redis'] as const
export type EngineName = (typeof engineNames)[number]

export { cluster }

/** The text of a file in `hadoop/`. */
export function readSharedFile(name: string): string {
  return readFileSync(sharedFile(name), 'utf8')
}

export function sharedFile(name: string): string {
  return fileURLToPath(new URL(`../../hadoop/${name}`, import.meta.url))
}
