import type { Receipt } from '../api.ts'
import { formatCount } from '../format.ts'
import { usePage } from '../page-context.ts'
import { describeAsOf, describeBatch, describeCrossCheck, describeMissing, describeSetAside, describeShare } from '../receipt-words.ts'

export function ReceiptCard({ receipt }: { readonly receipt: Receipt }) {
  const { currency, zone, notLive } = usePage()
  const { fromBatch, fromSpeed } = receipt
  return (
    <section class="card receipt" aria-labelledby="receipt-title">
      <header class="card-head">
        <h2 id="receipt-title">Receipt</h2>
        <p class={receipt.complete ? 'seal seal-good' : 'seal seal-bad'}>{receipt.complete ? '✓ Complete' : '✕ Incomplete'}</p>
      </header>
      {notLive !== null && <p class="stale-note">{notLive}</p>}
      <LayerSplit batch={fromBatch.events} speed={fromSpeed.events} />
      <dl class="receipt-words">
        <div>
          <dt>
            <i class="swatch swatch-batch" />
            Batch layer
          </dt>
          <dd>
            {describeShare(fromBatch, currency)}
            <small>{describeBatch(receipt, zone)}</small>
          </dd>
        </div>
        <div>
          <dt>
            <i class="swatch swatch-speed" />
            Speed layer
          </dt>
          <dd data-testid="from-speed">
            {describeShare(fromSpeed, currency)}
            <small>As of {describeAsOf(receipt, zone)}</small>
          </dd>
        </div>
        <div>
          <dt>Last cross-check</dt>
          <dd>{describeCrossCheck(receipt, zone)}</dd>
        </div>
        <div>
          <dt>Set aside</dt>
          <dd>{describeSetAside(receipt)}</dd>
        </div>
        {!receipt.complete && (
          <div>
            <dt>Missing</dt>
            <dd>{receipt.missing.map(describeMissing).join('; ')}</dd>
          </div>
        )}
      </dl>
      <details>
        <summary>Full receipt</summary>
        <p>
          Copies removed: {formatCount(receipt.copies)}. Conflicts: {formatCount(receipt.conflicts)}. Copies are recognised among the last{' '}
          {formatCount(receipt.deduplication.windowIds)} ids, {receipt.deduplication.scope}.
        </p>
        <pre tabIndex={0} aria-label="Full receipt as JSON">
          {JSON.stringify(receipt, null, 2)}
        </pre>
      </details>
    </section>
  )
}

/** The speed layer's part stays visible however small it is. */
const batchShareMax = 0.99

function LayerSplit({ batch, speed }: { readonly batch: number; readonly speed: number }) {
  const share = batch + speed === 0 ? 0 : Math.min(batch / (batch + speed), speed === 0 ? 1 : batchShareMax)
  return (
    <svg class="layer-split" aria-hidden="true" focusable="false">
      <rect class="split-speed" width="100%" height="100%" />
      <rect class="split-batch" width={`${(share * 100).toFixed(2)}%`} height="100%" />
    </svg>
  )
}
