/** Runs the search follower: one at a time, the figures and the sales beside each other, so that neither waits for the other's backlog. */
import { ConflictError, TidemarkError, messageOf } from '#core/errors.ts'
import type { FollowerSession } from '#store/search-follower.ts'
import { tryFollow } from '#store/search-follower.ts'
import { listIndices } from '#store/search-indices.ts'
import { delay } from './delay.ts'
import type { FiguresOptions } from './search-figures.ts'
import { FiguresFollower } from './search-figures.ts'
import type { SalesOptions } from './search-sales.ts'
import { SalesFollower } from './search-sales.ts'

export type SearchFollowerOptions = FiguresOptions &
  SalesOptions & {
    /** How often the store is asked for changes; default 500. */
    readonly pollIntervalMs?: number
    /** Told when this follower begins to work: where another runs, it waits. */
    readonly onFollowing?: () => void
  }

const pollIntervalMsDefault = 500
const retryMinMs = 250
const retryMaxMs = 10_000
/** How often a follower that waits asks whether the other is gone. */
const waitMs = 1_000

/** Runs until aborted. A search engine or a database that is away is asked again, ever later; only what no retry can mend is thrown. */
export async function runSearchFollower(options: SearchFollowerOptions, signal: AbortSignal): Promise<void> {
  await keepTrying('search follower', options, signal, async (reset) => {
    const session = await tryFollow(options.database)
    if (session === null) {
      await delay(waitMs, signal)
      return
    }
    await using following = session
    options.onFollowing?.()
    await follow(options, following, signal)
    reset()
  })
}

async function follow(options: SearchFollowerOptions, session: FollowerSession, signal: AbortSignal): Promise<void> {
  const failed = new AbortController()
  const both = AbortSignal.any([signal, session.lost, failed.signal])
  const stopAll = (thrown: unknown): never => {
    failed.abort()
    throw thrown
  }
  const outcomes = await Promise.allSettled([followFigures(options, both).catch(stopAll), followSales(options, both).catch(stopAll)])
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
}

async function followFigures(options: SearchFollowerOptions, signal: AbortSignal): Promise<void> {
  await keepTrying('search index of the figures', options, signal, async (reset) => {
    const follower = new FiguresFollower(options)
    while (!signal.aborted) {
      const isMore = await follower.step()
      reset()
      if (!isMore) await delay(options.pollIntervalMs ?? pollIntervalMsDefault, signal)
    }
  })
}

/** Every index family that builds or serves has a loop of its own, as long as it does. */
async function followSales(options: SearchFollowerOptions, signal: AbortSignal): Promise<void> {
  await keepTrying('search index of the sales', options, signal, async (reset) => {
    const followers = new Map<string, SalesFollower>()
    try {
      while (!signal.aborted) {
        const families = (await listIndices(options.database.pool)).filter((row) => row.kind === 'sales' && row.state !== 'retired')
        for (const [name, follower] of followers) {
          if (families.some((family) => family.name === name)) continue
          followers.delete(name)
          await follower[Symbol.asyncDispose]()
        }
        let isMore = false
        for (const family of families) {
          let follower = followers.get(family.name)
          if (follower === undefined) followers.set(family.name, (follower = new SalesFollower(options, family, signal)))
          isMore = (await follower.step()) || isMore
        }
        reset()
        if (!isMore) await delay(options.pollIntervalMs ?? pollIntervalMsDefault, signal)
      }
    } finally {
      for (const follower of followers.values()) await follower[Symbol.asyncDispose]()
    }
  })
}

async function keepTrying(what: string, { logger }: SearchFollowerOptions, signal: AbortSignal, work: (reset: () => void) => Promise<void>): Promise<void> {
  let retryMs = retryMinMs
  while (!signal.aborted) {
    try {
      await work(() => (retryMs = retryMinMs))
    } catch (thrown) {
      if (signal.aborted) return
      if (!(thrown instanceof TidemarkError && (thrown.retryable || thrown instanceof ConflictError))) throw thrown
      logger.warn({ retryMs, code: thrown.code }, `${what} is tried again: ${messageOf(thrown)}`)
      await delay(retryMs, signal)
      retryMs = Math.min(retryMs * 2, retryMaxMs)
    }
  }
}
