/**
 * The events behind a restatement, in order. A history that is imported into published periods restates them by millions of events: they are packed page by
 * page, 30 to 60 bytes each, so that no restatement is too large for memory.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import type { RestatementEvent } from '#core/report/report.ts'

export type RestatingEvents = {
  add(event: RestatementEvent): void
  readonly count: number
  /** The first so many. */
  first(limit: number): RestatementEvent[]
  /** As often as asked, one page unpacked at a time. */
  pages(): Iterable<readonly RestatementEvent[]>
  all(): Iterable<RestatementEvent>
}

const pageEvents = 5_000
/** Pages are read twice and thrown away: speed before size. */
const level = 1

export function openRestatingEvents(): RestatingEvents {
  const packed: Uint8Array[] = []
  let open: RestatementEvent[] = []
  let count = 0

  function* pages(): Generator<readonly RestatementEvent[]> {
    for (const page of packed) yield JSON.parse(inflateRawSync(page).toString()) as RestatementEvent[]
    if (open.length > 0) yield open
  }

  function* all(): Generator<RestatementEvent> {
    for (const page of pages()) yield* page
  }

  return {
    add(event) {
      count++
      open.push(event)
      if (open.length < pageEvents) return
      packed.push(deflateRawSync(JSON.stringify(open), { level }))
      open = []
    },
    get count() {
      return count
    },
    first(limit) {
      const events: RestatementEvent[] = []
      for (const event of all()) {
        if (events.length === limit) break
        events.push(event)
      }
      return events
    },
    pages,
    all,
  }
}
