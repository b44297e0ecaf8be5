import { useEffect, useMemo, useState } from 'preact/hooks'
import type { Status } from '../api.ts'
import type { Figures } from '../figures.ts'
import { LiveFeed, type LiveState } from './feed.ts'

export type Tidemark = {
  readonly live: LiveState
  readonly figures: Figures | null
  readonly status: Status | null
  /** Server's clock minus this machine's. */
  readonly clockSkewMs: number
}

export type TidemarkControls = { readonly connect: () => void; readonly pause: () => void }

/** The server's Date header counts whole seconds: less than this is no skew. */
const clockSkewMsMin = 2_000

export function useTidemark(): readonly [Tidemark, TidemarkControls] {
  const [tidemark, setTidemark] = useState<Tidemark>({ live: { kind: 'connecting' }, figures: null, status: null, clockSkewMs: 0 })
  const feed = useMemo(
    () =>
      new LiveFeed({
        onState: (live) => setTidemark((before) => ({ ...before, live })),
        onFigures: (figures) => setTidemark((before) => ({ ...before, figures })),
        onStatus: (status, serverNowMs) => {
          const skewMs = serverNowMs === null ? 0 : serverNowMs - Date.now()
          setTidemark((before) => ({ ...before, status, clockSkewMs: Math.abs(skewMs) < clockSkewMsMin ? 0 : skewMs }))
        },
      }),
    [],
  )
  const paused = tidemark.live.kind === 'paused'

  useEffect(() => {
    if (paused) return
    // A browser grants six connections per server to all its tabs: a tab that nobody sees gives its own back.
    const follow = (): void => (document.hidden ? feed.close() : feed.connect())
    follow()
    document.addEventListener('visibilitychange', follow)
    return () => document.removeEventListener('visibilitychange', follow)
  }, [feed, paused])
  useEffect(() => () => feed.close(), [feed])

  const controls = useMemo(() => ({ connect: () => feed.connect(), pause: () => feed.pause() }), [feed])
  return [tidemark, controls]
}
