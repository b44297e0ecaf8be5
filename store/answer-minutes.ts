/** The last three hours by minute of event time: a small table of the speed layer's own, no part of the merge. */
import type { MinuteRow } from '#core/receipt.ts'
import { currencyExponent, formatMinor } from '#core/money.ts'
import type { AnswerTerms } from './answers.ts'
import { Values, askStatement } from './answers.ts'
import { hasFigures } from './counted-topics.ts'
import type { Queryable } from './database.ts'
import { taggedSelect, tags } from './receipt.ts'

export type MinutesAnswer = { readonly rows: readonly MinuteRow[]; readonly layer: 'speed'; readonly version: string; readonly asOf: string | null }

const minutesShownMs = 3 * 3_600_000

/** Minutes up to three hours before the newest log time, by minute, then currency. Minutes without events are no rows. */
export async function answerMinutes(queryable: Queryable, terms: AnswerTerms): Promise<MinutesAnswer> {
  const values = new Values()
  const sql = taggedSelect(
    tags.total,
    ['m.minute_ms::text', 'm.currency', 'sum(m.transactions)::text', 'sum(m.gross_minor)::text', 'sum(m.refunds_minor)::text'],
    // Three hours of log time: one event dated ahead must not move the window.
    `FROM live_minutes m WHERE m.minute_ms > (SELECT max(last_log_time_ms) FROM committed_offsets WHERE ${hasFigures('topic')}) - ${values.add(minutesShownMs, 'bigint')} GROUP BY m.minute_ms, m.currency`,
  )
  const { rows, parts } = await askStatement(queryable, [sql], values.list, terms)
  const minutes = rows.filter((row) => row[0] === tags.total) as [number, string, string, string, string, string][]
  minutes.sort((a, b) => Number(a[1]) - Number(b[1]) || (a[2] < b[2] ? -1 : 1))
  const noShare = { events: 0, netMinorByCurrency: {} }
  return {
    rows: minutes.map(([, minuteMs, currency, transactions, grossMinor, refundsMinor]) => ({
      minute: new Date(Number(minuteMs)).toISOString().replace('.000Z', 'Z'),
      currency,
      transactions: Number(transactions),
      grossMinor,
      refundsMinor,
      gross: formatMinor(BigInt(grossMinor), currencyExponent(currency)!),
      refunds: formatMinor(BigInt(refundsMinor), currencyExponent(currency)!),
    })),
    layer: 'speed',
    version: parts.version,
    asOf: parts.receipt({ fromBatch: noShare, fromSpeed: noShare }).asOf,
  }
}
