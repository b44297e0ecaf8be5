/** The lock between processes, waited for until a signal says otherwise. */
import { join } from 'node:path'
import { UnavailableError } from '#core/errors.ts'
import type { FileLock } from '#engines/file-lock.mjs'
import { LockTimeoutError, acquireFileLock } from '#engines/file-lock.mjs'
import { enginesFolder } from './state.ts'

const lookAtSignalEveryMs = 250
/** Longer than any start takes. */
const enginesLockWaitMs = 30 * 60_000

export type LockOptions = { readonly waitMs: number; readonly signal: AbortSignal; readonly onWait?: (holder: number) => void }

export async function takeLock(directory: string, { waitMs, signal, onWait }: LockOptions): Promise<FileLock> {
  const deadline = performance.now() + waitMs
  let announced: number | undefined
  for (;;) {
    if (signal.aborted) throw new UnavailableError(`Interrupted while waiting for the lock ${directory}.`)
    try {
      return await acquireFileLock(directory, { waitMs: lookAtSignalEveryMs })
    } catch (thrown) {
      if (!(thrown instanceof LockTimeoutError)) throw thrown
      if (thrown.holder !== announced) onWait?.(thrown.holder)
      announced = thrown.holder
      if (performance.now() >= deadline) throw new UnavailableError(`Process ${thrown.holder} has held the lock ${directory} for ${waitMs / 1000} s: end it.`, {}, thrown)
    }
  }
}

/** Whoever changes the engines of a data folder holds this. */
export async function lockEngines(dataDirectory: string, signal: AbortSignal, say: (line: string) => void = () => undefined): Promise<FileLock> {
  return takeLock(join(enginesFolder(dataDirectory), 'lock'), {
    waitMs: enginesLockWaitMs,
    signal,
    onWait: (holder) => say(`  process ${holder} is starting or ending engines in this folder; waiting for it`),
  })
}
