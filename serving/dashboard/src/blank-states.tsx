/** The page where there are no figures to show: never a blank, always what to do. */

export function EmptyShop() {
  return (
    <section class="card blank-state" aria-labelledby="empty-title">
      <h2 id="empty-title">The shop is empty</h2>
      <p>Not one event is in the log yet. This page fills by itself with the first. From the folder of Tidemark:</p>
      <dl>
        <dt>a file of your own, CSV or JSON lines</dt>
        <dd>
          <code>./tidemark ingest FILE</code>
        </dd>
        <dt>a simulated shop, 50 events a second</dt>
        <dd>
          <code>./tidemark generate --rate 50</code>
        </dd>
      </dl>
    </section>
  )
}

export function Unreachable({ reason, onConnect }: { readonly reason: string; readonly onConnect: () => void }) {
  return (
    <section class="card blank-state" aria-labelledby="unreachable-title" data-testid="unreachable">
      <h2 id="unreachable-title">No figures to show</h2>
      <p>{reason} This page tries again by itself.</p>
      <p>
        Is Tidemark running? <code>./tidemark status</code> tells, <code>npm start</code> starts it.
      </p>
      <button type="button" class="button" onClick={onConnect}>
        Try now
      </button>
    </section>
  )
}

export function Loading() {
  return (
    <section class="card blank-state" aria-busy="true">
      <p>Asking for the figures…</p>
      <div class="skeleton" aria-hidden="true">
        <span />
        <span />
        <span />
      </div>
    </section>
  )
}
