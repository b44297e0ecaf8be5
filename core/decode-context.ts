/** What the two input formats share: limits, the context of decoding, and how a refusal is said. */
import type { ZoneCalendar } from './calendar.ts'
import type { Decoded, RefusalReason } from './events.ts'

/** An event dated further than this after its log time is refused: a wrong clock or year, not a sale. */
export const futureToleranceMs = 86_400_000
/** Late: the local day had ended more than this before the log time. */
export const lateAfterMs = 3_600_000
export const quantityMax = 1_000_000

export type DecodeContext = {
  readonly calendar: ZoneCalendar
  readonly currency: string
  readonly currencyExponent: number
}

export function refuse(reason: RefusalReason, detail: string): Decoded {
  return { refusal: { reason, detail } }
}
