/** Ctrl-C and its kin: the first signal asks a command to finish what it holds, the second ends it. */
import { setTimeout as wait } from 'node:timers/promises'

export type ProcessControl = {
  /** Aborted by the first SIGINT or SIGTERM, or when the parent that started us over IPC is gone. */
  readonly signal: AbortSignal
}

const exitAfterSecondSignal = 130

export function controlProcess(): ProcessControl {
  const stopping = new AbortController()
  const onSignal = (): void => {
    if (stopping.signal.aborted) process.exit(exitAfterSecondSignal)
    stopping.abort()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  if (process.channel !== undefined) {
    // A killed parent must not leave its layers behind.
    process.on('disconnect', () => stopping.abort())
  }
  return { signal: stopping.signal }
}

/** Resolves when aborted, or after so long. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  await wait(ms, undefined, { signal }).catch(() => undefined)
}
