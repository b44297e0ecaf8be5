/** How long after its cause something follows: copies of a record, and things given back. */
import type { Random } from './random.ts'
import { DAY_MS, HOUR_MS } from './wall-clock.ts'

const MINUTE_MS = 60_000

/** Mostly a retry within minutes, sometimes a replay days later, now and then one beyond any window. */
export function drawCopyDelay(random: Random): number {
  const lot = random.unit()
  if (lot < 0.7) return 1000 + random.below(10 * MINUTE_MS)
  if (lot < 0.9) return HOUR_MS + random.below(3 * DAY_MS)
  return 10 * DAY_MS + random.below(90 * DAY_MS)
}

/** The same day, within the month, or months later. */
export function drawRefundDelay(random: Random): number {
  const lot = random.unit()
  if (lot < 0.3) return 10 * MINUTE_MS + random.below(5 * HOUR_MS)
  if (lot < 0.85) return DAY_MS + random.below(29 * DAY_MS)
  return 30 * DAY_MS + random.below(150 * DAY_MS)
}
