import type { Receipt, Status } from './api.ts'
import { formatTime } from './format.ts'
import type { LiveState } from './live/feed.ts'
import { describeMissing } from './receipt-words.ts'

type NoticesProps = {
  readonly live: LiveState
  readonly status: Status
  readonly receipt: Receipt
  readonly clockSkewMs: number
  readonly firstVersion: string
  readonly onConnect: () => void
}

/** What the reader has to know before trusting the figures below: each in its own line, with what can be done. */
export function Notices({ live, status, receipt, clockSkewMs, firstVersion, onConnect }: NoticesProps) {
  return (
    <div class="notices">
      {live.kind === 'lost' && (
        <p class="notice notice-bad" data-testid="lost">
          <span>
            <strong>Not live since {formatTime(live.sinceMs + clockSkewMs, status.zone)}.</strong> {live.reason} Trying again by itself.
          </span>
          <button type="button" class="button" onClick={onConnect}>
            Try now
          </button>
        </p>
      )}
      {live.kind === 'paused' && (
        <p class="notice" data-testid="paused">
          <span>
            <strong>Paused at {formatTime(live.sinceMs + clockSkewMs, status.zone)}.</strong> The shop goes on; the figures below do not.
          </span>
          <button type="button" class="button" onClick={onConnect}>
            Resume<span class="visually-hidden"> live updates</span>
          </button>
        </p>
      )}
      {!receipt.complete && (
        <p class="notice notice-bad" data-testid="incomplete">
          <span>
            <strong>Part of the data is missing.</strong> {receipt.missing.map(describeMissing).join('; ')}.
          </span>
        </p>
      )}
      {receipt.complete && status.stopped.length > 0 && (
        <p class="notice notice-bad">
          <span>
            <strong>A partition has stopped.</strong> {status.stopped.map(describeMissing).join('; ')}. <code>./tidemark status</code> says what to do.
          </span>
        </p>
      )}
      {status.version !== firstVersion && (
        <p class="notice">
          <span>
            Tidemark is now version {status.version}; this page is older.
          </span>
          <button type="button" class="button" onClick={() => location.reload()}>
            Reload the page
          </button>
        </p>
      )}
    </div>
  )
}
