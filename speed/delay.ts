import { setTimeout as wait } from 'node:timers/promises'

/** Resolves after so long, or at once when aborted; leaves no listener behind, however often a loop waits. */
export async function delay(ms: number, signal: AbortSignal): Promise<void> {
  await wait(ms, undefined, { signal }).catch(() => undefined)
}
