/** Waiting that ends when it is aborted, and leaves no listener behind. */
import { setTimeout as wait } from 'node:timers/promises'

/** The promise, or a throw of the signal's reason as soon as it is aborted; the promise's own failure is then nobody's concern. */
export async function unlessAborted<T>(promise: Promise<T>, signal?: AbortSignal, onAbort?: () => void): Promise<T> {
  if (signal === undefined) return promise
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const abort = (): void => {
    onAbort?.()
    reject(signal.reason)
  }
  if (signal.aborted) abort()
  else signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** Resolves after so many milliseconds, or as soon as the signal is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  // It can fail in one way only, which is being aborted.
  await wait(ms, undefined, { signal }).catch(() => undefined)
}
