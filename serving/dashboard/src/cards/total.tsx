import { Problem, type Piece, type RevenueRow } from '../api.ts'
import { decimalOf, divideMinor, formatCount, formatMinorMoney, formatMoney, formatWeekday } from '../format.ts'
import { usePage } from '../page-context.ts'

/** The day in one figure and the four it is made of. A day without a sale is zero, which is a figure, not a blank. */
export function Total({ rows, weekAgo }: { readonly rows: readonly RevenueRow[]; readonly weekAgo: Piece<RevenueRow> | null }) {
  const { currency, notLive, today } = usePage()
  const row = rows.find((each) => each.currency === currency)
  const before = weekAgo === null || weekAgo instanceof Problem ? undefined : weekAgo.find((each) => each.currency === currency)
  const zero = decimalOf(0n, currency)
  const gross = row?.gross ?? zero
  const refunds = row?.refunds ?? zero
  const average = row === undefined ? null : divideMinor(BigInt(row.grossMinor), BigInt(row.transactions))
  return (
    <section class="card total" aria-labelledby="total-title">
      <header class="card-head">
        <h2 id="total-title">Net revenue today</h2>
      </header>
      {notLive !== null && <p class="stale-note">{notLive}</p>}
      <p class="total-net" data-testid="net">
        {formatMoney(row?.net ?? zero, currency)}
      </p>
      {before !== undefined && (
        <p class="total-before">
          Last {formatWeekday(today)} made {formatMoney(before.net, currency)} in its whole day.
        </p>
      )}
      <dl class="total-parts">
        <div>
          <dt>Gross</dt>
          <dd>{formatMoney(gross, currency)}</dd>
        </div>
        <div>
          <dt>Refunds</dt>
          <dd>{formatMoney(refunds, currency)}</dd>
        </div>
        <div>
          <dt>Transactions</dt>
          <dd data-testid="transactions">{formatCount(row?.transactions ?? 0)}</dd>
        </div>
        <div>
          <dt>Gross per transaction</dt>
          <dd>{average === null ? 'none yet' : formatMinorMoney(average, currency)}</dd>
        </div>
      </dl>
    </section>
  )
}
