/** P1 with Elasticsearch fed meanwhile: the rate of the worker while the search follower runs beside it in a process of its own ÷ its rate alone. All on one machine. */
import { randomUUID } from 'node:crypto'
import { countAndCheck } from './kafka-end-to-end.ts'
import { fillTopic, missingHere, openBenchCluster } from './kafka-cluster.ts'
import { startChild } from './kafka-children.ts'
import type { Ratio } from './statistics.ts'
import { median, ratioOf } from './statistics.ts'

export type SearchResult = { readonly lines: number; readonly aloneLinesPerSecond: number; readonly followedLinesPerSecond: number; readonly ratio: Ratio }

export const missingForSearch = (): Promise<string | null> => missingHere(['kafka', 'elasticsearch'])

export async function benchKafkaSearch(lines: number, pairs: number): Promise<SearchResult> {
  await using cluster = await openBenchCluster(['kafka', 'elasticsearch'])
  const filled = await fillTopic(cluster, 'transactions', { profile: 'bench', lines, partitions: 4 })
  await using worker = await startChild()
  const searchUrl = cluster.engines.environment['SEARCH_URL']!
  const follow = async (schema: string): Promise<() => Promise<void>> => {
    const follower = await startChild()
    const started = follower.heard('started')
    follower.tell({ do: 'follow', logUrl: cluster.logUrl, databaseUrl: cluster.server.url, schema, topic: filled.topic, group: `follow-${randomUUID()}`, searchUrl })
    await started
    return async () => {
      const worked = follower.heard('worked')
      follower.tell({ do: 'stop' })
      await worked
      await follower[Symbol.asyncDispose]()
    }
  }
  const alone: number[] = []
  const followed: number[] = []
  for (let pair = -1; pair < pairs; pair++) {
    const one = (await countAndCheck(cluster, [worker], filled)).seconds
    const other = (await countAndCheck(cluster, [worker], filled, {}, follow)).seconds
    process.stderr.write(`  alone ${one.toFixed(2)} s, with the follower ${other.toFixed(2)} s\n`)
    if (pair < 0) continue
    alone.push(one)
    followed.push(other)
  }
  return { lines: filled.records, aloneLinesPerSecond: Math.round(filled.records / median(alone)), followedLinesPerSecond: Math.round(filled.records / median(followed)), ratio: ratioOf(alone, followed) }
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(await benchKafkaSearch(Number(process.argv[2] ?? 200_000), Number(process.argv[3] ?? 1)), null, 1)}\n`)
