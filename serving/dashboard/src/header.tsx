import type { Receipt, Status } from './api.ts'
import { formatAge, formatLocalDay, formatTime } from './format.ts'
import { isCaughtUp, judgeFreshness, type Freshness } from './freshness.ts'
import type { LiveState } from './live/feed.ts'
import { useNow } from './live/use-now.ts'
import type { Theme } from './use-theme.ts'

type HeaderProps = {
  readonly live: LiveState
  readonly status: Status | null
  readonly receipt: Receipt | null
  readonly clockSkewMs: number
  readonly onPause: () => void
  readonly onResume: () => void
  readonly theme: Theme
  readonly onTheme: () => void
  readonly currency: string
  readonly currencies: readonly string[]
  readonly onCurrency: (currency: string) => void
}

export function Header(props: HeaderProps) {
  const { live, status, receipt, currencies } = props
  const paused = live.kind === 'paused'
  return (
    <header class="page-head">
      <div class="brand">
        <Mark />
        <div>
          <h1>Tidemark</h1>
          {status !== null && <p class="today">{formatLocalDay(status.today)}</p>}
        </div>
      </div>
      <div class="live">
        <LivePill live={live} />
        {status !== null && receipt !== null && receipt.asOf !== null && <AsOf live={live} status={status} asOfMs={Date.parse(receipt.asOf)} clockSkewMs={props.clockSkewMs} />}
      </div>
      <div class="page-controls">
        {currencies.length > 1 && (
          <label class="picker">
            <span>Currency</span>
            <select value={props.currency} onChange={(event) => props.onCurrency(event.currentTarget.value)}>
              {currencies.map((currency) => (
                <option key={currency}>{currency}</option>
              ))}
            </select>
          </label>
        )}
        <button type="button" class="button" onClick={paused ? props.onResume : props.onPause}>
          {paused ? 'Resume' : 'Pause'}
          <span class="visually-hidden"> live updates</span>
        </button>
        <button type="button" class="button" onClick={props.onTheme}>
          {props.theme === 'dark' ? 'Light' : 'Dark'}
          <span class="visually-hidden"> colours</span>
        </button>
      </div>
    </header>
  )
}

const pills: Readonly<Record<LiveState['kind'], readonly [mark: string, words: string]>> = {
  connecting: ['◌', 'Connecting'],
  live: ['●', 'Live'],
  lost: ['▲', 'Reconnecting'],
  paused: ['❚❚', 'Paused'],
}

function LivePill({ live }: { readonly live: LiveState }) {
  const [mark, words] = pills[live.kind]
  return (
    <p class={`pill pill-${live.kind}`} data-testid="live">
      <span aria-hidden="true">{mark}</span> {words}
      {live.kind === 'live' && live.by === 'polling' && ', every 5 s'}
    </p>
  )
}

const freshnessWords: Readonly<Record<Freshness, string>> = {
  fresh: '',
  quiet: ': nothing newer in the log',
  delayed: ': delayed',
  stale: ': far behind',
}

function AsOf({ live, status, asOfMs, clockSkewMs }: { readonly live: LiveState; readonly status: Status; readonly asOfMs: number; readonly clockSkewMs: number }) {
  const ageMs = useNow(clockSkewMs) - asOfMs
  const freshness = judgeFreshness(ageMs, live.kind === 'live' && isCaughtUp(status.speed.partitions))
  return (
    <p class={`as-of as-of-${freshness}`} title={`On the clock of ${status.zone}`} data-testid="as-of">
      as of {formatTime(asOfMs, status.zone)} ({formatAge(ageMs)} ago{freshnessWords[freshness]})
    </p>
  )
}

function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="8" />
      <path d="M6 13c3.4-3.4 6.6-3.4 10 0s6.6 3.4 10 0M6 20.5c3.4-3.4 6.6-3.4 10 0s6.6 3.4 10 0" />
    </svg>
  )
}
