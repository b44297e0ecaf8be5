const firstWaitMs = 500
const waitMsMax = 15_000

/** Wait before the given attempt, counted from 0: doubling, and spread over its upper half so that a restarted server is not met by all pages at once. */
export function backoffMs(attempt: number, random: () => number = Math.random): number {
  return Math.min(waitMsMax, firstWaitMs * 2 ** Math.min(attempt, 10)) * (0.5 + random() / 2)
}
