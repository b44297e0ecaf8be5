export type Bar = {
  readonly key: string
  readonly label: string
  readonly value: string
  readonly detail?: string
  /** Length, of the longest bar's 1. Below zero it is drawn hatched. */
  readonly share: number
  /** A sum of others, or a period that is still filling. */
  readonly faint?: boolean
}

/** Horizontal bars as a list that reads well without them: the name and the figure are text, only the lengths are drawn. */
export function Bars({ bars, ranked }: { readonly bars: readonly Bar[]; readonly ranked?: boolean }) {
  return (
    <ol class={ranked === true ? 'bars bars-ranked' : 'bars'}>
      {bars.map((bar) => (
        <li key={bar.key}>
          <span class="bar-label">
            <bdi>{bar.label}</bdi>
          </span>
          <span class="bar-value">
            {bar.value}
            {bar.detail !== undefined && <small>{bar.detail}</small>}
          </span>
          <svg class="bar" aria-hidden="true" focusable="false">
            <rect class="bar-rail" width="100%" height="100%" rx="3" />
            <rect class={fillClass(bar)} width={`${(Math.min(1, Math.abs(bar.share)) * 100).toFixed(2)}%`} height="100%" rx="3" />
          </svg>
        </li>
      ))}
    </ol>
  )
}

function fillClass(bar: Bar): string {
  if (bar.share < 0) return 'bar-fill bar-negative'
  return bar.faint === true ? 'bar-fill bar-faint' : 'bar-fill'
}

/** `[a, b]` → each over the largest magnitude, as a length. Digits beyond a millionth cannot be seen. */
export function sharesOf(minors: readonly bigint[]): number[] {
  const largest = minors.reduce((most, minor) => (magnitude(minor) > most ? magnitude(minor) : most), 1n)
  return minors.map((minor) => Number((minor * 1_000_000n) / largest) / 1_000_000)
}

function magnitude(minor: bigint): bigint {
  return minor < 0n ? -minor : minor
}
