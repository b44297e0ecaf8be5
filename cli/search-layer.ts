/** The search follower on an environment: its options, its run, and what it is asked to build. */
import { setTimeout as wait } from 'node:timers/promises'
import type { SearchFollowerOptions } from '#speed/search-follower.ts'
import { runSearchFollower } from '#speed/search-follower.ts'
import type { SpeedLogger } from '#speed/worker.ts'
import { agreeOnLogic } from '#store/partitions.ts'
import type { SearchKind } from '#store/search-indices.ts'
import { requestBuild } from '#store/search-indices.ts'
import type { SearchStatus } from '#store/search-status.ts'
import { readSearchStatus } from '#store/search-status.ts'
import type { Environment } from './environment.ts'
import { transactionsTopic } from './environment.ts'

const progressIntervalMs = 500

/** Names in Elasticsearch begin with the store's schema. */
export function searchPrefix(environment: Environment): string {
  return environment.settings.schema.replaceAll('_', '-').replace(/^-+/, '')
}

async function searchOptions(environment: Environment, logger: SpeedLogger): Promise<SearchFollowerOptions> {
  const { database, decoder, settings } = environment
  return {
    database,
    search: await environment.search(),
    prefix: searchPrefix(environment),
    log: await environment.log(),
    decoder,
    topic: transactionsTopic,
    zone: settings.zone,
    keepMonths: settings.searchKeepMonths,
    logger,
    refill: async (topic, partition, from, to) => {
      const { readLakeRange } = await import('#batch/lake-range.ts')
      return readLakeRange({ queryable: database.pool, lake: await environment.lake(), engine: await environment.queryEngine() }, topic, partition, from, to)
    },
  }
}

export async function runSearchLayer(environment: Environment, logger: SpeedLogger, signal: AbortSignal): Promise<void> {
  await agreeOnLogic(environment.database, environment.decoder.logicVersion)
  await runSearchFollower(await searchOptions(environment, logger), signal)
}

/**
 * Asks for new indices and waits until they serve. A follower that runs builds them; where none does, this process follows meanwhile. A store that was
 * never followed gets all of its indices.
 */
export async function rebuildSearch(environment: Environment, kinds: readonly SearchKind[], logger: SpeedLogger, signal: AbortSignal, onProgress: (status: SearchStatus) => void): Promise<SearchStatus> {
  const { database } = environment
  for (const kind of kinds) await requestBuild(database, searchPrefix(environment), kind)
  const done = new AbortController()
  const both = AbortSignal.any([signal, done.signal])
  const following = runSearchLayer(environment, logger, both)
  const watching = watch(environment, kinds, both, onProgress)
  try {
    // Following ends by itself only when it fails.
    await Promise.race([watching, following])
    return await watching
  } finally {
    done.abort()
    await Promise.allSettled([following, watching])
  }
}

async function watch({ database }: Environment, kinds: readonly SearchKind[], signal: AbortSignal, onProgress: (status: SearchStatus) => void): Promise<SearchStatus> {
  for (;;) {
    const status = await readSearchStatus(database.pool)
    const of = (kind: SearchKind): SearchStatus['indices'] => status?.indices.filter((index) => index.kind === kind) ?? []
    if (status !== null) {
      onProgress(status)
      if (kinds.every((kind) => of(kind).some((index) => index.state === 'serving') && !of(kind).some((index) => index.state === 'building'))) return status
    }
    await wait(progressIntervalMs, undefined, { signal })
  }
}
