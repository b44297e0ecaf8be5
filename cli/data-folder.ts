/** A data folder belongs to one `tidemark up`, or to one command that must not meet it. */
import { join } from 'node:path'
import { ConfigError } from '#core/errors.ts'
import { LockTimeoutError, acquireFileLock } from '#engines/file-lock.mjs'
import type { Settings } from './settings.ts'

/** Holds it until `resources` end. Throws ConfigError while another does, and where the disk refuses a lock. */
export async function holdDataFolder({ dataDirectory }: Pick<Settings, 'dataDirectory'>, resources: AsyncDisposableStack): Promise<void> {
  const lock = await acquireFileLock(join(dataDirectory, 'up.lock'), { waitMs: 0 }).catch((thrown: unknown) => {
    if (thrown instanceof LockTimeoutError) {
      throw new ConfigError(`Process ${thrown.holder}, an "up" or a "restore", has the data folder ${dataDirectory}: stop it, or choose another with --data.`, { holder: thrown.holder }, thrown)
    }
    // Not of the disk: a mistake of ours.
    if (!(thrown instanceof Error && 'syscall' in thrown)) throw thrown
    throw new ConfigError(`The data folder ${dataDirectory} takes no lock (${thrown.message}): mend that, or choose another with --data; it is to be writable, on a file system with hard links.`, {}, thrown)
  })
  resources.defer(async () => lock.release())
}
