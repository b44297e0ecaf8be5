/** Deletes the engines of a data folder with all that they hold. */
import { existsSync, rmSync } from 'node:fs'
import { ConfigError } from '#core/errors.ts'
import { lockEngines } from './lock.ts'
import { hasEnded } from './processes.ts'
import { enginesFolder, readState } from './state.ts'

export type RemoveOptions = { readonly signal: AbortSignal; readonly say?: (line: string) => void }

/** False where there were none. Throws ConfigError, and deletes nothing, while any of them runs. */
export async function removeEngines(dataDirectory: string, { signal, say }: RemoveOptions): Promise<boolean> {
  if (!existsSync(enginesFolder(dataDirectory))) return false
  const lock = await lockEngines(dataDirectory, signal, say)
  try {
    const running = (readState(dataDirectory)?.processes ?? []).filter((process) => !hasEnded(process)).map(({ name }) => name)
    if (running.length > 0) throw new ConfigError(`Engines run in ${dataDirectory} (${running.join(', ')}): "tidemark engines down --data ${dataDirectory}" ends them.`)
    rmSync(enginesFolder(dataDirectory), { recursive: true, force: true, maxRetries: 5 })
    return true
  } finally {
    lock.release()
  }
}
