/** A data folder belongs to one `tidemark up`, or to one command that must not meet it. */
import { join } from 'node:path'
import { ConfigError, messageOf } from '#core/errors.ts'
import { LockTimeoutError, acquireFileLock } from '#engines/file-lock.mjs'
import type { Settings } from './settings.ts'

/** Holds it until `resources` end. Throws ConfigError while another does, and where the folder cannot keep a lock. */
export async function holdDataFolder({ dataDirectory }: Pick<Settings, 'dataDirectory'>, resources: AsyncDisposableStack): Promise<void> {
  try {
    const lock = await acquireFileLock(join(dataDirectory, 'up.lock'), { waitMs: 0 })
    resources.defer(async () => lock.release())
  } catch (thrown) {
    if (thrown instanceof LockTimeoutError) throw new ConfigError(`Tidemark is up in ${dataDirectory}, as process ${thrown.holder}: stop it, or choose another --data folder.`, { holder: thrown.holder }, thrown)
    throw new ConfigError(`The data folder ${dataDirectory} takes no lock (${messageOf(thrown)}): choose one with --data that this user may write in, on a file system with hard links.`, {}, thrown)
  }
}
