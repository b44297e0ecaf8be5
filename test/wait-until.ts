/** How often a condition is looked at; short beside any deadline. */
const LOOK_INTERVAL_MS = 10

/** Resolves to the first value that is neither null, undefined nor false. Throws, saying what it waited for, after the deadline. */
export async function waitUntil<T>(what: string, look: () => Promise<T> | T, deadlineMs = 15_000): Promise<NonNullable<T>> {
  const startMs = performance.now()
  for (;;) {
    const seen = await look()
    if (seen !== null && seen !== undefined && seen !== false) return seen
    const leftMs = deadlineMs - (performance.now() - startMs)
    if (leftMs <= 0) throw new Error(`Waited ${deadlineMs} ms in vain for: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, Math.min(LOOK_INTERVAL_MS, leftMs)))
  }
}
